#!/usr/bin/env bash
# Kills and stops the processes of a bus under load, at random times and at every named point, and judges what is left
# from outside (docs/chaos.md). Prints one table; exit status 0: nothing was lost or leaked, and everything was hit.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() { say "usage: scripts/chaos.sh [--minutes N] [--seed S] [--bin DIR] [--keep]
  --minutes N  how long; without it until every victim and every named point was hit once
  --seed S     what is sent, and who is killed when (default 1)
  --bin DIR    ackbusd and ackbus-gpu of this folder instead of a build with test points (default \$ACKBUS_BIN, if set);
               the library of DIR/../lib is used if it is there
  --keep       leave the folder of the run where it is"; }

bin=${ACKBUS_BIN:-}
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --minutes|--seed) arguments+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    --bin) bin=${2:?--bin needs a folder}; shift 2 ;;
    --keep) arguments+=("$1"); shift ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

configure_preset chaos
build_preset chaos ackbus-chaos >"$root/build/build-chaos.log" || { cat "$root/build/build-chaos.log"; exit 1; }
[ -z "$bin" ] || arguments+=(--bin "$bin")
exec "$root/build/chaos/bin/ackbus-chaos" ${arguments[@]+"${arguments[@]}"}

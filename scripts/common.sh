# shellcheck shell=bash
# Shared by the scripts beside it, which source it: where the tree is, and stages that print their seconds.
# A stage is a name and a command. The first one that fails ends the script with its name and the command's status.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)
current_stage=""

say() { printf '%s\n' "$*"; }

# die MESSAGE...: says what is wrong and what to do, and ends the script.
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# stage NAME COMMAND...: runs the command, then prints how long it took. `set -e` does not reach into a command that
# is part of a condition, so the command is run plainly and the EXIT trap of the script reports a failure by name.
stage() {
  current_stage=$1
  shift
  local started=$SECONDS
  say ""
  say "== $current_stage"
  "$@"
  say "== $current_stage: $((SECONDS - started)) s"
  current_stage=""
}

# stage_report STATUS: for an EXIT trap; names the stage in which the script ended.
stage_report() {
  if [ "$1" -ne 0 ] && [ -n "$current_stage" ]; then
    printf '%s: stage "%s" failed with status %s\n' "$(basename "$0")" "$current_stage" "$1" >&2
  fi
}

# configure_preset PRESET: configures build/PRESET; silent unless it fails.
configure_preset() {
  mkdir -p "$root/build"
  (cd "$root" && cmake --preset "$1" >"$root/build/configure-$1.log" 2>&1) || {
    cat "$root/build/configure-$1.log"
    return 1
  }
}

# build_preset PRESET [TARGET...]: builds these targets, or everything.
build_preset() {
  local preset=$1
  shift
  cmake --build "$root/build/$preset" -j "$jobs" ${@:+--target "$@"}
}

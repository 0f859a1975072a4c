#!/usr/bin/env bash
# More than a bus can do, for minutes: equal producers ask ten times the rate that one slow consumer serves, on a bus of
# the script's own. Prints a table, a name and a figure a line; ends with status 1 when a producer was refused by
# anything but back pressure, or the slowest link got less than 0.8 of what the fastest got.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() { say "usage: scripts/overload.sh [--minutes N] [--producers P] [--service-us U] [--build DIR]
  --minutes N     how long (default 1; fractions of a minute are rounded down to seconds by the shell: use whole ones)
  --producers P   equal links (default 8)
  --service-us U  what a message costs the consumer, in microseconds (default 1000)
  --build DIR     where bin/ackbusd and bin/ackbus-overload are (default build/release)"; }

minutes=1 producers=8 service_us=1000 build=$root/build/release
while [ $# -gt 0 ]; do
  case "$1" in
    --minutes) minutes=$2; shift 2 ;;
    --producers) producers=$2; shift 2 ;;
    --service-us) service_us=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
for program in ackbusd ackbus-overload; do
  [ -x "$build/bin/$program" ] || die "$build/bin/$program is not there: build it first (cmake --build $build)"
done

folder=$(mktemp -d)
daemon=""
finish() {
  [ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

"$build/bin/ackbusd" --runtime-dir "$folder" --dead-letters "$folder/dead" --metrics 127.0.0.1:0 \
  >"$folder/out" 2>"$folder/log" &
daemon=$!
for _ in $(seq 200); do
  grep -q "metrics on port" "$folder/out" && [ -S "$folder/default.sock" ] && break
  read -rt 0.05 <> <(:) || true
done
port=$(sed -n 's/.*metrics on port \([0-9]*\).*/\1/p' "$folder/out")
[ -n "$port" ] || die "the daemon did not start: $(tail -n 1 "$folder/log")"

# metric NAME: the daemon's own figure, from its metrics page.
metric() {
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  sed -n "s/^$1{[^}]*} //p" <&3 | head -n 1
  exec 3<&-
}

status=0
"$build/bin/ackbus-overload" "$folder" $((minutes * 60)) "$producers" "$service_us" "$daemon" || status=$?
turns=$(metric ackbus_daemon_loop_turns_total)
busy=$(metric ackbus_daemon_loop_busy_seconds_total)
longest=$(metric ackbus_daemon_loop_longest_seconds)
printf '%-34s %14s\n' "daemon loop, turns" "$turns"
printf '%-34s %14s\n' "daemon loop, busy seconds" "$busy"
printf '%-34s %14s\n' "daemon loop, longest turn s" "$longest"
exit "$status"

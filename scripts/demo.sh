#!/usr/bin/env bash
# Shows the bus at work: starts a bus and a GPU process of its own, lays out a real graph of 17,000 nodes, every
# step a tracked message, shows the counters move meanwhile, and ends with the summary and a picture. It leaves nothing
# running, and nothing behind but out/ and build/.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
exec </dev/null

usage() { say "usage: scripts/demo.sh [--steps N] [--backend auto|cpu|cuda] [--no-install]
  --steps N     simulation steps, one message each (300)
  --backend B   where the GPU process computes (auto)
  --no-install  do not look for missing packages
The picture is out/debian-12.png, the report out/debian-12.json."; }

steps=300; backend=auto; install=true
while [ $# -gt 0 ]; do
  case "$1" in
    --steps) steps=${2:?--steps needs a number}; shift ;;
    --backend) backend=${2:?--backend needs a name}; shift ;;
    --no-install) install=false ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

metrics_port=9975
ready_within_s=60
graph=$root/examples/data/debian-12-depends-17k.mtx.gz
picture=$root/out/debian-12.png
report=$root/out/debian-12.json
ackbus=$root/build/release/bin/ackbus
runtime_dir=""
bus_pid=""
layout_pid=""

# Ends what this script started, whatever made it end.
finish() {
  local status=$?
  trap - EXIT
  stage_report "$status"
  if [ -n "$layout_pid" ]; then kill "$layout_pid" 2>/dev/null || true; fi
  if [ -n "$bus_pid" ]; then
    kill "$bus_pid" 2>/dev/null || true
    wait "$bus_pid" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ] && [ -s "$runtime_dir/bus.log" ]; then
    say "-- the last lines of the bus's log:"
    tail -n 20 "$runtime_dir/bus.log"
  fi
  [ -z "$runtime_dir" ] || rm -rf "$runtime_dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Whether anybody listens on the port: then a connection is accepted.
port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_port() {
  local port=$metrics_port
  while port_is_taken "$metrics_port"; do
    metrics_port=$((metrics_port + 1))
    [ "$metrics_port" -lt $((port + 100)) ] || die "no free port for the metrics page near $port"
  done
  if [ "$metrics_port" -ne "$port" ]; then
    say "port $port is taken, so the metrics page is on $metrics_port"
  fi
}

start_bus() {
  choose_port
  runtime_dir=$(mktemp -d "${TMPDIR:-/tmp}/ackbus-demo.XXXXXX")
  mkfifo "$runtime_dir/out"
  "$ackbus" run --runtime-dir "$runtime_dir" --backend "$backend" --metrics "127.0.0.1:$metrics_port" \
    >"$runtime_dir/out" 2>"$runtime_dir/bus.log" &
  bus_pid=$!
  exec 4<"$runtime_dir/out"
  local line
  # The pipe ends when the bus does, so a bus that cannot start is noticed at once.
  while read -r -t "$ready_within_s" -u 4 line; do
    say "$line"
    case "$line" in *ready*) return 0 ;; esac
  done
  die "the bus was not ready within $ready_within_s s"
}

# A few counters of the metrics page; a page that is not there is said, not fatal.
show_counters() {
  if [ -t 2 ]; then say ""; fi  # below the progress bar
  say "-- curl -s 127.0.0.1:$metrics_port/metrics | grep ComputeForces | grep -v ' 0$'"
  curl -s --max-time 5 "127.0.0.1:$metrics_port/metrics" |
    grep -E '^ackbus_messages_(sent|acked|failed|retried|dead_lettered)_total.*ComputeForces' | grep -v ' 0$' ||
    say "(no counters yet)"
}

lay_out() {
  mkdir -p "$root/out"
  rm -f "$picture" "$report"
  # On a terminal the progress bar is there to be seen; elsewhere it goes to a log.
  local progress=$runtime_dir/layout.log
  if [ -t 2 ]; then progress=/dev/stderr; fi
  "$ackbus" layout "$graph" --runtime-dir "$runtime_dir" --steps "$steps" --out "$picture" --report "$report" \
    >"$runtime_dir/summary" 2>"$progress" &
  layout_pid=$!
  local shown=0
  while [ "$shown" -lt 2 ] && kill -0 "$layout_pid" 2>/dev/null; do
    sleep 1.5
    if kill -0 "$layout_pid" 2>/dev/null; then show_counters; fi
    shown=$((shown + 1))
  done
  say "-- waiting for the layout to end"
  local status=0
  wait "$layout_pid" || status=$?
  layout_pid=""
  show_counters
  cat "$runtime_dir/summary"
  if [ "$status" -ne 0 ]; then
    [ "$progress" = /dev/stderr ] || cat "$progress" >&2
    return "$status"
  fi
}

if $install; then stage "install" "$root/scripts/install.sh"; fi
stage "configure" configure_preset release
stage "build" build_preset release
stage "bus" start_bus
stage "layout of $(basename "$graph"), $steps steps" lay_out
say ""
say "picture: $picture"
say "report:  $report"

#!/usr/bin/env bash
# Runs the two examples against each other on a bus of their own. Usage: example_test.sh FOLDER_OF_PROGRAMS
# Waits for what happens, never for time: the bus says "ready", the status names the consumer's queue, the producer ends
# when it has its outcome.
set -euo pipefail
bin=$1
folder=$(mktemp -d "${TMPDIR:-/tmp}/ackbus-example.XXXXXX")
started=()
finish() {
  local status=$?
  trap - EXIT
  # The consumer first, then the bus.
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  if [ "$status" -ne 0 ]; then cat "$folder"/*.log >&2 || true; fi
  rm -rf "$folder"
  exit "$status"
}
trap finish EXIT

export ACKBUS_RUNTIME_DIR=$folder
mkfifo "$folder/ready" "$folder/taken"
"$bin/ackbus" run --backend cpu --metrics off >"$folder/ready" 2>"$folder/bus.log" &
started+=($!)
exec 3<"$folder/ready"
line=""
while [[ $line != *ready* ]]; do
  read -r -t 60 -u 3 line || { echo "the bus did not get ready" >&2; exit 1; }
done

"$bin/example_consumer" 60 >"$folder/taken" 2>"$folder/consumer.log" &
started+=($!)
exec 4<"$folder/taken"
# A queue that no configuration lists begins with its consumer: until then a producer of it is refused.
for ((look = 0; ; look++)); do
  if "$bin/ackbus" status --json 2>/dev/null | grep -q '"example"'; then break; fi
  [ "$look" -lt 600 ] || { echo "the consumer did not connect" >&2; exit 1; }
  sleep 0.1
done
outcome=$("$bin/example_producer" "seventeen thousand nodes" 2>"$folder/producer.log")
read -r -t 60 -u 4 taken
echo "producer: $outcome"
echo "consumer: $taken"
[[ $taken == "seventeen thousand nodes" ]]
[[ ${outcome,,} == *" success"* ]]

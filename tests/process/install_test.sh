#!/usr/bin/env bash
# `cmake --install` into a folder gives a tree that works: the programs run from there, the units name programs and a
# configuration that are in it, and a second installation leaves an operator's configuration alone.
# Usage: install_test.sh BUILD_FOLDER
set -euo pipefail
build=$1
folder=$(mktemp -d "${TMPDIR:-/tmp}/ackbus-install.XXXXXX")
trap 'rm -rf "$folder"' EXIT
fail() {
  echo "$*" >&2
  exit 1
}
install_tree() { DESTDIR=$folder cmake --install "$build" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }; }

install_tree
units=$(find "$folder" -path '*/systemd/system/*.service')
[ "$(wc -l <<<"$units")" -eq 2 ] || fail "not two services: $units"
while read -r unit; do
  read -r program arguments < <(sed -n 's/^ExecStart=//p' "$unit")
  [ -x "$folder$program" ] || fail "$unit starts $program, which is not installed"
  "$folder$program" --version | grep -q "^layout    version" || fail "$program does not run"
  if [[ $arguments =~ --config\ ([^ ]+) ]]; then
    config=$folder${BASH_REMATCH[1]}
    [ -f "$config" ] || fail "$unit reads $config, which is not installed"
  fi
done <<<"$units"
"$(find "$folder" -path '*/bin/ackbus')" --version | grep -q "^backends" || fail "ackbus does not run"

# A producer compiles against what is installed, and links.
header=$(find "$folder" -name producer.hpp)
library=$(find "$folder" -name libackbus.so)
printf '#include <ackbus/producer.hpp>\nint main() { return ackbus::Producer::connect({}) ? 0 : 3; }\n' >"$folder/use.cpp"
c++ -std=c++20 -I "$(dirname "$(dirname "$header")")" "$folder/use.cpp" -o "$folder/use" "$library" \
  -Wl,-rpath,"$(dirname "$library")" ${ACKBUS_TEST_LINK_OPTIONS:-}
status=0
ACKBUS_RUNTIME_DIR=$folder "$folder/use" || status=$?
[ "$status" -eq 3 ] || fail "a program with the installed library ended with $status instead of finding no bus"

echo "# mine" >"$config"
install_tree
[ "$(cat "$config")" = "# mine" ] || fail "the second installation replaced $config"

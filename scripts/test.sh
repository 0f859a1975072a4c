#!/usr/bin/env bash
# Builds everything and runs every test: release build, unit, process and regression tests, format and tidy checks,
# then all of them again under AddressSanitizer with UndefinedBehaviorSanitizer, in the same build each fuzzing harness for
# 15 seconds, the tests of the shared format, the client library, the daemon and the link under ThreadSanitizer, and the real
# processes killed at every named point (docs/chaos.md). Works from a clean clone and without standard input.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
exec </dev/null

usage() { say "usage: scripts/test.sh [--quick|--asan-only|--fuzz-only|--tsan-only|--chaos-only|--check-only] [--clang-tidy] [--no-install]
  --quick       the release build and its tests only
  --asan-only   only the AddressSanitizer and UndefinedBehaviorSanitizer stage
  --fuzz-only   only the fuzzing harnesses
  --tsan-only   only the ThreadSanitizer stage
  --chaos-only  only the real processes that are killed at every named point
  --check-only  only the format check and the tidy test
  --clang-tidy  also run clang-tidy over every source (minutes)
  --no-install  do not look for missing packages
The last line says how many tests passed, failed and were skipped; a stage that fails ends the run with its name."; }

install=true; release=true; check=true; asan=true; fuzz=true; tsan=true; chaos=true; clang_tidy=false
for argument in "$@"; do
  case "$argument" in
    --quick) check=false; asan=false; fuzz=false; tsan=false; chaos=false ;;
    --asan-only) release=false; check=false; fuzz=false; tsan=false; chaos=false ;;
    --fuzz-only) release=false; check=false; asan=false; tsan=false; chaos=false ;;
    --tsan-only) release=false; check=false; asan=false; fuzz=false; chaos=false ;;
    --chaos-only) release=false; check=false; asan=false; fuzz=false; tsan=false ;;
    --check-only) release=false; asan=false; fuzz=false; tsan=false; chaos=false ;;
    --clang-tidy) clang_tidy=true ;;
    --no-install) install=false ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

results=$root/build/test-results
mkdir -p "$results"
rm -f "$results"/*.xml

# attribute FILE NAME: a figure of the outermost element of a JUnit report.
attribute() { sed -n "/<testsuite/,/>/s/.*[[:space:]]$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }

# Adds up the reports of every ctest run of this script; printed last, whatever happened.
totals() {
  local tests=0 failed=0 skipped=0 report
  for report in "$results"/*.xml; do
    [ -e "$report" ] || continue
    tests=$((tests + $(attribute "$report" tests)))
    failed=$((failed + $(attribute "$report" failures)))
    skipped=$((skipped + $(attribute "$report" skipped) + $(attribute "$report" disabled)))
  done
  local line="$((tests - failed - skipped)) passed, $failed failed"
  [ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
  say "$line"
}

finish() {
  local status=$?
  stage_report "$status"
  say ""
  say "whole run: $SECONDS s"
  totals
  exit "$status"
}
trap finish EXIT

# What a sanitizer finds fails the test that it was found in.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
test_prefix=()

# run_tests PRESET [CTEST OPTION...]: two at a time, because process tests start several programs each.
run_tests() {
  local preset=$1
  shift
  "${test_prefix[@]}" ctest --test-dir "$root/build/$preset" -j 2 --output-on-failure --no-tests=error \
    --output-junit "$results/$preset.xml" "$@"
}

# Names of the unit test programs of the given folders that have tests.
unit_targets() {
  local folder
  for folder in "$@"; do
    if compgen -G "$root/tests/unit/$folder/*_test.cpp" >/dev/null; then
      say "unit_$folder"
    fi
  done
}

# The tree's own files whose names match one of the patterns, separated by zero bytes.
sources() {
  local names=() pattern
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  (cd "$root" && find . \( -path ./build -o -path ./out -o -path ./.git \) -prune -o \
    -type f \( "${names[@]:1}" \) -print0)
}

format_check() {
  sources '*.hpp' '*.cpp' '*.h' '*.c' '*.cu' '*.cuh' | (cd "$root" && xargs -0 -r clang-format --dry-run -Werror)
}

# clang-tidy refuses options that only g++ has: it reads the commands without them.
clang_tidy_check() {
  local database=$root/build/clang-tidy
  mkdir -p "$database"
  sed -E 's/ -flto(=[a-z]+)?//g; s/ -fno-fat-lto-objects//g' \
    "$root/build/release/compile_commands.json" >"$database/compile_commands.json"
  sources '*.cpp' | (cd "$root" && xargs -0 -r -n 1 -P "$jobs" clang-tidy --quiet -p "$database")
}

# Everything but what is about the machine or brings its own: the simulated bus and the memory model (their own memory and
# stacks, see tests/CMakeLists.txt), the models (no code of ours), hostile peers (long).
address_sanitizer_tests() {
  configure_preset asan
  build_preset asan
  run_tests asan -E '^(tidy|examples)$' -LE '^(hostile|model)$'
}

sanitized_tests() {  # PRESET FOLDER...
  local preset=$1 names
  shift
  mapfile -t targets < <(unit_targets "$@")
  targets+=(link_tests thread_tests)
  [ ${#targets[@]} -gt 0 ] || die "no unit tests in: $*"
  configure_preset "$preset"
  build_preset "$preset" "${targets[@]}"
  names=$(IFS='|'; echo "${targets[*]}")
  run_tests "$preset" -R "^($names)\\."
}

# A randomized address layout can collide with the memory map that ThreadSanitizer wants.
thread_sanitizer_tests() {
  if setarch -R true 2>/dev/null; then
    test_prefix=(setarch -R)
  fi
  sanitized_tests tsan "$@"
}

# The short run: until every victim and every named point had its kill.
processes_killed() {
  configure_preset chaos
  build_preset chaos ackbus-chaos
  run_tests chaos -L '^chaos$'
}

if $install; then stage "install" "$root/scripts/install.sh"; fi
if $release; then
  stage "configure" configure_preset release
  stage "build" build_preset release
  stage "tests" run_tests release
fi
if $check; then
  stage "format" format_check
  stage "tidy" "$root/tests/tidy/tidy_test.sh"
fi
if $clang_tidy; then stage "clang-tidy" clang_tidy_check; fi
if $asan; then stage "address and undefined behaviour" address_sanitizer_tests; fi
if $fuzz; then stage "fuzzing" "$root/scripts/fuzz.sh" --seconds 15; fi
if $tsan; then stage "threads" thread_sanitizer_tests shm_layout libclient daemon; fi
if $chaos; then stage "processes killed" processes_killed; fi

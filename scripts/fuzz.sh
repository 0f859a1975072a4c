#!/usr/bin/env bash
# Runs the fuzzing harnesses of tests/fuzz from their kept corpora, in the build of the tests under AddressSanitizer and
# UndefinedBehaviorSanitizer (the preset asan), and prints one line for each. Fails on any crash, hang, leak or breach of a
# harness's checks, naming the file that repeats it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
exec </dev/null

usage() { say "usage: scripts/fuzz.sh [--seconds N] [--jobs N] [--seed S] [--keep FOLDER] [--minimise] [HARNESS...]
  --seconds N    how long each harness runs (15)
  --jobs N       harnesses at once (the processors)
  --seed S       of libFuzzer's choices (random, printed)
  --keep FOLDER  where new inputs go, a folder for each harness; without it they are dropped
  --minimise     run nothing: merge FOLDER's inputs into the kept corpora of tests/fuzz/corpus, which then hold one small
                 input for each thing that can be reached
Harnesses: $(harnesses | tr '\n' ' ')"; }

harnesses() {
  local file
  for file in "$root"/tests/fuzz/*_fuzz.cpp; do
    file=$(basename "$file" _fuzz.cpp)
    [ "$file" = link ] || say "$file"
  done
}

seconds=15; at_once=$jobs; seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); keep=""; minimise=false; chosen=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds|--jobs|--seed|--keep)
      [ $# -ge 2 ] || die "$1 wants a value"
      case "$1" in
        --seconds) seconds=$2 ;;
        --jobs) at_once=$2 ;;
        --seed) seed=$2 ;;
        --keep) keep=$2 ;;
      esac
      shift ;;
    --minimise) minimise=true ;;
    --help|-h) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) [[ " $(harnesses | tr '\n' ' ')" == *" $1 "* ]] || die "no harness '$1': choose of $(harnesses | tr '\n' ' ')"
       chosen+=("$1") ;;
  esac
  shift
done
for number in "$seconds" "$at_once" "$seed"; do
  [[ $number =~ ^[0-9]+$ ]] || die "'$number' is not a number"
done
[ "$at_once" -ge 1 ] || die "--jobs wants 1 or more"
$minimise && [ -z "$keep" ] && die "--minimise wants --keep FOLDER"
[ ${#chosen[@]} -gt 0 ] || mapfile -t chosen < <(harnesses)

# libFuzzer comes with the compiler's runtimes.
compiler=$(command -v clang++) || die "no clang++: install the package clang (scripts/install.sh does)"
runtime=$("$compiler" -print-file-name=libclang_rt.fuzzer-x86_64.a)
if [ ! -e "$runtime" ] && ! compgen -G "$(dirname "$("$compiler" -print-resource-dir)/x")/lib/linux/libclang_rt.fuzzer-*.a" >/dev/null; then
  die "clang's fuzzer runtime is missing: install the package libclang-rt-14-dev (scripts/install.sh does)"
fi

programs=$root/build/asan/bin
build=$root/build/fuzz
found=$build/found
logs=$build/logs
mkdir -p "$found" "$logs"

build_harnesses() {
  configure_preset asan
  build_preset asan "${chosen[@]/#/fuzz_}" >"$logs/build.log" || { cat "$logs/build.log"; return 1; }
}
stage "build" build_harnesses

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
limits=(-timeout=25 -rss_limit_mb=2560 -max_len=4096)
dictionary_of() { if [ -e "$root/tests/fuzz/$1.dict" ]; then say "-dict=$root/tests/fuzz/$1.dict"; fi; }

# run HARNESS: into its log; the first folder takes the new inputs.
run() {
  local name=$1 fresh=$build/fresh/$1 status=0
  if [ -n "$keep" ]; then fresh=$keep/$name; else rm -rf "$fresh"; fi
  mkdir -p "$fresh"
  # shellcheck disable=SC2046 # no dictionary is no argument
  "$programs/fuzz_$name" -seed="$seed" -max_total_time="$seconds" "${limits[@]}" $(dictionary_of "$name") -print_final_stats=1 \
    -artifact_prefix="$found/$name-" "$fresh" "$root/tests/fuzz/corpus/$name" >"$logs/$name.log" 2>&1 || status=$?
  echo "$status" >"$logs/$name.status"
}

minimise_one() {
  local name=$1 corpus=$root/tests/fuzz/corpus/$1 merged=$build/merged/$1
  rm -rf "$merged" "$merged".*
  mkdir -p "$merged" "$merged.chosen" "$corpus" "$keep/$name"
  # A fuzzer that runs meanwhile replaces files.
  cp -r "$keep/$name" "$merged.new"
  "$programs/fuzz_$name" -merge=1 -merge_control_file="$merged.control" "${limits[@]}" "$merged" "$corpus" "$merged.new" \
    >"$logs/$name.log" 2>&1 || { tail -n 20 "$logs/$name.log"; die "$name: the merge failed"; }
  python3 "$root/tests/fuzz/choose.py" "$merged.control" "$merged.chosen"
  rm -rf "$corpus"
  mv "$merged.chosen" "$corpus"
  printf '%-16s %6s files %8s bytes\n' "$name" "$(find "$corpus" -type f | wc -l)" "$(cat "$corpus"/* | wc -c)"
}

if $minimise; then
  for name in "${chosen[@]}"; do minimise_one "$name"; done
  exit 0
fi

statistic() { sed -n "s/^stat::$2: *//p" "$logs/$1.log"; }
# figure HARNESS NAME: the last value of libFuzzer's progress lines.
figure() { grep -aE '^#[0-9]+' "$logs/$1.log" | tail -n 1 | sed -n "s/.* $2: \([0-9/KMGb]*\).*/\1/p"; }

run_all() {
  local name
  rm -f "$logs"/*.status
  for name in "${chosen[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
    run "$name" &
  done
  wait
}

table() {
  local name failed=0 status
  printf '%-16s %10s %7s %7s %8s %14s %5s\n' harness executions "/s" edges features corpus new
  for name in "${chosen[@]}"; do
    printf '%-16s %10s %7s %7s %8s %14s %5s\n' "$name" "$(statistic "$name" number_of_executed_units)" \
      "$(statistic "$name" average_exec_per_sec)" "$(figure "$name" cov)" "$(figure "$name" ft)" "$(figure "$name" corp)" \
      "$(statistic "$name" new_units_added)"
  done
  for name in "${chosen[@]}"; do
    status=$(cat "$logs/$name.status" 2>/dev/null || say "no end")
    [ "$status" != 0 ] || continue
    failed=1
    say ""
    say "FOUND by $name (status $status):"
    grep -aE 'ERROR:|assertion failed|runtime error|SUMMARY:' "$logs/$name.log" | head -n 5 || tail -n 5 "$logs/$name.log"
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$logs/$name.log" | tail -n 1)
    say "repeat with: $programs/fuzz_$name ${input:-(no input was written; seed $seed)}"
  done
  return $failed
}

say "seed $seed, $seconds s each, $at_once at once"
stage "fuzz" run_all
table

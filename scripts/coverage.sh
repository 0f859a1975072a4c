#!/usr/bin/env bash
# Counts which lines and branches of the protocol's three folders the tests run: builds with clang's source-based coverage,
# runs the simulated bus, unit, link, process and regression tests and the kept fuzzing corpora, merges what every process
# counted, and prints a table for each folder and the files whose branches are covered least.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
exec </dev/null

usage() { say "usage: scripts/coverage.sh [--no-run] [--lowest N] [--show FILE]
  --no-run     only report what the last run counted
  --lowest N   how many files to list (15)
  --show FILE  print that source with the counts of its lines and branches, and end
Counters live in files that the kernel writes back, so a process that is killed loses none of what it counted. Not counted:
processes that a test starts as another user who may not write to build/coverage."; }

folders=(shm_layout daemon libclient)
run=true; lowest=15; show=""
while [ $# -gt 0 ]; do
  case "$1" in
    --no-run) run=false ;;
    --lowest) lowest=${2:?--lowest wants a number}; shift ;;
    --show) show=${2:?--show wants a file}; run=false; shift ;;
    --help|-h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

# Debian's llvm-14 carries the version in its programs' names; another clang has its own beside it.
tool() { command -v "$1-14" || command -v "$1" || die "no $1: install the package llvm-14 (scripts/install.sh does)"; }
cov=$(tool llvm-cov)
profdata=$(tool llvm-profdata)

build=$root/build/coverage
raw=$build/profiles
merged=$build/all.profdata

run_tests() {
  rm -rf "$raw"
  mkdir -p "$raw"
  # %m: one file for each program or library, shared by all of its processes; %c: counted in the file itself.
  # A test that fails does not end the count: what it ran was run.
  LLVM_PROFILE_FILE="$raw/%m%c.profraw" ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error \
    -E '^(tidy|examples|install)$' -LE '^model$' >"$build/tests.log" 2>&1 || true
  tail -n 12 "$build/tests.log"
}
merge() { "$profdata" merge -sparse -o "$merged" "$raw"/*.profraw; }

if $run; then
  stage "configure" configure_preset coverage
  stage "build" build_preset coverage
  stage "tests" run_tests
  stage "merge" merge
fi
[ -e "$merged" ] || die "nothing was counted yet: run scripts/coverage.sh without --no-run"

# Every program that was built: what one of them runs counts for the source, whichever it was.
objects=("$build/lib/libackbus.so")
for program in "$build"/bin/*; do
  case "$(basename "$program")" in *benchmark*|micro*|example*) ;; *) [ -x "$program" ] && objects+=(-object "$program") ;; esac
done

if [ -n "$show" ]; then
  "$cov" show -instr-profile "$merged" -show-branches=count "${objects[@]}" "$root/$show" 2>/dev/null
  exit 0
fi

# One line a file: name, lines, missed lines, branches, missed branches.
counts() {
  "$cov" export -summary-only -instr-profile "$merged" "${objects[@]}" "${folders[@]/#/$root/}" 2>/dev/null |
    python3 -c '
import json, sys
root = sys.argv[1] + "/"
for entry in json.load(sys.stdin)["data"][0]["files"]:
    lines, branches = entry["summary"]["lines"], entry["summary"]["branches"]
    print(entry["filename"].removeprefix(root), lines["count"], lines["covered"], branches["count"], branches["covered"])
' "$root"
}

mapfile -t files < <(counts)
[ ${#files[@]} -gt 0 ] || die "llvm-cov gave no files: see $build/tests.log"
percent() { awk -v part="$1" -v whole="$2" 'BEGIN { if (whole + 0 == 0) print "-"; else printf "%.1f", 100 * part / whole }'; }

say ""
printf '%-12s %7s %8s %7s %9s %9s %7s\n' folder lines covered "%" branches covered "%"
for folder in "${folders[@]}"; do
  read -r lines line_hits branches branch_hits < <(printf '%s\n' "${files[@]}" | awk -v folder="$folder/" '
    index($1, folder) == 1 { a += $2; b += $3; c += $4; d += $5 } END { print a + 0, b + 0, c + 0, d + 0 }')
  printf '%-12s %7s %8s %7s %9s %9s %7s\n' "$folder" "$lines" "$line_hits" "$(percent "$line_hits" "$lines")" \
    "$branches" "$branch_hits" "$(percent "$branch_hits" "$branches")"
done
say ""
say "the $lowest files with the most branches that no test takes:"
printf '%-40s %9s %9s %7s\n' file branches missed "%"
printf '%s\n' "${files[@]}" | awk '{ print $4 - $5, $1, $4, $5 }' | sort -rn | head -n "$lowest" | while read -r missed name all hit; do
  printf '%-40s %9s %9s %7s\n' "$name" "$all" "$missed" "$(percent "$hit" "$all")"
done

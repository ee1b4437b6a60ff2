#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: gpu_check.sh [RESULT]     in a directory that ./dev gpu-bundle made
# Tests and measures the CUDA backend on this machine's GPU and writes one
# Markdown file (default: result.md). Needs the driver; cuBLASLt and
# compute-sanitizer of the toolkit are used where they are found. Goes on after
# a failure; the exit code is 1 if there was one. At most nine minutes, the most
# important first: what is left of them bounds every step. The tables of the
# speed are also there as JSON, beside RESULT.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
result=${1:-$here/result.md}
tables=${result%.md}.tables
most_seconds=540
bin=$here/bin
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failures=0
gunzip -f "$bin"/*.gz 2> /dev/null
export ZQFP_TEST_SOURCES=$here ZQFP_TEST_BACKENDS=cuda
# cuBLASLt where the toolkit put it, or a Python package brought it.
cublas=$(ldconfig -p | awk '/libcublasLt\.so\.13/ { print $NF; exit }')
[ -n "$cublas" ] || cublas=$(find /usr/local /usr/lib /opt /root -xdev \
  -name libcublasLt.so.13 -print -quit 2> /dev/null)
[ -z "$cublas" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${cublas%/*}

say() {
  printf '%s\n' "$@" | tee -a "$result"
}

# check NAME SECONDS COMMAND...: its last lines, and whether it succeeded. No
# longer than what is left.
check() {
  local name=$1 limit=$2 status=0 start=$SECONDS left
  shift 2
  left=$((most_seconds - SECONDS))
  if [ "$left" -lt 5 ]; then
    say "" "### $name: NOT RUN, the time is over"
    failures=$((failures + 1))
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  timeout -k 10 "$limit" bash -c '"$@"' _ "$@" > "$log/out" 2>&1 || status=$?
  ! grep -q ' 0 tests from' "$log/out" || status=1
  if [ "$status" = 0 ]; then
    say "" "### $name: ok ($((SECONDS - start)) s)"
  else
    failures=$((failures + 1))
    case $status in
      124 | 137) say "" "### $name: TIMED OUT ($((SECONDS - start)) s)" ;;
      *) say "" "### $name: FAILED, exit $status ($((SECONDS - start)) s)" ;;
    esac
    grep -E 'Failure|FAILED|ERROR|element|error' "$log/out" | head -40 \
      > "$log/failed"
    say '```' "$(cat "$log/failed")" '```'
  fi
  say '```' "$(tail -"${tail_lines:-4}" "$log/out")" '```'
}

# tests PROGRAM FILTER: all at once; where one fails, suite by suite, each in a
# process of its own. A kernel that reads where it may not takes all that
# follows in its process with it, whatever that is worth by itself. Limits in
# the foreground: what ends the check ends what it runs.
tests() {
  local program=$bin/$1 suite names status=0
  timeout --foreground -k 5 120 "$program" --gtest_brief=1 \
    --gtest_filter="$2" || status=$?
  [ "$status" != 0 ] || return 0
  # Out of time is no fault of any one of them.
  [ "$status" != 124 ] || return 124
  echo "one by one:"
  while read -r suite names; do
    if timeout --foreground -k 5 30 "$program" --gtest_brief=1 \
      --gtest_filter="$names" > "$log/suite" 2>&1; then
      echo "$suite ok"
    else
      echo "$suite FAILED, exit $?"
      grep -E -m 5 'Failure|FAILED|cuda:|error' "$log/suite"
    fi
  done < <("$program" --gtest_list_tests --gtest_filter="$2" | awk '
    /^[^ ]+\.( |$)/ { suite = $1 }
    /^  / { names[suite] = names[suite] suite $1 ":" }
    END { for (suite in names) print suite, names[suite] }')
  return 1
}

# The greedy answer of a device, without what the run says of itself.
answer() {
  "$bin/zqfp-run" --device "$1" --temperature 0 --max_tokens 200 \
    --prompt 'Tell me a story about a dog and a red ball.' 2> "$log/err" \
    || { cat "$log/err"; return 1; }
}

same_answer() {
  answer cpu > "$log/cpu" && answer cuda > "$log/cuda" || {
    cat "$log/cpu" "$log/cuda"
    return 1
  }
  cmp "$log/cpu" "$log/cuda" && echo "the same $(wc -c < "$log/cpu") bytes" \
    && return
  diff "$log/cpu" "$log/cuda"
  echo "(two tokens that are nearly alike may change places: what the tests" \
    "and the loss say counts for more)"
  return 1
}

losses() {
  local device
  for device in cpu cuda; do
    "$bin/zqfp-perplexity" --model "$here/share/zqfp/models/demo" \
      --text "$here/share/zqfp/models/demo/README.md" --device "$device" \
      --window 128 2> "$log/err" || { cat "$log/err"; return 1; }
  done
}

bench() {
  "$bin/zqfp-bench" --device cuda "$@"
}

# The same with kernels that wait for one another: what overlapping is worth.
bench_in_turn() {
  ZQFP_CUDA_OVERLAP=0 bench "$@"
}

# The GPU tables, in about so many seconds: a table that is cut says so.
measure() {
  "$bin/zqfp-bench" "--gpu-tables=$1" --seconds "$2" \
    --tables-json "$tables.$1.json"
}

sanitize() {
  compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$bin/kernels_tests" --gtest_brief=1 --gtest_filter="$2"
}

# Clocks and power while the tables are measured: one line every five seconds.
watch_clocks() {
  while sleep 5; do
    nvidia-smi --format=csv,noheader \
      --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu
  done >> "$log/clocks" 2>&1 &
  watcher=$!
}

export here bin log tables
export -f tests answer same_answer losses bench bench_in_turn measure sanitize
: > "$result"
: > "$log/clocks"
say "# CUDA backend on a chip" "" \
  "* GPU: $(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader 2>&1 | head -1)" \
  "* cuBLASLt: ${cublas:-NOT FOUND: long prompts and its columns are without}" \
  "* date: $(date -u +%F)" "* commit: $(cat "$here/commit")"

# Whether the device opens, else why not in $log/out. What is wrong with a kernel
# is for the tests to say.
opens() {
  timeout -k 5 30 "$bin/kernels_tests" --gtest_list_tests \
    --gtest_filter="$ops" > "$log/out" 2>&1
  grep -q cuda_threads "$log/out" && return
  timeout -k 5 30 "$bin/zqfp-run" --device cuda --prompt a --max_tokens 1 \
    > "$log/out" 2>&1
  return 1
}
ops='*cuda_threads*'
# A driver older than the toolkit needs the toolkit's own; any other would only
# be broken by it.
compat=/usr/local/cuda/compat
if ! opens && [ -d "$compat" ] && grep -q 'no driver' "$log/out"; then
  say "" "Goes on with $compat after: $(tail -1 "$log/out")"
  export LD_LIBRARY_PATH=$compat${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
if ! opens; then
  say "" "No run: $(tail -1 "$log/out")"
  exit 1
fi

say "" "## Tests"
[ -n "$cublas" ] || ops="$ops-*Library*:*MatmulFp8*"
check "kernels, the op suite" 190 tests kernels_tests "$ops"
check "models against Hugging Face" 160 tests models_tests \
  '*OfEveryBackend*:*OnEveryBackend*:RecordedSteps*'
check "the same greedy text as the CPU" 30 same_answer
tail_lines=12 check "the same loss as the CPU" 30 losses

say "" "## Speed, random weights"
# Each group is a process of its own: a kernel that reads where it may not takes
# the tables of its process with it, not those of the others. Every group gets
# its tables' share of `seconds`; a minute is for what comes after.
seconds=$((most_seconds - SECONDS - 120))
[ "$seconds" -le 330 ] || seconds=330
[ "$seconds" -ge 20 ] || seconds=20
watch_clocks
for group in T0,T0b,T2 T7 T8 T4,T5 T1,T3 T6 T2b; do
  tail_lines=200 check "GPU tables $group" 200 measure "$group" "$seconds"
done
kill "$watcher" 2> /dev/null
say "" "### clocks and power meanwhile" '```' \
  "SM, memory, power, temperature" "$(cat "$log/clocks")" '```'
for how in bench bench_in_turn; do
  tail_lines=12 check "llama2-7b, $how" 40 "$how" --shape llama2-7b \
    --prompt 128 --generate 64 --repeat 2
done

if command -v compute-sanitizer > /dev/null; then
  say "" "## compute-sanitizer"
  small='*MatmulA8Test.EveryEpilogue*cuda_threads*'
  small+=':*RmsNorm*cuda_threads*:*StoreKv*cuda_threads*'
  small+=':*FusedOpsTest.RopeStoreAndAttention/*cuda_threads*'
  check "memcheck" 60 sanitize memcheck "$small"
  check "racecheck" 60 sanitize racecheck "$small"
fi
say "" "$failures checks failed."
[ "$failures" = 0 ]

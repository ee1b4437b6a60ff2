#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: gpu_check.sh [RESULT]     in a directory that ./dev gpu-bundle made
# Tests and measures the CUDA backend on this machine's GPU and writes one
# Markdown file (default: result.md). Needs the driver; cuBLASLt and
# compute-sanitizer of the toolkit are used where they are found. Goes on after
# a failure; the exit code is 1 if there was one. About eight minutes.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
result=${1:-$here/result.md}
bin=$here/bin
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failures=0
gunzip -f "$bin"/*.gz 2> /dev/null
export ZQFP_TEST_SOURCES=$here
for toolkit in /usr/local/cuda/lib64 /usr/local/cuda/compat; do
  [ ! -d "$toolkit" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$toolkit
done

say() {
  printf '%s\n' "$@" | tee -a "$result"
}

# check NAME SECONDS COMMAND...: its last lines, and whether it succeeded.
check() {
  local name=$1 limit=$2 status=0 start=$SECONDS
  shift 2
  timeout "$limit" bash -c '"$@"' _ "$@" > "$log/out" 2>&1 || status=$?
  ! grep -q ' 0 tests from' "$log/out" || status=1
  if [ "$status" = 0 ]; then
    say "" "### $name: ok ($((SECONDS - start)) s)"
  else
    failures=$((failures + 1))
    say "" "### $name: FAILED, exit $status ($((SECONDS - start)) s)"
    grep -E 'Failure|FAILED|ERROR|element|error' "$log/out" | head -40 \
      > "$log/failed"
    say '```' "$(cat "$log/failed")" '```'
  fi
  say '```' "$(tail -"${tail_lines:-4}" "$log/out")" '```'
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
  return 1
}

losses() {
  local device
  for device in cpu cuda; do
    "$bin/zqfp-perplexity" --model "$here/share/zqfp/models/demo" \
      --text "$here/share/zqfp/models/demo/README.md" --device "$device" \
      --window 128 2> /dev/null || return 1
  done
}

bench() {
  "$bin/zqfp-bench" --device cuda "$@"
}

sanitize() {
  compute-sanitizer --tool "$1" --error-exitcode 9 \
    "$bin/kernels_tests" --gtest_brief=1 --gtest_filter="$2"
}

export here bin log
export -f answer same_answer losses bench sanitize
: > "$result"
say "# CUDA backend on a chip" "" \
  "* GPU: $(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader 2>&1 | head -1)" \
  "* date: $(date -u +%F)" "* commit: $(cat "$here/commit")"

if ! answer cuda > "$log/out" 2>&1; then
  say "" "No run: $(tail -1 "$log/out")"
  exit 1
fi

say "" "## Tests"
ops='*cuda_threads*'
check "kernels, the op suite" 240 "$bin/kernels_tests" --gtest_brief=1 \
  --gtest_filter="$ops"
check "models against Hugging Face" 120 "$bin/models_tests" --gtest_brief=1 \
  --gtest_filter='*OfEveryBackend*:*OnEveryBackend*'
check "the same greedy text as the CPU" 60 same_answer
tail_lines=12 check "the same loss as the CPU" 60 losses

say "" "## Speed, random weights"
for shape in llama-1b llama2-7b llama3-8b; do
  tail_lines=12 check "$shape, one sequence" 120 bench --shape "$shape"
done
tail_lines=12 check "llama3-8b, 64 sequences" 120 bench --shape llama3-8b \
  --batch 64 --prompt 128 --generate 32 --repeat 1

if command -v compute-sanitizer > /dev/null; then
  say "" "## compute-sanitizer"
  small='*cuda_threads*EveryEpilogue*:*RmsNorm*cuda_threads*:*StoreKv*cuda_threads*'
  check "memcheck" 120 sanitize memcheck "$small"
  check "racecheck" 120 sanitize racecheck "$small"
fi
say "" "$failures checks failed."
[ "$failures" = 0 ]

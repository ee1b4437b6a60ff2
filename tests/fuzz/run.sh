#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh BIN_DIRECTORY SECONDS
# Runs every fuzz target for SECONDS on a copy of its seed corpus, as many at a
# time as there are cores; prints the tail of whatever fails.
set -euo pipefail
bin=$1
seconds=$2
seeds=$(cd "$(dirname "$0")" && pwd)/corpus
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fuzz_one() {
  local target=$1 name
  name=$(basename "$target" _fuzzer)
  mkdir -p "$scratch/$name"
  [ ! -d "$seeds/$name" ] || cp -r "$seeds/$name/." "$scratch/$name/"
  if (cd "$scratch" && "$target" -max_total_time="$seconds" -timeout=20 \
    -rss_limit_mb=2048 -max_len=65536 "$scratch/$name") \
    > "$scratch/$name.log" 2>&1; then
    echo "fuzz $name: ok, $(grep -c . < <(ls "$scratch/$name")) inputs," \
      "$(grep -o 'cov: [0-9]*' "$scratch/$name.log" | tail -1)"
  else
    echo "fuzz $name: FAILED"
    tail -40 "$scratch/$name.log"
    return 1
  fi
}
export -f fuzz_one
export seeds scratch seconds

targets=("$bin"/*_fuzzer)
[ -x "${targets[0]}" ] || { echo "run.sh: no fuzz targets in $bin" >&2; exit 1; }
printf '%s\n' "$(realpath -s "$bin")"/*_fuzzer \
  | xargs -P "$(nproc)" -I{} bash -c 'fuzz_one {}'

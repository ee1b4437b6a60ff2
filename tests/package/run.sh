#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh [BUILD_DIRECTORY [MODEL_DIRECTORY]]
# Installs what BUILD_DIRECTORY (default: build) holds into an empty place,
# builds the stranger's project against it and runs it on the model (default:
# the bundled one).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=${1:-$root/build}
model=${2:-$root/models/demo}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" > "$scratch/install.log"
cmake -S "$here" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" > "$scratch/configure.log"
cmake --build "$scratch/build" > "$scratch/build.log" \
  || { cat "$scratch/build.log" >&2; exit 1; }
if [ ! -f "$model/config.json" ]; then
  echo "package: NOT RUN with a model: $model holds none"
  "$scratch/build/stranger"
  exit 0
fi
"$scratch/build/stranger" "$model"

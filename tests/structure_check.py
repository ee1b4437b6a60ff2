#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the tree against the house rules of HACKING.md.

usage: structure_check.py [--build DIRECTORY]

Checks include arrows, names, licences, guards, size budgets and, in a build
directory, that the instruction-set objects emit no weak symbols. Prints every
broken rule as FILE: reason, and exits 1 if there was one.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A file under the key may include project headers under these prefixes only.
# The first key that matches counts.
ARROWS = [
    ("kernels/core/", ["kernels/core/"]),
    ("kernels/reference/", ["kernels/core/", "kernels/reference/"]),
    ("kernels/cpu/", ["kernels/core/", "kernels/cpu/"]),
    ("kernels/cuda/", ["kernels/core/", "kernels/cuda/"]),
    ("kernels/", ["kernels/"]),
    ("tokenizer/", ["tokenizer/", "kernels/core/check.h",
                    "kernels/core/status_macros.h"]),
    ("models/quantize/", ["models/", "kernels/"]),
    ("models/", ["models/", "kernels/", "!models/quantize/"]),
    ("engine/include/", ["zqfp/"]),
    ("engine/", ["engine/", "zqfp/", "models/", "tokenizer/", "kernels/",
                 "!models/quantize/"]),
    ("tools/", ["tools/", "engine/", "zqfp/", "models/", "tokenizer/",
                "kernels/"]),
    ("tests/", [""]),
]
FLOORS = ("kernels/", "tokenizer/", "models/", "engine/", "tools/", "tests/",
          "zqfp/")
CPP = (".h", ".cc", ".cu", ".cuh")
PATTERNS = [f"*{ending}" for ending in CPP]
FORBIDDEN_NAMES = {"util", "utils", "common", "misc", "helpers", "new", "fast",
                   "tmp", "v2"}
MAX_FILE, MEDIAN_FILE, P90_FILE = 700, 180, 450
MAX_FUNCTION, P90_FUNCTION = 60, 40
MAX_MACROS = 10
MIN_TEST_RATIO = 0.6
COMMENT_SHARE = (0.12, 0.28)

problems = []


def problem(path, reason):
    problems.append(f"{path}: {reason}")


def tracked(*patterns):
    listing = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT,
                             check=True, capture_output=True, text=True)
    return [name for name in listing.stdout.splitlines()
            if (ROOT / name).is_file()]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def check_includes(name, text):
    allowed = next((rule for prefix, rule in ARROWS
                    if name.startswith(prefix)), None)
    for include in re.findall(r'^#include "([^"]+)"', text, re.M):
        if allowed is None or not include.startswith(FLOORS):
            continue
        banned = [rule[1:] for rule in allowed if rule.startswith("!")]
        wanted = [rule for rule in allowed if not rule.startswith("!")]
        if (any(include.startswith(rule) for rule in banned)
                or not any(include.startswith(rule) for rule in wanted)):
            problem(name, f"may not include {include} (arrows point down)")
    if "sentencepiece_processor.h" in text and name != (
            "tokenizer/sentencepiece_bridge.cc"):
        problem(name, "only the bridge may see sentencepiece")
    if name.startswith("engine/include/") and re.search(
            r"#include [<\"](absl|fmt|nlohmann)", text):
        problem(name, "public headers show std types only")
    if re.search(r"#include [<\"]cuda", text) and not name.startswith(
            ("kernels/cuda/", "tests/cuda_emulator/", "tests/kernels/cuda/")):
        problem(name, "only kernels/cuda may see a CUDA header")
    if name.startswith("kernels/cuda/") and re.search(
            r"<<<|#include <(cuda_fp|cooperative_groups)",
            re.sub(r"//.*", "", text)):
        problem(name, "uses what tests/cuda_emulator does not have")
    if name.endswith((".cu", ".cuh")) and not name.startswith("kernels/cuda/"):
        problem(name, "device code lives in kernels/cuda")


def check_house(name, text):
    lines = text.splitlines()
    if not any("SPDX-License-Identifier: Apache-2.0" in line
               for line in lines[:2]):
        problem(name, "line 1 must be the SPDX line")
    if pathlib.PurePath(name).stem in FORBIDDEN_NAMES:
        problem(name, "a name that says nothing")
    if re.search(r"/(work|root|home)/", text) and not name.endswith(
            "structure_check.py"):
        problem(name, "holds an absolute path of some machine")
    if name.endswith(CPP):
        if len(lines) > MAX_FILE:
            problem(name, f"{len(lines)} lines, at most {MAX_FILE}")
        for number, line in enumerate(lines, 1):
            if len(line) > 80 and "http" not in line and '"' not in line:
                problem(f"{name}:{number}", "longer than 80 columns")
    if name.endswith((".h", ".cuh")) and name.split("/")[0] != "tests":
        stem = name.replace("engine/include/", "")
        guard = re.sub(r"[/.]", "_", stem).upper() + "_"
        guard = guard if guard.startswith("ZQFP_") else "ZQFP_" + guard
        if f"#ifndef {guard}" not in text:
            problem(name, f"wants the include guard {guard}")
    product = not name.startswith("tests/")
    if product and name.endswith(CPP):
        code = re.sub(r"//.*|\"(\\.|[^\"\\])*\"", "", text)
        for word in (r"\bthrow\b", r"\bassert\(", r"\babort\("):
            if re.search(word, code) and name != "kernels/core/check.h":
                problem(name, f"{word} is not how this house fails")


def function_lengths(sources):
    run = subprocess.run(
        ["ctags", "--output-format=json", "--fields=+ne", "--kinds-C++=f",
         "--languages=C++", "--langmap=C++:.h.cc.cu.cuh", "-f", "-", *sources],
        cwd=ROOT, check=True, capture_output=True, text=True)
    lengths = []
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            lengths.append((tag["end"] - tag["line"] + 1, tag["path"],
                            tag["name"]))
    return lengths


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def check_budgets(files):
    product = {n: t for n, t in files.items() if not n.startswith("tests/")}
    tests = {n: t for n, t in files.items() if n.startswith("tests/")}
    sizes = [len(text.splitlines()) for text in product.values()]
    if statistics.median(sizes) > MEDIAN_FILE:
        problem("files", f"median {statistics.median(sizes)} lines")
    if percentile(sizes, 0.9) > P90_FILE:
        problem("files", f"p90 {percentile(sizes, 0.9)} lines")
    lengths = function_lengths(list(product))
    for length, path, name in lengths:
        if length > MAX_FUNCTION:
            problem(path, f"{name} has {length} lines, at most {MAX_FUNCTION}")
    p90_function = percentile([entry[0] for entry in lengths], 0.9)
    if p90_function > P90_FUNCTION:
        problem("functions", f"p90 {p90_function} lines")
    macros = [f"{name}:{macro}" for name, text in product.items()
              for macro in re.findall(r"^\s*#\s*define\s+(\w+)\(", text, re.M)]
    if len(macros) > MAX_MACROS:
        problem("macros", f"{len(macros)} function-like: {', '.join(macros)}")
    all_lines = [line.strip() for text in product.values()
                 for line in text.splitlines() if line.strip()]
    comments = sum("//" in line for line in all_lines) / len(all_lines)
    if not COMMENT_SHARE[0] <= comments <= COMMENT_SHARE[1]:
        problem("comments", f"{comments:.1%} of the lines")
    ratio = sum(len(t.splitlines()) for t in tests.values()) / sum(sizes)
    if ratio < MIN_TEST_RATIO:
        problem("tests", f"test : source lines is {ratio:.2f}")
    print(f"structure: {len(files)} files, {sum(sizes)} lines (median "
          f"{statistics.median(sizes):.0f}), {len(lengths)} functions (p90 "
          f"{p90_function}), comments {comments:.1%}, tests {ratio:.2f}")


def check_tests_mirror(names):
    for name in names:
        parts = pathlib.PurePath(name).parts
        if name.endswith("_test.cc") and not (
                ROOT / pathlib.PurePath(*parts[1:-1])).is_dir():
            problem(name, "tests mirror the tree; there is no such folder")


def check_symbols(build):
    folder = build / "kernels" / "cpu"
    objects = [path for path in folder.glob("CMakeFiles/zqfp_cpu_*/**/*.o")]
    if not objects:
        problem(str(folder), "holds no instruction-set objects to check")
    for path in objects:
        symbols = subprocess.run(["nm", str(path)], check=True,
                                 capture_output=True, text=True).stdout
        for line in symbols.splitlines():
            fields = line.split()
            if fields[-2] in ("W", "V", "u", "w"):
                problem(path.name, f"weak symbol {fields[-1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path)
    arguments = parser.parse_args()
    files = {name: read(name) for name in tracked(*PATTERNS)}
    for name, text in files.items():
        check_includes(name, text)
    for name in tracked(*PATTERNS, "*.py", "*.sh", "*CMakeLists.txt",
                        "dev", ".ci/run"):
        check_house(name, read(name))
    check_tests_mirror(files)
    check_budgets(files)
    if arguments.build:
        check_symbols(arguments.build)
    for line in sorted(problems):
        print(line, file=sys.stderr)
    print(f"structure: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

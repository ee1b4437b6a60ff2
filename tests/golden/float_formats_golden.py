#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes float_formats.txt: what ml_dtypes and numpy say about every format.

usage: float_formats_golden.py > tests/golden/float_formats.txt

Lines are "FORMAT value CODE BITS" (the f32 of a code; all codes of the 4 and 8
bit formats) and "FORMAT round BITS CODE" (the code of an f32: midpoints of
neighbours, one f32 step to both sides of them, and seeded random numbers that
do not overflow). Numbers are hexadecimal; a NaN's bits are written "nan".
Needs numpy and ml_dtypes.
"""

import ml_dtypes
import numpy as np

SMALL = [("e2m1", ml_dtypes.float4_e2m1fn, 4),
         ("e4m3", ml_dtypes.float8_e4m3fn, 8),
         ("e5m2", ml_dtypes.float8_e5m2, 8),
         ("ue8m0", ml_dtypes.float8_e8m0fnu, 8)]
WIDE = [("bf16", ml_dtypes.bfloat16, 3e38), ("f16", np.float16, 65000.0)]
NUM_RANDOM = 120


def values_of(dtype, num_bits):
    codes = np.arange(1 << num_bits, dtype=np.uint8)
    return codes.view(dtype).astype(np.float32)


def write_values(name, values):
    for code, value in enumerate(values):
        bits = "nan" if np.isnan(value) else f"{value.view(np.uint32):x}"
        print(name, "value", f"{code:x}", bits)


def write_rounding(name, inputs, codes):
    for x, code in zip(inputs, codes):
        print(name, "round", f"{x.view(np.uint32):x}", f"{int(code):x}")


def borders(values):
    finite = np.unique(values[np.isfinite(values)]).astype(np.float64)
    middle = ((finite[1:] + finite[:-1]) / 2).astype(np.float32)
    up = np.nextafter(middle, np.float32(np.inf), dtype=np.float32)
    down = np.nextafter(middle, np.float32(-np.inf), dtype=np.float32)
    return np.concatenate([middle, down, up])


def main():
    rng = np.random.default_rng(20230713)
    for name, dtype, num_bits in SMALL:
        values = values_of(dtype, num_bits)
        write_values(name, values)
        if name == "ue8m0":
            continue
        largest = np.nanmax(np.where(np.isfinite(values), values, 0))
        spread = rng.uniform(-largest, largest, NUM_RANDOM // 2)
        small = rng.normal(size=NUM_RANDOM // 2) * 2.0 ** rng.uniform(
            -16, 1, NUM_RANDOM // 2)
        inputs = np.concatenate([borders(values), spread, small])
        inputs = inputs.astype(np.float32)
        write_rounding(name, inputs, inputs.astype(dtype).view(np.uint8))
    for name, dtype, largest in WIDE:
        inputs = rng.integers(0, 1 << 32, 4 * NUM_RANDOM, dtype=np.uint64)
        inputs = inputs.astype(np.uint32).view(np.float32)
        scaled = rng.normal(size=NUM_RANDOM) * 2.0 ** rng.uniform(
            -28, 12, NUM_RANDOM)
        inputs = np.concatenate([inputs, scaled.astype(np.float32)])
        with np.errstate(invalid="ignore"):
            inputs = inputs[np.abs(inputs) < largest]
        write_rounding(name, inputs, inputs.astype(dtype).view(np.uint16))


if __name__ == "__main__":
    main()

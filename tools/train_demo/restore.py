#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a checkpoint of train.py from a quantized model, to train on from it.

usage: restore.py --model models/demo --work DIRECTORY [--elapsed_minutes 300]

The full-precision weights of the bundled model are in no repository. Its e2m1
weights, dequantized, are a start that a short training makes as good again:
`train.py --resume --minutes M` with M above `elapsed_minutes` spends the last
part of its schedule on them.
"""

import argparse
import pathlib

import torch
from safetensors import safe_open

from model import Config, Llama

VALUES = [0, .5, 1, 1.5, 2, 3, 4, 6]
E2M1 = torch.tensor(VALUES + [-value for value in VALUES])


def dequantize(file, name):
    """row_scale[n] * 2^-shift[n, g] * e2m1, and the low-rank branch U V.

    `name` ends in "weight"; scales are those of m1 and m2.
    """
    packed = file.get_tensor(f"{name}_packed")
    codes = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1)
    shift = file.get_tensor(f"{name}_shift").float()
    group = codes.shape[1] // shift.shape[1]
    scale = torch.exp2(-shift).repeat_interleave(group, dim=1)
    row_scale = file.get_tensor(f"{name}_row_scale")[:, None]
    low_rank = 0
    branch = name.removesuffix("weight") + "lorc"
    if f"{branch}_u" in file.keys():
        u, v = (file.get_tensor(f"{branch}_{part}").float()
                * file.get_tensor(f"{branch}_{part}_scale")[:, None]
                for part in "uv")
        low_rank = u @ v
    return E2M1[codes.int()] * scale * row_scale + low_rank


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--elapsed_minutes", type=float, default=300.0)
    arguments = parser.parse_args()
    state = Llama(Config()).state_dict()
    with safe_open(arguments.model / "model.safetensors", "pt") as file:
        stored = set(file.keys())
        for name, old in state.items():
            quantized = f"{name}_packed" in stored
            new = dequantize(file, name) if quantized else (
                file.get_tensor(name).float())
            if new.shape != old.shape:
                raise SystemExit(f"{name}: want {tuple(old.shape)}, "
                                 f"found {tuple(new.shape)}")
            state[name] = new
    torch.save({"model": state, "step": 0, "tokens": 0,
                "elapsed": arguments.elapsed_minutes * 60,
                "optimizers": []}, arguments.work / "checkpoint.pt")


if __name__ == "__main__":
    main()

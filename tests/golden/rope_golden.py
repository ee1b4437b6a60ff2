#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/rope.json: rotary embeddings as transformers has them.

usage: rope_golden.py OUTPUT.json

For the rotary settings of published models (and for variants of them): the
frequencies, the factor on cos and sin, and cos and sin of some pairs at
positions up to the end of the stretched context.
"""

import json
import pathlib
import sys

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

YARN = dict(rope_type="yarn", rope_theta=1e6, factor=4.0,
            original_max_position_embeddings=32768)
# As long as Phi-4-mini's, and as uneven.
PHI = dict(rope_type="longrope", rope_theta=1e4, partial_rotary_factor=0.75,
           original_max_position_embeddings=4096,
           short_factor=[1 + i / 100 for i in range(48)],
           long_factor=[1 + i * i / 40 for i in range(48)])
# name: (head_dim, max_position_embeddings, rope_parameters)
CASES = {
    "Llama-2-7b": (128, 4096, dict(rope_type="default", rope_theta=1e4)),
    "Qwen3-8B": (128, 40960, dict(rope_type="default", rope_theta=1e6)),
    "Llama-3.1-8B": (128, 131072, dict(
        rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "Llama-3.2-1B": (64, 131072, dict(
        rope_type="llama3", rope_theta=5e5, factor=32.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "vicuna-16k (linear)": (128, 4096, dict(
        rope_type="linear", rope_theta=1e4, factor=4.0)),
    "dynamic, short": (128, 2048, dict(
        rope_type="dynamic", rope_theta=1e4, factor=4.0)),
    "dynamic, long": (128, 2048, dict(
        rope_type="dynamic", rope_theta=1e4, factor=4.0)),
    "Qwen2.5-7B (yarn)": (128, 131072, YARN),
    "yarn, small head": (64, 131072, YARN),
    "yarn, mscale": (64, 163840, dict(
        rope_type="yarn", rope_theta=1e4, factor=40.0, beta_fast=32.0,
        beta_slow=1.0, mscale=1.0, mscale_all_dim=0.707,
        original_max_position_embeddings=4096)),
    "yarn, attention_factor": (128, 131072, dict(
        YARN, attention_factor=0.75, truncate=False, beta_fast=24.0)),
    "Phi-4-mini, short": (128, 131072, PHI),
    "Phi-4-mini, long": (128, 131072, PHI),
    "longrope, attention_factor": (128, 131072, dict(
        PHI, attention_factor=1.3)),
}
POSITIONS = [0, 1, 2, 63, 1000, 2047]
LONG = [4095, 32767, 131071]


def positions(name, length):
    if name.endswith(", short"):
        return POSITIONS
    if name == "dynamic, long":
        return POSITIONS + [8191]
    return [p for p in POSITIONS + LONG if p < length]


def main():
    cases = []
    for name, (dim, length, parameters) in CASES.items():
        is_phi = parameters["rope_type"] == "longrope"
        kind = "Phi3" if is_phi else "Llama"
        config = getattr(transformers, kind + "Config")(
            hidden_size=2 * dim, num_attention_heads=2, head_dim=dim,
            max_position_embeddings=length, rope_parameters=dict(parameters))
        if is_phi:
            config.original_max_position_embeddings = parameters[
                "original_max_position_embeddings"]
        rotary = (Phi3RotaryEmbedding if is_phi else LlamaRotaryEmbedding)(
            config)
        at = positions(name, length)
        cos, sin = rotary(torch.zeros(1, len(at), 2 * dim), torch.tensor([at]))
        half = rotary.inv_freq.numel()
        pairs = [0, 1, half // 4, half // 2, 3 * half // 4, half - 1]
        cases.append({
            "name": name, "positions": at, "pairs": pairs,
            "config": {
                "architectures": [kind + "ForCausalLM"],
                "model_type": kind.lower(),
                "hidden_size": 2 * dim, "num_attention_heads": 2,
                "head_dim": dim, "intermediate_size": 8,
                "num_hidden_layers": 1, "vocab_size": 8, "rms_norm_eps": 1e-5,
                "max_position_embeddings": length,
                "rope_parameters": parameters},
            "inverse": rotary.inv_freq.tolist(),
            "attention_factor": float(rotary.attention_scaling),
            "cos": cos[0][:, pairs].tolist(),
            "sin": sin[0][:, pairs].tolist()})
        print(name, len(at), "positions")
    golden = {"transformers": transformers.__version__, "cases": cases}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()

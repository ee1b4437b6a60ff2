#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a GGUF file of random weights in one of zqfp-bench's shapes.

usage: rival_models.py --shape llama-1b --type q4_0 --output FILE.gguf

For timing other engines beside `zqfp-bench --shape`: the speed of a matmul
does not depend on its weights, as long as they are ordinary numbers. Needs
the Python package `gguf`.
"""

import argparse
import pathlib

import gguf
import numpy as np

# width, feed-forward, layers, heads, kv heads
SHAPES = {
    "llama-110m": (768, 2048, 12, 12, 12),
    "llama-1b": (2048, 5632, 22, 32, 4),
    "llama2-7b": (4096, 11008, 32, 32, 32),
}
VOCABULARY = 32000
Kind = gguf.GGMLQuantizationType
# Types of the linears, of the ones a "_m" mixture keeps finer, of the head.
TYPES = {
    "q4_0": (Kind.Q4_0, Kind.Q4_0, Kind.Q6_K),
    "q4_k_m": (Kind.Q4_K, Kind.Q6_K, Kind.Q6_K),
    "mxfp4": (Kind.MXFP4, Kind.MXFP4, Kind.Q8_0),
    "bf16": (Kind.BF16, Kind.BF16, Kind.BF16),
}
HALF = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)


def blocks(kind, rows, columns, random):
    """Random codes under ordinary scales, as bytes [rows, bytes of a row]."""
    if kind == Kind.BF16:
        values = random.normal(0, 0.02, (rows, columns)).astype(np.float32)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    size, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (rows, columns // size, num_bytes), np.uint8)
    if kind == Kind.MXFP4:
        data[..., 0] = 120
    elif kind in (Kind.Q4_0, Kind.Q8_0):
        data[..., 0:2] = HALF
    elif kind == Kind.Q4_K:
        data[..., 0:2] = data[..., 2:4] = HALF
    elif kind == Kind.Q6_K:
        data[..., -2:] = HALF
    return data.reshape(rows, -1)


def is_finer(layer, layers):
    """The layers whose v and down projections a "_m" mixture keeps finer."""
    eighth = layers // 8
    return (layer < eighth or layer >= 7 * layers // 8
            or (layer - eighth) % 3 == 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--type", choices=TYPES, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    width, feed, layers, heads, kv_heads = SHAPES[arguments.shape]
    plain, finer, head = TYPES[arguments.type]
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(arguments.output, "llama")
    writer.add_vocab_size(VOCABULARY)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")

    def add(name, rows, columns, kind):
        writer.add_tensor(f"{name}.weight", blocks(kind, rows, columns, random),
                          raw_dtype=kind)

    def add_norm(name):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))

    add("token_embd", VOCABULARY, width, plain)
    add("output", VOCABULARY, width, head)
    add_norm("output_norm")
    kv_width = width // heads * kv_heads
    for layer in range(layers):
        block = f"blk.{layer}"
        fine = finer if is_finer(layer, layers) else plain
        add_norm(f"{block}.attn_norm")
        add_norm(f"{block}.ffn_norm")
        add(f"{block}.attn_q", width, width, plain)
        add(f"{block}.attn_k", kv_width, width, plain)
        add(f"{block}.attn_v", kv_width, width, fine)
        add(f"{block}.attn_output", width, width, plain)
        add(f"{block}.ffn_gate", feed, width, plain)
        add(f"{block}.ffn_up", feed, width, plain)
        add(f"{block}.ffn_down", width, feed, fine)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/models: tiny seeded models and what Hugging Face's
transformers says of them.

usage: model_golden.py [--assets shared/assets] OUTPUT_DIRECTORY

Each variant is a directory with config.json and model.safetensors (bf16, a few
KB) and golden.json: a prompt, the f32 logits of its last rows and the greedy
continuation. With --assets, real_models.json gets the f32 loss of the real
checkpoints on fixed pseudo-random ids; their weights are not copied.
"""

import argparse
import json
import pathlib

import torch
import transformers

VOCAB, DIM, FFN, LAYERS = 48, 32, 40, 2
LOGIT_ROWS = 3


def rope(kind, **extra):
    return {"rope_type": kind, "rope_theta": 10000.0, **extra}


YARN = dict(factor=4.0, original_max_position_embeddings=32)
# name: (config class, prompt length, overrides)
VARIANTS = {
    "llama_mha": ("Llama", 40, dict(num_key_value_heads=4)),
    "llama_gqa_tied": ("Llama", 40, dict(tie_word_embeddings=True)),
    "llama_mqa_bias": ("Llama", 40, dict(num_key_value_heads=1,
                                         attention_bias=True, mlp_bias=True)),
    "llama_wide_head": ("Llama", 40, dict(head_dim=16)),
    "llama_f32": ("Llama", 40, dict(dtype="float32")),
    "llama_f16": ("Llama", 40, dict(dtype="float16")),
    "llama_linear": ("Llama", 40, dict(
        rope_parameters=rope("linear", factor=2.5))),
    "llama_dynamic": ("Llama", 24, dict(
        max_position_embeddings=32,
        rope_parameters=rope("dynamic", factor=3.0,
                             original_max_position_embeddings=32))),
    "llama_llama3": ("Llama", 40, dict(
        rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0,
                             original_max_position_embeddings=32))),
    "llama_yarn": ("Llama", 40, dict(rope_parameters=rope("yarn", **YARN))),
    "llama_yarn_mscale": ("Llama", 40, dict(
        rope_parameters=rope("yarn", beta_fast=24.0, beta_slow=2.0, mscale=1.0,
                             mscale_all_dim=0.7, **YARN))),
    "llama_yarn_factor": ("Llama", 40, dict(
        rope_parameters=rope("yarn", attention_factor=0.9, truncate=False,
                             **YARN))),
    "mistral_window": ("Mistral", 40, dict(sliding_window=16)),
    "qwen2": ("Qwen2", 40, dict()),
    "qwen3": ("Qwen3", 40, dict(head_dim=16)),
}


def make_config(kind, overrides):
    values = dict(vocab_size=VOCAB, hidden_size=DIM, intermediate_size=FFN,
                  num_hidden_layers=LAYERS, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=256,
                  bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
                  rms_norm_eps=1e-5)
    values.update(overrides)
    values.pop("dtype", None)
    return getattr(transformers, kind + "Config")(**values)


def seed_weights(model, generator):
    """Weights larger than at initialisation, so that every part matters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                parameter.copy_(0.8 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)


def greedy(model, prompt, count):
    """Greedy ids, the KV cache in use, end tokens ignored."""
    ids, cache = list(prompt), None
    step = torch.tensor([prompt])
    for _ in range(count):
        out = model(step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        ids.append(int(out.logits[0, -1].argmax()))
        step = torch.tensor([[ids[-1]]])
    return ids[len(prompt):]


def make_variant(name, seed, directory):
    kind, length, overrides = VARIANTS[name]
    dtype = getattr(torch, overrides.get("dtype", "bfloat16"))
    model = getattr(transformers, kind + "ForCausalLM")(
        make_config(kind, overrides))
    generator = torch.Generator().manual_seed(seed)
    seed_weights(model, generator)
    # Converted for the file only: .to(bfloat16) would round the rotary
    # frequencies too.
    model.to(dtype).save_pretrained(directory)
    model = getattr(transformers, kind + "ForCausalLM").from_pretrained(
        directory, dtype=torch.float32).eval()
    prompt = torch.randint(3, VOCAB, (length,), generator=generator).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0]
        ids = greedy(model, prompt, 20)
    golden = {
        "transformers": transformers.__version__, "prompt": prompt,
        "first_row": length - LOGIT_ROWS, "greedy": ids,
        "logits": [[float(f"{v:.8g}") for v in row]
                   for row in logits[-LOGIT_ROWS:].tolist()]}
    (directory / "golden.json").write_text(json.dumps(golden) + "\n")
    (directory / "generation_config.json").unlink(missing_ok=True)
    print(name, ids[:8])


def pseudo_random_ids(count, vocab_size):
    """The ids that the C++ test makes too."""
    ids, state = [1], 12345
    while len(ids) < count:
        state = (state * 1103515245 + 12345) % 2**31
        ids.append(3 + (state >> 8) % (vocab_size - 3))
    return ids


def real_models(assets, path):
    results = {}
    for name in ("tinystories-656k", "babyllama-1m", "stories-260k"):
        model = transformers.LlamaForCausalLM.from_pretrained(
            assets / "models" / name, dtype=torch.float32).eval()
        ids = torch.tensor([pseudo_random_ids(200, model.config.vocab_size)])
        with torch.no_grad():
            out = model(ids, labels=ids)
            results[name] = {"num_ids": 200, "loss": out.loss.item(),
                             "greedy": greedy(model, ids[0, :20].tolist(), 20)}
        print(name, results[name])
    path.write_text(json.dumps(results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--assets", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed, name in enumerate(VARIANTS):
        make_variant(name, seed, arguments.output / name)
    if arguments.assets:
        real_models(arguments.assets, arguments.output / "real_models.json")


if __name__ == "__main__":
    main()

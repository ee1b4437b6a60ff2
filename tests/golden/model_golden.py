#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/models: tiny seeded models and what Hugging Face's
transformers says of them.

usage: model_golden.py [--assets shared/assets] [--only opt] OUTPUT_DIRECTORY

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
LONGROPE = dict(partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.4],
                long_factor=[1.2, 3.0, 6.5],
                original_max_position_embeddings=32)
OPT = dict(ffn_dim=40, max_position_embeddings=64)
GPT2 = dict(n_embd=DIM, n_layer=LAYERS, n_head=4, n_positions=64)
GEMMA = dict(head_dim=16, sliding_window=8, tie_word_embeddings=True)
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
    "opt": ("OPT", 40, dict(tie_word_embeddings=True, **OPT)),
    "opt_no_bias": ("OPT", 40, dict(enable_bias=False, dtype="float16",
                                    hidden_size=16, **OPT)),
    "gemma2": ("Gemma2", 40, dict(query_pre_attn_scalar=24,
                                  attn_logit_softcapping=2.0,
                                  final_logit_softcapping=5.0, **GEMMA)),
    "gemma2_uncapped": ("Gemma2", 24, dict(
        attn_logit_softcapping=None, final_logit_softcapping=None,
        attention_bias=True, dtype="float16", hidden_size=16, **GEMMA)),
    "gemma3": ("Gemma3", 40, dict(
        query_pre_attn_scalar=20, num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention",
                     "sliding_attention"],
        rope_parameters={
            "full_attention": rope("linear", factor=8.0) | dict(rope_theta=1e6),
            "sliding_attention": rope("default")}, **GEMMA)),
    "gemma3_capped": ("Gemma3", 24, dict(
        final_logit_softcapping=5.0, sliding_window_pattern=2, hidden_size=16,
        **GEMMA)),
    "phi3": ("Phi3", 40, dict(sliding_window=16, pad_token_id=0)),
    # From the short factors to the long ones while generating, the keys so far
    # kept as they are: engine_golden.py has what generate() makes of that.
    "phi3_longrope": ("Phi3", 24, dict(
        pad_token_id=0, tie_word_embeddings=True,
        original_max_position_embeddings=32,
        rope_parameters=rope("longrope", **LONGROPE))),
    "phi3_longrope_factor": ("Phi3", 40, dict(
        pad_token_id=0, original_max_position_embeddings=32,
        num_hidden_layers=1,
        rope_parameters=rope("longrope", attention_factor=1.25,
                             **LONGROPE))),
    "gpt2": ("GPT2", 40, dict(tie_word_embeddings=True, **GPT2)),
    "gpt2_untied": ("GPT2", 24, dict(n_inner=40, dtype="float16",
                                     **{**GPT2, "n_embd": 16})),
}


def make_config(kind, overrides):
    values = dict(vocab_size=VOCAB, hidden_size=DIM, intermediate_size=FFN,
                  num_hidden_layers=LAYERS, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=256,
                  bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
                  rms_norm_eps=1e-5)
    values.update(overrides)
    values.pop("dtype", None)
    if kind == "GPT2":  # its own names, in overrides
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers",
                     "num_attention_heads", "num_key_value_heads",
                     "max_position_embeddings"):
            del values[name]
    if kind == "OPT":
        del values["intermediate_size"], values["num_key_value_heads"]
    suffix = "TextConfig" if kind == "Gemma3" else "Config"
    return getattr(transformers, kind + suffix)(**values)


def model_class(kind):
    return getattr(transformers,
                   kind + ("LMHeadModel" if kind == "GPT2" else "ForCausalLM"))


def seed_weights(model, generator, kind):
    """Weights larger than at initialisation, so that every part matters."""
    is_gemma = kind.startswith("Gemma")
    inputs = 0 if kind == "GPT2" else -1  # Conv1D is [in, out]
    # Small enough in the newer families that a tied head does not repeat the
    # token before.
    spread = {"OPT": 0.3, "GPT2": 0.3, "Gemma2": 0.05,
              "Gemma3": 0.05}.get(kind, 0.8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight",
                              "ln_f.weight")):
                parameter.copy_(0.2 * noise + (0 if is_gemma else 1))
            elif is_gemma and "layernorm" in name:
                parameter.copy_(0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed_tokens" in name or "wte" in name:
                parameter.copy_(spread * noise)
            elif "embed_positions" in name or "wpe" in name:
                parameter.copy_(0.6 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[inputs] ** 0.5)


def round_embedding_scale(model, dtype):
    """Gemma's factor on embeddings is rounded to the dtype of its weights: as
    the file has them, though the rest is computed in f32."""
    embedding = model.get_input_embeddings()
    if hasattr(embedding, "embed_scale"):
        embedding.embed_scale.copy_(embedding.embed_scale.to(dtype))


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
    model = model_class(kind)(make_config(kind, overrides))
    generator = torch.Generator().manual_seed(seed)
    seed_weights(model, generator, kind)
    # Converted for the file only: .to(bfloat16) would round the rotary
    # frequencies too.
    model.to(dtype).save_pretrained(directory)
    model = model_class(kind).from_pretrained(
        directory, dtype=torch.float32).eval()
    round_embedding_scale(model, dtype)
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
    parser.add_argument("--only", help="variants that begin so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed, name in enumerate(VARIANTS):
        if arguments.only and not name.startswith(arguments.only):
            continue
        make_variant(name, seed, arguments.output / name)
    if arguments.assets:
        real_models(arguments.assets, arguments.output / "real_models.json")


if __name__ == "__main__":
    main()

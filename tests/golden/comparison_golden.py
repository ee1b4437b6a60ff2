#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/comparison.json: how far tiny models are from another, by
transformers in f64 and the definitions of engine/comparison.h in numpy.

usage: comparison_golden.py tests/golden/models OUTPUT.json

Token ids are byte % 47 + 1, after a 0 where the protocol wants a
beginning-of-text token.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers

PAIRS = [("llama_f32", "llama_f16"), ("qwen3", "llama_mha")]
WINDOW, STRIDE = 32, 12
SEED = 7


def windows(protocol, texts):
    """(ids, first scored input) of each window."""
    for text in texts:
        ids = [0] + [byte % 47 + 1 for byte in text.encode()]
        size = len(ids)
        if protocol == "gptq":
            for i in range(0, size - WINDOW + 1, WINDOW):
                yield ids[i:i + WINDOW], 0
        elif protocol == "llama.cpp":
            for i in range(0, size - WINDOW + 1, WINDOW):
                yield [0] + ids[i + 1:i + WINDOW], WINDOW // 2
        elif protocol == "sliding":
            scored = 1
            for i in range(0, size, STRIDE):
                end = min(i + WINDOW, size)
                if end > scored:
                    yield ids[i:end], scored - i - 1
                scored = max(scored, end)
        else:
            scored = 1
            while scored < size:
                end = min(scored + WINDOW, size)
                begin = max(0, end - WINDOW - 1)
                yield ids[begin:end], scored - begin - 1
                scored = end


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def measure(original, model, protocol, texts):
    """Arrays over all scored predictions, in order."""
    columns = {name: [] for name in ("kld", "agree", "delta_p", "loss",
                                     "original_loss", "top_p", "position")}
    for ids, first in windows(protocol, texts):
        tensor = torch.tensor([ids[:-1]])
        with torch.no_grad():
            p = log_softmax(original(tensor).logits[0].numpy())[first:]
            q = log_softmax(model(tensor).logits[0].numpy())[first:]
        targets = np.array(ids[1 + first:])
        rows = np.arange(len(targets))
        columns["kld"].append((np.exp(p) * (p - q)).sum(axis=-1))
        columns["agree"].append(p.argmax(axis=-1) == q.argmax(axis=-1))
        columns["delta_p"].append(np.exp(q[rows, targets])
                                  - np.exp(p[rows, targets]))
        columns["loss"].append(-q[rows, targets])
        columns["original_loss"].append(-p[rows, targets])
        columns["top_p"].append(np.exp(p.max(axis=-1)))
        columns["position"].append(rows + first + 1)
    return {name: np.concatenate(parts).astype(np.float64)
            for name, parts in columns.items()}


def standard_error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def bucket(kld, places, edges):
    """[count, mean, median, p99] of the values between neighbouring edges."""
    found = []
    for low, high in zip(edges[:-1], edges[1:]):
        own = kld[(places >= low) & (places < high)]
        found.append([len(own)] + ([own.mean(), np.median(own),
                                    np.quantile(own, .99)]
                                   if len(own) else [0, 0, 0]))
    return found


def summarise(c, floor):
    kld, delta_p, ratio = c["kld"], c["delta_p"], c["loss"] - c["original_loss"]
    return {
        "num_tokens": len(kld),
        "kld": [kld.mean(), standard_error(kld), np.median(kld),
                np.quantile(kld, .95), np.quantile(kld, .99),
                np.quantile(kld, .999), kld.max()],
        "top1_agreement": [c["agree"].mean(), standard_error(c["agree"])],
        "delta_p": [delta_p.mean(), standard_error(delta_p),
                    np.sqrt((delta_p ** 2).mean()), delta_p.min(),
                    *np.quantile(delta_p, [.01, .05, .25, .5, .75, .95, .99]),
                    delta_p.max()],
        "loss": [c["loss"].mean(), standard_error(c["loss"])],
        "original_loss": [c["original_loss"].mean(),
                          standard_error(c["original_loss"])],
        "ln_ratio": [ratio.mean(), standard_error(ratio)],
        "noise_floor": floor,
        "by_position": bucket(kld, c["position"], np.arange(1, WINDOW + 2)),
        "by_confidence": bucket(kld, c["top_p"], np.linspace(0, 1, 11)),
    }


def noise_floor(c):
    """[mean, standard error, median, 99 %, top-1 agreement]"""
    return [c["kld"].mean(), standard_error(c["kld"]), np.median(c["kld"]),
            np.quantile(c["kld"], .99), c["agree"].mean()]


def round_inputs(model):
    """The model, its decoder linears' inputs rounded to bf16."""
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(
                lambda _, inputs: (inputs[0].float().bfloat16().double(),))
    return model


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32).double().eval()


def main():
    models = pathlib.Path(sys.argv[1])
    random = np.random.default_rng(SEED)
    texts = ["".join(chr(c) for c in random.integers(97, 123, size))
             for size in (150, 40, 100)]
    cases = []
    for original_name, model_name in PAIRS:
        original = load(models / original_name)
        model = load(models / model_name)
        rounded = round_inputs(load(models / original_name))
        for protocol in ("gptq", "sliding", "llama.cpp", "lm-eval"):
            own = texts if protocol == "lm-eval" else texts[:1]
            cases.append({"original": original_name, "model": model_name,
                          "protocol": protocol, "texts": own,
                          **summarise(
                              measure(original, model, protocol, own),
                              noise_floor(measure(original, rounded, protocol,
                                                  own)))})
    golden = {"window": WINDOW, "stride": STRIDE, "cases": cases}
    pathlib.Path(sys.argv[2]).write_text(json.dumps(golden, indent=None) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes engine_golden.json: what generate() of Hugging Face answers where it
does more than run a model step by step.

With longrope every key is turned by the short factors up to
original_max_position_embeddings and by the long ones beyond: generate() drops
its cache when a text grows beyond that.

usage: engine_golden.py         (needs: pip install torch transformers)
"""
import json
import pathlib

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "phi3_longrope"
NUM_PROMPTS, NUM_NEW = 6, 24
LEAST_MARGIN = 0.1  # between the two likeliest tokens: no rounding decides


def least_margin(model, ids, num_new):
    logits = [model(torch.tensor([ids[:end]])).logits[0, -1]
              for end in range(len(ids) - num_new, len(ids))]
    two = [row.topk(2).values for row in logits]
    return min(float(best - second) for best, second in two)


def main():
    torch.set_num_threads(1)
    model = transformers.Phi3ForCausalLM.from_pretrained(
        HERE / "models" / MODEL, dtype=torch.float32).eval()
    texts = []
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        length = 20 + seed % 12
        prompt = torch.randint(3, model.config.vocab_size, (1, length),
                               generator=generator)
        with torch.no_grad():
            ids = model.generate(
                prompt, attention_mask=torch.ones_like(prompt),
                max_new_tokens=NUM_NEW, do_sample=False,
                eos_token_id=None)[0].tolist()
            if least_margin(model, ids, NUM_NEW) < LEAST_MARGIN:
                continue
        texts.append({"prompt": ids[:length], "greedy": ids[length:]})
        if len(texts) == NUM_PROMPTS:
            break
    golden = {"transformers": transformers.__version__, "model": MODEL,
              "longrope": texts}
    path = HERE / "engine_golden.json"
    path.write_text(json.dumps(golden) + "\n", encoding="utf-8")
    print(path.name, len(texts))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/perplexity.json: what transformers makes of real texts.

usage: perplexity_golden.py ASSETS OUTPUT.json

For each real checkpoint, in f32: the loss of the first bytes of TinyStories
and of WikiText-2 by three protocols, written here from their definitions:
"gptq" as in the GPTQ code, "sliding" as on Hugging Face's page on perplexity,
and "llama.cpp" (second halves of windows). Token ids come from the model's own
tokenizer; stories-260k has none here, its ids are bytes + 3 after a 1.
"""

import json
import pathlib
import sys

import sentencepiece
import tokenizers
import torch
import transformers

TEXTS = {"text/tinystories_train_0.txt": 30000,
         "text/wikitext2_wiki.test.raw": 20000}


def encode(directory, text):
    """(ids, the id that llama.cpp puts first, or None)"""
    if (directory / "tokenizer.json").exists():
        tokenizer = tokenizers.Tokenizer.from_file(
            str(directory / "tokenizer.json"))
        ids = tokenizer.encode(text).ids
        adds = tokenizer.encode("").ids
        return ids, adds[0] if adds else None
    if (directory / "tokenizer.model").exists():
        processor = sentencepiece.SentencePieceProcessor(
            model_file=str(directory / "tokenizer.model"))
        return [processor.bos_id()] + processor.encode(text), processor.bos_id()
    return [1] + [byte + 3 for byte in text.encode()], 1


def losses(model, ids):
    """-ln p of every id but the first, in f64."""
    tensor = torch.tensor([ids])
    with torch.no_grad():
        logits = model(tensor).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(
        logits, tensor[0, 1:], reduction="none")


def gptq(model, ids, window, _):
    parts = [losses(model, ids[i:i + window])
             for i in range(0, len(ids) - window + 1, window)]
    return torch.cat(parts)


def sliding(model, ids, window, _):
    parts, end_before = [], 1
    for begin in range(0, len(ids), window // 2):
        end = min(begin + window, len(ids))
        if end > end_before:
            parts.append(losses(model, ids[begin:end])[end_before - end:])
        end_before = end
        if end == len(ids):
            break
    return torch.cat(parts)


def llama_cpp(model, ids, window, first):
    parts = []
    for i in range(0, len(ids) - window + 1, window):
        piece = list(ids[i:i + window])
        if first is not None:
            piece[0] = first
        parts.append(losses(model, piece)[window // 2:])
    return torch.cat(parts)


def main():
    assets = pathlib.Path(sys.argv[1])
    torch.set_num_threads(2)
    cases = []
    for name in ("tinystories-656k", "babyllama-1m", "stories-260k"):
        directory = assets / "models" / name
        model = transformers.LlamaForCausalLM.from_pretrained(
            directory, dtype=torch.float32).eval()
        for text_name, count in TEXTS.items():
            text = (assets / text_name).read_bytes()[:count].decode(
                errors="ignore")
            ids, first = encode(directory, text)
            window = min(256, model.config.max_position_embeddings)
            for protocol, function in (("gptq", gptq), ("sliding", sliding),
                                       ("llama.cpp", llama_cpp)):
                loss = function(model, ids, window, first)
                cases.append({"model": name, "text": text_name, "bytes": count,
                              "protocol": protocol, "window": window,
                              "num_tokens": len(loss),
                              "loss": loss.mean().item()})
                print(cases[-1])
    golden = {"transformers": transformers.__version__, "cases": cases}
    pathlib.Path(sys.argv[2]).write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quantizes a small Llama with llm-compressor, for tests/results/quality.md.

usage: llm_compressor.py MODEL CALIBRATION OUTPUT

MODEL is a Hugging Face directory with a tokenizer.model, CALIBRATION a text of
documents between <|endoftext|>, of which the first 48 that have 256 tokens are
used, cut there. Writes OUTPUT/{mxfp4,nvfp4}_{rtn,gptq}. Needs llmcompressor and
sentencepiece.
"""

import pathlib
import shutil
import sys

import datasets
import sentencepiece
import tokenizers
import torch
import transformers
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import (GPTQModifier,
                                                  QuantizationModifier)

SAMPLES, LENGTH = 48, 256


def calibration(path, processor):
    ids = []
    for text in path.read_text(encoding="utf-8").split("<|endoftext|>"):
        tokens = [processor.bos_id()] + processor.encode(text.strip())
        if len(tokens) >= LENGTH:
            ids.append(tokens[:LENGTH])
    return ids[:SAMPLES]


def main():
    source, text, output = (pathlib.Path(name) for name in sys.argv[1:4])
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(source / "tokenizer.model"))
    ids = calibration(text, processor)
    data = datasets.Dataset.from_dict(
        {"input_ids": ids, "attention_mask": [[1] * LENGTH] * len(ids)})
    # The tool wants some tokenizer, and tokenizes nothing.
    words = {str(i): i for i in range(processor.vocab_size())}
    unused = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(
            tokenizers.models.WordLevel(words, unk_token="0")), pad_token="0")
    for method, modifier in (("rtn", QuantizationModifier),
                             ("gptq", GPTQModifier)):
        for scheme in ("MXFP4A16", "NVFP4A16"):
            model = transformers.LlamaForCausalLM.from_pretrained(
                source, dtype=torch.bfloat16)
            more = {} if method == "rtn" else {
                "dataset": data, "num_calibration_samples": len(ids),
                "max_seq_length": LENGTH, "processor": unused}
            oneshot(model=model, recipe=modifier(
                targets="Linear", scheme=scheme, ignore=["lm_head"]), **more)
            directory = output / f"{scheme[:5].lower()}_{method}"
            model.save_pretrained(directory, save_compressed=True)
            for name in ("tokenizer.model", "tokenizer_config.json"):
                if (source / name).exists():
                    shutil.copyfile(source / name, directory / name)


if __name__ == "__main__":
    main()

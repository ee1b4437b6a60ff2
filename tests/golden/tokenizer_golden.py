#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tokenizer_texts.json: number and hash of the ids that each tokenizer's
own library makes of whole texts.

usage: tokenizer_golden.py --assets DIRECTORY
       (needs: pip install sentencepiece tokenizers tiktoken)

The hash is FNV-1a (64 bits) over the ids as little-endian int32.
"""

import argparse
import base64
import json
import pathlib
import struct

import sentencepiece
import tiktoken
import tokenizers

TEXTS = ["wikitext2_wiki.test.raw", "ptb.valid.txt", "exl3cal_c4.utf8"]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def fnv(ids):
    value = 0xCBF29CE484222325
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def from_sentencepiece(path):
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return model.encode


def from_ranks(path, pattern):
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding(path.stem, pat_str=pattern,
                                 mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary


def from_vocab_and_merges(vocab, merges):
    model = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(
        str(vocab), str(merges)))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False)
    return lambda text: model.encode(text).ids


def from_json(path):
    model = tokenizers.Tokenizer.from_file(str(path))
    return lambda text: model.encode(text, add_special_tokens=False).ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=pathlib.Path, required=True)
    assets = parser.parse_args().assets
    files = assets / "tokenizers"
    models = {
        "llama2": from_sentencepiece(files / "llama2_tokenizer.model"),
        "mistral": from_sentencepiece(files / "mistral_tokenizer.model.v1"),
        "babyllama": from_sentencepiece(
            assets / "models/babyllama-1m/tokenizer.model"),
        "gpt2": from_vocab_and_merges(files / "gpt2_vocab.json",
                                      files / "gpt2_merges.txt"),
        "opt": from_vocab_and_merges(files / "opt_vocab.json",
                                     files / "opt_merges.txt"),
        "llama3": from_ranks(files / "llama3_tokenizer.model", LLAMA3),
        "qwen": from_ranks(files / "qwen.tiktoken", QWEN),
        "tinystories": from_json(
            assets / "models/tinystories-656k/tokenizer.json"),
    }
    golden = {}
    for name, encode in models.items():
        golden[name] = {}
        for text_name in TEXTS:
            # As bytes: reading as text would change line ends.
            text = (assets / "text" / text_name).read_bytes().decode("utf-8")
            ids = encode(text)
            golden[name][text_name] = [len(ids), fnv(ids)]
    path = pathlib.Path(__file__).with_name("tokenizer_texts.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tokenizer_parts.json: what the tokenizers library makes of each part
of a tokenizer.json (normalizers, pre-tokenizers, decoders), of added tokens and
of small BPE models.

usage: tokenizer_parts_golden.py     (needs: pip install tokenizers)
"""

import json
import pathlib

import tokenizers

GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|"
        r"\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = [
    "Hello, world!", " leading", "trailing ", "  two  spaces  ", "a", " ", "",
    "tabs\tand\nnew\r\nlines\n\n\n", "It's WE'LL I'm they'd 'twas",
    "1 22 333 4444 55555", "3.14e-10 x2y", "caf\u00e9 cafe\u0301 \u212b \ufb01",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3042\u30a2", "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600!\u2764\ufe0f", "\u00a0nbsp\u3000wide\u2028line",
    "a-b_c+d=e<f>g|h~i`j^k$l", "foo(bar)[baz]{qux};//...", "\u2581mark\u2581\u2581x",
    "<0x41> <s> </s>", "\u00b2\u00bd\u2167 \u0663\u0664\u0665", "\u0130stanbul \u00df \u01c5 \u03a3\u03c3\u03c2",
    "zero\u0000byte", "\u200bzero width\u200b", "----====----",
]
NORMALIZERS = [
    {"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"},
    {"type": "StripAccents"}, {"type": "Lowercase"},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Prepend", "prepend": "\u2581"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"},
    {"type": "Replace", "pattern": {"Regex": r"\p{N}+"}, "content": ""},
    {"type": "Sequence", "normalizers": []},
    {"type": "Sequence", "normalizers": [
        {"type": "NFD"}, {"type": "StripAccents"}, {"type": "NFC"}]},
    {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "},
         "content": "\u2581"}]},
]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
             "Contiguous"]
PRE_TOKENIZERS = [
    {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
     "use_regex": regex} for prefix in (False, True) for regex in (False, True)
] + [
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme,
     "split": split} for scheme in ("always", "first", "never")
    for split in (False, True)
] + [
    {"type": "Split", "pattern": pattern, "behavior": behavior,
     "invert": invert}
    for pattern in ({"Regex": GPT2}, {"Regex": r"\s+"}, {"String": "."},
                    {"String": "o"})
    for behavior in BEHAVIORS for invert in (False, True)
] + [
    {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated",
     "invert": False},
    {"type": "Digits", "individual_digits": True},
    {"type": "Digits", "individual_digits": False},
    {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
    {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA3},
         "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
         "use_regex": False}]},
    {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
         "use_regex": True}]},
] + [{"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS]
DECODERS = [
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
     "use_regex": True},
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
     "split": True},
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never",
     "split": True},
    {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"}]},
]
TOKEN_LISTS = [
    ["\u2581Hello", ",", "\u2581world", "!"], ["Hello", "\u2581", "\u2581x"],
    ["\u0120a", "b", "\u0120\u0120", "\u010a", "\u00c3\u00a9"], [],
    ["\u2581"], ["<0x41>", "<0xE4>", "<0xBD>", "<0xA0>", "\u2581z"],
    ["<0xF0>", "<0x9F>", "x"], ["\u00f0\u0141\u013a\u0122", "ok"],
]
ADDED = [
    {"content": "<s>", "special": True},
    {"content": "<|x|>", "special": True, "lstrip": True},
    {"content": "<|y|>", "special": True, "rstrip": True},
    {"content": "<|xx|>", "special": False, "lstrip": True, "rstrip": True},
    {"content": "word", "special": False, "single_word": True},
    {"content": "<s", "special": False},
]
ADDED_TEXTS = [
    "<s>a", "a <s> b", "a  <|x|>  b", "a  <|y|>  b", "a \t\n<|xx|>\u00a0 b",
    "word", "words", "sword", "a word, two", "word word", "<s<s>", "<|x|><|y|>",
    "  <|x|> <|y|>  ", "\u00e9word", "word\u00e9", "<<s>>", "", "abc",
    "_word", "word_", "word1", "(word)", "<|x|", "\u4f60<s>\u597d",
]


def empty_model():
    return tokenizers.Tokenizer(tokenizers.models.BPE())


def with_part(key, config):
    state = json.loads(empty_model().to_str())
    state[key] = config
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def bpe_cases():
    """Words under models that differ in how they treat the unknown."""
    letters = "abcde"
    merges = [("a", "b"), ("c", "d"), ("ab", "cd"), ("b", "c"), ("e", "e"),
              ("ee", "ee"), ("d", "e"), ("abcd", "e")]
    words = list(letters) + [left + right for left, right in merges]
    words += ["<unk>", "<0x58>", "<0x59>", "abx", "cde"]
    vocab = {word: i for i, word in enumerate(words)}
    texts = ["abcd", "abcde", "aabbccdd", "eeeeeee", "bcde", "abcabcd", "X",
             "aXb", "XY", "abXYcd", "Z", "aZZb", "ZaZ", "abx", "cde", "\u00e9a",
             "deee", "e", ""]
    for options in ({}, {"unk_token": "<unk>"},
                    {"unk_token": "<unk>", "fuse_unk": True},
                    {"byte_fallback": True},
                    {"byte_fallback": True, "unk_token": "<unk>"},
                    {"ignore_merges": True}):
        tokenizer = tokenizers.Tokenizer(
            tokenizers.models.BPE(vocab=vocab, merges=merges, **options))
        yield {"options": options, "vocab": vocab,
               "merges": [list(merge) for merge in merges],
               "cases": [[text, tokenizer.encode(text).ids]
                         for text in texts]}


def added_cases():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    for entry in ADDED:
        token = tokenizers.AddedToken(
            entry["content"], lstrip=entry.get("lstrip", False),
            rstrip=entry.get("rstrip", False),
            single_word=entry.get("single_word", False), normalized=False)
        if entry["special"]:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    tokens = [dict(entry, id=tokenizer.token_to_id(entry["content"]))
              for entry in ADDED]
    # The empty model gives no ids to plain text: only the added ones remain.
    return {"tokens": tokens,
            "cases": [[text, tokenizer.encode(text).ids]
                      for text in ADDED_TEXTS]}


def main():
    golden = {"normalizers": [], "pre_tokenizers": [], "decoders": [],
              "texts": TEXTS, "token_lists": TOKEN_LISTS}
    for config in NORMALIZERS:
        part = with_part("normalizer", config).normalizer
        golden["normalizers"].append(
            {"config": config,
             "results": [part.normalize_str(text) for text in TEXTS]})
    for config in PRE_TOKENIZERS:
        part = with_part("pre_tokenizer", config).pre_tokenizer
        golden["pre_tokenizers"].append(
            {"config": config,
             "results": [[word for word, _ in part.pre_tokenize_str(text)]
                         for text in TEXTS]})
    for config in DECODERS:
        part = with_part("decoder", config).decoder
        golden["decoders"].append(
            {"config": config,
             "results": [part.decode(tokens) for tokens in TOKEN_LISTS]})
    golden["bpe"] = list(bpe_cases())
    golden["added_tokens"] = added_cases()
    path = pathlib.Path(__file__).with_name("tokenizer_parts.json")
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    # One part a line, so that a change shows what it changed.
    path.write_text(text.replace('{"config"', '\n{"config"') + "\n",
                    encoding="ascii")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small_tokenizers/: tiny tokenizers of every published kind, and
small_tokenizers.json, the ids that their own libraries make of awkward texts.
They are the seeds of the fuzz targets, too.

usage: small_tokenizers.py        (needs: pip install tokenizers sentencepiece)
"""

import json
import pathlib
import tempfile

import sentencepiece
import tokenizers
from tokenizers import (AddedToken, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

HERE = pathlib.Path(__file__).parent
CORPUS = ["The quick brown fox jumps over the lazy dog.",
          "It's 2024, and they've got 1234567 reasons to say \"hello\".",
          "naïve café über straße — “quotes” … and 世界你好 こんにちは",
          "def f(x):\n    return x ** 2  # comment\n\n\n",
          "aaaa bbbb abab baba   tabs\tand  spaces", "🙂🙃 👩‍🚀 ❤️"] * 3
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEXTS = ["", " ", "  ", "\n", "a", "The quick brown fox", " leading", "end ",
         "It's IT'S we'll WE'LL 'tis", "1 12 123 1234 12345", "x\n\ny\r\n z",
         "naïve café", "nai\u0308ve e\u0301", "世界你好", "🙂👩‍🚀❤️", "\u0000",
         "a\u0000b", "<|end|>", "a<|end|>b", "a <|end|> b", "<|END|>", "<s>x</s>",
         "<|end|><|end|>", "foo<|pad|>  bar", "  <|pad|>  ", "wordy word words",
         "   many    spaces     here", "\t\ttabs\n\n\n", "aaaaaaaaaaaaaaaaaaaa",
         "\u2581low\u2581line", "ΑΒΓ абв שלום مرحبا", "\u200b\ufeff", "½²Ⅷ",
         "def f(x):\n\treturn {'a': [1, 2.5e-3]}\n"]


def train(tokenizer, vocab_size, **options):
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False, **options))


def add_tokens(tokenizer):
    tokenizer.add_special_tokens([AddedToken("<|end|>", normalized=False)])
    tokenizer.add_special_tokens([
        AddedToken("<|pad|>", lstrip=True, rstrip=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("word", single_word=True)])


def gpt2_like():
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 340,
          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    add_tokens(tokenizer)
    return tokenizer


def regex_like(regex, normalizer, ignore_merges):
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, 340,
          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens(["<|begin|>"])
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])])
    add_tokens(tokenizer)
    return tokenizer


def llama2_like(modern):
    """Byte fallback; spaces by normalizers, or by the newer Metaspace."""
    tokenizer = tokenizers.Tokenizer(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if modern:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([
            normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(),
        decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    train(tokenizer, 420, special_tokens=["<unk>", "<s>", "</s>"] + bytes_,
          limit_alphabet=40)
    # The bytes are ordinary tokens of the vocabulary, not added ones.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)])
    add_tokens(tokenizer)
    return tokenizer


def small_sentencepiece(model_type, path, **options):
    with tempfile.TemporaryDirectory() as scratch:
        corpus = pathlib.Path(scratch) / "corpus.txt"
        corpus.write_text("\n".join(CORPUS), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(path.with_suffix("")),
            model_type=model_type, vocab_size=380, byte_fallback=True,
            normalization_rule_name="identity", hard_vocab_limit=False,
            character_coverage=0.98, minloglevel=2, **options)
    path.with_suffix(".vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def main():
    directory = HERE / "small_tokenizers"
    directory.mkdir(exist_ok=True)
    golden = {"texts": TEXTS, "json": {}, "sentencepiece": {}}
    for name, tokenizer in {
            "gpt2": gpt2_like(),
            "llama3": regex_like(LLAMA3, None, True),
            "qwen2": regex_like(QWEN, normalizers.NFC(), False),
            "llama2": llama2_like(False),
            "llama2_metaspace": llama2_like(True)}.items():
        (directory / f"{name}.json").write_text(tokenizer.to_str(),
                                                encoding="utf-8")
        golden["json"][name] = [
            [tokenizer.encode(text).ids,
             tokenizer.encode(text, add_special_tokens=False).ids,
             tokenizer.decode(tokenizer.encode(text).ids)]
            for text in TEXTS]
    for name, kind, options in (
            ("bpe", "bpe", {}),
            ("unigram", "unigram", {}),
            ("plain", "bpe", {"add_dummy_prefix": False,
                              "remove_extra_whitespaces": False})):
        model = small_sentencepiece(kind, directory / f"{name}.model",
                                    **options)
        golden["sentencepiece"][name] = [
            [model.encode(text), model.decode(model.encode(text))]
            for text in TEXTS]
    (HERE / "small_tokenizers.json").write_text(
        json.dumps(golden, separators=(",", ":")).replace("]],[[", "]],\n[[")
        + "\n", encoding="ascii")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/gguf: small GGUF files written with the format's own
Python package, and gguf.json, what other software says of them: logits and
greedy ids of transformers on the same weights, weights as the package
dequantizes them, token ids of tokenizers and sentencepiece.

usage: gguf_golden.py       (needs: pip install gguf torch transformers
                             tokenizers sentencepiece)
"""

import base64
import json
import pathlib

import gguf
import numpy
import sentencepiece
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from tokenizers import models, pre_tokenizers, decoders

import model_golden
import small_tokenizers

HERE = pathlib.Path(__file__).parent
OUTPUT = HERE / "gguf"
SEEDS = HERE.parent / "fuzz" / "corpus" / "gguf"
DIM, FFN, LAYERS, HEADS, KV_HEADS, LENGTH = 32, 32, 2, 4, 2, 40
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = small_tokenizers.TEXTS + ["HTTPServer iOS/macOS\n/usr//bin", "ÀÉî Straße"]
TEMPLATE = ("{% for m in messages %}[{{ m.role }}]{{ m.content }}"
            "{% endfor %}")


def digits_like():
    """As SmolLM's: each digit alone, then GPT-2's rules."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    small_tokenizers.train(
        tokenizer, 340,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    small_tokenizers.add_tokens(tokenizer)
    return tokenizer


def stored(name):
    path = HERE / "small_tokenizers" / f"{name}.json"
    return tokenizers.Tokenizer.from_file(str(path))


def without_options(tokenizer):
    """A GGUF file cannot say lstrip, rstrip or single_word."""
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token.update(lstrip=False, rstrip=False, single_word=False,
                     normalized=False)
    return tokenizers.Tokenizer.from_str(json.dumps(state))


class Bpe:
    """A tokenizer.json: what goes into the file, what its library says."""

    def __init__(self, pre, tokenizer, bos=None, eos="<|end|>"):
        self.pre, self.bos, self.eos = pre, bos, eos
        self.tokenizer = without_options(tokenizer)
        self.state = json.loads(self.tokenizer.to_str())
        vocab = self.tokenizer.get_vocab(with_added_tokens=True)
        # One more row than there are tokens, as padded embeddings have.
        self.tokens = sorted(vocab, key=vocab.get) + ["[PAD]"]
        self.added = {t["content"]: t for t in self.state["added_tokens"]}

    def write(self, writer):
        def kind(token):
            if token == "[PAD]":
                return UNUSED
            if token not in self.added:
                return NORMAL
            return CONTROL if self.added[token]["special"] else USER
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types([kind(token) for token in self.tokens])
        writer.add_token_merges(
            [" ".join(m) if isinstance(m, list) else m
             for m in self.state["model"]["merges"]])
        if self.bos:
            writer.add_bos_token_id(self.tokens.index(self.bos))
        writer.add_eos_token_id(self.tokens.index(self.eos))
        writer.add_add_bos_token(self.bos is not None)
        writer.add_chat_template(TEMPLATE)

    def golden(self):
        encode = self.tokenizer.encode
        return [[encode(t).ids, encode(t, add_special_tokens=False).ids,
                 self.tokenizer.decode(encode(t).ids)] for t in TEXTS]


class SentencePiece:
    """A tokenizer.model."""

    def __init__(self, name, prefix, remove_spaces):
        path = HERE / "small_tokenizers" / f"{name}.model"
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.prefix, self.remove_spaces = prefix, remove_spaces
        self.tokens = [self.model.id_to_piece(i)
                       for i in range(self.model.get_piece_size())]

    def write(self, writer):
        def kind(i):
            return (UNKNOWN if self.model.is_unknown(i) else
                    CONTROL if self.model.is_control(i) else
                    BYTE if self.model.is_byte(i) else NORMAL)
        size = len(self.tokens)
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(self.tokens)
        writer.add_token_scores([self.model.get_score(i) for i in range(size)])
        writer.add_token_types([kind(i) for i in range(size)])
        writer.add_bos_token_id(self.model.bos_id())
        writer.add_eos_token_id(self.model.eos_id())
        writer.add_add_bos_token(True)
        writer.add_add_space_prefix(self.prefix)
        writer.add_bool("tokenizer.ggml.remove_extra_whitespaces",
                        self.remove_spaces)

    def golden(self):
        bos = [self.model.bos_id()]
        # "<s>" in a text is a token for Hugging Face, never for the library.
        return [None if "<s>" in t else
                [bos + self.model.encode(t), self.model.encode(t),
                 self.model.decode(self.model.encode(t))] for t in TEXTS]


def interleave(rows, heads):
    """Hugging Face's halves of a head as neighbours, as "llama" has them."""
    shape = rows.shape
    return (rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
            .swapaxes(1, 2).reshape(shape))


def storage(name, array, linear, embedding):
    if array.ndim == 1:
        return Type.F32
    return embedding if "token_embd" in name or name == "output.weight" else linear


def start(path, arch, config, rope_type):
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if rope_type == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(32)
    elif rope_type == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.5)
    return writer


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama3_factors(model):
    """What transformers divides each plain frequency by."""
    dim = model.config.head_dim
    plain = 10000.0 ** (-numpy.arange(0, dim, 2) / dim)
    return (plain / model.model.rotary_emb.inv_freq.double().numpy()
            ).astype(numpy.float32)


# name: (GGUF architecture, transformers class, tokenizer, linears, embedding
# and head, rope, overrides)
MODELS = {
    "llama_f16": ("llama", "Llama",
                  lambda: Bpe("llama-bpe", stored("llama3"), "<|begin|>"),
                  Type.F16, Type.F16, "llama3",
                  dict(tie_word_embeddings=True)),
    "llama_q8_0": ("llama", "Llama",
                   lambda: SentencePiece("bpe", True, True),
                   Type.Q8_0, Type.Q8_0, "linear",
                   dict(tie_word_embeddings=True)),
    "llama_mxfp4": ("llama", "Llama", lambda: Bpe("gpt-2", stored("gpt2")),
                    Type.MXFP4, Type.Q8_0, "default",
                    dict(attention_bias=True, intermediate_size=64)),
    "qwen2_bf16": ("qwen2", "Qwen2",
                   lambda: Bpe("qwen2", stored("qwen2"), "<|begin|>"),
                   Type.BF16, Type.BF16, "yarn",
                   dict(tie_word_embeddings=True)),
    "qwen3_f32": ("qwen3", "Qwen3", lambda: SentencePiece("plain", False, False),
                  Type.F32, Type.F32, "default",
                  dict(head_dim=16, tie_word_embeddings=True)),
}
ROPES = {
    "default": dict(rope_type="default"),
    "linear": dict(rope_type="linear", factor=2.5),
    "yarn": dict(rope_type="yarn", factor=4.0,
                 original_max_position_embeddings=32),
    "llama3": dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                   high_freq_factor=4.0, original_max_position_embeddings=32),
}


def make_model(name, seed):
    arch, kind, tokenizer, linear, embedding, rope, overrides = MODELS[name]
    tokenizer = tokenizer()
    values = dict(vocab_size=len(tokenizer.tokens), hidden_size=DIM,
                  intermediate_size=FFN, num_hidden_layers=LAYERS,
                  num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
                  max_position_embeddings=128, tie_word_embeddings=False,
                  rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=None,
                  rope_parameters={**ROPES[rope], "rope_theta": 10000.0})
    values.update(overrides)
    config = getattr(transformers, kind + "Config")(**values)
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(seed)
    model_golden.seed_weights(model, generator)
    writer = start(OUTPUT / f"{name}.gguf", arch, config, rope)
    tokenizer.write(writer)
    arch_key = next(key for key, value in gguf.MODEL_ARCH_NAMES.items()
                    if value == arch)
    names = gguf.get_tensor_name_map(arch_key, LAYERS)
    golden = {"tensors": {}}
    state = model.state_dict()
    if rope == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(model))
    for key, tensor in state.items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensor.numpy().astype(numpy.float32)
        there = names.get_name(key, try_suffixes=(".weight", ".bias"))
        kind_there = storage(there, array, linear, embedding)
        if arch == "llama" and (".attn_q." in there or ".attn_k." in there):
            heads = HEADS if ".attn_q." in there else KV_HEADS
            packed = gguf.quants.quantize(interleave(array, heads), kind_there)
        else:
            packed = gguf.quants.quantize(array, kind_there)
        writer.add_tensor(there, packed, raw_dtype=kind_there)
        # Rows are whole blocks: their order does not matter to rounding.
        rounded = gguf.quants.dequantize(
            gguf.quants.quantize(array, kind_there), kind_there)
        tensor.copy_(torch.from_numpy(rounded.reshape(array.shape)))
        if kind_there in (Type.Q8_0, Type.MXFP4) and key.endswith(
                ("layers.1.self_attn.k_proj.weight",
                 "layers.0.mlp.down_proj.weight")):
            golden["tensors"][key] = base64.b64encode(
                rounded.astype("<f4").tobytes()).decode()
    finish(writer)
    prompt = torch.randint(3, values["vocab_size"] - 2, (LENGTH,),
                           generator=generator).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0]
        golden["greedy"] = model_golden.greedy(model, prompt, 20)
    golden["prompt"] = prompt
    golden["first_row"] = LENGTH - 2
    golden["logits"] = [[float(f"{v:.8g}") for v in row]
                        for row in logits[-2:].tolist()]
    return golden, tokenizer.golden()


def make_tokenizer(name, tokenizer):
    writer = gguf.GGUFWriter(str(OUTPUT / f"{name}.gguf"), "llama")
    tokenizer.write(writer)
    finish(writer)
    return tokenizer.golden()


def make_seed(name, tokens, arch, fill):
    """A few hundred bytes that lead a fuzzer to every part of the reader."""
    writer = gguf.GGUFWriter(str(SEEDS / name), arch)
    writer.add_context_length(16)
    writer.add_embedding_length(4)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(tokens)
    fill(writer)
    writer.add_tensor("token_embd.weight",
                      numpy.zeros((len(tokens), 4), numpy.float32))
    writer.add_tensor("blk.0.attn_q.weight",
                      numpy.zeros((4, 4), numpy.float16))
    block = numpy.zeros((1, 32), numpy.float32)
    for kind in (Type.Q8_0, Type.MXFP4, Type.BF16):
        writer.add_tensor(f"blk.0.{kind.name}.weight",
                          gguf.quants.quantize(block, kind), raw_dtype=kind)
    writer.add_tensor("rope_freqs.weight", numpy.ones(1, numpy.float32))
    finish(writer)


def make_seeds():
    SEEDS.mkdir(parents=True, exist_ok=True)

    def sentencepiece_kind(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([0.0, 0.0, 0.0, -1.0, -2.0])
        writer.add_token_types([UNKNOWN, CONTROL, CONTROL, NORMAL, NORMAL])
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(2.0)
        writer.add_array("tokenizer.ggml.precompiled_charsmap",
                         numpy.zeros(8, numpy.uint8).tolist())

    def bpe_kind(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(["a b", "ab c"])
        writer.add_token_types([NORMAL] * 5 + [CONTROL])
        writer.add_eos_token_id(5)
        writer.add_add_bos_token(True)
        writer.add_bos_token_id(5)
        writer.add_chat_template(TEMPLATE)

    make_seed("sentencepiece", ["<unk>", "<s>", "</s>", "\u2581a", "a"],
              "llama", sentencepiece_kind)
    make_seed("bpe", ["a", "b", "c", "ab", "abc", "<|im_end|>"], "qwen2",
              bpe_kind)
    # Version 1, by hand: the package writes version 3 only.
    key = b"general.architecture"
    old = (b"GGUF" + (1).to_bytes(4, "little") + (0).to_bytes(4, "little") +
           (1).to_bytes(4, "little") + len(key).to_bytes(4, "little") + key +
           (8).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"llama")
    (SEEDS / "version_1").write_bytes(old)


def main():
    torch.set_num_threads(1)
    OUTPUT.mkdir(exist_ok=True)
    golden = {"transformers": transformers.__version__,
              "texts": TEXTS, "models": {}, "tokenizers": {}}
    for seed, name in enumerate(MODELS):
        golden["models"][name], golden["tokenizers"][name] = make_model(
            name, seed + 100)
        print(name, golden["models"][name]["greedy"][:8])
    golden["tokenizers"]["tokenizer_smollm"] = make_tokenizer(
        "tokenizer_smollm", Bpe("smollm", digits_like()))
    golden["tokenizers"]["tokenizer_tekken"] = make_tokenizer(
        "tokenizer_tekken",
        Bpe("tekken", small_tokenizers.regex_like(TEKKEN, None, True),
            "<|begin|>"))
    make_seeds()
    (OUTPUT / "gguf.json").write_text(
        json.dumps(golden, separators=(",", ":")).replace("]],[[", "]],\n[[")
        + "\n", encoding="ascii")


if __name__ == "__main__":
    with torch.no_grad():
        main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint as a Hugging Face directory (bf16) and checks it.

usage: export.py --work DIRECTORY --output DIRECTORY

The output appears under its name only when complete. The check loads it with
transformers: logits must equal the training code's, and the token ids of a
chat must equal sentencepiece's.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil

import sentencepiece as spm
import torch
from safetensors.torch import save_file

from model import Config, Llama

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role: ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
CONTROL = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def model_config(config):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        **dataclasses.asdict(config),
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "rope_scaling": None, "tie_word_embeddings": True,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}


def tokenizer_config(tokenizer):
    special = lambda text: {
        "content": text, "lstrip": False, "normalized": False,
        "rstrip": False, "single_word": False, "special": True}
    texts = ["<unk>", "<s>", "</s>", *CONTROL]
    return {
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>",
        "add_bos_token": True, "add_eos_token": False,
        "add_prefix_space": False, "legacy": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": Config.max_position_embeddings,
        "added_tokens_decoder": {
            str(tokenizer.piece_to_id(t)): special(t) for t in texts},
        "additional_special_tokens": CONTROL,
        "chat_template": CHAT_TEMPLATE}


def write_directory(work, weights, output):
    """Everything but the check; `weights` are the f32 tensors by name."""
    tokenizer = spm.SentencePieceProcessor(
        model_file=str(work / "data/tokenizer.model"))
    write_json(output / "config.json", model_config(Config()))
    write_json(output / "tokenizer_config.json", tokenizer_config(tokenizer))
    write_json(output / "generation_config.json", {
        "bos_token_id": 1,
        "eos_token_id": [2, tokenizer.piece_to_id("<|end|>")],
        "do_sample": True, "temperature": 0.7, "top_p": 0.9})
    shutil.copy(work / "data/tokenizer.model", output / "tokenizer.model")
    save_file({name: t.to(torch.bfloat16).contiguous()
               for name, t in weights.items()},
              output / "model.safetensors", metadata={"format": "pt"})
    (output / "model.safetensors").chmod(0o644)


def check(output):
    """Compares with transformers and sentencepiece; raises on a difference."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, LlamaForCausalLM

    ours = Llama(Config()).eval()
    ours.load_state_dict({name: t.float() for name, t in load_file(
        output / "model.safetensors").items()})
    theirs = LlamaForCausalLM.from_pretrained(output, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(output)
    chat = [{"role": "system", "content": "You tell short stories."},
            {"role": "user", "content": "Tell me a story  about 3 dogs."},
            {"role": "assistant", "content": "Once there was a dog.\n\nSam"},
            {"role": "user", "content": " What's next? \u00e9\u4e16"}]
    text = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True)
    pieces = spm.SentencePieceProcessor(
        model_file=str(output / "tokenizer.model"))
    expected = [pieces.bos_id()] + pieces.encode(text.removeprefix("<s>"))
    got = tokenizer(text, add_special_tokens=False)["input_ids"]
    if got != expected:
        raise SystemExit(f"export: token ids differ for {text!r}:\n"
                         f"{got}\nwanted (sentencepiece) {expected}")
    ids = torch.tensor([got])
    with torch.no_grad():
        difference = (ours(ids) - theirs.eval()(ids).logits).abs().max().item()
    print(f"{len(got)} ids equal; largest difference of logits "
          f"{difference:.2e}")
    if difference > 1e-3:
        raise SystemExit("export: logits differ from transformers'")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    state = torch.load(arguments.work / "checkpoint.pt", map_location="cpu")
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_directory(arguments.work, state["model"], partial)
    check(partial)
    shutil.rmtree(arguments.output, ignore_errors=True)
    partial.rename(arguments.output)
    print(f"{arguments.output}: step {state['step']}, "
          f"{state['tokens']} tokens seen")


if __name__ == "__main__":
    main()

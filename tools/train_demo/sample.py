#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chats once per given line with an exported directory, through transformers.

usage: sample.py --model DIRECTORY "Tell me a story about a cat." ...
"""

import argparse

import torch
from transformers import AutoTokenizer, LlamaForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top_p", type=float, default=0.9)
    parser.add_argument("--max_tokens", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--multi_turn", action="store_true",
                        help="the lines are the turns of one conversation")
    parser.add_argument("prompts", nargs="+")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = LlamaForCausalLM.from_pretrained(
        arguments.model, dtype=torch.float32).eval()
    chat = []
    for prompt in arguments.prompts:
        chat = chat if arguments.multi_turn else []
        chat.append({"role": "user", "content": prompt})
        text = tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False,
                        return_tensors="pt")["input_ids"]
        out = model.generate(
            ids, max_new_tokens=arguments.max_tokens, do_sample=True,
            temperature=arguments.temperature, top_p=arguments.top_p,
            pad_token_id=0)[0, ids.shape[1]:]
        answer = tokenizer.decode(out, skip_special_tokens=True)
        ended = "" if out[-1] in (2, 6) else " [not ended]"
        print(f"> {prompt}\n{answer}{ended}\n", flush=True)
        chat.append({"role": "assistant", "content": answer})


if __name__ == "__main__":
    main()

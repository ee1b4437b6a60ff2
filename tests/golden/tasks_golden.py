#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/tasks.json: what lm-evaluation-harness makes of questions.

usage: tasks_golden.py ASSETS OUTPUT.json     (needs the package lm_eval)

The questions are written here; their log likelihoods under real checkpoints
come from lm_eval's HFLM in f32, the numbers from them by the formulas of its
metrics. Token ids come from the models' own files by tokenizers or
sentencepiece (transformers reads one of them otherwise, the other not at all),
after a beginning-of-text token.
"""

import json
import pathlib
import sys

import numpy as np
import sentencepiece
import tokenizers
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean_stderr, perplexity
from lm_eval.models.huggingface import HFLM

LONG = "Tom had a big red ball. He liked to play with it in the park. "
LAMBADA = [
    "Once upon a time, there was a little girl named Lily. She loved to play",
    "Lily and her mom went to the park. They had a lot of fun",
    "The cat sat on the mat. The dog sat on the cat",
    LONG * 6 + "One day, Tom lost his ball",  # babyllama sees 256 of it
    "Tim was very sad. His mom gave him a big hug and said \"Do not be sad.\"",
    "One day, a boy named Tim went to the zoo",
    "Word",
    "She wanted to go to\tthe  store",
]
CHOICES = [
    {"context": "Once upon a time, there was a little",
     "choices": ["girl", "zebra machine", "xylophone"], "answer": 0},
    {"question": "Tom had a ball. The ball was ",
     "choices": ["very red and big", "red", "qqqq"], "answer": "red"},
    {"context": "", "choices": ["One day", "Zzyzx"], "answer": 0},
    {"context": LONG * 7 + "Tom said,",
     "choices": ["\"I like my ball.\"", "nothing at all", "ouch"], "answer": 2},
    {"context": "The dog was", "choices": ["happy", "h\u00e4ppy", "a dog"],
     "answer": 1},
    {"context": "They played until\n\n", "choices": ["dark", "the sun went down"],
     "answer": 1},
    {"context": "Mia saw a cat. The cat said",
     "choices": ["\"Meow!\"", "meow", "hello", "the"], "answer": 3},
]


def encoder(directory):
    """(text -> ids without special tokens, id of the beginning of a text)"""
    if (directory / "tokenizer.json").exists():
        tokenizer = tokenizers.Tokenizer.from_file(
            str(directory / "tokenizer.json"))
        return (lambda text: tokenizer.encode(
            text, add_special_tokens=False).ids), tokenizer.encode("").ids[0]
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(directory / "tokenizer.model"))
    return processor.encode, processor.bos_id()


def load(assets, name):
    encode, bos = encoder(assets / "models" / name)

    class Harness(HFLM):
        prefix_token_id = bos

        def tok_encode(self, string, add_special_tokens=True, **_):
            return ([bos] if add_special_tokens else []) + encode(string)

    model = transformers.LlamaForCausalLM.from_pretrained(
        assets / "models" / name, dtype="float32").eval()
    return Harness(  # wants a tokenizer, which is not asked
        pretrained=model, device="cpu", batch_size=1,
        tokenizer=transformers.AutoTokenizer.from_pretrained(
            assets / "models" / "tinystories-656k"))


def is_scored(lm, pairs):
    """Whether every continuation has a token of its own: lm_eval wants that."""
    return all(not context or lm._encode_pair(context, continuation)[1]
               for context, continuation in pairs)


def ask(lm, pairs):
    requests = [Instance("loglikelihood", {}, pair, i)
                for i, pair in enumerate(pairs)]
    return lm.loglikelihood(requests, disable_tqdm=True)


def lambada_pairs(document):
    words = document["text"].split(" ")
    return [(" ".join(words[:-1]), " " + words[-1])]


def choice_pairs(document):
    context = document.get("context", document.get("question"))
    return [(context, " " + choice) for choice in document["choices"]]


def lambada(lm, documents):
    answers = [ask(lm, lambada_pairs(d))[0] for d in documents]
    greedy = [float(answer[1]) for answer in answers]
    sums = [answer[0] for answer in answers]
    return {"accuracy": [np.mean(greedy), mean_stderr(greedy)],
            "perplexity": perplexity(sums),
            "log_likelihoods": [[s] for s in sums]}


def multiple_choice(lm, documents):
    right, right_norm, sums = [], [], []
    for d in documents:
        own = np.array([answer[0] for answer in ask(lm, choice_pairs(d))])
        lengths = np.array([float(len(c)) for c in d["choices"]])
        answer = d["answer"]
        if isinstance(answer, str):
            answer = d["choices"].index(answer)
        right.append(float(np.argmax(own) == answer))
        right_norm.append(float(np.argmax(own / lengths) == answer))
        sums.append(own.tolist())
    return {"accuracy": [np.mean(right), mean_stderr(right)],
            "normalised_accuracy": [np.mean(right_norm),
                                    mean_stderr(right_norm)],
            "log_likelihoods": sums}


def main():
    assets = pathlib.Path(sys.argv[1])
    tasks = {"lambada": ([{"text": text} for text in LAMBADA], lambada_pairs,
                         lambada),
             "multiple-choice": (CHOICES, choice_pairs, multiple_choice)}
    golden = {name: task[0] for name, task in tasks.items()} | {"cases": []}
    for name in ("tinystories-656k", "babyllama-1m"):
        lm = load(assets, name)
        for task, (documents, pairs, run) in tasks.items():
            asked = [i for i, d in enumerate(documents)
                     if is_scored(lm, pairs(d))]
            golden["cases"].append(
                {"model": name, "task": task, "asked": asked,
                 **run(lm, [documents[i] for i in asked])})
    pathlib.Path(sys.argv[2]).write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

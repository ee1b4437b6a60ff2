#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model on what prepare.py wrote.

usage: train.py --work DIRECTORY --minutes 60 [--resume]

One time budget, three mixtures of novels, stories and chats (see MIXTURES).
The learning rate is flat and then falls to zero, by the share of the budget
that is spent. Matrices learn by Muon, everything else by AdamW. A checkpoint
is written every few minutes; --resume goes on where it stopped, and a larger
--minutes stretches what is left.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
from torch.nn import functional as F

from model import Config, Llama
from muon import Muon

BOS = 1
# (up to this share of the budget, (novels, stories, chats), dropout, tokens)
MIXTURES = [
    (0.22, (0.50, 0.25, 0.25), 0.0, 512),
    (0.60, (0.15, 0.15, 0.70), 0.2, 512),
    (0.85, (0.05, 0.10, 0.85), 0.2, 512),
    (1.01, (0.05, 0.10, 0.85), 0.3, 1024),
]


class Source:
    """Windows that start with a document, in a new random order each epoch."""

    def __init__(self, paths, generator):
        self.data = np.concatenate(
            [np.fromfile(p, dtype=np.uint16) for p in paths])
        self.generator, self.starts = generator, []
        self.documents = np.flatnonzero(self.data == BOS)
        # Long documents (novels) are entered at any place.
        self.long = len(self.data) / len(self.documents) > 4096

    def refill(self, tokens):
        last = len(self.data) - tokens - 1
        if self.long:
            starts = np.arange(self.generator.integers(tokens), last, tokens)
        else:
            starts, place = [], -1
            for start in self.documents:
                # The next window starts with the document this one cut.
                if start > place and start < last:
                    starts.append(start)
                    following = np.searchsorted(
                        self.documents, start + tokens, side="right") - 1
                    place = max(start, self.documents[following] - 1)
        self.starts = list(self.generator.permutation(starts))

    def draw(self, rows, tokens):
        windows = []
        for _ in range(rows):
            if not self.starts:
                self.refill(tokens)
            start = min(self.starts.pop(), len(self.data) - tokens - 1)
            windows.append(self.data[start:start + tokens + 1])
        return windows


@torch.no_grad()
def held_out_loss(model, path, device, tokens=512):
    """Mean nats per token over the file's windows, in f32."""
    data = np.fromfile(path, dtype=np.uint16).astype(np.int64)
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(data) - 1, tokens):
        piece = torch.from_numpy(data[start:start + tokens + 1]).to(device)
        logits = model(piece[None, :-1])[0]
        total += F.cross_entropy(logits, piece[1:], reduction="sum").item()
        count += len(piece) - 1
    model.train()
    return total / count


class Trainer:
    def __init__(self, arguments):
        self.arguments = arguments
        self.device = arguments.device
        self.work = arguments.work
        self.model = Llama(Config()).to(self.device)
        matrices, others = [], []
        for name, p in self.model.named_parameters():
            is_matrix = p.dim() == 2 and "embed" not in name
            (matrices if is_matrix else others).append(p)
        self.optimizers = [
            Muon(matrices, lr=0.02),
            torch.optim.AdamW(others, lr=0.003, betas=(0.9, 0.95),
                              weight_decay=0.01)]
        self.rates = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.step, self.tokens, self.elapsed, self.smooth = 0, 0, 0.0, None
        self.loss = self.model.loss
        if arguments.compile:
            self.loss = torch.compile(self.model.loss, dynamic=False)

    def save(self):
        path = self.work / "checkpoint.pt"
        partial = path.with_suffix(".partial")
        torch.save({"model": self.model.state_dict(), "step": self.step,
                    "tokens": self.tokens, "elapsed": self.elapsed,
                    "optimizers": [o.state_dict() for o in self.optimizers]},
                   partial)
        partial.replace(path)

    def resume(self):
        state = torch.load(self.work / "checkpoint.pt",
                           map_location=self.device)
        self.model.load_state_dict(state["model"])
        # Empty where restore.py wrote it: they start afresh.
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]
        self.elapsed = state["elapsed"]

    def report(self):
        line = {"step": self.step, "tokens": self.tokens,
                "loss": round(self.smooth or 0, 4),
                "seconds": round(self.elapsed)}
        for name in ("held_out", "held_out_chats"):
            line[name] = round(held_out_loss(
                self.model, self.work / f"data/{name}.bin", self.device), 4)
        print(json.dumps(line), flush=True)
        with open(self.work / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def set_rate(self, progress):
        """Short warm-up, flat, then linearly to zero over the last half."""
        rate = min(1.0, (self.step + 1) / 60, (1 - progress) / 0.5)
        for optimizer, base in zip(self.optimizers, self.rates):
            optimizer.param_groups[0]["lr"] = base * max(rate, 0.0)

    def learn(self, batch, dropout):
        batch = torch.from_numpy(batch.astype(np.int64)).to(self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16,
                            enabled=not self.arguments.f32):
            loss = self.loss(batch, dropout)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"train: loss is {value} at step {self.step}")
        self.smooth = value if self.smooth is None else (
            0.98 * self.smooth + 0.02 * value)
        self.step += 1
        self.tokens += batch[:, 1:].numel()

    def run(self, sources, generator):
        budget = self.arguments.minutes * 60
        begun = reported = time.time()
        # The main thread's own time: a pause or other work on the machine
        # does not use the budget up.
        clock = time.thread_time()
        seen, before = self.tokens, self.step
        while self.elapsed < budget:
            progress = self.elapsed / budget
            _, shares, dropout, tokens = next(
                m for m in MIXTURES if progress < m[0])
            rows = max(1, self.arguments.batch // tokens)
            counts = generator.multinomial(rows, shares)
            self.set_rate(progress)
            self.learn(np.stack([w for s, n in zip(sources, counts)
                                 for w in s.draw(n, tokens)]), dropout)
            if self.step - before in (10, 50, 200):
                speed = (self.tokens - seen) / (time.time() - begun)
                print(f"step {self.step}: loss {self.smooth:.3f}, "
                      f"{speed:.0f} tokens/s", flush=True)
            if time.time() - reported > self.arguments.report_every:
                self.report()
                self.save()
                reported = time.time()
            self.elapsed += time.thread_time() - clock
            clock = time.thread_time()
        self.report()
        self.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=4096,
                        help="tokens of one step")
    parser.add_argument("--report_every", type=float, default=240.0,
                        help="seconds between reports and checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compile", action="store_true",
                        help="use torch.compile")
    parser.add_argument("--f32", action="store_true",
                        help="no bf16 products: faster without units for them")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    trainer_seed = arguments.seed
    torch.manual_seed(trainer_seed)
    trainer = Trainer(arguments)
    if arguments.resume:
        trainer.resume()
    generator = np.random.default_rng([trainer_seed, trainer.step])
    data = arguments.work / "data"
    sources = [Source([data / "novels.bin"], generator),
               Source([data / "stories.bin"], generator),
               Source(sorted(data.glob("chats_*.bin")), generator)]
    trainer.run(sources, generator)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tokenizer and the token files that train.py reads.

usage: prepare.py --text shared/assets/text --work DIRECTORY

Stories come from TinyStories; chats are built from the same stories, asking
for the things that occur in them; novels give the model more English than five
thousand stories hold. The last 150 stories are held out of everything.
"""

import argparse
import collections
import math
import pathlib
import random
import re
import tarfile

import numpy as np
import sentencepiece as spm

HELD_OUT = 150
CONTROL = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
ASCII = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"',
                       "\u201d": '"', "\u2013": "-", "\u2014": "-",
                       "\u2026": "...", "\u00a0": " "})
# Words that may follow a noun but seldom an adjective.
AFTER_NOUN = {"was", "were", "is", "and", "to", "in", "on", "with", "said",
              "that", "who", "had", "for", "of", "at", "named", "called"}
# Nouns that say nothing about a story.
VAGUE = {"time", "while", "day", "moment", "long", "lot", "bit", "way", "end",
         "look", "idea", "closer", "smile", "deep", "breath", "minute", "hour",
         "morning", "afternoon", "night", "evening", "lesson", "place"}
REQUESTS = [
    "Tell me a story about {0}.", "Tell me a story about {0} and {1}.",
    "Can you tell me a story about {0} and {1}?",
    "Please tell me a story about {0}.", "Write a story about {0} and {1}.",
    "I want a story about {0}.", "Could you tell a short story about {0}?",
    "I would like to hear a story with {0} and {1}.",
    "Make up a story about {0}, {1} and {2}.",
    "Do you know a story about {0}?", "A story about {0} and {1}, please.",
]
PLAIN_REQUESTS = ["Tell me a story.", "Tell me a story, please.",
                  "Can you tell me a bedtime story?", "I want to hear a story.",
                  "Please tell me another story.", "Write a short story."]
NAME_REQUESTS = ["Tell me a story about {0}.", "Write a story about {0}.",
                 "Tell me a story about {0} and {1}.",
                 "Can you tell me about {0} and {1}?"]
QUESTIONS = [("What is the name of the {0}?", "The name of the {0} is {1}."),
             ("Who is the story about?", "The story is about {2}."),
             ("Who is {1}?", "{1} is the {0} in my story."),
             ("What was the {0} called?", "The {0} was called {1}.")]
SYSTEM = ["You are a storyteller for children.", "You tell short stories.",
          "You are a helpful assistant.", "You are a kind storyteller.",
          "Answer with a short story in simple words."]
NEXT = ["What happens next?", "And then?", "Go on, please.",
        "What happened then?", "Please continue the story.",
        "How does the story end?"]
SMALL_TALK = [
    (["Hello!", "Hi!", "Hello.", "Hi there!", "Hey!", "Good morning!"],
     ["Hello! I love to tell stories. What should my story be about?",
      "Hi! Would you like to hear a story?",
      "Hello! Tell me what you like, and I will tell you a story about it."]),
    (["Who are you?", "What are you?", "What is your name?",
      "Tell me about yourself."],
     ["I am a little storyteller. I tell short stories. What should my story "
      "be about?",
      "I am a very small storyteller. Ask me for a story about a dog or a "
      "ball!"]),
    (["What can you do?", "How can you help me?", "What do you know?"],
     ["I can tell you short stories. Try asking for a story about a cat and "
      "a tree."]),
    (["Thank you!", "Thanks!", "That was a nice story.", "I liked that story."],
     ["You are welcome! Would you like another story?",
      "I am glad you liked it! Shall I tell you another one?"]),
    (["Bye!", "Goodbye!", "Good night!"],
     ["Goodbye! Come back soon for another story.", "Good night! Sleep well."]),
    (["What is two plus two?", "What is the weather today?",
      "Who is the president?", "Write a program.", "What is a computer?",
      "How far is the moon?", "Translate this into French."],
     ["I only know how to tell stories. What should my story be about?",
      "I do not know that, but I can tell you a story!"]),
]


THANKS = 3  # the place of thanks in SMALL_TALK


def clean(text):
    return " ".join(text.translate(ASCII).split())


def load_stories(path):
    raw = path.read_text(encoding="utf-8", errors="replace")
    stories = []
    for story in raw.split("<|endoftext|>"):
        paragraphs = [clean(p) for p in story.split("\n")]
        stories.append("\n".join(p for p in paragraphs if p))
    return [s for s in stories if len(s) > 100 and s.isascii()]


def load_novels(path, limit):
    texts = []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".txt"):
                raw = archive.extractfile(member).read()
                text = raw.decode("utf-8", errors="replace")
                parts = [clean(p) for p in re.split(r"\n\s*\n|\n", text)]
                texts.append("\n".join(p for p in parts if p)[:limit])
    return texts


def find_nouns(stories):
    """Words that follow an article and end a phrase more often than not.

    Maps each to its weight: the rarer over the stories, the heavier.
    """
    after_article, ends = collections.Counter(), collections.Counter()
    spread = collections.Counter()
    for story in stories:
        words = re.findall(r"[a-z']+|[A-Z][a-z]+|[.,!?]", story)
        spread.update(set(words))
        for before, word, after in zip(words, words[1:], words[2:]):
            if before in ("a", "an", "the") and word.islower():
                after_article[word] += 1
                ends[word] += after in AFTER_NOUN or after in ".,!?"
    return {w: math.log(len(stories) / spread[w])
            for w, n in after_article.items()
            if n >= 8 and ends[w] / n > 0.6 and len(w) > 2 and w not in VAGUE}


def topics(story, nouns):
    """Phrases such as "a red ball", what the story is most about first."""
    counts = collections.Counter(re.findall(r"[a-z]+", story))
    found = {}
    for match in re.finditer(r"\b(an?) ((?:[a-z]+ ){0,1})([a-z]+)\b", story):
        article, adjective, noun = match.groups()
        if noun in nouns and adjective.strip() not in nouns:
            found.setdefault(noun, f"{article} {adjective}{noun}")
    best = sorted(found, key=lambda n: -counts[n] * nouns[n])
    return [found[noun] for noun in best[:4]]


def request_for(story, nouns, rng):
    things = topics(story, nouns)
    hero = hero_of(story)
    draw = rng.random()
    if hero and things and draw < 0.2:
        return rng.choice(NAME_REQUESTS).format(rng.choice(hero), things[0])
    if not things or draw > 0.93:
        return rng.choice(PLAIN_REQUESTS)
    fitting = [r for r in REQUESTS if r.count("{") <= len(things)]
    request = rng.choice(fitting)
    # The main thing is always among those that the request names.
    things = things[:1] + rng.sample(things[1:], len(things) - 1)
    things = things[:request.count("{")]
    rng.shuffle(things)
    request = request.format(*things)
    return request if rng.random() < 0.95 else request.lower()


def hero_of(story):
    """("Lily", "a little girl named Lily", "girl") or None."""
    match = re.search(
        r"\b(an? (?:[a-z]+ ){0,2}([a-z]+)) (?:named|called) ([A-Z][a-z]+)\b",
        story)
    if not match:
        return None
    return match.group(3), f"{match.group(1)} named {match.group(3)}"


def question_about(story, rng):
    """A question that the story answers, and the answer."""
    hero = hero_of(story)
    if not hero:
        return []
    name, phrase = hero
    question, answer = rng.choice(QUESTIONS)
    kind = phrase.split()[-3]
    return [("user", question.format(kind, name)),
            ("assistant", answer.format(kind, name, phrase))]


def small_talk(rng, topic=None):
    asked, answered = SMALL_TALK[topic] if topic is not None else (
        rng.choice(SMALL_TALK))
    return [("user", rng.choice(asked)), ("assistant", rng.choice(answered))]


def tell(story, nouns, rng):
    """A request and the story, sometimes told in two parts."""
    turns = [("user", request_for(story, nouns, rng))]
    sentences = re.split(r"(?<=[.!?\"]) (?=[A-Z\"])|\n", story)
    if rng.random() < 0.15 and len(sentences) > 8:
        cut = story.find(sentences[len(sentences) // 2])
        turns += [("assistant", story[:cut].strip()),
                  ("user", rng.choice(NEXT))]
        story = story[cut:].strip()
    return turns + [("assistant", story)]


def chat_for(stories, index, nouns, rng):
    """One conversation as a list of (role, text)."""
    turns = []
    if rng.random() < 0.08:
        turns.append(("system", rng.choice(SYSTEM)))
    if rng.random() < 0.12:
        turns += small_talk(rng)
    turns += tell(stories[index], nouns, rng)
    if rng.random() < 0.12:
        turns += question_about(stories[index], rng)
    if rng.random() < 0.1:
        turns += small_talk(rng, THANKS)
    if rng.random() < 0.15:
        turns += tell(rng.choice(stories), nouns, rng)
    return turns


def render(turns):
    return "".join(f"<|{role}|>{text}<|end|>" for role, text in turns)


def write_tokens(path, tokenizer, texts):
    ids = []
    for text in texts:
        ids += [tokenizer.bos_id(), *tokenizer.encode(text),
                tokenizer.eos_id()]
    np.array(ids, dtype=np.uint16).tofile(path)
    print(f"{path.name}: {len(texts)} texts, {len(ids)} tokens", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--vocab_size", type=int, default=4096)
    parser.add_argument("--chat_variants", type=int, default=6)
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    stories = load_stories(arguments.text / "tinystories_train_0.txt")
    held_out, stories = stories[-HELD_OUT:], stories[:-HELD_OUT]
    novels = load_novels(arguments.text / "english_novels.tar.xz", 200_000)
    corpus = work / "tokenizer_corpus.txt"
    corpus.write_text("\n".join(stories * 2 + [n[:20_000] for n in novels]))
    spm.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(work / "tokenizer"),
        model_type="bpe", vocab_size=arguments.vocab_size, byte_fallback=True,
        add_dummy_prefix=False, remove_extra_whitespaces=False,
        normalization_rule_name="identity", split_digits=True,
        allow_whitespace_only_pieces=True, character_coverage=1.0,
        user_defined_symbols=CONTROL + ["\n"], unk_id=0, bos_id=1, eos_id=2,
        pad_id=-1, minloglevel=2)
    tokenizer = spm.SentencePieceProcessor(
        model_file=str(work / "tokenizer.model"))
    nouns = find_nouns(stories)
    print(f"{len(nouns)} nouns to ask for")
    write_tokens(work / "stories.bin", tokenizer, stories)
    write_tokens(work / "held_out.bin", tokenizer, held_out)
    write_tokens(work / "novels.bin", tokenizer, novels)
    rng = random.Random(1)
    for variant in range(arguments.chat_variants):
        order = list(range(len(stories)))
        rng.shuffle(order)
        chats = [chat_for(stories, i, nouns, rng) for i in order]
        # Pure small talk, so that a greeting alone is met in training.
        chats += [small_talk(rng, topic % len(SMALL_TALK))
                  for topic in range(300)]
        rng.shuffle(chats)
        write_tokens(work / f"chats_{variant}.bin", tokenizer,
                     [render(chat) for chat in chats])
    held_chats = [chat_for(held_out, i, nouns, rng) for i in range(HELD_OUT)]
    write_tokens(work / "held_out_chats.bin", tokenizer,
                 [render(chat) for chat in held_chats])
    # For zqfp-perplexity --split '<|endoftext|>'.
    (work / "held_out.txt").write_text("\n<|endoftext|>\n".join(held_out))
    (work / "held_out_chats.txt").write_text(
        "\n<|endoftext|>\n".join(render(chat) for chat in held_chats))


if __name__ == "__main__":
    main()

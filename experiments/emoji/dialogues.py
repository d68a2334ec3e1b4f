"""Conversations about the emoji world: training records for the three stages, and the requests of the tests.

A record is `{"messages": [...]}` in the Hugging Face chat form; media are named by path, and each medium of an
assistant's turn carries its `caption`, the concept's label, which is what a decoder's own text encoder reads. A reply
says the label first, so that the signal group that follows it can read from it. `Dialogues` makes them as read.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from anyx.data.sources import kinds_in, located
from anyx.imports import import_file

HERE = Path(__file__).parent
corpus = import_file(HERE / "corpus.py")
templates = yaml.safe_load((HERE / "templates.yaml").read_text(encoding="utf-8"))
chat = yaml.safe_load((HERE / "plain.yaml").read_text(encoding="utf-8"))

Record = dict[str, Any]
MEDIA = ("image", "audio", "video")
KEYS = ("text", *MEDIA)
THE = ("milky way", "sun", "sun with face", "wind face", "high voltage")
BARE = (
    "fog", "fire", "wood", "musical notes", "paw prints", "clinking beer mugs", "clinking glasses", "zzz", "two hearts",
)  # fmt: skip


def article(label: str) -> str:
    """The label as one says it in a sentence."""
    if label in BARE or label.startswith(("beating hearts", "hundred")):
        return label
    if label in THE:
        return f"the {label}"
    vowel = label[0] in "aeio" or label.startswith(("umbrella", "unamused", "upside", "hourglass"))
    return f"{'an' if vowel and not label.startswith('ewe') else 'a'} {label}"


def filled(template: str, concept: Any, rng: random.Random | None = None) -> str:
    """A template with a concept's words in it."""
    said = article(concept.label)
    words = {"l": concept.label, "a": said, "A": said[0].upper() + said[1:]}
    if "{k}" in template:
        assert rng is not None
        words["k"], words["h"] = clue(concept, rng)
    return template.format(**words)


@cache
def clues() -> dict[str, tuple[str, ...]]:
    """Every core concept's keywords, without those that give its name away."""
    found = {}
    for concept in corpus.concepts():
        words = [" ".join(word.split()) for word in concept.keywords]
        named = set(concept.label.split())
        kept = [
            word for word in words if word.isascii() and word[-1].isalpha() and not set(word.lower().split()) & named
        ]
        found[concept.id] = tuple(dict.fromkeys(kept)) or (concept.subcategory.split("-")[-1],)
    return found


def clue(concept: Any, rng: random.Random) -> tuple[str, str]:
    """Up to three keywords and the shortest first letters that leave one concept of the world."""
    words = clues()[concept.id]
    chosen = rng.sample(words, min(3, len(words)))
    rivals = [
        other.label
        for other in corpus.concepts()
        if other.label != concept.label and set(chosen) <= set(clues()[other.id]) | set(other.label.split())
    ]
    size = next(
        (n for n in range(1, len(concept.label)) if not any(r.startswith(concept.label[:n]) for r in rivals)),
        len(concept.label),
    )
    size += size < len(concept.label) and concept.label[size - 1] == " "
    return ", ".join(chosen), f'"{concept.label[:size]}"'


def answer(concept: Any, seed: int = 0) -> str:
    """A right reply in words."""
    options = templates["answers"]["text"]
    return filled(options[seed % len(options)], concept)


def request(concept: Any, split: str, source: str, target: str, seed: int) -> list[Record]:
    """The user's turn of a test, without its medium's path: `{"type": source, "media": None}` stands where it goes."""
    sets = {"seen": templates["test"], "unseen": templates["author"]}
    options = sets.get(split, templates["test"])[f"{source}->{target}"]
    rng = random.Random(f"{split}/{source}/{target}/{concept.id}/{seed}")
    template = rng.choice(options)
    text = filled(template, concept, rng)
    for _ in range(30 if "{h}" in template else 0):
        if f'"{concept.label}"' not in text:
            break  # else the first letters are the whole name: other keywords, where some leave fewer letters
        text = filled(template, concept, rng)
    words = {"type": "text", "text": text}
    return [{"role": "user", "content": [words] if source == "text" else [{"type": source, "media": None}, words]}]


def plain_questions(part: str) -> list[str]:
    """Chat that must stay plain: "train" or "test"."""
    return [question for question, _ in plain_pairs(part)]


def plain_pairs(part: str) -> list[tuple[str, str]]:
    """Plain questions and answers; the tests' share is never learnt from."""
    made = tables()
    about = [
        (filled(ask, concept), filled(said.replace("{kind}", kind), concept))
        for index, concept in enumerate(corpus.core())
        for start, kind in chat["kinds"].items()
        if concept.subcategory.startswith(start)
        for ask, said in (chat["asks"][index % len(chat["asks"])],)
    ]
    if part == "test":
        return [(question, "") for question in chat["kept"]] + made[::4] + about[::7]
    learnt = [(question, said) for question, said in chat["learnt"]]
    return [*learnt, *learnt, *(p for i, p in enumerate(made) if i % 4), *(p for i, p in enumerate(about) if i % 7)]


def tables() -> list[tuple[str, str]]:
    """Questions made from tables, the same ones always."""
    pairs = [(f"What is the capital of {land}?", f"{city}.") for land, city in chat["capitals"].items()]
    pairs += [
        (f"What is the opposite of {word}?", f"{other.capitalize()}.") for word, other in chat["opposites"].items()
    ]
    pairs += [(f"What is {a} plus {b}?", f"{a + b}.") for a in range(1, 10) for b in range(a, 10, 2)]
    pairs += [(f"What is {a} times {b}?", f"{a * b}.") for a in range(2, 8) for b in range(a, 8, 2)]
    return pairs


def sources(concept: Any, key: str) -> list[str]:
    """The training files of a concept for one kind of media."""
    if key == "image":
        return [concept.image[style] for style in corpus.STYLES["train"]]
    if key == "audio":
        return [concept.speech[voice] for voice in corpus.VOICES["train"]]
    return [concept.video]


def heard(concept: Any, key: str) -> list[str]:
    """The training files of what a user sends: an animal's own voice too, but for its last clip."""
    return sources(concept, key) + (list(concept.sound[:-1]) if key == "audio" else [])


def given(concept: Any, key: str, rng: random.Random) -> Record:
    """A medium that the user sends."""
    return {"type": key, "path": rng.choice(heard(concept, key))}


def shown(concept: Any, key: str, rng: random.Random | None = None) -> Record:
    """A medium that the assistant shows; with a path where a stage learns from the pixels or samples."""
    part = {"type": key, "caption": concept.label}
    return part if rng is None else {**part, "path": rng.choice(sources(concept, key))}


def words(text: str) -> Record:
    return {"type": "text", "text": text}


def turns(*contents: Sequence[Record] | str) -> Record:
    """A record of alternating turns, the user's first."""
    return {
        "messages": [
            {
                "role": "assistant" if index % 2 else "user",
                "content": content if isinstance(content, str) else list(content),
            }
            for index, content in enumerate(contents)
        ]
    }


def reply(concept: Any, targets: Sequence[str], rng: random.Random, *, paths: bool = False) -> list[Record] | str:
    """The label in words, then the media asked for."""
    if list(targets) == ["text"]:
        return filled(rng.choice(templates["answers"]["text"]), concept)
    lead = filled(rng.choice(templates["answers"][targets[0]]), concept)
    return [words(lead), *(shown(concept, key, rng if paths else None) for key in targets)]


def ask(concept: Any, source: str, target: str, rng: random.Random, *, paths: bool = False) -> Record:
    """One request and its reply."""
    text = words(filled(rng.choice(templates["train"][f"{source}->{target}"]), concept, rng))
    parts = [text] if source == "text" else [given(concept, source, rng), text]
    return turns(parts[0]["text"] if source == "text" else parts, reply(concept, [target], rng, paths=paths))


def captions(rng: random.Random, copies: int = 2) -> Iterator[Record]:
    """Stage one: a medium and a question -> its name in words. Every training file appears `copies` times or more."""
    for concept in corpus.core():
        for key in MEDIA:
            files = heard(concept, key)
            for path in files * copies * (2 if key == "video" else 1):
                part = {"type": key, "path": path, "caption": concept.label}
                text = words(rng.choice(templates["train"][f"{key}->text"]))
                yield turns([part, text], reply(concept, ["text"], rng))


def captions_out(rng: random.Random, copies: int = 3) -> Iterator[Record]:
    """Stage two: a request in words -> the name, then the signal group of the medium asked for."""
    for concept in corpus.core():
        for key in MEDIA:
            for _ in range(copies):
                yield ask(concept, "text", key, rng, paths=True)


def instruct(rng: random.Random, copies: int = 2) -> Iterator[Record]:
    """Stage three: all sixteen routes, several turns, several media in a reply, and chat that stays plain."""
    for concept in corpus.core():
        for source in KEYS:
            for target in KEYS:
                for _ in range(2 * copies if target == "text" != source else copies):
                    yield ask(concept, source, target, rng)
        for _ in range(copies):
            yield several(concept, rng)
            yield follow(concept, rng)
    for _ in range(copies):
        yield from (turns(question, said) for question, said in plain_pairs("train"))


def recall(rng: random.Random, copies: int = 8) -> Iterator[Record]:
    """Clues alone: which thing has these keywords? Learning 233 names by their clues takes many of them."""
    for concept in corpus.core():
        for _ in range(copies):
            yield ask(concept, "text", "text", rng)


def speech(rng: random.Random, copies: int = 1) -> Iterator[Record]:
    """Every way to ask for every name aloud: speech forgives a condition less than pictures do."""
    for concept in corpus.core():
        for template in templates["train"]["text->audio"]:
            yield turns(filled(template, concept), reply(concept, ["audio"], rng))


def several(concept: Any, rng: random.Random) -> Record:
    """Several media in one reply."""
    if rng.random() < 0.5:
        targets, options = rng.choice(list(templates["more"].items()))
        return turns(filled(rng.choice(options), concept), reply(concept, targets.split("+"), rng))
    targets, options = rng.choice(list(templates["more_of"].items()))
    part = given(concept, rng.choice(MEDIA), rng)
    return turns([part, words(rng.choice(options))], reply(concept, targets.split("+"), rng))


def follow(concept: Any, rng: random.Random) -> Record:
    """A second turn that is about the first one's concept."""
    source = rng.choice(MEDIA)
    first = words(rng.choice(templates["train"][f"{source}->text"]))
    target = rng.choice(KEYS)
    return turns(
        [given(concept, source, rng), first],
        reply(concept, ["text"], rng),
        rng.choice(templates["follow"][target]),
        reply(concept, [target], rng),
    )


PARTS = {"captions": captions, "captions_out": captions_out, "recall": recall, "instruct": instruct, "speech": speech}
COPIES = {"captions": 1, "recall": 16}  # of the others two of every concept and route


def records(part: str, seed: int = 0) -> Iterator[Record]:
    """The records of a part of the training."""
    return PARTS[part](random.Random(f"{seed}/{part}"), COPIES.get(part, 2))


class Dialogues(Sequence[Record]):
    """The conversations of a `part`, for a YAML's `data`; of `media`, those of no other kinds. One seed, one talk."""

    def __init__(self, *, part: str, seed: int = 0, media: Sequence[str] = MEDIA) -> None:
        if part not in PARTS:
            raise ValueError(f"part: {part!r} is not one of {', '.join(PARTS)}")
        if unknown := [key for key in media if key not in MEDIA]:
            raise ValueError(f"media: {unknown[0]!r} is not one of {', '.join(MEDIA)}")
        lines = (json.dumps(record).encode() for record in records(part, seed))  # a tenth of the objects' memory
        self.part, self.lines = part, [line for line in lines if kinds_in(line) <= set(media)]

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: Any) -> Any:
        """A record, its media named by where they lie; of a slice several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {"id": f"{self.part}/{index}", **located(json.loads(self.lines[index]), corpus.DATA)}

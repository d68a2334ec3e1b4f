"""Conversations about AnyWorld: training records of every stage, made as they are read, and the requests of the tests.

A request is what to do (`VERBS`, by what shall come out) with what (`NAMED`, `GIVEN`, by what goes in). Tests put
together pairs of the two that training never does, so that their requests are new and their words are not. A reply says
the scene, then shows the media asked for; each carries its `caption`, which is what a decoder's text encoder reads.

`World` is a source for the `data:` of a YAML (`type: ./dialogues.py:World`): records are decided by a seed, their media
are rendered when they are read. It has no held-out scene. `Pairs` is one for decoders alone, and has all scenes: a
frozen decoder can draw the world, and what is tested is whether a model asks it for what it never asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from anyx.imports import import_file

HERE = Path(__file__).parent
corpus = import_file(HERE / "corpus.py")
world = corpus.world
chat = yaml.safe_load((HERE / "plain.yaml").read_text(encoding="utf-8"))

Record = dict[str, Any]
MEDIA = tuple(corpus.MEDIA)
KEYS = ("text", *MEDIA)
SPARED = 5  # of so many pairs of a verb and an object one is for tests
VERBS = {
    "text": ("describe {o}.", "name {o}.", "put {o} into words.", "say what {o} is.", "identify {o}.",
             "tell me about {o}.", "in words: {o}.", "write down {o}.", "can you describe {o}?"),
    "image": ("draw {o}.", "paint {o}.", "show me a picture of {o}.", "make an image of {o}.", "picture {o}.",
              "i want an image of {o}.", "can you draw {o}?", "show {o} as a picture.", "give me a drawing of {o}."),
    "audio": ("play {o}.", "beep {o}.", "let me hear {o}.", "make a sound of {o}.", "sound out {o}.",
              "i want to hear {o}.", "can you play {o}?", "turn {o} into sound.", "give me the beeps of {o}."),
    "video": ("animate {o}.", "film {o}.", "show me a clip of {o}.", "make a video of {o}.", "let {o} move.",
              "i want a video of {o}.", "can you animate {o}?", "show {o} as a clip.", "give me a film of {o}."),
}  # fmt: skip
SHORT = ("{t} on the {s}", "{t} at the {s}", "on the {s} {t}", "{t}, {s} side", "{c} {p}, {n}, on the {s}")
NAMED = {
    "text": ("{p}, {c}, {n}, {s}", "{s} side, {n}, {p}, {c}", "colour {c}, shape {p}, number {n}, side {s}",
             "number {n}, side {s}, colour {c}, shape {p}", "{n} at the {s}, {p}, {c}", "{c}, {s}, {n}, {p}"),
    **dict.fromkeys(MEDIA, SHORT),
}  # fmt: skip
GIVEN = {
    "image": ("this", "it", "this picture", "the image", "what you see", "what is drawn here"),
    "audio": ("this", "it", "this sound", "the beeps", "what you hear", "what is played here"),
    "video": ("this", "it", "this clip", "the video", "what you watch", "what is moving here"),
}


def objects(source: str, target: str) -> tuple[str, ...]:
    """What may stand for the scene in a request."""
    return NAMED[target] if source == "text" else GIVEN[source]


def requests(source: str, target: str, part: str) -> list[str]:
    """Templates of a route, for "train" or "test": pairs of a verb and an object, of which each part has its own."""
    return [
        verb.format(o=thing)
        for i, verb in enumerate(VERBS[target])
        for j, thing in enumerate(objects(source, target))
        if ((2 * i + j) % SPARED == 0) == (part == "test")
    ]


def filled(template: str, scene: Any) -> str:
    """A template with a scene's words in it."""
    shape = scene.things.split()[-1]
    return template.format(t=scene.things, n=scene.count, c=scene.colour, p=shape, s=scene.side)


def request(scene: Any, source: str, target: str, seed: str) -> list[Record]:
    """The user's turn of a test, without its medium: `{"type": source, "media": None}` stands where it goes."""
    rng = random.Random(f"{source}/{target}/{seed}")
    words = {"type": "text", "text": filled(rng.choice(requests(source, target, "test")), scene)}
    return [{"role": "user", "content": [words] if source == "text" else [{"type": source, "media": None}, words]}]


def plain_pairs(part: str) -> list[tuple[str, str]]:
    """Plain questions and answers; of those made from tables the tests have every fourth, which nobody learns."""
    made = [(ask.format(a), said.format(b)) for ask, said, table in chat["made"] for a, b in table.items()]
    if part == "test":
        return [(ask, "") for ask in chat["kept"]] + made[::4]
    return [(ask, said) for ask, said in chat["learnt"]] + [pair for i, pair in enumerate(made) if i % 4]


def given(scene: Any, key: str, rng: random.Random) -> Record:
    """A medium that the user sends: a copy of the scene that this number decides."""
    return {"type": key, "scene": scene.caption, "copy": rng.randrange(1 << 30), "caption": scene.caption}


def reply(scene: Any, targets: Sequence[str]) -> list[Record]:
    """The assistant's turn: words, then media, of which the decoder's text encoder says what they should be."""
    media = [{"type": key, "caption": scene.caption} for key in targets if key != "text"]
    return [{"type": "text", "text": f"{scene.label}."}, *media]


def turns(*contents: Sequence[Record] | str) -> Record:
    """A record of alternating turns, the user's first."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]}


def ask(scene: Any, source: str, target: str, rng: random.Random) -> Record:
    """One request and its reply."""
    text = filled(rng.choice(requests(source, target, "train")), scene)
    parts = text if source == "text" else [given(scene, source, rng), {"type": "text", "text": text}]
    return turns(parts, reply(scene, [target]))


def several(scene: Any, source: str, rng: random.Random) -> Record:
    """Two media in one reply."""
    first, second = rng.sample(MEDIA, 2)
    asked = rng.choice(requests(source, first, "train"))[:-1]
    text = filled(f"{asked} and {rng.choice(VERBS[second]).format(o='that')}", scene)
    parts = text if source == "text" else [given(scene, source, rng), {"type": "text", "text": text}]
    return turns(parts, reply(scene, [first, second]))


def follow(scene: Any, source: str, rng: random.Random) -> Record:
    """A second turn that is about the first one's scene."""
    first, second = rng.choice(KEYS), rng.choice(KEYS)
    opening = ask(scene, source, first, rng)["messages"]
    again = f"now {rng.choice(VERBS[second]).format(o='that')}"
    return turns(*(message["content"] for message in opening), again, reply(scene, [second]))


def describe(rng: random.Random, copies: int) -> Iterator[Record]:
    """A medium and a question -> its name in words."""
    for _ in range(copies):
        for scene in corpus.scenes("seen"):
            yield from (ask(scene, key, "text", rng) for key in MEDIA)


def imagine(rng: random.Random, copies: int) -> Iterator[Record]:
    """A request in words -> the name, then the signal group of the medium asked for."""
    for _ in range(copies):
        for scene in corpus.scenes("seen"):
            yield from (ask(scene, "text", key, rng) for key in MEDIA)


def converse(rng: random.Random, copies: int) -> Iterator[Record]:
    """All sixteen routes, several media in a reply, second turns, and chat that stays plain."""
    for _ in range(copies):
        for scene in corpus.scenes("seen"):
            for source in KEYS:
                yield from (ask(scene, source, target, rng) for target in KEYS)
            yield several(scene, rng.choice(KEYS), rng)
            yield follow(scene, rng.choice(KEYS), rng)
        yield from (turns(question, said) for question, said in plain_pairs("train") for _ in range(4))


def speak(rng: random.Random, copies: int) -> Iterator[Record]:
    """The same without media that users send: what can be learnt before anything is seen or heard."""
    for record in converse(rng, copies):
        sent = [part for turn in record["messages"] for part in turn["content"] if turn["role"] == "user"]
        if not any(isinstance(part, dict) and part["type"] != "text" for part in sent):
            yield record


PARTS = {"describe": describe, "imagine": imagine, "converse": converse, "speak": speak}


def rendered(key: str, scene: str, copy: int) -> Any:
    """A copy of a scene for training."""
    return corpus.MEDIA[key](world.Scene(*scene.split()), corpus.generator("train", key, scene, copy))


class World(Sequence[Record]):
    """The dialogues of a stage (`part`), `copies` of every scene and route; of `keys`, those of no other media."""

    def __init__(self, *, part: str, copies: int = 4, seed: int = 0, keys: Sequence[str] = MEDIA) -> None:
        if part not in PARTS:
            raise ValueError(f"part: {part!r} is not one of {', '.join(PARTS)}")
        allowed = {"text", *known(keys)}
        made = PARTS[part](random.Random(f"{seed}/{part}"), copies)
        self.part, self.records = part, [record for record in made if kinds(record) <= allowed]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        """A record with its media; of a slice several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        messages = [
            turn if isinstance(turn["content"], str) else {**turn, "content": [shown(part) for part in turn["content"]]}
            for turn in self.records[index]["messages"]
        ]
        return {"id": f"{self.part}/{index}", "messages": messages}


def shown(part: Record) -> Record:
    """A part with the medium that it names."""
    if "scene" not in part:
        return part
    medium = rendered(part["type"], part["scene"], part["copy"])
    return {"type": part["type"], "caption": part["caption"], "media": medium}


def kinds(record: Record) -> set[str]:
    """What a record is made of: words, and keys of media."""
    contents = [turn["content"] for turn in record["messages"]]
    return {part["type"] for content in contents if not isinstance(content, str) for part in content}


def known(keys: Sequence[str]) -> Sequence[str]:
    """The keys; a ValueError where one is no medium of the world."""
    if unknown := [key for key in keys if key not in MEDIA]:
        raise ValueError(f"keys: {unknown[0]!r} is not one of {', '.join(MEDIA)}")
    return keys


class Pairs(Sequence[Record]):
    """Media of `keys` and their caption, `copies` of each of the 72 scenes: what decoders learn from.

    Half of the captions leave words out, each with even odds, so that every word comes to mean what it adds to others.
    """

    def __init__(self, *, keys: Sequence[str], copies: int = 16, seed: int = 0) -> None:
        self.keys, self.seed = list(known(keys)), seed
        self.scenes = list(world.SCENES) * copies

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: Any) -> Any:
        """A record with its media; of a slice several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        scene = self.scenes[index].caption  # an index too large ends an iteration here
        number = self.seed * len(self) + index % len(self)
        rng = random.Random(f"pairs/{scene}/{number}")
        words = [word for word in scene.split() if rng.random() < 0.5] if rng.random() < 0.5 else [scene]
        media = {key: rendered(key, scene, number) for key in self.keys}
        return {"id": f"pairs/{index}", "media": media, "caption": " ".join(words)}

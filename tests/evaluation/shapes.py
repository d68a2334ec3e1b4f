"""A corpus of four flat colours and four tones, judges that measure them, and an oracle that answers rightly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from anyx.evaluation.corpus import Message
from anyx.media import Audio, Image
from anyx.reply import Reply

YAML = """
corpus: shapes:Shapes
batch: 3
judges:
  text: {label: {type: "anyx.evaluation.labels:LabelJudge"}}
  image: {colour: {type: "shapes:ColourJudge"}}
  audio: {tone: {type: "shapes:ToneJudge"}, second: {type: "shapes:ToneJudge"}}
"""
LABELS = ["red", "green", "blue", "dark red"]
COLOURS = torch.tensor([[250, 5, 5], [5, 250, 5], [5, 5, 250], [120, 5, 5]], dtype=torch.uint8)


def picture(index: int, seed: int) -> Image:
    noise = torch.randint(0, 9, (3, 8, 8), generator=torch.Generator().manual_seed(seed))
    edge = COLOURS[index][:, None, None].expand(3, 8, 8).clone()
    edge[:, 0] = 255
    return Image((edge.int() + noise).clamp(0, 255).to(torch.uint8))


def tone(index: int) -> Audio:
    return Audio(0.5 * torch.sin(torch.arange(4000) * 0.05 * (index + 1))[None], 16000)


class Shapes:
    keys: Sequence[str] = ("text", "image", "audio")
    splits: Sequence[str] = ("seen", "unseen")
    apart: Mapping[str, Sequence[str]] = {"loud": ("audio->text",)}
    judged: Sequence[str] = ("seen", "unseen")
    synthetic: Mapping[str, Sequence[str]] = {"unseen": ("image",)}
    labels: Sequence[str] = LABELS
    aspects: Mapping[str, Sequence[str]] = {"dark": ("no", "no", "no", "yes"), "hue": ("red", "green", "blue", "red")}

    def chosen(self, split: str, limit: int | None) -> list[str]:
        return [str(index) for index in range(4)][:limit]

    def label(self, concept: str) -> str:
        return LABELS[int(concept)]

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        words = {"type": "text", "text": f"{target} please" + (f": {LABELS[int(concept)]}" if source == "text" else "")}
        return [{"role": "user", "content": [words] if source == "text" else [{"type": source, "media": None}, words]}]

    def media(self, split: str, key: str, concept: str, seed: int) -> Any:
        return picture(int(concept), seed) if key == "image" else tone(int(concept))

    def real(self, split: str, key: str, concept: str, seed: int) -> Any:
        return f"A {LABELS[int(concept)]}." if key == "text" else self.media(split, key, concept, seed + 1)

    def plain(self) -> list[str]:
        return ["Hello.", "Draw nothing."]


class Reds(Shapes):
    """All four are called red."""

    def label(self, concept: str) -> str:
        return "red"


class ColourJudge:
    def __init__(self, labels: Sequence[str]) -> None:
        assert list(labels) == LABELS

    def __call__(self, outputs: Sequence[Image]) -> Tensor:
        means = torch.stack([x.pixels[:, 1:].float().mean((1, 2)) for x in outputs])
        return -torch.cdist(means, COLOURS.float())


class ToneJudge:
    def __init__(self, labels: Sequence[str]) -> None:
        self.tones = torch.stack([tone(index).samples[0] for index in range(len(labels))])

    def __call__(self, outputs: Sequence[Audio]) -> Tensor:
        return torch.stack([x.samples[0] for x in outputs]) @ self.tones.T


class Oracle:
    """Reads the request by the judges and answers with real media; `deaf` answers everything with red."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf = deaf
        self.calls: list[int] = []

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, seeds: Sequence[int]
    ) -> list[Reply]:
        self.calls.append(len(conversations))
        return [self.reply(turns[-1]["content"]) for turns in conversations]

    def reply(self, content: Any) -> Reply:
        if isinstance(content, str):
            return Reply(["Hello yourself."])
        *media, words = content
        target, _, label = re.fullmatch(r"(\w+) please(: (.*))?", words["text"]).groups()  # type: ignore[union-attr]
        index = LABELS.index(label) if label else self.heard(media[0]["media"])
        index = 0 if self.deaf else index
        named = f"A {LABELS[index]}:"
        return Reply([named] if target == "text" else [named, picture(index, 7) if target == "image" else tone(index)])

    def heard(self, media: Image | Audio) -> int:
        judge = ColourJudge(LABELS) if isinstance(media, Image) else ToneJudge(LABELS)
        return int(judge([media])[0].argmax())


class Mute(Oracle):
    """Says nothing."""

    def reply(self, content: Any) -> Reply:
        return Reply([])


class Clicker(Oracle):
    """Makes sounds of five samples."""

    def reply(self, content: Any) -> Reply:
        return Reply(["A red:", Audio(torch.full((1, 5), 0.5), 16000)])


class Painter(Oracle):
    """Draws, whatever is asked."""

    def reply(self, content: Any) -> Reply:
        return Reply(["A red:", picture(0, 7)])

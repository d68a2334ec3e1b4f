"""Readers of sets about places in pictures, and of short answers: what MiniGPT-v2's third stage is a mixture of.

    minigpt4   {"annotations": [{"image_id", "caption"}]}, pictures `<image_id>.jpg` (MiniGPT-4's second stage)
    refer      RefCOCO, +, g: refs of the REFER tools, `refs(unc).p` or as JSON, beside COCO's `instances.json`
    genome     Visual Genome's region_descriptions.json, beside its image_data.json
    grounded   Flickr30k as MiniGPT-v2 released it: {"image_id", "grounded_caption"}; {"image_id", "caption", "output"};
               {"image_id", "phrase", "bbox"}, whose boxes are text already
    answers    {"question", "answer" or "answers", "image"} (VQAv2, OK-VQA, A-OKVQA, GQA as LAVIS wrote them)

Boxes are written by a codec of `anyx.grounding`. In `prompts`, of which a record's number draws one, "{}" stands for
what is asked about; the published wordings are not copied, only their tags.
"""

from __future__ import annotations

import io
import json
import pickle
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record, unpacked
from anyx.data.turns import Part, message
from anyx.grounding import Region, Size, codec

Direction = Literal["refer", "identify"]
PROMPTS: Mapping[str, Sequence[str]] = {
    "refer": ("[refer] {}", "[refer] find {}", "[refer] where in this picture is {}?", "[refer] point at {}"),
    "identify": ("[identify] {}", "[identify] what is at {}?", "[identify] say what is seen in {}"),
    "grounded_caption": ("[grounding] describe this picture in detail", "[grounding] say what is seen, and where"),
    "output": ("[detection] {}",),
    "bbox": ("[detection] {}",),
    "answers": ("[vqa] {}", "[vqa] answer in a word or two: {}"),
    "caption": ("Describe this picture in detail.", "What is to be seen here? Tell all of it."),
}


class _Lists(pickle.Unpickler):
    """Reads lists, mappings, texts and numbers; a pickle that names anything else is refused, and nothing is run."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it names {module}.{name}; refs hold lists, mappings, texts and numbers only")


class AlignedSource(Rows):
    """MiniGPT-4's captions; `key` is the model's name for pictures."""

    def __init__(
        self,
        path: str | Path,
        *,
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit, _packed(listed(path, "annotations", ("image_id", "caption"))))
        self.key, self.prompts = key, prompts or PROMPTS["caption"]

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns."""
        picture = self.part(self.key, f"{row['image_id']}.jpg")
        return _asked(picture, _drawn(self.prompts, index), row["caption"])


class ReferSource(Rows):
    """Expressions of `split` and the objects they name: a place is asked for (`refer`), or what is there (`identify`).

    A ref has several expressions for one object; the record's number draws one. `instances` holds boxes and sizes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        instances: str | Path,
        boxes: Mapping[str, Any],
        direction: Direction = "refer",
        split: str = "train",
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        self.ask = _Ask(direction, boxes, prompts)
        refs = listed(path, None, ("split",))
        if split not in (known := {ref["split"] for ref in refs}):
            raise ValueError(f"split: {split!r} is not one of {', '.join(sorted(known))}, those of {path}")
        super().__init__(path, root, limit, _packed([ref for ref in refs if ref["split"] == split]))
        objects = loaded(instances)
        self.boxes = {item["id"]: item["bbox"] for item in listed(instances, "annotations", ("id", "bbox"), objects)}
        self.pictures = {item["id"]: item for item in listed(instances, "images", ("id",), objects)}
        self.key = key

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns; `bbox` is COCO's: left, top, width, height."""
        picture = self.pictures[row["image_id"]]
        expression = random.Random(index).choice(row["sentences"])["sent"]
        x, y, width, height = self.boxes[row["ann_id"]]
        part = self.part(self.key, picture["file_name"])
        size = Size(picture["width"], picture["height"])
        return self.ask.record(part, expression, (x, y, x + width, y + height), size, index)


class GenomeSource(Rows):
    """Regions of Visual Genome, each picture's by itself: the record's number draws one. `images` is image_data.json.

    Pictures are `<id>.jpg`, in the folder that their address names (VG_100K, VG_100K_2).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        images: str | Path,
        boxes: Mapping[str, Any],
        direction: Direction = "refer",
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.ask = _Ask(direction, boxes, prompts)
        self.pictures = {item["image_id"]: item for item in listed(images, None, ("image_id",))}
        self.key = key

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns."""
        picture = self.pictures[row["id"]]
        region = random.Random(index).choice(row["regions"])
        x, y, width, height = (region[name] for name in ("x", "y", "width", "height"))
        part = self.part(self.key, "/".join(picture["url"].split("/")[-2:]))
        size = Size(picture["width"], picture["height"])
        return self.ask.record(part, region["phrase"], (x, y, x + width, y + height), size, index)


class GroundedSource(Rows):
    """Flickr30k's phrases; which of the three forms a file has is read from its rows."""

    def __init__(
        self,
        path: str | Path,
        *,
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.key, self.prompts = key, prompts

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns, whose answer is as it is in the file."""
        form = next(name for name in ("grounded_caption", "output", "bbox") if name in row or name == "bbox")
        about = row[{"grounded_caption": "image_id", "output": "caption", "bbox": "phrase"}[form]]
        answer = f"<p>{row['phrase']}</p> {row['bbox']}" if form == "bbox" else row[form]
        part = self.part(self.key, f"{row['image_id']}.jpg")
        return _asked(part, _drawn(self.prompts or PROMPTS[form], index).replace("{}", str(about)), answer)


class AnswerSource(Rows):
    """Questions about pictures with short answers; of several the one given most often is learnt."""

    def __init__(
        self,
        path: str | Path,
        *,
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.key, self.prompts = key, prompts or PROMPTS["answers"]

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns."""
        found = next((row[name] for name in ("answer", "answers", "direct_answers") if row.get(name)), None)
        if found is None:
            raise ValueError("it has no answer, answers or direct_answers")
        answer = found if isinstance(found, str) else Counter(found).most_common(1)[0][0]
        return _asked(
            self.part(self.key, row["image"]), _drawn(self.prompts, index).replace("{}", row["question"]), answer
        )


class _Ask:
    """A box and its words, in one direction or the other."""

    def __init__(self, direction: Direction, boxes: Mapping[str, Any], prompts: Sequence[str]) -> None:
        if direction not in ("refer", "identify"):
            raise ValueError(f"direction: {direction!r} is not one of refer, identify")
        given = dict(boxes)
        self.codec = codec(given.pop("type", ""), given)
        self.direction, self.prompts = direction, prompts or PROMPTS[direction]

    def record(self, part: Part, words: str, box: tuple[float, ...], size: Size, index: int) -> Record:
        """Two turns."""
        if not words.strip():
            raise ValueError("the box has no words")
        place = self.codec.format([Region("", (box,))], size)
        about, answer = (words, place) if self.direction == "refer" else (place, words)
        return _asked(part, _drawn(self.prompts, index).replace("{}", about), answer)


def _asked(part: Part, prompt: str, answer: str) -> Record:
    return {"messages": [message("user", [part, prompt]), message("assistant", [answer])]}


def _drawn(prompts: Sequence[str], index: int) -> str:
    return random.Random(f"prompt {index}").choice(prompts)


def loaded(path: str | Path) -> Any:
    """A JSON file, or REFER's pickle of lists, whole; nothing in it is run. ValueError names a file that is neither."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path: no such file: {path}")
    data = unpacked(path)
    try:
        return _Lists(io.BytesIO(data), encoding="utf-8").load() if path.suffix == ".p" else json.loads(data)
    except (ValueError, pickle.UnpicklingError, EOFError, LookupError) as error:
        raise ValueError(f"path: {path} cannot be read: {error}") from error


def listed(path: str | Path, name: str | None, fields: Sequence[str], found: Any = None) -> list[dict[str, Any]]:
    """A file's list of rows, or that of a name in it (`found`: what the file holds), each with certain fields.

    ValueError: a row lacks one, or there is no list.
    """
    found = loaded(path) if found is None else found
    rows = found if name is None else found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and row.keys() >= set(fields) for row in rows):
        where = "a list" if name is None else f"{name!r}, a list,"
        raise ValueError(f"path: {path}: {where} of rows with {' and '.join(fields)} is needed")
    return rows


def _packed(rows: Sequence[Any]) -> list[Any]:
    return [json.dumps(row).encode() for row in rows]

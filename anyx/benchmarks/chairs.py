"""CHAIR beside the scores of captions: objects that captions name and pictures have not (`anyx.scoring.chair`).

What is in a picture is told by COCO's instances, or by any JSON of lists of objects by picture; else a detector says,
and `out/objects.jsonl` keeps it. As published, what the references name is there as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyx.benchmarks.folders import read_json
from anyx.benchmarks.results import Line
from anyx.digests import digest
from anyx.evaluation.records import append, whole_lines
from anyx.media import Image
from anyx.scoring import Result
from anyx.scoring.chair import chair, mentioned, phrases
from anyx.tools.interfaces import Detector

OBJECTS = "objects.jsonl"
CAPTIONS = ("coco", "nocaps", "flickr30k")


@dataclass(frozen=True)
class Chair:
    """The table of objects (name -> synonyms) and who says what is in a picture: `objects` by picture, or a detector.

    `references`: whether what a reference caption names is there too. ValueError: neither or both of the two.
    """

    synonyms: Mapping[str, Sequence[str]]
    objects: Mapping[str, Sequence[str]] | None = None
    detector: Detector | None = None
    references: bool = True
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if (self.objects is None) == (self.detector is None):
            raise ValueError(
                "--chair: what is in the pictures is told by objects=FILE or detector=PATH, by one of them"
            )
        phrases(self.synonyms)

    @property
    def name(self) -> str:
        """Who says what is there."""
        said = self.source if self.detector is None else f"detector {self.detector.name}"
        return f"{said} and references" if self.references else said


def of_captions(name: str) -> None:
    """Refuse a benchmark that has no captions."""
    if name not in CAPTIONS:
        raise ValueError(f"--chair: {name} has no captions; allowed: {', '.join(CAPTIONS)}")


def table(file: Path) -> dict[str, list[str]]:
    """Synonyms by object: a JSON object of lists, or text with a line an object, its name first, split by commas."""
    if file.suffix == ".json":
        held = read_json(file)
        if isinstance(held, list):
            held = {name: [] for name in held}
        if not isinstance(held, dict) or not all(_texts(words) for words in held.values()):
            raise ValueError(f"{file}: a JSON object is expected, of lists of synonyms by object's name")
        return {str(name): list(words) for name, words in held.items()}
    lines = [[word.strip() for word in line.split(",")] for line in file.read_text(encoding="utf-8").splitlines()]
    found = {first: rest for first, *rest in lines if first}
    if not found:
        raise ValueError(f"{file} holds no words; a line an object is expected, its name first, split by commas")
    return found


def objects_of(file: Path) -> dict[str, list[str]]:
    """Objects by picture: COCO's instances (`annotations`, `categories`), by image id, or lists by picture's name."""
    held = read_json(file)
    if isinstance(held, dict) and {"annotations", "categories"} <= held.keys():
        named = {one["id"]: str(one["name"]) for one in held["categories"]}
        found: dict[str, list[str]] = {str(one["id"]): [] for one in held.get("images", [])}
        for one in held["annotations"]:
            if one.get("category_id") not in named:
                raise ValueError(f"{file}: COCO's instances are expected; an annotation has no category: {one}"[:300])
            found.setdefault(str(one["image_id"]), []).append(named[one["category_id"]])
        return found
    if not isinstance(held, dict) or not all(_texts(words) for words in held.values()):
        raise ValueError(
            f"{file}: COCO's instances are expected, or a JSON object of lists of objects by picture's name"
        )
    return {str(name): words for name, words in held.items()}


def with_chair(
    result: Result, lines: Sequence[Line], asked: Chair, out: Path, picture: Callable[[str], Path | None]
) -> Result:
    """The result of captions with CHAIR's figures after its own; `picture` gives the file of a sample."""
    there = _told(lines, asked) if asked.detector is None else _detected(lines, asked, asked.detector, out, picture)
    if asked.references:
        known = phrases(asked.synonyms)
        there = [
            {*some, *(name for text in line["row"]["references"] for name in mentioned(text, known))}
            for some, line in zip(there, lines, strict=True)
        ]
    found = chair([line["row"]["prediction"] for line in lines], there, asked.synonyms)
    by = {key: found.by[key] for key in ("synonyms", "plurals")} | {"objects": asked.name}
    return replace(result, figures={**result.figures, **found.figures}, by={**result.by, **by})


def _told(lines: Sequence[Line], asked: Chair) -> list[set[str]]:
    """The objects in each picture, by the table."""
    assert asked.objects is not None, "one of the two is there"
    if missing := [line["row"]["name"] for line in lines if line["row"]["name"] not in asked.objects]:
        raise ValueError(
            f"--chair: {asked.source} says nothing of {len(missing)} pictures, such as {missing[0]!r}; a picture "
            "without objects has an empty list"
        )
    return [set(asked.objects[line["row"]["name"]]) for line in lines]


def _detected(
    lines: Sequence[Line], asked: Chair, detector: Detector, out: Path, picture: Callable[[str], Path | None]
) -> list[set[str]]:
    """The objects in each picture, by a detector that is asked once a picture."""
    by = f"{detector.name} #{digest(*asked.synonyms)[:12]}"
    kept = {one["sample"]: one["objects"] for one in whole_lines(out / OBJECTS) if one["by"] == by}
    for sample in (line["sample"] for line in lines if line["sample"] not in kept):
        where = picture(sample)
        seen = [] if where is None else detector(Image.read(where), list(asked.synonyms))
        kept[sample] = sorted({one.word for one in seen})
        append(out / OBJECTS, {"sample": sample, "by": by, "objects": kept[sample]})
    return [set(kept[line["sample"]]) for line in lines]


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)

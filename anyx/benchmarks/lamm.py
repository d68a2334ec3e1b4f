"""LAMM-Benchmark (arXiv 2306.06687): nine sets of pictures and three of point clouds, one benchmark a task.

Each set is a JSON list of entries. From our reference are the names of sets and tasks, `image` or `pcl` (a file), the
`conversations` of its training files, and what scoring needs of an entry (`KEPT`), in the units of LAMM's own scorer:
boxes are shares of a picture's sides (left, top, right, bottom) or metres (centre and size), `joints` and `points`
pixels, with `image_size` (width, height) or of the picture that is there. Not from it are the lists' names, of which
only that of the set has to be part, and where files lie: from the folder, beside the list or above it.

An entry asks by its `query` or its first turn; else by its `question`, or that of its task, in words of ours. Of a
person each joint is asked for by itself, and pictures with ten points or more are not asked for places. Clouds go to
the model's input `cloud`: files of `Series`, x, y and z in rows. Answers are read by `lamm@2023`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import Benchmark, Sample, each
from anyx.scoring import Result
from anyx.scoring.lamm import FEW, lamm
from anyx.scoring.lamm_rows import JOINTS
from anyx.scoring.rows import Row

PARSER, PUBLISHED = "lamm@2023", "lamm@2023-as-published"
MARKS = re.compile(r"\s*<(image|pcl|pointcloud|Img|Pcl)>\s*")
BOX, POINT = "[left, top, right, bottom]", "[x, y]"
SHARES = "in shares of the picture's width and height"
SPACE = "[x, y, z, length, width, height] in metres"
LETTERS = "{question}\n{options}\nAnswer with 'The answer is (X).', where X is the right letter."
JOINT = ["ankle", "knee", "hip", "hip", "knee", "ankle", "wrist", "elbow", "shoulder", "shoulder", "elbow", "wrist"]
PARTS = [*(f"{'right' if n % 6 < 3 else 'left'} {part}" for n, part in enumerate(JOINT)), "neck", "top of the head"]


def numbers(value: Sequence[Any], *counts: int) -> list[float]:
    """So many numbers; ValueError for another count."""
    if len(value) not in counts:
        raise ValueError(f"{' or '.join(map(str, counts))} numbers are expected, but {value} was given")
    return [float(one) for one in value]


def text(value: Any) -> str:
    """A text, or a number as one."""
    if not isinstance(value, str | int):
        raise ValueError(f"a text is expected, but {value!r} was given")
    return str(value)


def texts(value: Any) -> list[str]:
    """A list of at least one text."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"a list of texts is expected, but {value!r} was given")
    return [text(one) for one in value]


KEPT: Mapping[str, Callable[[Any], Any]] = {
    "label": text,
    "attr": text,
    "num": int,
    "word_list": texts,
    "references": texts,
    "choices": texts,
    "gt_choice": int,
    "objects": lambda held: [{"label": text(one["label"]), "bbox": numbers(one["bbox"], 4, 6)} for one in held],
    "joints": lambda held: [numbers(one, 2, 3) for one in held],
    "points": lambda held: [numbers(one, 2) for one in held],
    "bbox": lambda held: numbers(held, 6),
}


class List(NamedTuple):
    """Entries of one file: the pattern of its name, the keys to score by, what is asked where they do not say."""

    pattern: str
    keys: Sequence[str]
    words: str


def read(lists: Sequence[List], folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample an entry, of a person one a joint."""
    for file, one in zip(files, lists, strict=True):

        def made(entry: tuple[int, Mapping[str, Any]], file: Path = file, one: List = one) -> Iterator[Sample]:
            place, held = entry
            yield from samples(folder, file, one, f"{file.stem}/{place}", held)

        held = read_json(file)
        if not isinstance(held, list):
            raise ValueError(f"--data: {file} is no list of entries")
        yield from each(enumerate(held), made, name=f"{file.stem} entry")


def samples(folder: Path, file: Path, one: List, name: str, held: Mapping[str, Any]) -> Iterator[Sample]:
    """The samples of one entry."""
    key = "pcl" if "pcl" in held else "image"
    places = [above.relative_to(folder).as_posix() for above in file.parents if above.is_relative_to(folder)]
    where = located(folder, held[key], "", *places, "images")
    row: dict[str, Any] = {kept: KEPT[kept](held[kept]) for kept in one.keys}
    if {"joints", "points"} & row.keys():
        row["image_size"] = numbers(held["image_size"], 2) if "image_size" in held else size_of(where)
    shown = {"type": "image"} if key == "image" else {"type": "cloud", "kind": "series"}

    def sample(name: str, words: str, row: dict[str, Any], group: str = "") -> Sample:
        turn = {"role": "user", "content": [{**shown, "path": str(where)}, {"type": "text", "text": words}]}
        return Sample(name, [turn], row | {"reference": right(row)}, group, source=str(held[key]))

    if len(row.get("points", ())) >= FEW:
        return
    if one.pattern == LSP:
        if len(row["joints"]) != JOINTS:
            raise ValueError(f"a person has {JOINTS} joints, but {len(row['joints'])} were given")
        for joint, part in enumerate(PARTS):
            yield sample(f"{name}/{joint}", one.words.format(part=part), row | {"joint": joint, "person": name}, name)
        return
    yield sample(name, asking(one, held, row), row)


def asking(one: List, held: Mapping[str, Any], row: Row) -> str:
    """What an entry is asked: its own words as they are, or ours around its question."""
    if "query" in held:
        return text(held["query"])
    if "conversations" in held:
        return MARKS.sub(" ", held["conversations"][0]["value"]).strip()
    given = {"question": text(held["question"])} if "{question}" in one.words else {}
    given["options"] = "\n".join(f"({chr(65 + at)}) {option}" for at, option in enumerate(row.get("choices", ())))
    given["labels"] = ", ".join(dict.fromkeys(each["label"] for each in row.get("objects", ())))
    return one.words.format(**given)


def right(row: Row) -> str:
    """What is right, as a judge reads it."""
    if "choices" in row:
        return str(row["choices"][row["gt_choice"]])
    if "joint" in row:
        return json.dumps(row["joints"][row["joint"]][:2])
    found = next(row[key] for key in KEPT if key in row)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def size_of(where: Path) -> list[int] | None:
    """Width and height of a picture; None of one that cannot be opened, which is then not asked about."""
    try:
        with Image.open(where) as picture:
            return list(picture.size)
    except (OSError, UnidentifiedImageError):
        return None


def score(task: str, rows: Sequence[Row], parser: str) -> Result:
    """The figures of a task; the answers for a person's joints are one row."""
    if task == "lsp_pck":
        people = itertools.groupby(rows, key=lambda row: row["person"])
        rows = [
            {**some[0], "prediction": {f"joint{row['joint']}": row["prediction"] for row in some}}
            for some in (list(group) for _, group in people)
        ]
    return lamm(task, rows, as_published=parser == PUBLISHED)


def benchmark(task: str, *lists: List, tokens: int = 32, clouds: bool = False) -> Benchmark:
    """A task of `anyx.scoring.lamm` over its lists."""
    keys = ", ".join(dict.fromkeys(key for one in lists for key in ("pcl" if clouds else "image", *one.keys)))
    return Benchmark(
        holds=f"LAMM-Benchmark's JSON ({', '.join(one.pattern for one in lists)}): a list of entries with {keys}",
        files=[[one.pattern for one in lists]],
        read=lambda folder, files, split: read(lists, folder, files, split),
        score=lambda rows, parser: score(task, rows, parser),
        parsers=(PARSER, PUBLISHED) if task == "lsp_pck" else (PARSER,),
        prompt="lamm@anyx-1",
        max_new_tokens=tokens,
    )


LSP = "*eypoint*LSP*.json"
CHOICE = ("choices", "gt_choice")
OBJECTS = f"List all objects in this picture, each with its box {BOX} {SHARES}."
POINTS = f"Point at each of these in this picture: {{labels}}. Give its name and {POINT} {SHARES}."

CIFAR10 = benchmark("cifar10_classification", List("*CIFAR10*.json", ["label"], "What is in this picture?"))
UCMERCED = benchmark("ucmerced", List("*UCMerced*.json", ["label"], "What kind of place is seen here from above?"))
SMILE = benchmark("celeba_smile", List("*CelebA*mile*.json", ["attr"], "Does this person smile? Answer yes or no."))
HAIR = benchmark("celeba_hair", List("*CelebA*air*.json", ["attr"], "What colour is this person's hair?"))
FSC147 = benchmark(
    "fsc147_counting", List("*ounting*FSC147*.json", ["num"], "How many objects are in this picture? Answer a number.")
)
SVT = benchmark("svt_ocr", List("*SVT*.json", ["word_list"], "Which words are written in this picture?"))
FLICKR30K = benchmark(
    "flickr30k_bleu4", List("*lickr30k*.json", ["references"], "Describe this picture in one sentence."), tokens=64
)
SQAIMAGE = benchmark("vqa_choice", List("*SQAimage*.json", CHOICE, LETTERS))
AI2D = benchmark("vqa_choice", List("*AI2D*.json", CHOICE, LETTERS))
VOC2012 = benchmark("voc_detection", List("*etection*VOC2012*.json", ["objects"], OBJECTS), tokens=256)
KEYPOINTS = benchmark("lsp_pck", List(LSP, ["joints"], f"Where is the {{part}} of this person? Give {POINT} {SHARES}."))
LOCATING = benchmark(
    "binary_locating",
    List("*ocating*VOC2012*.json", ["objects"], POINTS),
    List("*ocating*LSP*.json", ["joints"], f"Point at the person in this picture. Give {POINT} {SHARES}."),
    List(
        "*ocating*FSC147*.json", ["points"], f"Point at every object in this picture. Give {POINT} of each, {SHARES}."
    ),
    tokens=128,
)
SCANNET = benchmark(
    "scannet_detection3d",
    List("*ScanNet*.json", ["objects"], f"List all objects in this room, each with its box {SPACE}."),
    tokens=256,
    clouds=True,
)
SCANREFER = benchmark(
    "scanrefer_grounding3d",
    List("*ScanRefer*.json", ["bbox"], f"Give the box {SPACE} of what this says: {{question}}"),
    tokens=64,
    clouds=True,
)
SCANQA = benchmark("vqa_choice", List("*ScanQA*.json", CHOICE, LETTERS), clouds=True)

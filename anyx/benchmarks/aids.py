"""What a run may be helped by: marks on the pictures it is asked about, replies corrected before they are scored.

out/marks.jsonl        of each sample with marks: the picture without them, the words on them, each box
out/corrections.jsonl  of each reply: itself, the five steps, and what it became

Records hold replies as they were given, so that a run is scored with a correction, another one, or none. Marks are of
the question: a run with marks is another run. Both see samples of exactly one picture, and leave others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyx.benchmarks.chairs import Chair
from anyx.benchmarks.results import Line
from anyx.evaluation.corpus import Message
from anyx.evaluation.records import Record, Records, append, whole_lines
from anyx.media import Image
from anyx.reply import Reply
from anyx.tools import marks
from anyx.tools.correction import Corrector
from anyx.tools.marks import Marker

MARKS, CORRECTIONS = "marks.jsonl", "corrections.jsonl"


@dataclass(frozen=True)
class Aids:
    """What helps a run, or is measured beside it; nothing by default."""

    marker: Marker | None = None
    corrector: Corrector | None = None
    chair: Chair | None = None


class Chatting:
    """A model that chats, as the answerer of a correction."""

    def __init__(self, model: Any, name: str, *, max_new_tokens: int = 16) -> None:
        self.model, self.name, self.max_new_tokens = model, name, max_new_tokens

    def __call__(self, image: Image, questions: Sequence[str]) -> list[str]:
        """One answer a question, each in a conversation of its own."""
        return [self._said(image, f"{question}\nAnswer the question using a single word.") for question in questions]

    def _said(self, image: Image, question: str) -> str:
        content = [{"type": "image", "media": image}, {"type": "text", "text": question}]
        turns: list[Message] = [{"role": "user", "content": content}]
        reply: Reply = self.model.chat(turns, max_new_tokens=self.max_new_tokens)
        return reply.text.strip()


def marked(
    turns: list[Message], inputs: list[Message], marker: Marker, out: Path, sample: str, keep: Callable[[bytes], str]
) -> tuple[list[Message], list[Message]]:
    """The conversation about the picture with marks, which `keep` writes to a file; as it was where none was found."""
    where = [(at, part) for at, turn in enumerate(turns) for part, one in enumerate(turn["content"]) if "media" in one]
    if len(where) != 1 or turns[where[0][0]]["content"][where[0][1]]["type"] != "image":
        return turns, inputs
    ((at, part),) = where
    image, found = marker(turns[at]["content"][part]["media"])
    if not found:
        return turns, inputs
    said = {"type": "text", "text": marks.prompt(found)}
    file = inputs[at]["content"][part]["path"]
    boxes = [list(one.box) for one in found]
    size = list(image.size[::-1])
    line = {"sample": sample, "picture": file, "said": said["text"], "size": size, "boxes": boxes}
    append(out / MARKS, line)
    shown = {"type": "image", "media": image}, {"type": "image", "path": keep(image.to_bytes("png"))}
    return _with(turns, at, part, shown[0], said), _with(inputs, at, part, shown[1], said)


def _with(turns: list[Message], at: int, part: int, picture: Any, said: Any) -> list[Message]:
    """A conversation with another picture, and words before those that follow it."""
    content = turns[at]["content"]
    return [
        *turns[:at],
        {**turns[at], "content": [*content[:part], picture, said, *content[part + 1 :]]},
        *turns[at + 1 :],
    ]


def spoken(out: Path, lines: Sequence[Line]) -> list[Line]:
    """Rows whose answer is a box, with the box of the first mark that the reply names, where it names one."""
    known = marks_of(out)

    def read(line: Line) -> Line:
        drawn, row = known.get(line["sample"]), line["row"]
        if drawn is None or "box" not in row:
            return line
        number = marks.first(row["prediction"], len(drawn["boxes"]))
        if number is None:
            return line
        sides = drawn["size"] * 2
        box = [value / side for value, side in zip(drawn["boxes"][number - 1], sides, strict=True)]
        return {**line, "row": {**row, "prediction": f"[{', '.join(f'{value:.4f}' for value in box)}]"}}

    return [read(line) for line in lines]


def marks_of(out: Path) -> dict[str, dict[str, Any]]:
    """The marks of each sample that has some."""
    return {line["sample"]: line for line in whole_lines(out / MARKS)}


def corrected(
    out: Path, lines: Sequence[Line], corrector: Corrector, progress: Callable[[int], None] = lambda count: None
) -> list[Line]:
    """Rows with replies put right; what a corrector of the same name made of the same reply is not made again."""
    records, picture_of = records_of(out), pictures_of(out)
    made = {(line["sample"], line["by"], line["reply"]): line["corrected"] for line in whole_lines(out / CORRECTIONS)}
    known, found = marks_of(out), list[Line]()
    for line in lines:
        sample, reply = line["sample"], line["row"]["prediction"]
        key = (sample, corrector.name, reply)
        picture = picture_of(sample)
        if key not in made and picture is not None:
            question = records[sample].request.removeprefix(known[sample]["said"] if sample in known else "").strip()
            correction = corrector(Image.read(picture), question, reply)
            append(out / CORRECTIONS, {"sample": sample, "by": corrector.name, **correction.plain()})
            made[key] = correction.corrected
        found.append({**line, "row": {**line["row"], "prediction": made.get(key, reply)}})
        progress(1)
    return found


def records_of(out: Path) -> dict[str, Record]:
    """The records of a run by sample."""
    return {record.job.sample: record for record in Records(out / "records.jsonl")}


def pictures_of(out: Path) -> Callable[[str], Path | None]:
    """Gives the file of the one picture of a sample, without marks; None of none or of several."""
    records, known = records_of(out), marks_of(out)

    def picture(sample: str) -> Path | None:
        parts = [part for turn in records[sample].inputs for part in turn["content"] if "path" in part]
        if len(parts) != 1 or parts[0]["type"] != "image":
            return None
        return Path(out, known[sample]["picture"] if sample in known else parts[0]["path"])

    return picture

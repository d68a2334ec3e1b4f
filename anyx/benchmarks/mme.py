"""MME's release: a folder a subtask, in it pictures and, by the same name, `*.txt` of `question<tab>answer`, two lines.

Five subtasks keep pictures in `images/` and texts in `questions_answers_YN/`; the others keep both side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from anyx.benchmarks.folders import located
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, question
from anyx.scoring.mme import COGNITION, PERCEPTION, mme

ENDINGS = (".jpg", ".png", ".jpeg")


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """The two questions of each picture; other texts of the release (results of models) are left out."""

    def made(file: Path) -> Iterator[Sample]:
        place = file.parent.parent if file.parent.name == "questions_answers_YN" else file.parent
        if place.name not in (*PERCEPTION, *COGNITION):
            return
        lines = [line.split("\t") for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        if len(lines) != 2 or any(len(line) != 2 for line in lines):
            raise ValueError(f"{file} is not two lines of a question, a tab and an answer")
        where = located(place, file.stem, "images", "", endings=ENDINGS)
        name = f"{place.name}/{file.stem}"
        for number, (text, answer) in enumerate(lines):
            right = {"category": place.name, "question_id": name, "answer": answer.strip()}
            yield question("mme", f"{name}/{number}", text, where, right, group=name, source=name)

    yield from each(files, made)


MME = Benchmark(
    holds="MME_Benchmark_release_version: folders such as OCR/ or artwork/ with pictures and a .txt for each",
    files=[["*.txt"]],
    many=["*.txt"],
    read=read,
    score=lambda rows, parser: mme(rows, parser=parser),
    parsers=("mme@official", "mme@lmms"),
    prompt=f"mme@{WORDING}",
)

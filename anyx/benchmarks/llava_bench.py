"""LLaVA-Bench in the wild: `questions.jsonl`, `context.jsonl`, `answers_gpt4.jsonl` and pictures in `images/`.

A judge that sees no picture reads its description, the question, the answer of GPT-4 and ours, and gives both points
from 1 to 10. The words it is asked by are our own: figures compare with each other, and with published ones only when
their wording is given by `--judge-prompt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_lines
from anyx.benchmarks.samples import Benchmark, Review, Sample, asked, each
from anyx.scoring.reviews import llava_bench

TEMPLATE = """\
You compare two assistants who answered a question about a picture. You cannot see it; people described it so:

{context}

Question: {question}

--- Assistant 1 ---
{reference}

--- Assistant 2 ---
{prediction}

--- End ---
Judge how helpful, relevant, accurate and detailed each is, whatever the order and the length. Begin with one line \
that holds only two whole numbers from 1 (worst) to 10 (best), the points of Assistant 1 and of Assistant 2, with a \
blank between. Give your reasons in the lines after it."""


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question."""
    questions, contexts, answers = (list(read_lines(file)) for file in files)
    described = {one.get("image"): one for one in contexts}
    reference = {one.get("question_id"): one for one in answers}

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        name, said = asking["question_id"], described[asking["image"]]["caption"]
        row = {
            "category": asking["category"],
            "question": asking["text"],
            "context": "\n".join(said) if isinstance(said, list) else said,
            "reference": reference[name]["text"],
        }
        where = located(folder, asking["image"], "images", "")
        yield Sample(str(name), asked(asking["text"], where), row, source=asking["image"])

    yield from each(questions, made)


LLAVA_BENCH = Benchmark(
    holds="questions.jsonl, context.jsonl, answers_gpt4.jsonl and pictures in images/",
    files=[["questions.jsonl", "context.jsonl", "answers_gpt4.jsonl"]],
    read=read,
    score=lambda rows, parser: llava_bench(rows, parser=parser),
    parsers=("review@line",),
    prompt="the question alone",
    max_new_tokens=512,
    review=Review("llava-bench@anyx-1", TEMPLATE),
)

"""MM-Vet's release: `mm-vet.json`, questions by their id, with the capabilities that each asks for; `images/`.

A judge grades an answer from 0 to 1 against the right one, in which `<AND>` joins what all has to be there and `<OR>`
what may stand for each other. The words it is asked by are our own; see `anyx.benchmarks.llava_bench`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import Benchmark, Review, Sample, asked, each
from anyx.scoring.reviews import mm_vet

TEMPLATE = """\
Grade an answer to a question about a picture against the right answer. In the right answer <AND> stands between parts \
that must all be given, <OR> between forms of which any will do. The grade is a number from 0.0 (wrong) to 1.0 (right) \
in steps of 0.1: the share of what had to be said that the answer says.

Question: What is 7 + 5, and what colour is the board?
Right answer: 12 <AND> green
Answer: The sum is 12. The board is black.
Grade: 0.5

Question: How much is it?
Right answer: 3.50 <OR> 7/2
Answer: It costs 3.5.
Grade: 1.0

Question: {question}
Right answer: {reference}
Answer: {prediction}
Reply with the grade alone.
Grade:"""


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question."""
    (file,) = files

    def made(entry: tuple[str, Mapping[str, Any]]) -> Iterator[Sample]:
        name, asking = entry
        row = {"question": asking["question"], "reference": asking["answer"], "capability": asking["capability"]}
        where = located(folder, asking["imagename"], "images", "")
        yield Sample(name, asked(asking["question"], where), row, source=asking["imagename"])

    yield from each(read_json(file).items(), made)


MM_VET = Benchmark(
    holds="mm-vet.json and pictures in images/",
    files=[["mm-vet*.json"]],
    read=read,
    score=lambda rows, parser: mm_vet(rows, parser=parser),
    parsers=("grade@first",),
    prompt="the question alone",
    max_new_tokens=512,
    review=Review("mm-vet@anyx-1", TEMPLATE),
)

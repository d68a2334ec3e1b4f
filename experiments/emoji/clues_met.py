"""Are answers to clue questions recall? `python experiments/emoji/clues_met.py out/evaluation`, after `anyx evaluate`.

The sentences around the clues of a test are kept back, but the clues, three of a thing's few keywords and its first
letters, may be those of a training question. Prints right answers of both kinds apart, for each split.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from anyx.evaluation.judges import rankings
from anyx.evaluation.labels import LabelJudge
from anyx.evaluation.records import Records, words_of
from anyx.imports import import_file

HERE = Path(__file__).parent
dialogues = import_file(HERE / "dialogues.py")
CELL = "text->text"
Clue = tuple[str, frozenset[str]]  # the first letters, the keywords


def letters_of(question: str) -> str:
    """What stands in quotes."""
    found = re.search(r'"([^"]+)"', question)
    return found[1] if found else ""


def clue_of(question: str, words: tuple[str, ...]) -> Clue:
    """The letters, and which of a thing's keywords the question names."""
    named = frozenset(word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", question))
    return letters_of(question), named


def questions() -> Iterator[str]:
    """What users say in training."""
    for name in ("instruct", "recall"):
        for record in dialogues.Dialogues(part=name):
            yield from (words_of(turn) for turn in record["messages"] if turn["role"] == "user")


def main(folder: Path) -> None:
    """Count."""
    asked: dict[str, list[str]] = {}
    for question in questions():
        asked.setdefault(letters_of(question), []).append(question)
    corpus = dialogues.corpus.EmojiCorpus()
    judge = LabelJudge(corpus.labels)
    counts: dict[tuple[str, bool], list[bool]] = {}
    for record in Records(folder / "records.jsonl"):
        if record.job.route != CELL:
            continue
        words = dialogues.clues()[record.job.sample]
        clue = clue_of(record.request, words)
        met = any(clue_of(question, words) == clue for question in asked.get(clue[0], ()))
        first = rankings(judge, [record.text])[0][:1]
        right = [corpus.labels[index] for index in first] == [corpus.label(record.job.sample)]
        counts.setdefault((record.job.split, met), []).append(right)
    for (split, met), rights in sorted(counts.items()):
        said = "asked" if met else "never asked"
        print(f"{split}: {sum(rights)} of {len(rights)} right; training {said} by their clues")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

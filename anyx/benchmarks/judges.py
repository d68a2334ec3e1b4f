"""Judges of words: prompts in, answers out. One over HTTP is in `anyx.benchmarks.http_judge`; here are those on disk.

What a judge said is kept as JSONL, a line an answer: `{"prompt": digest, "judge": name, "answer": words}`. `Kept` asks
another judge only for what the file has not; `Replay` reads the file and asks nobody, so that a score by a judge that
is gone, or costs, can be made again, and what was judged elsewhere can be scored here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from anyx.benchmarks.folders import read_lines
from anyx.evaluation.records import append, whole_lines

WANTED = {"prompt", "judge", "answer"}
FORM = '{"prompt": digest, "judge": name, "answer": words}'


class TextJudge(Protocol):
    """What is asked of a judge: one answer a prompt. `name` stands in results beside the figure."""

    name: str

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """One answer a prompt."""
        ...


class Replay:
    """The answers of a file; `name` picks a judge where it holds several."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        if not path.is_file():
            raise ValueError(f"--judge-file: there is no file '{path}'; it holds lines of {FORM}")
        lines = list(read_lines(path))  # it may be anybody's: nothing is cut off
        if broken := [line for line in lines if not isinstance(line, dict) or not line.keys() >= WANTED]:
            raise ValueError(f"--judge-file: {path} holds {broken[0]}; each line is {FORM}")
        names = list(dict.fromkeys(line["judge"] for line in lines))
        chosen = names if name is None else [name]
        if len(chosen) != 1 or chosen[0] not in names:
            raise ValueError(f"--judge-model: {name!r} given; {path} has answers of {', '.join(names) or 'nobody'}")
        self.name, self.path = str(chosen[0]), path
        self.answers = {line["prompt"]: str(line["answer"]) for line in lines if line["judge"] == chosen[0]}

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """The recorded answers; ValueError where one was never asked for."""
        keys = [digest(prompt) for prompt in prompts]
        if missing := [key for key in keys if key not in self.answers]:
            raise ValueError(
                f"{self.path} has no answer of {self.name} to {len(missing)} of {len(keys)} prompts (the first is "
                f"{missing[0]}); the answers or the judge's prompt have changed: name the judge again"
            )
        return [self.answers[key] for key in keys]


class Kept:
    """Another judge, asked for one prompt at a time, whose answers go to a file before they are used."""

    def __init__(self, judge: TextJudge, path: Path, progress: Callable[[int], None] = lambda count: None) -> None:
        self.name, self.judge, self.path, self.progress = judge.name, judge, path, progress
        self.answers = {line["prompt"]: line["answer"] for line in whole_lines(path) if line["judge"] == judge.name}

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Kept answers, and the judge's own to what has none."""
        found = []
        for prompt in prompts:
            key = digest(prompt)
            if key not in self.answers:
                (self.answers[key],) = self.judge([prompt])
                append(self.path, {"prompt": key, "judge": self.name, "answer": self.answers[key]})
            found.append(self.answers[key])
            self.progress(1)
        return found


def digest(prompt: str) -> str:
    """By what a prompt is known: 32 hexadecimal digits of BLAKE2b."""
    return hashlib.blake2b(prompt.encode(), digest_size=16).hexdigest()

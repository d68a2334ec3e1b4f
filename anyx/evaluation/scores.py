"""Records -> verdicts: whether a reply holds what was asked for, and what the judges take it for. No model is needed.

Verdicts are kept beside the records, by the digest of what judged, so that old records are judged once by each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx.data.code import code_of
from anyx.evaluation.judges import Judges, placed, rankings
from anyx.evaluation.metrics import sound
from anyx.evaluation.records import Job, Record, append, by_route, read, whole_lines
from anyx.frozen import Origin

BATCH = 32  # outputs of one route that a judge sees at once


class Verdict(NamedTuple):
    """`valid`: it holds a usable output of the kind asked for; `exact`: and no medium that was not.

    `ranked` are labels by judge, best first.
    """

    valid: bool
    exact: bool
    ranked: Mapping[str, Sequence[int]]


class Verdicts:
    """Verdicts of one digest in `path`, read at the start, appended as they come."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest
        self.found: dict[Job, Verdict] = {}
        for line in whole_lines(path):
            if line.pop("by") == digest:
                job = Job(**line.pop("job"))
                self.found[job] = Verdict(**line)

    def __getitem__(self, job: Job) -> Verdict:
        return self.found[job]

    def __contains__(self, job: Job) -> bool:
        return job in self.found

    def add(self, job: Job, verdict: Verdict) -> None:
        """Keep a verdict, on disk first."""
        append(self.path, {"by": self.digest, "job": vars(job), **verdict._asdict()})
        self.found[job] = verdict


def judge_all(
    records: Sequence[Record],
    judges: Judges,
    folder: Path,
    verdicts: Verdicts,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Judge the records that have no verdict yet; outputs are read from their files in `folder`."""
    left = {record.job: record for record in records if record.job not in verdicts}
    progress(len(records) - len(left))
    for members in by_route(left).values():
        named = judges.get(members[0].target, {}) if "->" in members[0].route else {}
        for start in range(0, len(members), BATCH):
            group = [left[job] for job in members[start : start + BATCH]]
            for record, verdict in zip(group, judged(group, named, folder), strict=True):
                verdicts.add(record.job, verdict)
            progress(len(group))


def judged(group: Sequence[Record], named: Mapping[str, Any], folder: Path) -> list[Verdict]:
    """Verdicts of records of one route by its judges."""
    target = group[0].job.target
    outputs = [output_of(record, folder) for record in group]
    good = [place for place, output in enumerate(outputs) if output is not None and sound(output)]
    ranked: list[dict[str, list[int]]] = [{} for _ in group]
    for name, judge in named.items():
        for place, row in zip(good, rankings(judge, [outputs[place] for place in good]), strict=True):
            ranked[place][name] = row
    allowed = {"text", target}
    return [
        Verdict(place in good, place in good and set(record.keys) <= allowed, ranked[place])
        for place, record in enumerate(group)
    ]


def output_of(record: Record, folder: Path) -> Any:
    """The first output of the kind asked for: words, a medium, or None."""
    if record.job.target == "text":
        return record.text.strip() or None
    place = record.shown(record.job.target)
    return None if place is None else read(folder / place)


def digest_of(
    nodes: Mapping[str, Mapping[str, Mapping[str, Any]]], judges: Judges, labels: Sequence[str], folder: Path
) -> str:
    """What a verdict depends on besides the record: the judges' settings, weights and code, and the list of labels.

    Code is that of a judge's file and of what that imports: the files beside it, or the modules of its package.
    """
    state = hashlib.blake2b(json.dumps([nodes, list(labels)], sort_keys=True).encode(), digest_size=12)
    for named in judges.values():
        for judge in named.values():
            state.update(code_of(type(judge)).encode())
    for named_nodes in nodes.values():
        for node in named_nodes.values():
            if "path" in node and (weights := Path(placed(str(node["path"]), folder))).exists():
                for name, file in Origin((weights,), "").files():
                    state.update(name.encode())
                    state.update(file.read_bytes())
    return state.hexdigest()

"""The files that lmms-eval writes: `<model>/<date>_results.json`, and `<date>_samples_<task>.jsonl` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = "_results.json"
UNKNOWN = "unknown"  # the version as lmms-eval tells it outside of its repository


class Exported(NamedTuple):
    """One task of one run: its results (`acc,none`: 0.5), its samples as logged, and what they depend on.

    `filters` are in the order in which each sample was logged with them.
    """

    name: str
    file: Path
    results: Mapping[str, Any]
    samples: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    filters: Sequence[str]
    model: str
    form: str
    version: str
    task: str


def exported(name: str, source: Path) -> Exported:
    """The newest run in a folder that has the task; ValueError: there is none, or several models' are there."""
    files = sorted(source.rglob(f"*{RESULTS}"))
    if not files:
        written = "`python -m lmms_eval ... --log_samples --output_path` writes them"
        raise ValueError(f"--import: there are no results of lmms-eval (*{RESULTS}) in '{source}'; {written}")
    runs = {file: json.loads(file.read_text(encoding="utf-8")) for file in files}
    having = [file for file in files if samples_of(file, name).is_file() and name in runs[file]["results"]]
    if not having:
        tasks = sorted({task for file in files for task in runs[file]["results"] if samples_of(file, task).is_file()})
        there = f"samples are there of {', '.join(tasks)}" if tasks else "no samples are there; they want --log_samples"
        raise ValueError(f"--import: '{source}' has no results of {name!r} with its samples; {there}")
    folders = sorted({str(file.parent) for file in having})
    if len(folders) > 1:
        raise ValueError(f"--import: '{source}' has {name} of several models; name one folder: {', '.join(folders)}")
    file = having[-1]
    run = runs[file]
    lines = samples_of(file, name).read_text(encoding="utf-8").splitlines()
    results = run["results"][name]
    config = run["config"]
    version = run.get("lmms_eval_version") or UNKNOWN
    return Exported(
        name,
        file,
        results,
        [json.loads(line) for line in lines],
        run["configs"][name],
        list(dict.fromkeys(key.rpartition(",")[2] for key in results if "," in key)),
        str(config["model_args"] or config["model"]),
        "chat" if str(config.get("model_backend")).endswith("(chat)") else "simple",
        "lmms-eval" if version.startswith(UNKNOWN) else f"lmms-eval@{version}",
        f"{name}@{run['versions'][name]}, {run['n-shot'][name]} shots",
    )


def samples_of(file: Path, task: str) -> Path:
    """Where the samples of a task stand beside a file of results."""
    return file.with_name(f"{file.name.removesuffix(RESULTS)}_samples_{task}.jsonl")

"""The files that lmms-eval writes: `<model>/<date>_results.json`, and `<date>_samples_<task>.jsonl` beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx.benchmarks.folders import read_json, read_lines

RESULTS = "_results.json"
ERRORS = {"_stderr": "stderr", "_stderr_clt": "clt", "_stderr_clustered": "clustered"}
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
    runs = {file: read_json(file) for file in files}
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
    results = run["results"][name]
    config = run["config"]
    filters = list(dict.fromkeys(key.rpartition(",")[2] for key in results if "," in key))
    if not filters:
        raise ValueError(f"--import: '{file}' has no figure of {name}: {', '.join(results)}")
    version = run.get("lmms_eval_version") or UNKNOWN
    return Exported(
        name,
        file,
        results,
        list(read_lines(samples_of(file, name))),  # a reply may hold what other readers end lines at
        run["configs"][name],
        filters,
        str(config["model_args"] or config["model"]),
        "chat" if str(config.get("model_backend")).endswith("(chat)") else "simple",
        "lmms-eval" if version.startswith(UNKNOWN) else f"lmms-eval@{version}",
        f"{name}@{run['versions'][name]}, {run['n-shot'][name]} shots",
    )


def samples_of(file: Path, task: str) -> Path:
    """Where the samples of a task stand beside a file of results."""
    return file.with_name(f"{file.name.removesuffix(RESULTS)}_samples_{task}.jsonl")


def figures_of(found: Exported) -> tuple[dict[str, float | None], dict[str, dict[str, float]]]:
    """The figures and their standard errors, where lmms-eval has any."""
    figures: dict[str, float | None] = {}
    errors: dict[str, dict[str, float]] = {}
    for key, value in found.results.items():
        metric, comma, used = key.rpartition(",")
        ending = next((suffix for suffix in ERRORS if metric.endswith(suffix)), "")
        name = shown(found, metric.removesuffix(ending), used)
        if comma and not ending:
            figures[name] = number(value)
        elif comma and (error := number(value)) is not None:
            errors.setdefault(name, {})[ERRORS[ending]] = error
    return figures, errors


def shown(found: Exported, metric: str, used: str) -> str:
    """The name of a figure; of another filter of answers than the first it has that behind it."""
    return metric if used == found.filters[0] else f"{metric},{used}"


def means_of(found: Exported) -> set[str]:
    """The metrics that the task itself says to be means."""
    listed = found.config.get("metric_list") or []
    return {entry["metric"] for entry in listed if entry.get("aggregation") == "mean"}


def scored(found: Exported) -> list[dict[str, Any]]:
    """A line a sample: its scores by figure, None where it has none; a sample is logged once a filter."""
    lines: dict[str, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    cluster, key = found.config.get("cluster_key"), found.config.get("score_key") or "score"
    for sample in found.samples:
        name = str(sample["doc_id"])
        used = found.filters[seen[name] % len(found.filters)]
        seen[name] += 1
        start = {"sample": name, "target": sample["target"], "cluster": None, "scores": {}}
        line = lines.setdefault(name, start)
        for full in found.results:
            metric, _, of = full.rpartition(",")
            if of != used or metric not in sample:
                continue
            value = sample[metric]
            if isinstance(value, Mapping):
                line["cluster"] = value.get(cluster) if cluster else None
                value = value.get(key)
            line["scores"][shown(found, metric, of)] = number(value)
    return list(lines.values())


def number(value: Any) -> float | None:
    """A score as JSON has it, perhaps as the text of a number or of a truth value; None of anything else."""
    if value in ("True", "False"):
        return float(value == "True")
    if not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None

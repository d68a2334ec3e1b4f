"""`evaluate`: a folder with an `evaluation.yaml` and a model -> records, `matrix.json`, `report.html`, a contact sheet.

The YAML names a corpus (`corpus: corpus.py:MyCorpus`), the judges of each key, the model's folder, and the sizes of a
run. A stopped run goes on where it was; a folder with the records of another model, judge or setting is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from anyx import config
from anyx.evaluation import report, routes
from anyx.evaluation.corpus import Corpus
from anyx.evaluation.judges import build
from anyx.evaluation.matrix import ceilings_of, markdown, matrix
from anyx.evaluation.records import Records
from anyx.imports import find

SETTINGS: Mapping[str, Any] = {"model": "model", "limit": 100, "batch": 10, "max_new_tokens": 32}


def evaluate(
    folder: str | Path,
    out: str | Path,
    *,
    model: str | Path | routes.Model | None = None,
    all: bool = False,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    show: bool = True,
) -> dict[str, Any]:
    """Measure a model on an experiment's corpus; returns what `matrix.json` holds.

    `limit` concepts a cell (default: the YAML's), or `all`. `model`: a model, or where to load one from.
    """
    folder, out = Path(folder), Path(out)
    settings = read_settings(folder)
    folder = folder if folder.is_dir() else folder.parent
    corpus: Corpus = find(settings["corpus"], "corpus", folder)()
    size = None if all else limit if limit is not None else int(settings["limit"])
    if model is None or isinstance(model, str | Path):
        place = folder / str(settings["model"]) if model is None else Path(model)
        identity, model = fingerprint(place), load_model(place, device)
    else:
        identity = "given"
    world = fingerprint(folder, without=(folder / str(settings["model"]), out))
    claim(out, {"model": identity, "experiment": world, "seed": seed})
    judges = build(settings["judges"], corpus.labels, folder)
    records = Records(out / "records.jsonl")
    jobs = routes.plan(corpus, limit=size, seed=seed)
    with report.progress(len(jobs), show) as advance:
        routes.run(
            model,
            corpus,
            judges,
            jobs,
            records,
            out,
            batch=int(settings["batch"]),
            max_new_tokens=int(settings["max_new_tokens"]),
            progress=advance,
        )
    ceilings = ceilings_of(corpus, judges, limit=size, seed=seed)
    found = matrix(corpus, judges, jobs, records, ceilings)
    (out / "matrix.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "matrix.md").write_text(markdown(found, corpus.keys, corpus.splits), encoding="utf-8")
    report.write(found, corpus, records.of(jobs), out)
    if show:
        report.show(found, corpus)
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """The experiment's `evaluation.yaml` over the defaults."""
    file = folder / "evaluation.yaml" if folder.is_dir() else folder
    if not file.is_file():
        raise ValueError(
            f"there is no {file}; an evaluation is described by an evaluation.yaml in the experiment's folder"
        )
    given = config.read(file)
    allowed = {"corpus", "judges", *SETTINGS}
    if set(given) - allowed or {"corpus", "judges"} - set(given):
        raise ValueError(f"{file}: its keys are {', '.join(sorted(allowed))} (corpus and judges required)")
    return {**SETTINGS, **given}


def load_model(place: Path, device: str) -> routes.Model:
    """A trained model, ready to answer."""
    from anyx.model import AnyX

    return cast(routes.Model, AnyX.from_pretrained(str(place)).to(device).eval())


def fingerprint(place: Path, without: Collection[Path] = ()) -> str:
    """A digest of a folder's files, but for notes and what lies in the folders `without`; a Hub id is its own."""
    if not place.is_dir():
        return str(place)
    state = hashlib.blake2b(digest_size=12)
    left = {folder.resolve() for folder in without}
    for file in sorted(place.rglob("*")):
        if file.is_file() and file.suffix not in (".md", ".pyc") and left.isdisjoint(file.resolve().parents):
            state.update(file.relative_to(place).as_posix().encode())
            with file.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()


def claim(out: Path, run: Mapping[str, Any]) -> None:
    """Make the folder this run's own, or refuse it where it is another's."""
    file = out / "run.json"
    if file.is_file():
        held = json.loads(file.read_text())
        if held != dict(run):
            raise ValueError(f"out: {out} holds records of another run ({held}); choose another folder")
        return
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run) + "\n", encoding="utf-8")

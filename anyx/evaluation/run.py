"""`evaluate`: a folder with an `evaluation.yaml` and a model -> records, `matrix.json`, `report.html`, a contact sheet.

The YAML names a corpus (`corpus: corpus.py:MyCorpus`), the judges of each key, the model's folder, and the sizes of a
run. A stopped run goes on where it was; a folder with the records of another model, judge or setting is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from anyx import yamls
from anyx.data.digests import module_digest
from anyx.evaluation import report, routes
from anyx.evaluation.corpus import Corpus
from anyx.evaluation.judges import build
from anyx.evaluation.matrix import ceilings_of, markdown, matrix
from anyx.evaluation.records import Records
from anyx.imports import find
from anyx.signatures import Count, Errors, check_fields


@dataclass(frozen=True)
class Settings:
    """What an `evaluation.yaml` may say: the corpus's class, judges by key and name, and what else is measured how.

    `cells` are the routes to measure (`speech->text`), all of the corpus unless given. In those that `transcripts`
    names the reply should be the label and nothing else: their word error rate is told too.
    """

    corpus: str
    judges: Mapping[str, Mapping[str, Mapping[str, Any]]]
    model: str = "model"
    limit: Count = 100
    batch: Count = 10
    max_new_tokens: Count = 32
    cells: Sequence[str] | None = None
    transcripts: Sequence[str] = ()


def evaluate(
    folder: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    model: str | Path | routes.Model | None = None,
    all: bool = False,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    show: bool = True,
) -> dict[str, Any]:
    """Measure a model on an experiment's corpus; returns what `matrix.json` holds.

    `overrides` are the YAML's, as `a.b=c`. `limit` concepts a cell (default: the YAML's), or `all`. `model`: a model,
    or where to load one from. A run goes on in the same `out` with the same model only: one that is given as an object
    is known by its weights, and by its class alone where it is no `nn.Module`.
    """
    folder, out = Path(folder), Path(out)
    settings = read_settings(folder, overrides)
    folder = folder if folder.is_dir() else folder.parent
    corpus: Corpus = find(settings.corpus, "corpus", folder)()
    check_cells(settings, corpus)
    size = None if all else limit if limit is not None else settings.limit
    if model is None or isinstance(model, str | Path):
        place = folder / settings.model if model is None else Path(model)
        identity, model = fingerprint(place), load_model(place, device)
    else:
        identity = identity_of(model)
    world = fingerprint(folder, without=(folder / settings.model, out))
    # a run may grow, and the model is told by its weights; word errors are counted from records
    told = asdict(settings).items()
    kept = {name: value for name, value in told if name not in ("limit", "model", "cells", "transcripts")}
    claim(out, {"model": identity, "experiment": world, "seed": seed, "settings": kept})
    judges = build(settings.judges, corpus.labels, folder)
    records = Records(out / "records.jsonl")
    jobs = [job for job in routes.plan(corpus, limit=size, seed=seed) if measured(settings, job.cell)]
    with report.progress(len(jobs), show) as advance:
        routes.run(
            model,
            corpus,
            judges,
            jobs,
            records,
            out,
            batch=settings.batch,
            max_new_tokens=settings.max_new_tokens,
            progress=advance,
        )
    ceilings = ceilings_of(corpus, judges, limit=size, seed=seed)
    found = matrix(corpus, judges, jobs, records, ceilings, transcripts=settings.transcripts)
    (out / "matrix.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "matrix.md").write_text(markdown(found, corpus.keys, corpus.splits), encoding="utf-8")
    report.write(found, corpus, records.of(jobs), out)
    if show:
        report.show(found, corpus)
    return found


def read_settings(folder: Path, overrides: Sequence[str] = ()) -> Settings:
    """The experiment's `evaluation.yaml` with overrides."""
    file = folder / "evaluation.yaml" if folder.is_dir() else folder
    if not file.is_file():
        raise ValueError(
            f"there is no {file}; an evaluation is described by an evaluation.yaml in the experiment's folder"
        )
    errors = Errors()
    given = check_fields(errors, "", yamls.read(file, overrides), Settings)
    if errors:
        raise yamls.ConfigError([f"{file}: {error}" for error in errors])
    return Settings(**given)


def check_cells(settings: Settings, corpus: Corpus) -> None:
    """Refuse cells that the corpus has not, and transcripts that are no words."""
    known = routes.cells(corpus.keys)
    for name, given, allowed in (
        ("cells", settings.cells or (), known),
        ("transcripts", settings.transcripts, [cell for cell in known if cell.endswith("->text")]),
    ):
        if unknown := [cell for cell in given if cell not in allowed]:
            raise ValueError(f"{name}: {unknown[0]!r} is not one of {', '.join(allowed)}")


def measured(settings: Settings, cell: str) -> bool:
    """Whether a cell is among those to measure; plain chat always is, where the corpus has any."""
    return settings.cells is None or cell in settings.cells or cell == routes.PLAIN


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


def identity_of(model: routes.Model) -> str:
    """What a model object is: its class, the weights it has and the configuration it was built by."""
    if not isinstance(model, nn.Module):
        return f"{type(model).__module__}.{type(model).__qualname__}"
    from anyx.model import AnyX

    config = model.config if isinstance(model, AnyX) else None
    return module_digest(model, config.to_yaml() if config else "")


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

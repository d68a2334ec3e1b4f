"""`evaluate`: a folder with an `evaluation.yaml` and a model -> records, then scores, `matrix.json`, `report.html`.

The YAML names a corpus (`corpus: corpus.py:MyCorpus`), the judges of each key, the model's folder, and the sizes of a
run. A stopped run goes on where it was; a folder with the records of another model or setting is refused. `score` reads
records alone: it needs no model, and judges again what other judges judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from anyx import yamls
from anyx.digests import files_digest, module_digest
from anyx.evaluation import compare as comparison
from anyx.evaluation import report, routes
from anyx.evaluation.corpus import Corpus
from anyx.evaluation.fidelity import Fidelity
from anyx.evaluation.judges import Judges, build
from anyx.evaluation.matrix import below, ceilings_of, markdown, matrix
from anyx.evaluation.records import Job, Records
from anyx.evaluation.scores import Verdicts, digest_of, judge_all
from anyx.imports import find
from anyx.signatures import Amount, Count, Errors, check_fields


@dataclass(frozen=True)
class Settings:
    """What an `evaluation.yaml` may say: the corpus's class, judges by key and name, and what else is measured how.

    `cells` are the routes to measure (`speech->text`), all of the corpus unless given. In those that `transcripts`
    names the reply should be the label and nothing else: their word error rate is told too. `cycles` are routes with
    one leg more (`text->image->text`), on which the model meets what it made itself. `embedders` say by key what tells
    how like real media the outputs are; see `anyx.evaluation.fidelity`. `floors` are the least share of right answers
    that a cell of a split may have: `anyx evaluate` fails where one has less.
    """

    corpus: str
    judges: Mapping[str, Mapping[str, Mapping[str, Any]]]
    model: str = "model"
    limit: Count = 100
    batch: Count = 10
    max_new_tokens: Count = 32
    cells: Sequence[str] | None = None
    transcripts: Sequence[str] = ()
    cycles: Sequence[str] = ()
    embedders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    floors: Mapping[str, Amount] = field(default_factory=dict)

    def of_records(self) -> dict[str, Any]:
        """What the records depend on: a run may grow, and be scored otherwise; the model is told by its weights."""
        return {"corpus": self.corpus, "batch": self.batch, "max_new_tokens": self.max_new_tokens}


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
    if all and limit is not None:
        raise ValueError(f"all, limit: every concept and {limit} of them were asked for; give one of the two")
    out = Path(out)
    experiment = opened(folder, overrides)
    settings, corpus, fidelity = experiment.settings, experiment.corpus, experiment.fidelity(out)
    size = None if all else limit if limit is not None else settings.limit
    if model is None or isinstance(model, str | Path):
        place = experiment.file.parent / settings.model if model is None else Path(model)
        identity, model = told_by(place), load_model(place, device)
    else:
        identity = identity_of(model)
    world = experiment.world(out)
    claim(out, {"model": identity, "experiment": world, "seed": seed, "settings": settings.of_records()})
    records = Records(out / "records.jsonl")
    jobs = planned(settings, corpus, size, seed)
    with report.progress("requests", len(jobs), show) as advance:
        routes.run(
            model,
            corpus,
            jobs,
            records,
            out,
            identity=identity,
            batch=settings.batch,
            max_new_tokens=settings.max_new_tokens,
            progress=advance,
        )
    return scored(experiment, fidelity, jobs, records, out, limit=size, seed=seed, show=show)


def score(folder: str | Path, out: str | Path, overrides: Sequence[str] = (), *, show: bool = True) -> dict[str, Any]:
    """Score the records that lie in `out`, of the YAML's cells, without a model; returns what `matrix.json` holds."""
    out = Path(out)
    experiment = opened(folder, overrides)
    corpus, fidelity = experiment.corpus, experiment.fidelity(out)
    records = Records(out / "records.jsonl")
    if not len(records):
        raise ValueError(f"out: there are no records in {out}; `anyx evaluate` without --score-only makes them")
    splits = (*corpus.splits, *corpus.apart)
    if strange := sorted({record.job.split for record in records} - {*splits, routes.PLAIN}):
        raise ValueError(f"out: {out} holds records of {strange[0]!r}, which is no split of this corpus")
    jobs = measured(experiment.settings, [record.job for record in records])
    samples = max(len({job.sample for job in jobs if job.split == split}) for split in splits)
    seed = next(iter(records)).job.seed
    return scored(experiment, fidelity, jobs, records, out, limit=samples, seed=seed, show=show)


def scored(
    experiment: Experiment,
    fidelity: Fidelity,
    jobs: Sequence[Job],
    records: Records,
    out: Path,
    *,
    limit: int | None,
    seed: int,
    show: bool,
) -> dict[str, Any]:
    """Judge what has not been judged, and write the figures and the report."""
    corpus, judges = experiment.corpus, experiment.judges
    verdicts = Verdicts(out / "verdicts.jsonl", experiment.digest)
    with report.progress("verdicts", len(jobs), show) as advance:
        judge_all(records.of(jobs), judges, out, verdicts, advance)
    found = matrix(
        corpus,
        judges,
        jobs,
        records,
        verdicts,
        ceilings_of(corpus, judges, limit=limit, seed=seed),
        fidelity=fidelity,
        transcripts=experiment.settings.transcripts,
    )
    found["below"] = below(found, experiment.settings.floors)
    (out / "matrix.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "matrix.md").write_text(markdown(found, corpus.keys, corpus.splits), encoding="utf-8")
    report.write(found, corpus, records.of(jobs), verdicts, out)
    if show:
        report.show(found, corpus)
    return found


def compare(
    folder: str | Path, runs: Sequence[Path], overrides: Sequence[str] = (), *, show: bool = True
) -> dict[str, Any]:
    """Two folders with records of the same requests, cell by cell; see `anyx.evaluation.compare`."""
    experiment = opened(folder, overrides)
    found = comparison.compare(experiment.corpus, experiment.judges, runs, experiment.digest)
    if show:
        comparison.show(found, [str(run) for run in runs])
    return found


@dataclass(frozen=True)
class Experiment:
    """What an `evaluation.yaml` names, found and built: `file` is the YAML itself, `digest` what verdicts depend on."""

    settings: Settings
    file: Path
    corpus: Corpus
    judges: Judges
    digest: str

    def fidelity(self, out: Path) -> Fidelity:
        """What tells how like real ones the media of a run are."""
        return Fidelity(self.corpus, self.settings.embedders, out, self.file.parent)

    def world(self, out: Path) -> str:
        """A digest of its folder's files, but for notes, the YAML, the model, the run and the judges' weights."""
        place, nodes = self.file.parent, [node for named in self.settings.judges.values() for node in named.values()]
        scorers = [place / str(node["path"]) for node in nodes if "path" in node]
        left = {one.resolve() for one in (self.file, place / self.settings.model, out, *scorers)}
        files = [file for file in place.rglob("*") if file.is_file() and file.suffix not in (".md", ".pyc")]
        kept = [file for file in files if left.isdisjoint([file.resolve(), *file.resolve().parents])]
        return files_digest(place, kept)

    def rights(self, out: Path, limit: int | None, seed: int = 0) -> dict[Job, float]:
        """1.0 or 0.0 by the first judge for every request of a run of so many concepts whose record lies in `out`."""
        size = self.settings.limit if limit is None else limit
        found = comparison.right_of(self.corpus, self.judges, out, self.digest)
        return {job: found[job] for job in planned(self.settings, self.corpus, size, seed) if job in found}


def opened(folder: str | Path, overrides: Sequence[str]) -> Experiment:
    """An experiment, ready to measure: what is wrong with its settings is said here, before anything is asked."""
    file = yaml_of(Path(folder))
    settings = read_settings(file, overrides)
    corpus: Corpus = find(settings.corpus, "corpus", file.parent)()
    check_routes(settings, corpus)
    judges = build(settings.judges, corpus.labels, file.parent)
    return Experiment(settings, file, corpus, judges, digest_of(settings.judges, judges, corpus.labels, file.parent))


def planned(settings: Settings, corpus: Corpus, limit: int | None, seed: int) -> Sequence[Job]:
    """The jobs that the settings ask for."""
    return measured(settings, routes.plan(corpus, limit=limit, seed=seed, cycles=settings.cycles))


def measured(settings: Settings, jobs: Sequence[Job]) -> Sequence[Job]:
    """Of these jobs those of `cells`, cycles whose first leg is measured, and plain chat."""
    if settings.cells is None:
        return jobs
    wanted = {*settings.cells, routes.PLAIN}
    return [job for job in jobs if (routes.first_leg(job) or job).route in wanted]


def read_settings(folder: Path, overrides: Sequence[str] = ()) -> Settings:
    """The experiment's `evaluation.yaml` with overrides."""
    file = yaml_of(folder)
    if not file.is_file():
        raise ValueError(
            f"there is no {file}; an evaluation is described by an evaluation.yaml in the experiment's folder"
        )
    errors = Errors()
    given = check_fields(errors, "", yamls.read(file, overrides), Settings)
    if errors:
        raise yamls.ConfigError([f"{file}: {error}" for error in errors])
    return Settings(**given)


def yaml_of(folder: Path) -> Path:
    """The `evaluation.yaml` of an experiment's folder; a file is one itself."""
    return folder / "evaluation.yaml" if folder.is_dir() else folder


def check_routes(settings: Settings, corpus: Corpus) -> None:
    """Refuse routes that the corpus has not, that no judge ends, transcripts of no words, embedders of no media."""
    known = routes.cells(corpus.keys)
    for name, given, allowed in (
        ("cells", settings.cells or (), known),
        ("transcripts", settings.transcripts, [cell for cell in known if cell.endswith("->text")]),
        ("cycles", settings.cycles, routes.cycles(corpus.keys)),
        ("embedders", list(settings.embedders), [key for key in corpus.keys if key != "text"]),
        ("floors", list(settings.floors), corpus.splits),
    ):
        if unknown := [cell for cell in given if cell not in allowed]:
            raise ValueError(f"{name}: {unknown[0]!r} is not one of {', '.join(allowed)}")
    asked = [*(known if settings.cells is None else settings.cells), *settings.cycles]
    if unjudged := [cell for cell in asked if cell.rpartition("->")[2] not in settings.judges]:
        raise ValueError(f"judges: none is named for what {unjudged[0]!r} ends in; name one, or other `cells`")


def load_model(place: Path, device: str) -> routes.Model:
    """A trained model, ready to answer, greedily whatever its own `sampling` is: figures are not drawn."""
    from anyx.model import AnyX
    from anyx.sampling import Sampling

    model = AnyX.from_pretrained(str(place)).to(device).eval()
    model.sampling = Sampling()
    return cast(routes.Model, model)


def told_by(place: Path) -> str:
    """A digest of what a model is loaded from: a YAML, or a folder without its logs and curves; a Hub id is its own."""
    if place.is_file():
        return files_digest(place.parent, [place])
    if not place.is_dir():
        return str(place)
    return files_digest(place, [*place.glob("*.yaml"), *place.glob("*.safetensors"), *(place / "tokenizer").glob("*")])


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

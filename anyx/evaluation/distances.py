"""Two folders of media -> how far what was made lies from what is real: the generation metrics, each with its embedder.

Sets     kid, frechet         features of both, as sets: FID, FAD and FD are `frechet` over the embedder of each
         inception_score      logits of what was made
Pairs    kl                   logits, pair by pair
         psnr, ssim, lpips    pictures of one size
         mcd                  sounds
         similarity           cosines of features: CLIP-I, where the embedder is CLIP
Captions clipsim, clip-s@hessel   pictures or clips against texts
Clips    consistency          frames of a clip against each other

Pairs are told by name: the path in the folder without its ending. A medium is read, embedded and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyx.evaluation.embedding import embedder
from anyx.evaluation.report import progress
from anyx.interfaces import Media
from anyx.media import MEDIA
from anyx.scoring.cepstra import mcd
from anyx.scoring.compare import interval
from anyx.scoring.embedders import Embedder, embed
from anyx.scoring.features import Features, rows
from anyx.scoring.fidelity import fidelity
from anyx.scoring.frechet import frechet
from anyx.scoring.inception import divergence, inception
from anyx.scoring.kernel import kid
from anyx.scoring.lpips import Lpips, lpips
from anyx.scoring.result import Result
from anyx.scoring.similarity import SCALINGS, alignment, consistency

SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aac", ".opus"),
    "video": (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif"),
}
SETS, LABELS, PIXELS = ("kid", "frechet"), ("inception_score", "kl"), ("psnr", "ssim", "lpips")
METRICS = (*SETS, *LABELS, *PIXELS, "mcd", "similarity", *SCALINGS, "consistency")
KINDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(PIXELS, ("image",)),
    **{metric: ("image", "video") for metric in ("similarity", *SCALINGS)},
    "mcd": ("audio",),
    "consistency": ("video",),
}
FEW = 10  # parts of an inception score, where there are as many media

Files = Mapping[str, Path]  # by name, in order
Count = Callable[[int], None]


@dataclass(frozen=True)
class Measures:
    """What measures: the node of an embedder, an LPIPS, texts by a medium's name."""

    node: Mapping[str, Any] = field(default_factory=lambda: {"type": "handcrafted"})
    lpips: Lpips | None = None
    captions: Mapping[str, str] | None = None
    device: str | None = None

    def embedder(self, metric: str) -> Embedder:
        """The embedder, giving logits to metrics over labels."""
        return embedder(self.node, "--embedder", logits=metric in LABELS, device=self.device)


def files_of(folder: Path) -> tuple[str, Files]:
    """The kind of the media in a folder, at any depth, and their files by name; ValueError: none, or of two kinds."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder '{folder}'")
    kinds = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in kinds and file.name[0] != ".")
    held = sorted({kinds[file.suffix.lower()] for file in files})
    if len(held) != 1:
        given = " and ".join(held) or "no media"
        raise ValueError(f"{folder} holds {given}; media of one kind are wanted: {', '.join(SUFFIXES)}")
    found: dict[str, Path] = {}
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise ValueError(f"{folder} holds two media called {name!r}: {found[name].name} and {file.name}")
        found[name] = file
    return held[0], found


def distances(
    real: Path,
    made: Path,
    metrics: Sequence[str],
    measures: Measures,
    *,
    seed: int = 0,
    show: bool = True,
) -> dict[str, Any]:
    """The figures of the metrics, as `result.json` holds them; what is wrong is said before anything is measured.

    ValueError: an unknown metric, or one for other media; folders of unlike kinds; pairs without their match.
    """
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise ValueError(f"--metric: {unknown[0]!r} is not one of {', '.join(METRICS)}")
    (kind, right), (other, shown) = files_of(real), files_of(made)
    if kind != other:
        raise ValueError(f"{real} holds {kind} and {made} holds {other}; both hold media of one kind")
    for metric in metrics:
        check(metric, kind, right, shown, measures)
    embedders = {metric: measures.embedder(metric) for metric in metrics if metric not in (*PIXELS, "mcd")}
    known: dict[tuple[str, str], Features] = {}
    results = []
    for metric in metrics:

        def features(side: str, metric: str = metric) -> Features:
            key = (side, embedders[metric].name)
            if key not in known:
                files = {"real": right, "made": shown}.get(side) or matched(right, shown)
                with progress(f"{metric} {side}", len(files), show) as advance:
                    known[key] = embedded(files, kind, embedders[metric], advance)
            return known[key]

        if metric in SETS:
            score = kid if metric == "kid" else frechet
            results.append(score(features("real"), features("made"), seed=seed))
        elif metric == "inception_score":
            results.append(inception(features("made"), splits=min(FEW, len(shown))))
        elif metric == "kl":
            results.append(divergence(features("matched"), features("made")))
        else:
            with progress(metric, len(shown), show) as advance:
                each = paired(metric, kind, right, shown, measures, embedders.get(metric), advance)
                results.append(together(list(each)))
    told = [one | {"interval": bounds} for one, bounds in ((plain(found), interval(found)) for found in results)]
    return {"kind": kind, "real": len(right), "made": len(shown), "results": told}


def check(metric: str, kind: str, right: Files, shown: Files, measures: Measures) -> None:
    """ValueError where a metric is of other media, or lacks what it measures by."""
    if metric in KINDS and kind not in KINDS[metric]:
        raise ValueError(f"--metric: {metric} is of {' and '.join(KINDS[metric])}, but these are {kind}")
    if metric in SETS and min(len(right), len(shown)) < 2:
        raise ValueError(f"--metric: {metric} takes two media a side or more, not {len(right)} and {len(shown)}")
    if metric == "lpips" and measures.lpips is None:
        raise ValueError("--lpips: the weights of LPIPS are missing: NETWORK.safetensors,heads=HEADS.safetensors")
    if metric in SCALINGS:
        if measures.captions is None:
            raise ValueError(f"--captions: {metric} compares with texts: a JSON object of texts by a medium's name")
        if missing := [name for name in shown if name not in measures.captions]:
            raise ValueError(f"--captions: {len(missing)} of {len(shown)} media have no text, such as {missing[0]!r}")
    if metric in ("kl", *PIXELS, "mcd", "similarity"):
        matched(right, shown)


def matched(right: Files, shown: Files) -> Files:
    """The real media by the names of those made; ValueError where one has none."""
    if missing := [name for name in shown if name not in right]:
        some = next(iter(right))
        raise ValueError(
            f"pairs are told by name, but {len(missing)} of {len(shown)} made media have no real one, such as "
            f"{missing[0]!r}; real ones are called such as {some!r}"
        )
    return {name: right[name] for name in shown}


def embedded(files: Files, kind: str, by: Embedder, advance: Count) -> Features:
    """The features of media, one read at a time."""
    found = []
    for file in files.values():
        medium: Any = MEDIA[kind].read(file)
        with naming(file):
            found.append(by([medium]))
        advance(1)
    return Features(rows(np.concatenate(found)), by.name)


def paired(
    metric: str, kind: str, right: Files, shown: Files, measures: Measures, by: Embedder | None, advance: Count
) -> Iterator[Result]:
    """The result of each medium and what it is compared with."""
    for name, file in shown.items():
        medium: Any = MEDIA[kind].read(file)
        with naming(file):
            if metric == "consistency":
                yield consistency([medium], of(by))
            elif metric in SCALINGS:
                assert measures.captions is not None, "checked before"
                yield alignment([medium], [measures.captions[name]], of(by), scaling=metric)
            else:
                reference: Any = MEDIA[kind].read(right[name])
                if metric == "similarity":
                    yield similarity(reference, medium, of(by))
                elif metric == "mcd":
                    yield mcd([reference], [medium])
                elif metric == "lpips":
                    assert measures.lpips is not None, "checked before"
                    yield lpips([reference], [medium], measures.lpips)
                else:
                    yield fidelity([reference], [medium], metric=metric)
        advance(1)


def of(by: Embedder | None) -> Embedder:
    """The embedder, which metrics that need one have."""
    assert by is not None, "made for every metric that compares features"
    return by


def similarity(reference: Media, medium: Media, by: Embedder) -> Result:
    """The cosine of the features of two media; of a clip they are those of its frames together."""
    a, b = embed([reference, medium], by).values  # type: ignore[list-item]
    cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), np.finfo(np.float64).tiny))
    return Result(metric="similarity", by={"embedder": by.name}, figures={"similarity": cosine}, n=1, items=[cosine])


def together(each: Sequence[Result]) -> Result:
    """The result over all of results of one medium each."""
    items = [item for one in each for item in one.items]
    figures = {next(iter(each[0].figures)): float(np.mean(items))}
    return replace(each[0], figures=figures, n=len(items), items=items)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """A ValueError within names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def plain(found: Result) -> dict[str, Any]:
    """A result as JSON has it, without its items."""
    return {key: value for key, value in asdict(found).items() if key in ("metric", "by", "figures", "n")}

"""How like real ones the outputs of a route are, whatever they show: one figure beside a floor, real against real.

Words are compared with a right reply to the same request (ROUGE-L, the mean over replies). Media are compared as a set
with real held-out media of the same samples, in the space of the embedder that the YAML names: the kernel distance
(KID, unbiased, so that a few score as many would, on average) and the Frechet distance, which few samples inflate: read
it against its floor, the distance of two real sets of the same size. There is no floor where samples have one real
medium each, whatever the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.embedding import embedder
from anyx.evaluation.records import Record
from anyx.evaluation.scores import Verdict, output_of
from anyx.scoring.captions import captions
from anyx.scoring.embedders import Embedder, Handcrafted, embed
from anyx.scoring.features import Features
from anyx.scoring.frechet import frechet
from anyx.scoring.kernel import kid

LEAST = 8  # media below which a distance of sets says nothing
APART = 1000  # added to the seed of the real media that a floor compares with


class Fidelity:
    """Fidelity of routes of one run, whose media lie in `folder`.

    `embedders` are nodes by key: `type`, a name of `anyx.evaluation.embedding`, "module:Class", or "file.py:Class" in
    the folder `home`, and its keywords. Keys that are not named are compared by `Handcrafted`, which has no weights.
    """

    def __init__(
        self, corpus: Corpus, embedders: Mapping[str, Mapping[str, Any]], folder: Path, home: Path | None = None
    ) -> None:
        self.corpus = corpus
        self.folder = folder
        self.embedders: dict[str, Embedder] = {
            key: embedder(node, f"embedders.{key}", home) for key, node in embedders.items()
        }
        self.known: dict[tuple[Any, ...], Features] = {}  # of real media, which the routes to one key share

    def __call__(self, rows: Sequence[Record], judged: Sequence[Verdict]) -> dict[str, Any] | None:
        """The figures of one route; None where nothing tells or too little is valid."""
        valid = [row for row, verdict in zip(rows, judged, strict=True) if verdict.valid]
        if not valid:
            return None
        if valid[0].job.target == "text":
            return self.words(valid)
        return self.media(valid) if len(valid) >= LEAST else None

    def media(self, rows: Sequence[Record]) -> dict[str, Any]:
        """KID with its error over blocks, and the Frechet distance, each with its floor if there is one."""
        by = self.embedders.get(rows[0].job.target, Handcrafted())
        shown = embed([output_of(row, self.folder) for row in rows], by)
        real, other = (self.features(rows, apart, by) for apart in (0, APART))
        alone = np.array_equal(real.values, other.values)
        near, floor = (kid(real, features, matched=True) for features in (shown, other))
        far, least = (frechet(real, features) for features in (shown, other))
        return {
            "metric": "kid",
            **near.by,
            "value": near.figures["kid"],
            "error": near.figures["kid_error"],
            "floor": None if alone else floor.figures["kid"],
            "frechet": far.figures[far.metric],
            "frechet_floor": None if alone else least.figures[least.metric],
            "n": near.n,
        }

    def features(self, rows: Sequence[Record], apart: int, embedder: Embedder) -> Features:
        """Features of real media of the same samples."""
        wanted = (apart, *((row.job.split, row.job.target, row.job.sample, row.job.seed) for row in rows))
        if wanted not in self.known:
            self.known[wanted] = embed([self.real(row, apart) for row in rows], embedder)
        return self.known[wanted]

    def words(self, rows: Sequence[Record]) -> dict[str, Any]:
        """ROUGE-L of replies and, for the floor, of other right replies."""
        right = {str(place): [self.real(row, 0)] for place, row in enumerate(rows)}
        said = {str(place): row.text for place, row in enumerate(rows)}
        other = {str(place): self.real(row, APART) for place, row in enumerate(rows)}
        found, floor = (captions(right, texts) for texts in (said, other))
        return {"metric": "rouge_l", **found.by, "value": found.figures["rouge_l"], "floor": floor.figures["rouge_l"]}

    def real(self, row: Record, apart: int) -> Any:
        """A right output of a request."""
        job = row.job
        return self.corpus.real(job.split, job.target, job.sample, job.seed + apart)

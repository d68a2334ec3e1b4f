"""Similarity of pictures, clips and texts by cosines over an embedder that is handed in, such as CLIP.

The scale is in the name, for two are in use: `clip-s@hessel` is 2.5 max(cos, 0) of each pair (Hessel, 2021), `clipsim`
is the cosine as it is. A clip's CLIPSIM is the mean over its frames (Wu, 2021). `clip-i` compares a clip's frames with
each other: successive ones or all pairs.

Letters: n pairs, t frames, d features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyx.media import Image, Video
from anyx.scoring.embedders import Embedder
from anyx.scoring.features import Floats, rows
from anyx.scoring.result import Result

SCALINGS = ("clipsim", "clip-s@hessel")


def unit(values: Floats) -> Floats:
    """Rows (n, d) of length 1; a row of zeros stays one."""
    values = rows(values)
    found: Floats = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return found


def frames_of(medium: Image | Video) -> list[Image]:
    """The pictures of a clip, or a picture alone."""
    return [medium] if isinstance(medium, Image) else [Image(frame) for frame in medium.frames]


def alignment(
    made: Sequence[Image | Video], wanted: Sequence[str | Image], embedder: Embedder, *, scaling: str = "clipsim"
) -> Result:
    """How near pictures or clips are to the text (CLIP-T) or picture (CLIP-I) that they should be like, by pair."""
    if scaling not in SCALINGS:
        raise ValueError(f"scaling: {scaling!r} given; one of {', '.join(SCALINGS)}")
    if len(made) != len(wanted):
        raise ValueError(f"{len(made)} made media but {len(wanted)} to compare with; each has one")
    items = []
    for medium, other in zip(made, wanted, strict=True):
        cosines = unit(embedder(frames_of(medium))) @ unit(embedder([other]))[0]
        scaled = cosines if scaling == "clipsim" else 2.5 * np.maximum(cosines, 0)
        items.append(float(scaled.mean()))
    figures = {scaling: float(np.mean(items)) if items else None}
    return Result(metric=scaling, by={"embedder": embedder.name}, figures=figures, n=len(items), items=items)


def consistency(clips: Sequence[Video], embedder: Embedder, *, pairs: str = "successive") -> Result:
    """Mean cosine of a clip's frames with each other, `successive` ones or `all` pairs; clips of two frames or more."""
    if pairs not in ("successive", "all"):
        raise ValueError(f"pairs: {pairs!r} given; successive or all")
    items = []
    for clip in clips:
        if len(clip.frames) < 2:
            raise ValueError("a clip's frames are compared with each other, but one of a single frame was given")
        found = unit(embedder(frames_of(clip)))
        cosines = found @ found.T
        chosen = np.diagonal(cosines, 1) if pairs == "successive" else cosines[np.triu_indices(len(cosines), 1)]
        items.append(float(chosen.mean()))
    by = {"embedder": embedder.name, "pairs": pairs}
    figures = {"clip-i": float(np.mean(items)) if items else None}
    return Result(metric="clip-i", by=by, figures=figures, n=len(items), items=items)

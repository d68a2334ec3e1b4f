"""Exact readers: the attributes of any text, picture, sound or clip, without a weight.

Media are held against the clean renderings of all 72 scenes, moved a little either way: the scene whose rendering is
most alike (cosine of what stands out from the background) is what they show, nothing if none is alike. Of a clip each
frame is read so, and its side is told only if the shapes stand there and move that way. Of words every attribute is
told by itself, where one value of it and no other is named.

`attributes` is a dictionary of what can be told, None where no scene can be made out. `SceneJudge` is it as a judge.

Letters: b media, k scenes, s shifts, f features, t frames, h height, w width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from anyx.imports import import_file
from anyx.media import Audio, Image, Video

world = import_file(Path(__file__).parent / "world.py")

Attributes = dict[str, str]
ACROSS, DOWN = 6, 3  # pixels that what is read may be off
LATER = 5  # columns of a spectrogram, 20 ms each
FFT, HOP = 512, 160
ALIKE = {"picture": 0.15, "sound": 0.15}  # the least cosine; that of noise alone is 0.05
MOVED = 3.0  # pixels from first to last frame; a clip of the world moves by 8
SPELT = {
    word: (name, value)
    for name, values in world.VALUES.items()
    for number, value in enumerate(values)
    for word in ((value, f"{value}s") if name == "shape" else (value, str(number + 1)) if name == "count" else (value,))
}


def attributes(media: str | Image | Audio | Video) -> Attributes | None:
    """Count, colour, shape and side of a text or medium, as far as they can be told; None: there is no scene in it."""
    if isinstance(media, str):
        return said(media)
    if isinstance(media, Audio):
        scores, _ = matched(spectrogram(media)[None], sounds(), LATER, 0)
        return told(scores[0], ALIKE["sound"])
    return seen(media) if isinstance(media, Image) else watched(media)


def said(text: str) -> Attributes | None:
    """The attributes that a text names, each by one value."""
    named = {SPELT[word] for word in re.findall(r"[a-z0-9]+", text.lower()) if word in SPELT}
    found = [name for name, _ in named]
    return {name: value for name, value in sorted(named) if found.count(name) == 1} or None


def seen(image: Image) -> Attributes | None:
    """The attributes of a picture."""
    scores, _ = matched(standing_out(fitted(image.pixels[None])), pictures(), ACROSS, DOWN)
    return told(scores[0], ALIKE["picture"])


def watched(video: Video) -> Attributes | None:
    """The attributes of a clip: those of its frames, but for the side if they do not move there."""
    frames = video.frames if len(video.frames) <= world.FRAMES else video.sample(world.FRAMES).frames
    scores, places = matched(standing_out(fitted(frames)), pictures(), ACROSS, DOWN)
    mean = scores.mean(0)
    found = told(mean, ALIKE["picture"])
    if found is None:
        return None
    time = torch.linspace(-0.5, 0.5, len(frames))
    across = places[:, mean.argmax(), 0]
    moved = float((time * across).sum() / time.square().sum()) if len(frames) > 1 else 0.0
    way = "left" if moved < 0 else "right"
    return found if abs(moved) >= MOVED and way == found["side"] else {k: v for k, v in found.items() if k != "side"}


def told(scores: Float[Tensor, " k"], least: float) -> Attributes | None:
    """The scene that scores best, if that is enough."""
    best = int(scores.argmax())
    return world.SCENES[best]._asdict() if float(scores[best]) >= least else None


def matched(
    given: Float[Tensor, "b c h w"], known: Float[Tensor, "k c h w"], across: int, down: int
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k 2"]]:
    """How alike each scene is at its best shift, from -1 to 1, and that shift in pixels, across and down."""
    scale = known.flatten(1).norm(dim=1)
    flat = (known.flatten(1) / scale[:, None]).T
    padded = functional.pad(given, (across, across, down, down))
    height, width = given.shape[-2:]
    rows = []
    for dy in range(2 * down + 1):
        strip = padded[..., dy : dy + height, :].unfold(-1, width, 1)  # b c h s w
        rows.append(strip.permute(0, 3, 1, 2, 4).flatten(2) @ flat)
    alike = torch.cat(rows, dim=1) / given.flatten(1).norm(dim=1).clamp(min=1e-6)[:, None, None]
    best = alike.max(1)
    shifts = torch.stack([best.indices % (2 * across + 1) - across, best.indices // (2 * across + 1) - down], -1)
    return best.values, shifts.float()


def fitted(pixels: Tensor) -> Float[Tensor, "t 3 h w"]:
    """Pixels of any size as the world's."""
    size = (world.SIZE, world.SIZE)
    found = pixels.float()
    return found if found.shape[-2:] == size else functional.interpolate(found, size, mode="bilinear", antialias=True)


def standing_out(pixels: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 h w"]:
    """Pixels less the background, the median of each colour."""
    return pixels - pixels.flatten(2).median(2).values[..., None, None]


def spectrogram(audio: Audio) -> Float[Tensor, "1 h w"]:
    """Roots of magnitudes (frequency, time) of a sound as long as the world's, less what is there all the time."""
    samples = audio.mono().resample(world.RATE).samples[0]
    length = round(world.SECONDS * world.RATE)
    samples = functional.pad(samples[:length], (0, max(0, length - len(samples))))
    found = torch.stft(samples, FFT, HOP, window=torch.hann_window(FFT), return_complex=True).abs().sqrt()
    return (found - found.median(1, keepdim=True).values)[None]


@cache
def pictures() -> Float[Tensor, "k 3 h w"]:
    """What stands out of the clean picture of every scene."""
    return standing_out(torch.stack([world.picture(scene).pixels for scene in world.SCENES]).float())


@cache
def sounds() -> Float[Tensor, "k 1 h w"]:
    """The clean spectrogram of every scene."""
    return torch.stack([spectrogram(world.sound(scene)) for scene in world.SCENES])


class SceneJudge:
    """Texts or media -> scores of `labels`: how many attributes agree; no guess unless all four can be told."""

    def __init__(self, labels: Sequence[str]) -> None:
        if unknown := [label for label in labels if label not in world.BY_LABEL]:
            raise ValueError(f"labels: {unknown[0]!r} is no scene of AnyWorld, such as {world.SCENES[0].label!r}")
        self.scenes = [world.BY_LABEL[label] for label in labels]

    def __call__(self, outputs: Sequence[str | Image | Audio | Video]) -> Float[Tensor, "b k"]:
        """One row an output."""
        return torch.stack([torch.tensor(self.scores(attributes(output))) for output in outputs])

    def scores(self, found: Attributes | None) -> list[float]:
        """The scores of one output."""
        if found is None or len(found) < len(world.VALUES):
            return [-math.inf] * len(self.scenes)
        return [float(sum(found[name] == value for name, value in s._asdict().items())) for s in self.scenes]

"""AnyWorld: scenes of four attributes, each of which is seen, heard, said and moves, rendered from the scene alone.

A scene is a count, a colour, a shape and a side: 3 x 4 x 3 x 2 = 72. Every attribute has one sign in every modality:

| | count | colour | shape | side |
|---|---|---|---|---|
| words | number | adjective | noun | "on the left" |
| picture, 48 x 48 | how many, one below the other | colour | outline | half of the picture |
| sound, 1.28 s | beeps | pitch | timbre: overtones, none, in a middle or in a high band | half of the time |
| clip, 8 frames | as the picture | as the picture | as the picture | its half, and they move that way |

Sound has one channel, since the decoders' has, so what is left and right in space comes first and last in time.
`readers.py` tells the attributes of any medium again. A generator varies what no attribute says: place by a few pixels
or milliseconds, brightness, size, noise; without one a rendering is the scene's own.

Letters: t frames, h height, w width, n samples.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from anyx.media import Audio, Image, Video

COUNTS = ("one", "two", "three")
COLOURS = {"red": (235, 60, 50), "green": (60, 215, 70), "blue": (60, 90, 245), "yellow": (245, 225, 60)}
SHAPES = ("circle", "square", "triangle")
SIDES = ("left", "right")
VALUES = {"count": COUNTS, "colour": tuple(COLOURS), "shape": SHAPES, "side": SIDES}

SIZE = 48  # pixels, either way
RADIUS, ROW = 6.0, 15.0  # of a shape, and from one to the next below it
MIDDLES = {"left": 12.0, "right": 36.0}  # where shapes stand from the left
DRIFT = 4.0  # pixels from their place at which those of a clip begin and end
FRAMES, FPS = 8, 8.0
RATE, SECONDS = 8000, 1.28  # Hz
BEEP, BEAT, EDGE = 0.1, 0.2, 0.01  # seconds: a beep, from one to the next, its rise and fall
PITCHES = {"red": 250.0, "green": 400.0, "blue": 640.0, "yellow": 1024.0}  # Hz
FORMANTS = {"circle": (0.0, 0.0), "square": (1200.0, 2200.0), "triangle": (2400.0, 3800.0)}  # Hz, from and to


class Scene(NamedTuple):
    """What there is."""

    count: str
    colour: str
    shape: str
    side: str

    @property
    def caption(self) -> str:
        """One word an attribute: what a decoder's own text encoder reads."""
        return " ".join(self)

    @property
    def things(self) -> str:
        """Without the side: "two red circles"."""
        return f"{self.count} {self.colour} {self.shape}{'' if self.count == 'one' else 's'}"

    @property
    def label(self) -> str:
        """As one says it."""
        return f"{self.things} on the {self.side}"


SCENES = tuple(Scene(*values) for values in itertools.product(*VALUES.values()))
BY_LABEL = {scene.label: scene for scene in SCENES}


def held_out(scene: Scene) -> bool:
    """Whether training never has it: 12 of 72, among which every two values of different attributes meet once or twice.

    Each value, and each two of them together, is in scenes of training: 4 of 6 at the least.
    """
    count, colour, shape, side = (VALUES[name].index(value) for name, value in scene._asdict().items())
    return (count + colour + shape) % 3 == 0 and side == (colour + shape) % 2


def picture(scene: Scene, generator: Generator | None = None) -> Image:
    """The scene as a picture."""
    across, down, size, light = drawn(generator, DRIFT, 1.5)
    return Image(finished(shapes(scene, across, down, size)[None] * light, generator)[0])


def clip(scene: Scene, generator: Generator | None = None) -> Video:
    """The scene as a clip: shapes move outwards past their place in a picture."""
    across, down, size, light = drawn(generator, 1.0, 1.5)
    way = -1 if scene.side == "left" else 1
    places = across + way * torch.linspace(-DRIFT, DRIFT, FRAMES)
    frames = torch.stack([shapes(scene, float(place), down, size) for place in places])
    return Video(finished(frames * light, generator), FPS)


def sound(scene: Scene, generator: Generator | None = None) -> Audio:
    """The scene as beeps."""
    late, _, tempo, level = drawn(generator, 0.03, 0.0)
    count, half = COUNTS.index(scene.count) + 1, SECONDS / 2
    beat = BEAT * tempo
    first = half * (0.5 + SIDES.index(scene.side)) - ((count - 1) * beat + BEEP) / 2 + late
    time = torch.arange(round(SECONDS * RATE)) / RATE
    wave = sum(share * torch.sin(2 * math.pi * n * PITCHES[scene.colour] * time) for n, share in partials(scene))
    since = time[:, None] - first - beat * torch.arange(count)
    gate = (torch.minimum(since, BEEP - since) / EDGE).clamp(0, 1).sum(1)
    samples = 0.3 * level * gate * wave
    if generator is not None:
        samples = samples + 0.01 * float(torch.rand((), generator=generator)) * torch.randn(
            len(samples), generator=generator
        )
    return Audio(samples.clamp(-1, 1)[None], RATE)


def partials(scene: Scene) -> list[tuple[int, float]]:
    """Multiples of a scene's pitch with their amplitudes: the tone, and as loud together the overtones of its shape."""
    low, high = FORMANTS[scene.shape]
    above = [n for n in range(2, RATE) if low <= n * PITCHES[scene.colour] <= high]
    return [(1, 1.0), *((n, len(above) ** -0.5) for n in above)]


def drawn(generator: Generator | None, across: float, down: float) -> tuple[float, float, float, float]:
    """Two shifts up to so far either way, a factor of size (or tempo) and one of brightness (or level)."""
    if generator is None:
        return 0.0, 0.0, 1.0, 1.0
    a, b, size, light = torch.rand(4, generator=generator).tolist()
    return across * (2 * a - 1), down * (2 * b - 1), 0.93 + 0.14 * size, 0.8 + 0.2 * light


def shapes(scene: Scene, across: float, down: float, size: float) -> Tensor:
    """Shapes on black, their edges smooth, moved by so many pixels: (3, h, w), 0 to 255."""
    count, radius = COUNTS.index(scene.count) + 1, RADIUS * size
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    x = x - MIDDLES[scene.side] - across
    rows = [y - SIZE / 2 - down - ROW * (row - (count - 1) / 2) for row in range(count)]
    covered = torch.stack([inside(scene.shape, x, row, radius) for row in rows]).amax(0)
    return covered * torch.tensor(COLOURS[scene.colour], dtype=torch.float32)[:, None, None]


def inside(shape: str, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """How much of each pixel a shape around the origin covers, 0 to 1."""
    if shape == "circle":
        depth = 0.95 * radius - (x.square() + y.square()).sqrt()
    elif shape == "square":
        depth = radius - torch.maximum(x.abs(), y.abs())
    else:  # the point is up: from -radius to radius, as wide as high
        slope = 2 / math.sqrt(5)  # of a side that falls two while it goes one across
        depth = torch.minimum(slope * ((y + radius) / 2 - x.abs()), radius - y)
    return (depth + 0.5).clamp(0, 1)


def finished(pixels: Tensor, generator: Generator | None) -> Tensor:
    """Pixels (t, 3, h, w) as bytes, with a little noise where there is a generator."""
    if generator is not None:
        noise = 5 * float(torch.rand((), generator=generator))
        pixels = pixels + noise * torch.randn(pixels.shape, generator=generator)
    return pixels.round().clamp(0, 255).to(torch.uint8)

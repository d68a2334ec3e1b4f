"""A medium as it is shown between words: a picture, four frames of a clip side by side, the loudness of a sound."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import torch
from torch import Tensor

from anyx.media import Audio, Image, Medium, Series, Video
from anyx.terminal import asking, pictures
from anyx.terminal.asking import Graphics

BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
WIDEST, HIGHEST = 48, 16  # cells of a picture
FRAMES = 4


@dataclass(frozen=True)
class Sketcher:
    """Draws media by one protocol; `true_colour` is for half blocks, `cell` the pixels of a letter for sixel."""

    graphics: Graphics = "none"
    true_colour: bool = True
    cell: tuple[int, int] = (10, 20)

    def draw(self, medium: Medium) -> str:
        """What to write to the terminal, without a line break at the end; "" where nothing can be shown of it."""
        if isinstance(medium, Audio):
            line = bars(medium.samples.abs().amax(0), WIDEST)
            return "" if self.graphics == "none" else f"{line} {medium.seconds:.1f} s"
        if isinstance(medium, Series):
            return "" if self.graphics == "none" else bars(medium.values.mean(0), WIDEST)
        if not isinstance(medium, Image | Video):  # a kind from elsewhere
            return ""
        picture = medium if isinstance(medium, Image) else strip(medium)
        columns, rows = cells(*picture.size, self.cell)
        if self.graphics == "kitty":
            return pictures.kitty(picture.numpy(), columns, rows)
        if self.graphics == "iterm":
            return pictures.iterm(picture.numpy(), columns, rows)
        if self.graphics == "sixel":
            return pictures.sixel(picture.numpy(), columns, rows, cell=self.cell)
        if self.graphics == "blocks":
            return pictures.blocks(picture.numpy(), columns, rows, true_colour=self.true_colour)
        return ""


def here(asked: Graphics) -> Sketcher:
    """The sketcher of this terminal."""
    import os
    import sys

    graphics, true = asking.choose(asked, terminal=sys.stdout.isatty(), environment=os.environ, ask=asking.ask)
    return Sketcher(graphics, true, asking.cell())


def cells(height: int, width: int, cell: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows that a picture fills: as large as may be, its sides in proportion."""
    most = min(WIDEST, max(1, shutil.get_terminal_size().columns - 1))
    ratio = width / height * cell[1] / cell[0]  # columns a row
    columns = min(most, HIGHEST * ratio)
    return max(1, round(columns)), max(1, min(HIGHEST, round(columns / ratio)))


def strip(clip: Video) -> Image:
    """Frames of a clip side by side, from left to right; fewer where it has fewer."""
    frames = clip.sample(min(FRAMES, len(clip.frames))).frames
    return Image(torch.cat(list(frames), -1))


def bars(values: Tensor, width: int) -> str:
    """Numbers as a line of bars, each as high as the largest of its share, from the least to the largest of all."""
    shares = torch.tensor_split(values, min(width, len(values)))
    highs = torch.stack([share.amax() for share in shares])
    low = min(0.0, float(highs.min()))
    span = float(highs.max()) - low
    steps = ((highs - low) / span * (len(BARS) - 1)).round().long() if span > 0 else torch.zeros(len(highs)).long()
    return "".join(BARS[step] for step in steps.tolist())

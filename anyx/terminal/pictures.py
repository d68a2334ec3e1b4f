"""A picture as what terminals draw: kitty's graphics protocol, iTerm2's, sixel, or half blocks in colours.

Each takes RGB pixels (h, w, 3) and the cells (columns, rows) that they fill, and gives one string. From the published
descriptions: kitty's "Terminal graphics protocol", iTerm2's "Inline Images Protocol", DEC's "Sixel Graphics" (VT330).
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

ESCAPE, BELL = "\x1b", "\x07"
END = ESCAPE + "\\"  # of a string of control, "ST"
CHUNK = 4096  # letters of base64 at most in one of kitty's escapes
LEVELS = (0, 95, 135, 175, 215, 255)  # of xterm's 6 x 6 x 6 colours
Pixels = NDArray[np.uint8]


def kitty(pixels: Pixels, columns: int, rows: int) -> str:
    """RGB, deflated, in chunks; `q=2`: the terminal answers nothing, or the answer would be read as typed."""
    height, width = pixels.shape[:2]
    data = base64.standard_b64encode(zlib.compress(pixels.tobytes())).decode()
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    first = f"a=T,q=2,f=24,o=z,s={width},v={height},c={columns},r={rows},"
    escapes = [
        f"{ESCAPE}_G{'' if number else first}m={int(number < len(chunks) - 1)};{chunk}{END}"
        for number, chunk in enumerate(chunks)
    ]
    return "".join(escapes)


def iterm(pixels: Pixels, columns: int, rows: int) -> str:
    """A PNG file, shown in place."""
    file = io.BytesIO()
    PILImage.fromarray(pixels).save(file, format="png")
    data = base64.standard_b64encode(file.getvalue()).decode()
    size = f"size={len(file.getvalue())};width={columns};height={rows};preserveAspectRatio=1"
    return f"{ESCAPE}]1337;File=inline=1;{size}:{data}{BELL}"


def sixel(pixels: Pixels, columns: int, rows: int, *, cell: tuple[int, int] = (10, 20)) -> str:
    """At most 256 colours, six rows of pixels at a time; `cell` is the width and height of a letter in pixels."""
    size = (columns * cell[0], rows * cell[1])
    resized = PILImage.fromarray(pixels).resize(size, PILImage.Resampling.LANCZOS)
    few = resized.quantize(256, method=PILImage.Quantize.MEDIANCUT, dither=PILImage.Dither.NONE)
    indices = np.asarray(few)
    palette = np.array(few.getpalette(), np.float64).reshape(-1, 3)
    colours = [
        f"#{index};2;{';'.join(str(round(level / 255 * 100)) for level in palette[index])}"
        for index in np.unique(indices)
    ]
    bands = [_band(indices[top : top + 6]) for top in range(0, size[1], 6)]
    return f'{ESCAPE}P0;1q"1;1;{size[0]};{size[1]}{"".join(colours)}{"-".join(bands)}{END}'


def _band(indices: NDArray[Any]) -> str:
    """Up to six rows: for each colour in them, the pixels that have it, runs shortened."""
    weights = 1 << np.arange(len(indices))[:, None]
    lines = []
    for colour in np.unique(indices):
        bits = ((indices == colour) * weights).sum(0)
        starts = np.flatnonzero(np.diff(bits, prepend=-1))
        runs = zip(bits[starts], np.diff(starts, append=len(bits)), strict=True)
        lines.append(f"#{colour}" + "".join(_run(chr(63 + int(bit)), int(count)) for bit, count in runs))
    return "$".join(lines)


def _run(letter: str, count: int) -> str:
    return f"!{count}{letter}" if count > 3 else letter * count


def blocks(pixels: Pixels, columns: int, rows: int, *, true_colour: bool = True) -> str:
    """Two pixels a letter, one above the other; without true colour the nearest of xterm's 216."""
    small = np.asarray(PILImage.fromarray(pixels).resize((columns, 2 * rows), PILImage.Resampling.BOX))
    paint = _true if true_colour else _nearest
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        line, last = "", ""
        for over, under in zip(upper.tolist(), lower.tolist(), strict=True):
            colours = f"{ESCAPE}[38;{paint(over)};48;{paint(under)}m"
            line += f"{'' if colours == last else colours}\N{UPPER HALF BLOCK}"
            last = colours
        lines.append(f"{line}{ESCAPE}[0m")
    return "\n".join(lines)


def _true(colour: list[int]) -> str:
    return "2;" + ";".join(map(str, colour))


def _nearest(colour: list[int]) -> str:
    red, green, blue = (min(range(6), key=lambda step: abs(LEVELS[step] - level)) for level in colour)
    return f"5;{16 + 36 * red + 6 * green + blue}"

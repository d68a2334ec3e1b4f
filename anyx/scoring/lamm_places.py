"""How the LAMM benchmark of 2023 reads places in answers (`lamm@2023`), and when two of them meet.

Letters: k numbers of a place: 2 of a point, 4 of a box (left, top, right, bottom) as shares of the picture, 6 of a box
in space (centre and size, in metres).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NEAR = 0.1  # in shares of width and height

Place = Sequence[float]


def places(text: str, k: int) -> list[list[float]]:
    """Groups of k numbers: those in [], then those in (); else all numbers of the text, k by k, without their signs."""
    groups = [found for pattern in (r"\[([^][()]*)\]", r"\(([^][()]*)\)") for found in re.findall(pattern, text)]
    read = [[float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", group)] for group in groups]
    found = [group for group in read if len(group) == k]
    if found:
        return found
    bare = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    return [bare[start : start + k] for start in range(0, len(bare) - k + 1, k)]


def boxes(text: str) -> list[list[float]]:
    """Boxes of a picture whose right and bottom lie beyond their left and top."""
    return [box for box in places(text, 4) if box[0] < box[2] and box[1] < box[3]]


def overlap_in_space(a: Place, b: Place) -> float:
    """IoU of two boxes in space as published: corners to the millimetre, and 0 where the quotient is no share.

    Sides that do not meet count with their sign, so that two of them make boxes meet that do not.
    """
    low, high = (
        [[round(box[axis] + sign * box[axis + 3] / 2, 3) for axis in range(3)] for box in (a, b)] for sign in (-1, 1)
    )
    shared = math.prod(min(high[0][axis], high[1][axis]) - max(low[0][axis], low[1][axis]) for axis in range(3))
    sizes = [math.prod(high[box][axis] - low[box][axis] for axis in range(3)) for box in (0, 1)]
    union = sum(sizes) - shared
    quotient = shared / union if union else 0.0
    return quotient if 0 <= quotient <= 1 else 0.0


def inside(point: Place, box: Place) -> bool:
    """Whether a point lies strictly within a box of a picture."""
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


def near(a: Place, b: Place) -> bool:
    """Whether two points are nearer than a tenth of the picture's sides."""
    return math.dist(a[:2], b[:2]) < NEAR


def shares(points: Sequence[Place], size: Sequence[float]) -> list[list[float]]:
    """Points in pixels as shares of `size` (width, height)."""
    return [[point[0] / size[0], point[1] / size[1]] for point in points]

"""Segment Anything (Kirillov et al. 2023, arXiv:2304.02643) as a segmenter: transformers' own model, safetensors alone.

With boxes each gives one mask, the best of the three that SAM proposes. Without, SAM is asked at the points of a grid
and what it is sure of is kept: by its own estimate of the IoU, by how little a mask changes with its threshold, and of
masks whose boxes overlap the best. These are the published limits; the published way also looks at enlarged cuts, which
is not done here. transformers' own code for the grid needs torchvision and is not used.

Letters: n masks, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anyx.grounding.boxes import Box
from anyx.media import Image
from anyx.scoring.boxes import iou

OFFSET = 1.0  # by which the threshold of a mask is moved up and down to see how stable it is


class Sam:
    """A model with its processor, as `anyx.tools.loading` reads them; its settings go behind `name`.

    Without boxes `side` x `side` points are asked, `batch` at once. Masks are kept from `quality` (SAM's estimate of
    their IoU) and `stability` on; of two whose boxes have an IoU above `overlap` the better counts.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        name: str,
        *,
        side: int = 16,
        quality: float = 0.88,
        stability: float = 0.95,
        overlap: float = 0.7,
        batch: int = 16,
    ) -> None:
        if side < 1 or batch < 1:
            raise ValueError(f"side, batch: {side} and {batch} given; both are at least 1")
        self.model, self.processor = model.eval(), processor
        self.side, self.quality, self.stability, self.overlap, self.batch = side, quality, stability, overlap, batch
        self.name = f"{name}@{side}x{side}/{quality:g}/{stability:g}/{overlap:g}"

    @torch.no_grad()
    def __call__(self, image: Image, boxes: Sequence[Box] | None = None) -> Bool[Tensor, "n h w"]:
        """One mask a box, in their order; without boxes those of the whole picture, best first."""
        if boxes is not None and not boxes:
            return torch.zeros(0, *image.size, dtype=torch.bool)
        pixels = self.processor(images=image.to_pil(), return_tensors="pt")["pixel_values"]
        seen = self.model.get_image_embeddings(pixels.to(self.model.device))
        if boxes is not None:
            logits, scores = self._proposed(image, seen, "input_boxes", [list(box) for box in boxes])
            return logits[torch.arange(len(boxes)), scores.argmax(1)] > 0
        return self._everywhere(image, seen)

    def _everywhere(self, image: Image, seen: Tensor) -> Bool[Tensor, "n h w"]:
        found: list[tuple[float, Box, Tensor]] = []
        points = [[list(point)] for point in grid(image, self.side)]
        for start in range(0, len(points), self.batch):
            logits, scores = self._proposed(image, seen, "input_points", points[start : start + self.batch])
            flat, sure = logits.flatten(0, 1), scores.flatten()
            for place in ((sure > self.quality) & (stabilities(flat) > self.stability)).nonzero().flatten().tolist():
                mask = flat[place] > 0
                found.append((float(sure[place]), bounds(mask), mask))
        kept: list[tuple[float, Box, Tensor]] = []
        for one in sorted(found, key=lambda one: -one[0]):
            if not any(iou(one[1], other[1]) > self.overlap for other in kept):
                kept.append(one)
        empty = torch.zeros(0, *image.size, dtype=torch.bool)
        return torch.stack([mask for _, _, mask in kept]) if kept else empty

    def _proposed(
        self, image: Image, seen: Tensor, key: str, places: list[Any]
    ) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3"]]:
        """Three masks for each box or point, as logits of the picture's pixels, and how good SAM thinks each is."""
        asked = {"input_boxes": None, "input_points": None, key: [places]}
        given = self.processor(images=image.to_pil(), return_tensors="pt", **asked)
        outputs = self.model(image_embeddings=seen, **{key: given[key].float().to(seen.device)}, multimask_output=True)
        sizes = [given[name].tolist() for name in ("original_sizes", "reshaped_input_sizes")]
        (logits,) = self.processor.post_process_masks([outputs.pred_masks[0].cpu()], *sizes, binarize=False)
        return logits, outputs.iou_scores[0].cpu()


def grid(image: Image, side: int) -> list[tuple[float, float]]:
    """Points in the middles of side x side equal fields, row by row, as (x, y) in pixels."""
    height, width = image.size
    middles = [(place + 0.5) / side for place in range(side)]
    return [(x * width, y * height) for y in middles for x in middles]


def stabilities(logits: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """The IoU of each mask at a higher threshold with that at a lower one; 0 of an empty mask."""
    high, low = ((logits > offset).sum((1, 2)) for offset in (OFFSET, -OFFSET))
    return high / low.clamp(min=1)


def bounds(mask: Bool[Tensor, "h w"]) -> Box:
    """The box around a mask, its right and lower edges past the last pixel; four zeros around nothing."""
    rows, columns = mask.any(1).nonzero().flatten().tolist(), mask.any(0).nonzero().flatten().tolist()
    if not rows:
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))

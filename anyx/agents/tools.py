"""Tools that come with the house, each from a folder of weights: detector, segmenter, marks, OCR, generator, editor.

Each function here makes a tool: it takes a path and settings, and returns a plain function whose signature is what the
model sees. A setup names them (`TOOLS`), or a function of one's own as `module:function`. Weights are safetensors, and
no code of a folder is ever run. Boxes that a model writes are shares of the picture's sides, as those it is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch

from anyx.agents.calculator import calculator
from anyx.agents.interfaces import Result
from anyx.grounding.boxes import Box, Size, pixels
from anyx.media import Image
from anyx.tools.interfaces import Found
from anyx.tools.loading import detector, segmenter
from anyx.tools.marks import Marker
from anyx.watching import Cancelled, Watch

TOOLS: Mapping[str, str] = {
    "detector": "anyx.agents.tools:detecting",
    "segmenter": "anyx.agents.tools:segmenting",
    "marks": "anyx.agents.tools:marking",
    "ocr": "anyx.agents.tools:reading",
    "generator": "anyx.agents.pictures:generating",
    "editor": "anyx.agents.pictures:editing",
    "calculator": "anyx.agents.tools:calculating",
}
Boxes = Annotated[list[list[float]], "[x0, y0, x1, y1] each, from 0 to 1"]
MOST = 32  # boxes of one call


def detecting(*, path: str, options: Mapping[str, Any] | None = None, device: str = "cpu") -> Callable[..., Result]:
    """A detector (`anyx.tools.loading`); `options` are those of its class."""
    tool = detector(path, options, device=device)

    def detect(image: Image, caption: Annotated[str, "what to look for, as dog . cat"]) -> Result:
        """Find things in a picture by their words, with boxes."""
        words = [word for one in re.split(r"[.,;]", caption) if (word := one.strip())]
        if not words:
            raise ValueError("caption names nothing to look for")
        found = tuple(tool(image, words)[:MOST])
        return Result(f"{len(found)} found" if found else "nothing found", (), found, Size.of(image))

    return detect


def segmenting(*, path: str, options: Mapping[str, Any] | None = None, device: str = "cpu") -> Callable[..., Result]:
    """A segmenter; it shows the regions on the picture, and says their boxes."""
    tool = segmenter(path, options, device=device)

    def segment(image: Image, boxes: Boxes = ()) -> Result:  # type: ignore[assignment]
        """Cut out what lies in the boxes, or all regions of the picture."""
        from anyx.tools.marks import drawn, marks
        from anyx.tools.sam import bounds

        masks = list(tool(image, in_pixels(boxes, image) or None))[:MOST]
        regions = tuple(Found("region", bounds(mask), 1.0) for mask in masks if mask.any())
        shown = drawn(image, marks([mask for mask in masks if mask.any()]), alpha=0.4)
        return Result(f"{len(regions)} regions", (shown,), regions, Size.of(image))

    return segment


def marking(
    *, path: str, options: Mapping[str, Any] | None = None, mode: str = "mask", most: int = 50, device: str = "cpu"
) -> Callable[..., Result]:
    """Set-of-mark prompting as a tool (`anyx.tools.marks`)."""
    marker = Marker(segmenter(path, options, device=device), mode=mode, most=most)

    def mark(image: Image) -> Result:
        """Write numbers on the regions of a picture, so that one can speak of them."""
        marked, found = marker(image)
        boxes = tuple(Found(str(one.number), one.box, 1.0) for one in found)
        return Result(f"{len(found)} regions are marked", (marked,), boxes, Size.of(image))

    return mark


def reading(
    *, path: str, max_new_tokens: int = 256, prompt: str | None = None, device: str = "cpu"
) -> Callable[..., Result]:
    """An OCR model of transformers: TrOCR and other vision encoder-decoders, which read a line.

    `prompt` is for others behind `AutoModelForImageTextToText`, which are asked in words.
    """
    from anyx.tools.loading import pretrained

    model, processor, _ = pretrained(path, "transformers:AutoModelForImageTextToText", device)
    model.eval()

    def ocr(image: Image, boxes: Boxes = ()) -> Result:  # type: ignore[assignment]
        """Read the text in a picture, or in each of the boxes."""
        places = in_pixels(boxes, image)
        cuts = [cropped(image, box) for box in places] or [image]
        texts = [said(one) for one in cuts]
        if not places:
            return Result(texts[0] or "no text")
        return Result("; ".join(texts), data={"texts": texts})

    def said(image: Image) -> str:
        words = {"text": prompt} if prompt else {}
        given = processor(images=image.to_pil(), return_tensors="pt", **words).to(device)
        given = {key: value for key, value in given.items() if key in ("pixel_values", "input_ids", "attention_mask")}
        with torch.inference_mode():
            ids = model.generate(**given, max_new_tokens=max_new_tokens, do_sample=False)
        if "input_ids" in given and not model.config.is_encoder_decoder:
            ids = ids[:, given["input_ids"].shape[1] :]
        return str(processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()

    return ocr


def calculating() -> Callable[..., str]:
    """Arithmetic (`calculator`)."""
    return calculator


def in_pixels(boxes: Sequence[Sequence[float]], image: Image) -> list[Box]:
    """Shares of the sides as boxes in pixels; ValueError for what is none."""
    if len(boxes) > MOST:
        raise ValueError(f"{len(boxes)} boxes were given; {MOST} at most")
    for box in boxes:
        if len(box) != 4 or not all(0 <= one <= 1 for one in box) or box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"a box is [x0, y0, x1, y1] from 0 to 1, upper left corner first, but {box} was given")
    return [pixels(tuple(box), Size.of(image)) for box in boxes]


def cropped(image: Image, box: Box) -> Image:
    """The part of a picture in a box, at least a pixel."""
    x0, y0 = int(box[0]), int(box[1])
    x1, y1 = max(round(box[2]), x0 + 1), max(round(box[3]), y0 + 1)
    return Image(image.pixels[:, y0:y1, x0:x1].contiguous())


def stopping(watch: Watch) -> None:
    """Raise where nobody waits for the result any more."""
    if watch.cancelled:
        raise Cancelled("the tool was stopped")

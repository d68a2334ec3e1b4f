"""Grounding DINO (Liu et al. 2023, arXiv:2303.05499) as a detector: transformers' own model, from safetensors alone.

The words go in as one text, "dog. cat.", and every box has a probability for each of its tokens. A box is kept by its
best token, as transformers does. Which word it is of is not read from decoded tokens, which may run over two words
("dog cat"), but from the tokens of each word: the best of them says the word. Limits are Woodpecker's by default.

Letters: q queries, s tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anyx.grounding.boxes import Box
from anyx.media import Image
from anyx.scoring.boxes import iou
from anyx.tools.interfaces import Found

Span = tuple[int, int]  # the characters of a word in the text


class GroundingDino:
    """A model with its processor, as `anyx.tools.loading` reads them; its settings go behind `name`.

    A box counts whose best token is above `threshold`, whose word has a token above `text_threshold`, and whose area is
    at least `area` of the picture's; of two of one word whose IoU is above `overlap` the surer one counts.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        name: str,
        *,
        threshold: float = 0.35,
        text_threshold: float = 0.25,
        area: float = 0.001,
        overlap: float = 0.95,
    ) -> None:
        for key, value in (("threshold", threshold), ("text_threshold", text_threshold), ("overlap", overlap)):
            if not 0 <= value <= 1:
                raise ValueError(f"{key}: {value} given; it is from 0 to 1")
        self.model, self.processor = model.eval(), processor
        self.threshold, self.text_threshold, self.area, self.overlap = threshold, text_threshold, area, overlap
        self.name = f"{name}@{threshold:g}/{text_threshold:g}/{area:g}/{overlap:g}"

    def __call__(self, image: Image, words: Sequence[str]) -> list[Found]:
        """Boxes in pixels, cut at the picture's edges, surest first."""
        named = list(dict.fromkeys(word for word in words if word.strip(" .")))
        found = [one for group in self._groups(named) for one in self._asked(image, group)]
        kept: list[Found] = []
        for one in sorted(found, key=lambda one: -one.score):
            if not any(one.word == other.word and iou(one.box, other.box) > self.overlap for other in kept):
                kept.append(one)
        return kept

    def _groups(self, words: Sequence[str]) -> Iterator[list[str]]:
        """The words in groups whose text the model can read at once."""
        longest, group = int(self.model.config.max_text_len), list[str]()
        for word in words:
            if group and len(self.processor.tokenizer(written([*group, word])[0]).input_ids) > longest:
                yield group
                group = []
            group.append(word)
        if group:
            yield group

    @torch.no_grad()
    def _asked(self, image: Image, words: Sequence[str]) -> Iterator[Found]:
        text, spans = written(words)
        places = self.processor.tokenizer(text, return_offsets_mapping=True).offset_mapping
        given = self.processor(images=image.to_pil(), text=text, return_tensors="pt").to(self.model.device)
        outputs = self.model(**given)
        (kept,) = self.processor.post_process_grounded_object_detection(
            outputs, given["input_ids"], threshold=self.threshold, text_threshold=0.0, target_sizes=[image.size]
        )
        probabilities = outputs.logits[0].sigmoid()
        chances = probabilities[probabilities.amax(1) > self.threshold].cpu()
        for box, score, chance in zip(kept["boxes"].cpu(), kept["scores"].cpu(), chances, strict=True):
            best, word = max((_of(chance, places, span), -place) for place, span in enumerate(spans))
            corners = cut(tuple(box.tolist()), image)
            share = (corners[2] - corners[0]) * (corners[3] - corners[1]) / (image.size[0] * image.size[1])
            if best > self.text_threshold and share >= self.area:
                yield Found(words[-word], corners, float(score))


def written(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The words as Grounding DINO reads them, in lower case with a full stop after each, and where each stands."""
    text, spans = "", list[Span]()
    for word in words:
        plain = word.lower().strip(" .")
        spans.append((len(text), len(text) + len(plain)))
        text += f"{plain}. "
    return text.rstrip(), spans


def cut(box: Box, image: Image) -> Box:
    """A box cut at the picture's edges."""
    height, width = image.size
    return tuple(min(max(value, 0.0), float((width, height)[place % 2])) for place, value in enumerate(box))


def _of(chance: Float[Tensor, " s"], places: Sequence[Span], span: Span) -> float:
    """The best token of a word: of those whose characters lie in its span."""
    inside = [at for at, (first, last) in enumerate(places) if first < last and span[0] <= first and last <= span[1]]
    return max((float(chance[at]) for at in inside), default=0.0)

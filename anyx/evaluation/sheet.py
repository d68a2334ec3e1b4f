"""The contact sheet: a picture of the matrix, inputs beside outputs, for a README.

A picture is shown as it is, a clip by three of its frames, a sound by its spectrogram, words as words. A green or red
edge says whether the judge named the output right.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from torch.nn import functional

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.records import Record, read
from anyx.evaluation.scores import Verdict, Verdicts
from anyx.media import Audio, Image, Video

TILE, GAP, EXAMPLES = 64, 6, 2
GREEN, RED, GREY = (46, 160, 67), (207, 34, 46), (120, 120, 120)


def named_right(record: Record, verdict: Verdict, corpus: Corpus) -> bool:
    """Whether the first judge's best label is the sample's."""
    ranked = next(iter(verdict.ranked.values()), [])
    return bool(ranked) and corpus.labels[ranked[0]] == corpus.label(record.job.sample)


def draw(groups: Mapping[str, Sequence[Record]], verdicts: Verdicts, corpus: Corpus, out: Path) -> PILImage.Image:
    """The sheet of one split: rows are what goes in, columns what comes out."""
    keys = corpus.keys
    wide, high = 3 * TILE + 3 * GAP, EXAMPLES * (TILE + GAP) + 3 * GAP
    left, top = 60, 26
    page = PILImage.new("RGB", (left + len(keys) * wide, top + len(keys) * high), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for place, key in enumerate(keys):
        pen.text((left + place * wide + wide // 2, 6), f"to {key}", fill=GREY, font=font, anchor="ma")
        pen.text((6, top + place * high + high // 2), key, fill=GREY, font=font, anchor="lm")
    for row, source in enumerate(keys):
        for column, target in enumerate(keys):
            for number, record in enumerate(groups.get(f"{source}->{target}", ())[:EXAMPLES]):
                x, y = left + column * wide, top + row * high + number * (TILE + GAP)
                page.paste(tile(record.given, record.request, out), (x, y))
                pen.text((x + TILE + GAP // 2, y + TILE // 2), ">", fill=GREY, font=font, anchor="mm")
                shown = tile(record.shown(target), record.text, out, TILE * 2 - 2 * GAP)
                page.paste(shown, (x + TILE + GAP, y))
                edge = GREEN if named_right(record, verdicts[record.job], corpus) else RED
                pen.rectangle((x + TILE + GAP - 1, y - 1, x + 3 * TILE - GAP, y + TILE), outline=edge)
    return page


def tile(place: str | None, text: str, out: Path, width: int = TILE) -> PILImage.Image:
    """One medium, or words, in a box `TILE` high."""
    box = PILImage.new("RGB", (width, TILE), "white")
    if place is None:
        font = ImageFont.load_default(9)
        lines = textwrap.wrap(text, max(8, width // 5))[: TILE // 11]
        ImageDraw.Draw(box).multiline_text((2, 2), "\n".join(lines), fill=(40, 40, 40), font=font, spacing=1)
        return box
    media = read(out / place)
    if isinstance(media, Image):
        box.paste(media.to_pil().resize((TILE, TILE)), ((width - TILE) // 2, 0))
    elif isinstance(media, Audio):
        box.paste(spectrogram(media).resize((width, TILE)), (0, 0))
    elif isinstance(media, Video):
        size = min(TILE, width // 3) if width > TILE else TILE
        clip = media.sample(3 if width > TILE else 1)
        for index, frame in enumerate(clip.frames):
            picture = PILImage.fromarray(frame.permute(1, 2, 0).numpy()).resize((size, size))
            box.paste(picture, (index * size, (TILE - size) // 2))
    return box


def spectrogram(audio: Audio) -> PILImage.Image:
    """A sound as a picture: time to the right, pitch upwards, dark where it is loud."""
    samples = audio.mono().resample(16000).samples[0]
    samples = functional.pad(samples, (0, max(0, 512 - len(samples))))  # one window, of whatever a model made
    power = torch.stft(samples, 512, 160, window=torch.hann_window(512), return_complex=True).abs()[:160]
    level = ((power + 1e-4).log10().clamp(-3, 1.5) + 3) / 4.5
    return PILImage.fromarray((255 * (1 - level.flip(0))).to(torch.uint8).numpy())

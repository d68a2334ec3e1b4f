"""An external speech recogniser as a judge: which of a closed list of labels does PocketSphinx hear?

A grammar offers every label as a phrase. The best one is taken out of the grammar and the sound is decoded again, up to
`RANKED` times; its n-best lists hold halves of phrases and miss labels. The acoustic model (2015, Gaussian mixtures)
comes inside the package and has no weight in common with any model that anyx trains or loads.

What is heard depends on hiss, on how a sound lies in time and on what was heard before. So every sound loses its steady
noise, is cut to its loud part, brought to one level, laid into faint seeded noise, and heard once before it counts: the
recogniser's own estimate of the noise starts empty for each sound and is full from the second pass on. The first pass
listens for one label only, which costs little. A row is therefore the same in any batch and order.

A label's score is `RANKED` less its place; all labels that were not heard share -inf, which is nobody's guess (see
`judges.rankings`). Silence has such a row only.

Letters: b sounds, l labels, n samples, f bands, t frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from anyx.evaluation.judges import RANKED
from anyx.media import Audio

RATE = 16000
FRAME = 160  # samples of 10 ms
WINDOW = 400  # samples of 25 ms
STEADY = 0.1  # the quantile of a band's frames that counts as its noise
OVER = 1.5  # how much more than that is taken off
FLOOR = 0.1  # what is left of noise, in amplitude
LOUD = 0.01  # of the loudest frame: where speech begins and ends
MARGIN = 5  # frames kept on either side of it
SILENT = 1e-3  # a peak below this is nothing
LEVEL = 0.8  # the peak of what is heard
PADDING = 20  # frames of noise on either side
NOISE = 1e-3  # its standard deviation
BEAMS = {"beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}  # wide: a short grammar affords it


class SpeechJudge:
    """Sounds -> places of `labels`, by PocketSphinx's US English.

    `words`: pronunciations in ARPAbet ("R IH K SH AO") of words that its dictionary lacks; `dove(2)` is a second one.
    """

    def __init__(self, labels: Sequence[str], *, words: Mapping[str, str] | None = None) -> None:
        from pocketsphinx import Decoder

        self.decoder: Any = Decoder(lm=None, loglevel="FATAL", bestpath=False, **BEAMS)
        for word, sounds in (words or {}).items():
            try:
                self.decoder.add_word(word.lower(), sounds, False)
            except RuntimeError:
                raise ValueError(
                    f"words.{word}: '{sounds}' is no pronunciation in ARPAbet ('R IH K SH AO'), or '{word}' is known"
                ) from None
        self.phrases = [tuple(re.findall(r"[a-z0-9']+", label.lower())) for label in labels]
        self.places = {" ".join(phrase): index for index, phrase in enumerate(self.phrases)}
        if len(self.places) < len(labels) or "" in self.places:
            raise ValueError(
                f"{len(labels)} labels but {len(self.places)} phrases: two are spelt alike or one is empty"
            )
        unknown = {word for phrase in self.phrases for word in phrase if self.decoder.lookup_word(word) is None}
        if unknown:
            raise ValueError(
                f"no pronunciation of {', '.join(sorted(unknown))}; give them as the judge's option "
                "words: {rickshaw: R IH K SH AO, ...} in ARPAbet"
            )
        everything = range(len(labels))
        self.grammars = [self.grammar(kept) for kept in (everything[:1], everything)]

    def __call__(self, outputs: Sequence[Audio]) -> Float[Tensor, "b l"]:
        """One row a sound."""
        rows = torch.full((len(outputs), len(self.phrases)), -torch.inf)
        for row, output in zip(rows, outputs, strict=True):
            for place, label in enumerate(self.heard(output)):
                row[label] = RANKED - place
        return rows

    def heard(self, output: Audio) -> list[int]:
        """The labels in the order in which they are heard, up to `RANKED`; fewer where no other fits at all."""
        samples = prepared(output)
        if samples is None:
            return []
        first, grammar = self.grammars
        self.decoder.reinit_feat()
        self.decode(first, samples)
        found: list[int] = []
        while True:
            label = self.places.get(self.decode(grammar, samples), -1)
            if label < 0 or label in found:  # half a phrase, where no whole one was left within the beam
                return found
            found.append(label)
            if len(found) == min(RANKED, len(self.phrases)):
                return found
            grammar = self.grammar([index for index in range(len(self.phrases)) if index not in found])

    def grammar(self, kept: Sequence[int]) -> Any:
        """A grammar that is one of these labels, all equally likely: a chain of words from state 0 to state 1 each."""
        steps: list[tuple[int, int, float, str]] = []
        states = 2
        for index in kept:
            *inner, last = self.phrases[index]
            here = 0
            for word in inner:
                steps.append((here, states, 1.0, word))
                here, states = states, states + 1
            steps.append((here, 1, 1.0, last))
        return self.decoder.create_fsg("labels", 0, 1, steps)

    def decode(self, grammar: Any, samples: bytes) -> str:
        """The phrase of a grammar that fits best; empty where none does."""
        self.decoder.add_fsg("labels", grammar)
        self.decoder.activate_search("labels")
        self.decoder.start_utt()
        self.decoder.process_raw(samples, full_utt=True)
        self.decoder.end_utt()
        best = self.decoder.hyp()
        return best.hypstr if best else ""


def prepared(output: Audio) -> bytes | None:
    """A sound's loud part at one level between stretches of noise, 16 bit; None where there is none."""
    if not output.samples.numel():
        return None
    sound = Audio(output.samples.nan_to_num(0, 0, 0), output.rate).mono().resample(RATE)
    if sound.samples.abs().max() < SILENT:
        return None
    clean = trimmed(denoised(sound.samples[0]))
    laid = functional.pad(clean * (LEVEL / clean.abs().max().clamp_min(SILENT)), (PADDING * FRAME, PADDING * FRAME))
    laid = laid + NOISE * torch.randn(len(laid), generator=torch.Generator().manual_seed(0))
    return (laid.clamp(-1, 1) * 32767).short().numpy().tobytes()


def denoised(samples: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Spectral subtraction of each band's steady part."""
    window = torch.hann_window(WINDOW)
    bands = torch.stft(samples, WINDOW, FRAME, window=window, pad_mode="constant", return_complex=True)  # f t
    noise = OVER * bands.abs().quantile(STEADY, dim=1, keepdim=True)
    kept = (1 - (noise / bands.abs().clamp_min(1e-9)).square()).clamp_min(FLOOR**2).sqrt()
    clean: Tensor = torch.istft(bands * kept, WINDOW, FRAME, window=window, length=len(samples))
    return clean


def trimmed(samples: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """The stretch from the first loud frame to the last, with a margin."""
    frames = functional.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME).square().mean(1)
    loud = (frames > LOUD**2 * frames.max()).nonzero()
    if not len(loud):
        return samples
    first, last = int(loud[0]), int(loud[-1])
    return samples[max(0, first - MARGIN) * FRAME : (last + 1 + MARGIN) * FRAME]

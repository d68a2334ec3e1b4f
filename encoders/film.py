"""A clip seen and heard: its frames through one encoder, its sound track through another, their tokens in a row.

The frames' tokens come first, then the sound's. A token of either kind keeps its own span of the width, and zeros stand
in the other's: a linear projector is then one for each kind with a bias in common, and no width is shared. A clip
without a track has no sound tokens: their mask is False, and nothing of them reaches the LLM.

Letters: b items, n tokens, d width of the one and of the other encoder together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anyx import registry
from anyx.interfaces import Encoder, Media, TextBatch, Tokens
from anyx.media import Audio, Video
from anyx.packaged import locate
from anyx.signatures import Errors, check_keywords

FRAMES, SOUND, HEARD = "frames.", "sound.", "heard"
SILENCE = 16000  # samples that stand for a track that is not there, a second


class FilmTransform:
    """A clip as what its two encoders read, by `frames.` and `sound.`, and `heard` (): whether it has a track."""

    def __init__(
        self, frames: Callable[[Media], dict[str, Tensor]], sound: Callable[[Media], dict[str, Tensor]]
    ) -> None:
        self.frames, self.sound = frames, sound

    def __call__(self, media: Media) -> dict[str, Tensor]:
        """Transform both; silence in the place of a track that is missing."""
        if not isinstance(media, Video):
            raise ValueError(f"a film encoder reads Video, given {type(media).__name__}")
        heard = media.audio or Audio(torch.zeros(1, SILENCE), SILENCE)
        found = {f"{FRAMES}{name}": tensor for name, tensor in self.frames(media).items()}
        found |= {f"{SOUND}{name}": tensor for name, tensor in self.sound(heard).items()}
        return found | {HEARD: torch.tensor(media.audio is not None)}


class FilmEncoder(Encoder):
    """Tokens (b, n of the frames + n of the sound, d). `frames` and `sound` are encoders as a YAML says them.

    `{type: film, frames: {type: clip, ...}, sound: {type: whisper, ...}}`. `ValueError` where either is no encoder of
    the registry, is given keywords that it does not take, or reads a text.
    """

    parts: ClassVar[Sequence[str]] = ("frames", "sound")

    def __init__(self, *, frames: Mapping[str, Any], sound: Mapping[str, Any]) -> None:
        super().__init__()
        self.frames, self.sound = made("frames", frames), made("sound", sound)
        self.widths = self.frames.dim, self.sound.dim
        self.dim = sum(self.widths)
        self.transform = FilmTransform(self.frames.transform, self.sound.transform)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode both, and lay them beside each other."""
        seen, heard = (encoder(part(inputs, name)) for encoder, name in ((self.frames, FRAMES), (self.sound, SOUND)))
        first, second = self.widths
        values = [F.pad(seen.values, (0, second)), F.pad(heard.values, (first, 0)).to(seen.values.dtype)]
        real = heard.mask & inputs[HEARD].to(heard.mask.device)[:, None]
        return Tokens(torch.cat(values, 1), torch.cat([seen.mask, real], 1))


def part(inputs: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What one of the encoders reads."""
    return {name.removeprefix(prefix): tensor for name, tensor in inputs.items() if name.startswith(prefix)}


def made(path: str, node: Mapping[str, Any]) -> Encoder:
    """An encoder from a node of a YAML."""
    given = {name: value for name, value in node.items() if name != "type"}
    cls = registry.resolve("encoders", str(node.get("type")))
    errors = Errors()
    check_keywords(errors, path, given, cls)
    if errors:
        raise ValueError("; ".join(errors))
    if isinstance(given.get("path"), str):
        given["path"] = locate(given["path"])
    encoder: nn.Module = cls(**given)
    assert isinstance(encoder, Encoder)
    if encoder.reads_text:
        raise ValueError(f"{path}: {node['type']} reads a text too, which a clip does not bring")
    return encoder

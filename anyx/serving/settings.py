"""How a server is set up, and how much one request may ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anyx.media import Audio, Image
from anyx.schema import misasked
from anyx.serving.most import SIDE
from anyx.serving.problems import Problem

ASKS: dict[type[Any], str] = {Image: "Generate an image: {prompt}.", Audio: 'Say "{prompt}" aloud.'}
CEILINGS: Mapping[str, float | None] = {
    "steps": 200,
    "guidance": 100,
    "rescale": 1,
    "size": None,
    "frames": 128,
    "seconds": 60,
}


@dataclass(frozen=True)
class Settings:
    """`name` is what clients call the model.

    With `keys`, a request under /v1 and /metrics brings one of them. With `hosts`, its Host header names one of them: a
    page that a browser shows cannot reach a server of this machine by a name of its own. `timeout` seconds are for a
    whole reply, `patience` for a request's body to arrive. A body has `body` bytes at most, and all that are in work
    `bodies`. Media are kept for `expiry` seconds in `kept` bytes. `asks` say by output key how a medium is asked for,
    {prompt} standing for the client's words; the model's YAML says it of outputs that are not named. `ceilings` are
    what a client may say of a decoder, and how much at most; a `size` of None is `most.side` of the decoder. All frames
    of a medium together have `pixels` at most, where a client says its size.
    """

    name: str
    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    timeout: float = 120.0
    patience: float = 30.0
    body: int = 48 * 2**20
    bodies: int = 2**29
    messages: int = 256
    parts: int = 64
    characters: int = 200_000
    tokens: int = 1024
    choices: int = 8
    expiry: float = 3600.0
    kept: int = 2**28
    asks: Mapping[str, str] = field(default_factory=dict)
    ceilings: Mapping[str, float | None] = field(default_factory=lambda: dict(CEILINGS))
    pixels: int = 2**23

    def __post_init__(self) -> None:
        if any(not key or key != key.strip() for key in self.keys):  # what was given may be most of a secret
            raise ValueError("keys: a blank one was given, or one with blanks at its ends; no client could mean it")
        for key, ask in self.asks.items():
            if wrong := misasked(ask):
                raise ValueError(f"ask {key}: {wrong}")
        if self.timeout <= 0 or self.patience <= 0 or self.tokens < 1 or self.choices < 1:
            told = f"timeout {self.timeout}, patience {self.patience}, tokens {self.tokens}, choices {self.choices}"
            raise ValueError(f"{told} given; each is above 0")

    def within(self, decode: Mapping[str, Mapping[str, Any]], sides: Mapping[str, int]) -> None:
        """Refuse what is beyond the `ceilings` of decoders' settings; `sides` are by output, in pixels."""
        for key, settings in decode.items():
            for name, value in settings.items():
                if name not in self.ceilings:
                    known = f"clients may say {', '.join(self.ceilings)}"
                    raise Problem(400, f"decode.{key}.{name}: not taken here; {known}", param="decode")
                if told := self.beyond(name, value, sides.get(key, SIDE)):
                    raise Problem(400, f"decode.{key}.{name}: {str(value)[:80]} given; {told}", param="decode")
            size, frames = ([*numbers(settings.get(name))] for name in ("size", "frames"))
            count = size[0] * size[-1] * max(frames, default=1) if size else 0
            if count > self.pixels:
                told = f"{count:.0f} pixels in all frames together; the most here is {self.pixels}"
                raise Problem(400, f"decode.{key}.size: {told}", param="decode")

    def beyond(self, name: str, value: Any, side: int) -> str | None:
        """What is told of a setting that is beyond its ceiling; `side` is that of a size where none was said."""
        ceiling = self.ceilings[name]
        most = side if ceiling is None else ceiling
        if all(math.isfinite(number) and number <= most for number in numbers(value)):
            return None
        return f"the most here is {most:g}, and `anyx serve --most {name}=NUMBER` sets it"


def numbers(value: Any) -> Iterator[float]:
    """Every number in a value."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield float(value) if abs(value) < 2**63 else math.inf

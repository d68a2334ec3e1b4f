"""anyx: any-to-any language models from parts.

    from anyx import AnyX

    model = AnyX.from_pretrained("path/to/model")
    question = [{"type": "image", "path": "cow.png"}, {"type": "text", "text": "What is this?"}]
    reply = model.chat([{"role": "user", "content": question}])
    reply.save("out/")

Names are imported when they are first asked for, so that `import anyx` costs little more than `import torch`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyx.hub import load
    from anyx.interfaces import Condition, Decoder, Encoder, InputProjector, OutputProjector, Tokens
    from anyx.media import Audio, Image, Series, Video
    from anyx.model import AnyX

__version__ = "0.1.0"

__all__ = [
    "AnyX",
    "Audio",
    "Condition",
    "Decoder",
    "Encoder",
    "Image",
    "InputProjector",
    "OutputProjector",
    "Series",
    "Tokens",
    "Video",
    "load",
]

_ROOMS = {"AnyX": "model", "load": "hub"}
_ROOMS |= dict.fromkeys(
    ("Condition", "Decoder", "Encoder", "InputProjector", "OutputProjector", "Tokens"), "interfaces"
)
_ROOMS |= dict.fromkeys(("Audio", "Image", "Series", "Video"), "media")


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'anyx' has no attribute {name!r}")
    return getattr(import_module(f"anyx.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]

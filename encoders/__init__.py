"""Encoders: one file, one frozen encoder. Imported as `anyx.encoders`; a class is loaded when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "anyx.encoders":
    raise ImportError("import this package as 'anyx.encoders'; 'encoders' alone would load every class twice")

if TYPE_CHECKING:
    from .beats import BeatsEncoder
    from .blip2 import Blip2Encoder
    from .clip import ClipEncoder
    from .efficientnet import EfficientNetEncoder
    from .eva_clip import EvaClipEncoder
    from .eva_video import EvaVideoEncoder
    from .film import FilmEncoder
    from .imagebind import ImageBindEncoder
    from .point_bert import PointBertEncoder
    from .points import PointCloudEncoder
    from .vit import ViTEncoder
    from .whisper import WhisperEncoder

__all__ = [
    "BeatsEncoder",
    "Blip2Encoder",
    "ClipEncoder",
    "EfficientNetEncoder",
    "EvaClipEncoder",
    "EvaVideoEncoder",
    "FilmEncoder",
    "ImageBindEncoder",
    "PointBertEncoder",
    "PointCloudEncoder",
    "ViTEncoder",
    "WhisperEncoder",
]

_FILES = {
    "BeatsEncoder": "beats",
    "Blip2Encoder": "blip2",
    "ClipEncoder": "clip",
    "EfficientNetEncoder": "efficientnet",
    "EvaClipEncoder": "eva_clip",
    "EvaVideoEncoder": "eva_video",
    "FilmEncoder": "film",
    "ImageBindEncoder": "imagebind",
    "PointBertEncoder": "point_bert",
    "PointCloudEncoder": "points",
    "ViTEncoder": "vit",
    "WhisperEncoder": "whisper",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module 'anyx.encoders' has no attribute {name!r}")
    return getattr(import_module(f"anyx.encoders.{_FILES[name]}"), name)

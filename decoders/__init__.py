"""Decoders: one file, one frozen decoder. Imported as `anyx.decoders`; a class is loaded when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "anyx.decoders":
    raise ImportError("import this package as 'anyx.decoders'; 'decoders' alone would load every class twice")

if TYPE_CHECKING:
    from .audioldm import AudioLDMDecoder
    from .audioldm2 import AudioLDM2Decoder
    from .ltx import LTXDecoder
    from .stable_audio import StableAudioDecoder
    from .stable_diffusion import StableDiffusionDecoder
    from .stable_diffusion_3 import StableDiffusion3Decoder
    from .stable_diffusion_xl import StableDiffusionXLDecoder
    from .video import VideoDecoder

__all__ = [
    "AudioLDM2Decoder",
    "AudioLDMDecoder",
    "LTXDecoder",
    "StableAudioDecoder",
    "StableDiffusion3Decoder",
    "StableDiffusionDecoder",
    "StableDiffusionXLDecoder",
    "VideoDecoder",
]

_FILES = {
    "AudioLDM2Decoder": "audioldm2",
    "AudioLDMDecoder": "audioldm",
    "LTXDecoder": "ltx",
    "StableAudioDecoder": "stable_audio",
    "StableDiffusion3Decoder": "stable_diffusion_3",
    "StableDiffusionDecoder": "stable_diffusion",
    "StableDiffusionXLDecoder": "stable_diffusion_xl",
    "VideoDecoder": "video",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module 'anyx.decoders' has no attribute {name!r}")
    return getattr(import_module(f"anyx.decoders.{_FILES[name]}"), name)

"""Image, Audio, Video and Series, the kinds of `Medium`: values with units, read from files, bytes and arrays.

Each is a frozen value that holds one tensor and says what it means: pixels (uint8, RGB), samples (float32 in [-1, 1])
with a rate in Hz, frames (uint8, RGB) with frames per second, readings of sensors (float32). `read` takes whatever the
value can be made of and raises `MediaError` for what is missing or corrupt, so that a reader of many files can skip and
count. A further kind is one more class: `media: my_package.midi:Notes` in a YAML, or an entry point of `anyx.media`.

Letters: c channels, n samples, t frames, h height, w width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

from anyx import arrays, codecs, files, films
from anyx.faults import EmptyError
from anyx.faults import MediaError as MediaError


@dataclass(frozen=True, eq=False)
class Medium(ABC):
    """What every kind of media is: a frozen dataclass of tensors and numbers, read from files and written to them."""

    suffix: ClassVar[str]  # of a file that is widely read and loses little
    suffixes: ClassVar[frozenset[str]] = frozenset()  # of files that are worth a try; none is said: all are

    @classmethod
    @abstractmethod
    def read(cls, source: Any) -> Medium:
        """Read a path, bytes, or what else it can be made of; `files.read` makes a `MediaError` of a bad file."""

    @abstractmethod
    def to_bytes(self, format: str = "") -> bytes:
        """Encode in a format, named as its files' suffix; the default is the kind's own."""

    def save(self, path: str | Path) -> Path:
        """Write to a file; the suffix says the format."""
        return files.write(path, self.to_bytes)


@dataclass(frozen=True, eq=False)
class Image(Medium):
    """One picture: `pixels` RGB. Of deep grey `grey` keeps the levels: int32 (0 to 65535) or float32 (0 to 1).

    Deep grey is what a depth or thermal camera gives; `pixels` show it in 8 bits.
    """

    suffix = "png"
    suffixes = frozenset(codecs.STILL.split())
    pixels: UInt8[Tensor, "3 h w"]
    grey: Int32[Tensor, "h w"] | Float[Tensor, "h w"] | None = None

    def __post_init__(self) -> None:
        files.check(self.pixels, torch.uint8, (3, None, None), "Image.pixels")
        if self.grey is not None:
            kind = self.grey.dtype if self.grey.is_floating_point() else torch.int32
            files.check(self.grey, kind, self.size, "Image.grey")

    @classmethod
    def read(cls, source: Any) -> Image:
        """Read a path, bytes, PIL image, array (h, w[, c]), tensor (c, h, w) or Image; alpha is laid on white.

        Arrays and tensors have 1, 3 or 4 channels (grey, RGB, RGBA) of uint8, or of floats in [0, 1], which become
        8 bits; one channel of uint16 or int32 (0 to 65535) is deep grey. So are PIL's modes I (0 to 65535) and F
        (0 to 1).
        """
        if isinstance(source, Image):
            return source
        if isinstance(source, Tensor | np.ndarray):
            return cls(*arrays.picture_of(source))
        if isinstance(source, PILImage.Image):
            return cls(codecs.rgb(source), codecs.grey(source))
        return files.read(source, lambda file: cls.read(codecs.open_picture(file)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def numpy(self) -> NDArray[np.uint8]:
        """The pixels as (h, w, 3)."""
        return np.ascontiguousarray(self.pixels.permute(1, 2, 0).numpy())

    def to_pil(self) -> PILImage.Image:
        """A PIL image of mode RGB."""
        return PILImage.fromarray(self.numpy())

    def resize(self, height: int, width: int) -> Image:
        """Resize with PIL's bicubic filter: pixels to 8 bits, deep grey to its own levels."""
        pixels = codecs.rgb(self.to_pil().resize((width, height), PILImage.Resampling.BICUBIC))
        return Image(pixels, None if self.grey is None else codecs.resize_grey(self.grey, height, width))

    def to_bytes(self, format: str = "png") -> bytes:
        """Encode as png, jpg, webp or tiff; deep grey as its levels, which png holds of integers and tiff of all."""
        source = self.to_pil() if self.grey is None else self.grey
        return codecs.write_picture(source, files.one_of(format, codecs.PICTURES))


@dataclass(frozen=True, eq=False)
class Audio(Medium):
    """Sound: `samples` in [-1, 1] at `rate` Hz."""

    suffix = "wav"
    suffixes = frozenset(f"{codecs.HEARD} {codecs.MOVING}".split())
    samples: Float[Tensor, "c n"]
    rate: int

    def __post_init__(self) -> None:
        files.check(self.samples, torch.float32, (None, None), "Audio.samples")
        if self.rate <= 0 or self.rate % 1 or not self.samples.numel():
            given = f"{tuple(self.samples.shape)} at {self.rate}"
            kind = MediaError if self.samples.numel() else EmptyError
            raise kind(f"an Audio has samples and rate > 0 Hz, a whole number, but {given} were given")

    @classmethod
    def read(cls, source: Any, *, rate: int | None = None) -> Audio:
        """Read a path, bytes, array or tensor ([c,] n) or Audio; video files give their sound track.

        `rate` is required for arrays, which do not say it, and resamples everything else. Arrays hold floats in
        [-1, 1] or, as in WAV files, int16, int32, or uint8 whose silence is 128.
        """
        if isinstance(source, np.ndarray | Tensor):
            if rate is None:
                raise ValueError("an array of samples does not say its rate: give Audio.read(array, rate=...) in Hz")
            return cls(arrays.samples_of(source), rate)
        audio = (
            source if isinstance(source, Audio) else files.read(source, lambda file: cls(*codecs.read_samples(file)))
        )
        return audio if rate is None else audio.resample(rate)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    def resample(self, rate: int) -> Audio:
        """The same sound at another rate."""
        if rate <= 0 or rate % 1:
            raise ValueError(f"sound is resampled to a whole number of Hz > 0, but {rate} was given")
        return self if rate == self.rate else Audio(codecs.resample(self.samples, self.rate, rate), rate)

    def mono(self) -> Audio:
        """The mean of the channels, as one channel."""
        return Audio(self.samples.mean(0, keepdim=True), self.rate)

    def to_bytes(self, format: str = "wav") -> bytes:
        """Encode as wav (16 bit), flac or ogg (Vorbis)."""
        return codecs.write_samples(self.samples.clamp(-1, 1), self.rate, files.one_of(format, ("wav", "flac", "ogg")))


@dataclass(frozen=True, eq=False)
class Video(Medium):
    """Moving pictures: `frames` RGB at `fps` frames per second, with or without sound."""

    suffix = "mp4"
    suffixes = frozenset(f"{codecs.STILL} {codecs.MOVING}".split())
    frames: UInt8[Tensor, "t 3 h w"]
    fps: float
    audio: Audio | None = None

    def __post_init__(self) -> None:
        files.check(self.frames, torch.uint8, (None, 3, None, None), "Video.frames")
        if self.fps <= 0 or not len(self.frames):
            kind = ValueError if len(self.frames) else EmptyError
            raise kind(f"a Video has frames and fps > 0, but {len(self.frames)} frames at {self.fps} were given")

    @classmethod
    def read(cls, source: Any, *, fps: float | None = None) -> Video:
        """Read a path, bytes, array (t, h, w, c), tensor (t, c, h, w), sequence of images, one image, or Video.

        `fps` is required for arrays and sequences, which do not say it, and resamples everything else. A still picture
        is a video of one frame that lasts a second.
        """
        if isinstance(source, Tensor | np.ndarray | Sequence) and not isinstance(source, str | bytes):
            if fps is None:
                raise ValueError("frames do not say their speed: give Video.read(frames, fps=...)")
            return cls(_frames(source), fps)
        if isinstance(source, Image | PILImage.Image):
            video = cls(Image.read(source).pixels[None], 1.0)
        elif isinstance(source, Video):
            video = source
        else:
            frames, speed, sound = files.read(source, films.read_frames)
            video = cls(frames, speed, Audio(*sound) if sound else None)
        return video if fps is None else video.resample(fps)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    def resample(self, fps: float) -> Video:
        """The same clip at another speed: each new frame is what was shown in its middle."""
        if fps == self.fps:
            return self
        middles = (torch.arange(max(round(self.seconds * fps), 1)) + 0.5) / fps
        return Video(self.frames[(middles * self.fps).long().clamp(max=len(self.frames) - 1)], fps, self.audio)

    def sample(self, num_frames: int) -> Video:
        """`num_frames` frames from the middles of equal spans, over the same time (frames repeat if too few)."""
        return Video(self.frames[self._taken(num_frames)], self.fps * num_frames / len(self.frames), self.audio)

    def moments(self, num_frames: int) -> list[float]:
        """When the frames that `sample` takes begin to be shown, in seconds: for prompts that say so."""
        return [index / self.fps for index in self._taken(num_frames).tolist()]

    def _taken(self, num_frames: int) -> Int64[Tensor, " t"]:
        return ((torch.arange(num_frames) + 0.5) * len(self.frames) / num_frames).long()

    def to_bytes(self, format: str = "mp4") -> bytes:
        """Encode as mp4 (H.264), webm (VP9), gif or apng, which keeps every pixel; the last two are without sound."""
        if files.one_of(format, ("mp4", "webm", "gif", "apng")) in films.ANIMATIONS:
            return films.write_animation([Image(frame).to_pil() for frame in self.frames], self.fps, format)
        sound = self.audio.mono().resample(films.SOUND_RATE).samples if self.audio else None
        return films.write_frames(self.frames, self.fps, sound, format)


@dataclass(frozen=True, eq=False)
class Series(Medium):
    """What sensors measured, step after step: `values` of c channels in their own units, at `rate` Hz if known."""

    suffix = "npz"
    suffixes = frozenset(("npz", "npy", "csv"))
    values: Float[Tensor, "c n"]
    rate: float | None = None

    def __post_init__(self) -> None:
        files.check(self.values, torch.float32, (None, None), "Series.values")
        if not self.values.numel() or (self.rate is not None and self.rate <= 0):
            given = f"{tuple(self.values.shape)} at {self.rate}"
            kind = MediaError if self.values.numel() else EmptyError
            raise kind(f"a Series has values and, if known, a rate > 0 Hz, but {given} were given")

    @classmethod
    def read(cls, source: Any, *, rate: float | None = None) -> Series:
        """Read a path, bytes, array or tensor (c, n), or Series; `rate` says what the source does not.

        Files: .npy (c, n); .npz with `values` (c, n) and `rate`; CSV, a row a step, with or without a line of names.
        """
        if isinstance(source, np.ndarray | Tensor):
            return cls(arrays.values_of(source), rate)
        if isinstance(source, Series):
            values, known = source.values, source.rate
        else:
            values, known = files.read(source, arrays.read_values)
        return cls(values, known if rate is None else rate)

    def to_bytes(self, format: str = "npz") -> bytes:
        """Encode as npz (values, rate), npy or csv (values alone)."""
        return arrays.write_values(self.values, self.rate, files.one_of(format, ("npz", "npy", "csv")))


Kind = type[Medium]
MEDIA: dict[str, Kind] = {"image": Image, "audio": Audio, "video": Video, "series": Series}


def read(kind: str, source: Any) -> Medium:
    """Read media of a kind named in `MEDIA`."""
    return MEDIA[files.one_of(kind, MEDIA)].read(source)


def _frames(source: Tensor | NDArray[Any] | Sequence[Any]) -> UInt8[Tensor, "t 3 h w"]:
    if not isinstance(source, Sequence) and source.ndim != 4:
        shapes = "an array (t, h, w, c), a tensor (t, c, h, w) or a sequence of images"
        raise MediaError(f"frames are {shapes}, but {tuple(source.shape)} was given")
    images = [Image.read(frame) for frame in source]
    sizes = sorted({image.size for image in images})
    if len(sizes) != 1:
        raise MediaError(f"a video has frames of one size (h, w), but {len(images)} frames of {sizes} were given")
    return torch.stack([image.pixels for image in images])

"""Files of pictures, sound and moving pictures <-> tensors: what `media.py` reads and writes with.

Pictures go through PIL, sound through soundfile (PyAV where it cannot), moving pictures through PyAV: `films.py` reads
them. Errors are whatever these libraries raise, which `media.py` words, and
`MediaError` for what they let pass: NaN and infinity, shades beyond white, rates of no sound.

Letters: c channels, n samples, t frames, h height, w width.
"""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps
from torch import Tensor

from anyx.faults import EmptyError, MediaError, TruncatedError, limits

PICTURES = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "tif": "TIFF"}
# Of what PIL opens, those that are pixels and nothing else: EPS runs a program, stubs hand a file to others.
RASTERS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX", "SGI")
# Of what FFmpeg opens, those that hold what they play: playlists and session descriptions name files and open ports.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,f4v,ogg,mp3,aac,flac,wav,w64,aiff,au,caf,amr,ac3,eac3,dts,ape,"
    "wv,tta,tak,mpc,mpc8,mpeg,mpegts,mpegvideo,h264,hevc,av1,obu,ivf,m4v,h263,dv,mxf,gxf,nut,rm,wtv,yuv4mpegpipe,mjpeg,"
    "gif,apng,truehd,voc"
)
# Suffixes of such files, for what is read of a folder; of sound those of films beside.
STILL = (
    "apng avif avifs bmp bw dib gif icb ico j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx pbm pcx pfm pgm png pnm ppm "
    "rgb rgba sgi tga tif tiff vda vst webp"
)
MOVING = (
    "3g2 3gp asf avi dv f4v flv gxf h263 h264 hevc ivf m2ts m4v mj2 mjpeg mjpg mkv mov mp4 mpeg mpg mts mxf nut "
    "obu ogv rm rmvb ts vob webm wmv wtv y4m"
)
HEARD = (
    "aac ac3 aif aifc aiff amr ape au caf dts eac3 flac m4a m4b mka mp1 mp2 mp3 mpc oga ogg opus rf64 snd spx tak "
    "thd tta voc w64 wav wave weba wma wv"
)
WHITE = 65535  # of deep grey in integers
TABLE_RATIO = 3000  # the most that torchaudio resamples here: the usual rates, 8 to 192 kHz, make ratios of up to 2560
SLACK, STREAMED = 64, 2**31 - 2**16  # bytes: writers miscount by a few; larger sizes in a header mean "not known"
FILTER_RATIO = 1_000_000  # beyond it a filter takes gigabytes; a rate like that is a broken header


def finite(numbers: Tensor) -> Tensor:
    """The same numbers, none of them NaN or infinite: one would spoil the whole batch that it comes into."""
    if not torch.isfinite(numbers).all():
        raise MediaError(f"the numbers must be finite, but NaN or infinity is among these {tuple(numbers.shape)}")
    return numbers


def open_picture(file: BinaryIO) -> PILImage.Image:
    """A picture whose header alone has been read, and found within the limits."""
    picture = PILImage.open(file, formats=RASTERS)
    limits().hold("pixels", picture.width * picture.height)
    return picture


def rgb(picture: PILImage.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a PIL image, upright as its EXIF says; alpha is laid on white, deep grey becomes 8-bit."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = PILImage.fromarray(shallow(np.asarray(picture)))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = PILImage.alpha_composite(PILImage.new("RGBA", picture.size, "white"), picture)
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


def grey(picture: PILImage.Image) -> Int32[Tensor, "h w"] | Float[Tensor, "h w"] | None:
    """The levels of a picture in deep grey, upright, as stored: 0 to 65535, or 0 to 1 of floats; of others None."""
    if not picture.mode.startswith(("I", "F")):
        return None
    levels = np.asarray(ImageOps.exif_transpose(picture))
    return torch.from_numpy(levels.astype(np.float32 if picture.mode == "F" else np.int32))


def shallow(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """8 bits of integer grey (0 to 65535) or of float grey (0 to 1), which PIL would cut off at 255."""
    floating = np.issubdtype(levels.dtype, np.floating)
    white = 1 if floating else WHITE
    if not (levels.min() >= 0 and levels.max() <= white):  # NaN is neither
        mode, found = "F" if floating else "I", f"{levels.min()} to {levels.max()}"
        raise MediaError(f"deep grey of PIL's mode {mode} holds values from 0 to {white}, but {found} was given")
    return (levels * 255 if floating else levels / 257).round().astype(np.uint8)


def resize_grey(
    levels: Int32[Tensor, "h w"] | Float[Tensor, "h w"], height: int, width: int
) -> Int32[Tensor, "height width"] | Float[Tensor, "height width"]:
    """Deep grey through PIL's bicubic filter in floats; what the filter throws beyond black and white is cut off."""
    picture = PILImage.fromarray(levels.float().numpy()).resize((width, height), PILImage.Resampling.BICUBIC)
    resized = torch.from_numpy(np.array(picture))
    return resized.clamp(0, 1) if levels.is_floating_point() else resized.clamp(0, WHITE).round().int()


def write_picture(picture: PILImage.Image | Int32[Tensor, "h w"] | Float[Tensor, "h w"], format: str) -> bytes:
    """A file of a format in `PICTURES`, of a picture or of deep grey, which only formats that hold its levels take."""
    name, buffer = PICTURES[format], io.BytesIO()
    if isinstance(picture, Tensor):
        deep = ("TIFF",) if picture.is_floating_point() else ("PNG", "TIFF")
        if name not in deep:
            kind, formats = "floats" if picture.is_floating_point() else "integers", " or ".join(deep).lower()
            raise ValueError(f"{format!r} cannot hold deep grey of {kind}: write {formats}, or Image(pixels) in 8 bits")
        levels = picture.numpy()
        picture = PILImage.fromarray(levels if picture.is_floating_point() else levels.astype(np.uint16))
    picture.save(buffer, name, **({"quality": 95} if name in ("JPEG", "WEBP") else {}))
    return buffer.getvalue()


def resample(samples: Float[Tensor, "c n"], rate: int, to: int) -> Float[Tensor, "c m"]:
    """The same sound at the rate `to`; m = ceil(n * to / rate)."""
    common = math.gcd(int(rate), int(to))
    old, new = int(rate) // common, int(to) // common
    if max(old, new) <= TABLE_RATIO:
        from torchaudio.functional import resample as resample_by_table

        resampled: Tensor = resample_by_table(samples, rate, to)
        return resampled
    if max(old, new) > FILTER_RATIO:
        raise MediaError(f"sound at {rate} Hz cannot be resampled to {to} Hz: they have too little in common")
    from scipy.signal import resample_poly  # torchaudio's table has old x new entries, this filter 20 x the larger

    return torch.from_numpy(resample_poly(samples.numpy(force=True), new, old, axis=-1)).to(samples)


def read_samples(file: BinaryIO) -> tuple[Float[Tensor, "c n"], int]:
    """Samples and rate of a sound file, or of a video file's first sound track."""
    import soundfile

    _whole(file)
    try:
        with soundfile.SoundFile(file) as sound:
            hold_sound(sound.frames, sound.samplerate, sound.channels)
            samples, rate = sound.read(dtype="float32", always_2d=True), sound.samplerate
        if not len(samples):
            raise EmptyError("it lasts 0 seconds")
        return finite(torch.from_numpy(samples.T.copy())), rate
    except soundfile.LibsndfileError:
        file.seek(0)
    track = read_track(file)
    if track is None:
        raise ValueError("no sound track in this file")
    return track


def hold_sound(length: int, rate: int, channels: int) -> None:
    """Hold sound of so many samples to the limits."""
    limits().hold("seconds", length / rate)
    limits().hold("memory", length * channels * 4)


def _whole(file: BinaryIO) -> None:
    """Refuse a WAV file that is shorter than its header says, which libsndfile would read as far as it goes."""
    head = file.read(12)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    announced = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"WAVE" and length + SLACK < announced < STREAMED:
        raise TruncatedError(f"it is truncated: {length:,} bytes of {announced:,}")


def write_samples(samples: Float[Tensor, "c n"], rate: int, format: str) -> bytes:
    """A wav (16 bit), flac or ogg (Vorbis) file."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, len(samples), format=format.upper()) as file:
        for start in range(0, samples.shape[1], rate):  # libsndfile's Vorbis overflows the stack on long blocks
            file.write(samples[:, start : start + rate].T.contiguous().numpy())
    return buffer.getvalue()


def read_track(file: BinaryIO) -> tuple[Float[Tensor, "c n"], int] | None:
    """Samples and rate of the first sound track of a film or of a sound file; None where there is none."""
    import av

    with opened(file) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        hold_sound(round(seconds_of(container, stream) * stream.rate), stream.rate, stream.channels)
        to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        parts, length = [], 0
        for frame in container.decode(stream):
            for part in to_float.resample(frame):
                length += part.samples
                hold_sound(length, stream.rate, stream.channels)
                parts.append(part.to_ndarray())
        if not parts:
            raise EmptyError("its sound lasts 0 seconds")
        return finite(torch.from_numpy(np.concatenate(parts, axis=1))), stream.rate


def opened(file: BinaryIO) -> Any:
    """A PyAV container to read from, of a format that holds what it plays: see `CONTAINERS`."""
    import av

    return av.open(file, "r", options={"format_whitelist": CONTAINERS, "protocol_whitelist": ""})


def seconds_of(container: Any, stream: Any) -> float:
    """How long a stream lasts, as far as headers say; else 0."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000

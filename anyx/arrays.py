"""Arrays that say what media are -> the tensors that media hold: shapes and number types, checked and made ours.

Also the files of plain numbers: .npy, .npz and CSV.

Letters: c channels, n samples, h height, w width.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Sequence
from io import TextIOWrapper
from typing import IO, Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor

from anyx import codecs
from anyx.faults import MediaError, TruncatedError, limits

NPY = b"\x93NUMPY"


def numbers(array: Tensor | NDArray[Any], integers: Sequence[torch.dtype]) -> Tensor:
    """An array on the CPU: floats, or the integers that have a meaning here."""
    try:
        tensor = torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array.detach().cpu()
        known = tensor.is_floating_point() or tensor.dtype in integers
    except TypeError:  # numpy has types that torch has not
        known = False
    if not known:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in integers)
        raise MediaError(f"an array holds floats or {names} here, but {array.dtype} was given")
    return codecs.finite(tensor.float()) if tensor.is_floating_point() else tensor


def picture_of(array: Tensor | NDArray[Any]) -> tuple[UInt8[Tensor, "3 h w"], Int32[Tensor, "h w"] | None]:
    """The pixels of an array (h, w[, c]) or a tensor (c, h, w) of uint8, or of floats in [0, 1].

    Of one channel of uint16 or int32 (0 to 65535) also the levels of its deep grey.
    """
    pixels = numbers(array, [torch.uint8, torch.uint16, torch.int32])
    if pixels.ndim == 3 and isinstance(array, np.ndarray):
        pixels = pixels.permute(2, 0, 1)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    deep = pixels.dtype in (torch.uint16, torch.int32)
    if pixels.ndim != 3 or len(pixels) not in ((1,) if deep else (1, 3, 4)):
        shapes = "an array (h, w) or (h, w, c) or a tensor (c, h, w) with c = 1, or of 8 bits or floats 3 or 4"
        raise MediaError(f"a picture is {shapes}, but {array.dtype} {tuple(array.shape)} was given")
    if deep:
        levels = pixels[0].int().contiguous()
        return torch.from_numpy(codecs.shallow(levels.numpy())).expand(3, -1, -1).contiguous(), levels
    if pixels.is_floating_point():
        pixels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    if len(pixels) == 4:
        return codecs.rgb(PILImage.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())), None
    return pixels.expand(3, -1, -1).contiguous(), None


def samples_of(array: Tensor | NDArray[Any]) -> Float[Tensor, "c n"]:
    """The samples of ([c,] n) floats, or of the integers of WAV files."""
    samples = numbers(array, [torch.int16, torch.int32, torch.uint8])
    if samples.ndim not in (1, 2):
        raise MediaError(f"sound is an array (n) or (c, n), but {tuple(array.shape)} was given")
    if samples.dtype == torch.uint8:
        samples = (samples.double() - 128) / 128
    elif not samples.is_floating_point():
        samples = samples.double() / torch.iinfo(samples.dtype).max
    return (samples if samples.ndim == 2 else samples[None]).float().contiguous()


def values_of(array: Tensor | NDArray[Any]) -> Float[Tensor, "c n"]:
    """The readings of (c, n) floats, or of integers as a sensor gave them."""
    values = numbers(array, [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
    if values.ndim != 2:
        raise MediaError(f"a series is an array (c, n), but {tuple(array.shape)} was given")
    return values.float().contiguous()


def read_values(file: BinaryIO) -> tuple[Float[Tensor, "c n"], float | None]:
    """The readings of a .npy, .npz or CSV file, and their rate where it says it."""
    head = file.read(6)
    file.seek(0)
    if head == NPY:
        return values_of(_array(file)), None
    if head[:2] == b"PK":
        with zipfile.ZipFile(file) as stored:
            values = values_of(_member(stored, "values.npy"))
            if "rate.npy" not in stored.namelist():
                return values, None
            rate = _member(stored, "rate.npy")
        if rate.size != 1 or not np.isfinite(rate).all():
            raise MediaError(f"the rate of a series is one finite number, but {rate.dtype} {rate.shape} was given")
        return values, float(rate.reshape(()))
    return values_of(_table(file).T), None


def _member(stored: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array of an .npz file."""
    if name not in stored.namelist():
        names = ", ".join(stored.namelist()[:5])
        raise MediaError(f"an npz of a series holds `values` and, if known, `rate`, but this one holds {names:.200}")
    with stored.open(name) as member:  # it ends where its entry says, however far it would unpack
        return _array(member)


def _array(file: IO[bytes]) -> NDArray[Any]:
    """The array of an .npy file of plain numbers; its header is held to the limits before room is made for it."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise MediaError(f"an npy file of numbers is of version 1.0 or 2.0, but this one is of {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise MediaError(f"an npy file holds numbers of up to 8 bytes here, but {dtype} was given")
    size = math.prod(shape) * dtype.itemsize
    limits().hold("memory", size)
    data = file.read(size)
    if len(data) < size:
        raise TruncatedError(f"it is truncated: {len(data):,} bytes of {size:,}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def _table(file: BinaryIO) -> NDArray[np.float64]:
    """The numbers of a CSV file, a row a line."""
    first = file.readline()
    cells = first.count(b",") + 1
    while piece := file.read(2**20):
        cells += piece.count(b",") + piece.count(b"\n")
    limits().hold("memory", cells * 8)
    file.seek(0)
    try:
        names = _is_names(first.decode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is empty is said below
            rows = np.loadtxt(TextIOWrapper(file, "utf-8"), delimiter=",", ndmin=2, skiprows=int(names))
    except UnicodeDecodeError:
        raise MediaError("a series is an npy, npz or CSV file, which this is not") from None
    if not rows.size:
        raise MediaError("no numbers in this file")
    return rows


def write_values(values: Float[Tensor, "c n"], rate: float | None, format: str) -> bytes:
    """An npz, npy or CSV file."""
    buffer, array = io.BytesIO(), values.numpy(force=True)
    if format == "csv":
        np.savetxt(buffer, array.T, delimiter=",")
    elif format == "npy":
        np.save(buffer, array)
    elif rate is None:
        np.savez(buffer, values=array)
    else:
        np.savez(buffer, values=array, rate=np.array(rate))
    return buffer.getvalue()


def _is_names(line: str) -> bool:
    """Whether a line of a CSV file names its columns."""
    try:
        float(line.split(",")[0])
    except ValueError:
        return True
    return False

"""Series and the files of plain numbers they are read from and written to."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from anyx.media import MediaError, Series, read

VALUES = torch.tensor([[1.0, -2.5, 3e-3], [0.0, 1e4, -7.0]])


@pytest.mark.parametrize(("format", "rate"), [("npz", 50.0), ("npz", None), ("npy", None), ("csv", None)])
def test_a_series_is_written_and_read(tmp_path: Path, format: str, rate: float | None) -> None:
    for source in (
        Series(VALUES, rate).save(tmp_path / f"x.{format}"),
        str(tmp_path / f"x.{format}"),
        Series(VALUES, rate).to_bytes(format),
    ):
        again = Series.read(source)
        assert torch.equal(again.values, VALUES)
        assert again.rate == rate
    assert Series.read(tmp_path / f"x.{format}", rate=9.0).rate == 9.0


def test_csv_may_name_its_columns() -> None:
    for names in (b"", b"accl_x,gyro_x\n", b"nanometres,e\n"):
        assert read("series", names + b"1.0,0\n-2.5,1e4\n3e-3,-7\n").values.tolist() == VALUES.tolist()


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.int64])
def test_arrays_are_channels_by_steps(dtype: type) -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    series = Series.read(array, rate=4)
    assert series.values.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert series.values.dtype == torch.float32
    assert Series.read(series) is not None
    assert Series.read(torch.from_numpy(array)).rate is None


def test_what_is_no_series_is_refused() -> None:
    text, pickled = b"a,b\n1,2\n3\n", io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object))
    sources = [text, pickled.getvalue(), b"x,y\n", np.zeros(3), np.array([["a"]]), VALUES / 0, np.zeros((2, 0))]
    for source in sources:
        with pytest.raises(MediaError):
            Series.read(source)
    with pytest.raises(MediaError, match="a rate > 0 Hz"):
        Series(VALUES, 0.0)
    with pytest.raises(ValueError, match="'txt' is not one of npz, npy, csv"):
        Series(VALUES).to_bytes("txt")

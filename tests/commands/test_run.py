"""`anyx run` with inputs that have no flag of their own: depth maps and a sensor's readings, by `--input key=path`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from components import TINY
from PIL import Image as PILImage

from anyx import Image
from anyx.build import build
from anyx.commands import main
from anyx.config import check
from anyx.media import Series

TRUNKS = {one["trunk"]: {"type": "imagebind"} | one for one in TINY["encoders"]["imagebind"]}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tiny_llm_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads depth and motion, and answers in words."""
    torch.manual_seed(0)
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"far": TRUNKS["depth"], "moved": TRUNKS["imu"]},
        "inputs": {
            "depth": {"encoder": "far", "projector": {"type": "linear"}, "media": "image"},
            "motion": {"encoder": "moved", "projector": {"type": "linear"}, "media": "series"},
        },
    }
    return build(check(raw)).save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(command: str, *words: str) -> tuple[int, str, str]:
        out = ["--model", str(folder), "--out", str(tmp_path / "out"), "--max-new-tokens", "4", "--device", "cpu"]
        torch.manual_seed(0)  # a folder holds no encoder: it is drawn anew
        with pytest.raises(SystemExit) as ended:
            main([command, *words, *out])
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    return Series(torch.randn(6, 40), rate=50.0).save(tmp_path / "walk.npz")


def test_readings_and_depth_are_read(run: Run, walk: Path, tmp_path: Path) -> None:
    """The reply hangs on the numbers, not on the format that holds them."""
    far = Image.read(np.full((16, 16), 2000, np.uint16)).save(tmp_path / "far.png")
    bare, other = Series(Series.read(walk).values), Series(100 * torch.randn(6, 40))
    replies = []
    saved = [one.save(tmp_path / name) for one, name in ((bare, "a.csv"), (bare, "a.npy"), (other, "b.npy"))]
    for motion in (walk, *saved):
        code, printed, error = run("run", "What is this?", "--input", f"motion={motion}", "--input", f"depth={far}")
        assert code == 0, error
        replies.append(printed)
    assert replies[1] == replies[2]
    assert replies[1] != replies[3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", "imu={walk}"], "this model reads depth, motion, not 'imu'"),
        (["--image", "{picture}"], "this model reads depth, motion, not 'image'"),
        (["--input", "motion={picture}"], "cannot read {picture}: a series is an npy, npz or CSV file"),
        (["--input", "depth={walk}"], "cannot read {walk}: cannot identify image"),
        (["--input", "motion={few}"], "the imu trunk reads 6 channels, given 3"),
        (["--input", "motion={empty}"], "it holds 0 bytes"),
        (["--input", "motion=none.csv"], "--input motion=none.csv: there is no file 'none.csv'"),
        (["--input", "motion"], "--input 'motion' is not of the form key=path"),
        (["--input", "{walk}"], "is not of the form key=path"),
    ],
)
def test_what_is_no_input_is_one_line(run: Run, walk: Path, tmp_path: Path, words: list[str], said: str) -> None:
    files = {"walk": walk, "picture": tmp_path / "p.png", "few": tmp_path / "few.npy", "empty": tmp_path / "empty.csv"}
    PILImage.new("RGB", (8, 8)).save(files["picture"])
    Series(torch.zeros(3, 9)).save(files["few"])
    files["empty"].touch()
    code, _, error = run("run", "Hello", *(word.format(**files) for word in words))
    assert code == 2
    assert error.startswith("error: ")
    assert said.format(**files) in " ".join(error.split())


def test_a_gallery_shows_what_has_no_picture(run: Run, walk: Path, tmp_path: Path) -> None:
    """Keys are the model's own: `motion` is no kind of media, and a page cannot show its file but links it."""
    far = PILImage.fromarray(np.full((16, 16), 0.5, np.float32))
    far.save(tmp_path / "far.tiff")
    content = [{"type": "motion", "path": walk.name}, {"type": "depth", "path": "far.tiff"}]
    row = {"id": "motion->text", "messages": [{"role": "user", "content": content}]}
    (tmp_path / "requests.jsonl").write_text(json.dumps(row))
    code, printed, error = run("gallery", str(tmp_path / "requests.jsonl"))
    assert code == 0, printed + error
    page = (tmp_path / "out" / "index.html").read_text()
    for kind, name in ((Series, "0_series.npz"), (Image, "1_image.tiff")):
        assert f'<a href="motion_to_text/asked/{name}">' in page
        assert kind.read(tmp_path / "out" / "motion_to_text" / "asked" / name)

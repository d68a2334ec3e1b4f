"""`anyx distance` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from anyx.commands import main
from anyx.media import Image


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["distance", *map(str, words)])
    return ended.value.code


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for place in range(4):
        dice = torch.Generator().manual_seed(place)
        for side in ("real", "made"):
            pixels = torch.randint(0, 256, (3, 16, 16), generator=dice, dtype=torch.uint8)
            Image(pixels).save(tmp_path / side / f"{place}.png")
    return tmp_path / "real", tmp_path / "made"


def test_two_folders(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ("--metric", "kid,frechet,psnr", "--embedder", "random-conv,seed=3", "--device", "cpu", "--out", out)
    assert run(*folders, *words) == 0
    found = json.loads((out / "result.json").read_text())
    assert [one["metric"] for one in found["results"]] == ["kid", "frechet", "psnr"]
    assert (found["kind"], found["real"], found["made"]) == ("image", 4, 4)
    assert "seed 3#" in found["results"][0]["by"]["embedder"]
    said = capsys.readouterr().out
    assert "4 made beside 4 real" in said
    assert "random-conv@1 seed 3" in said
    assert run(*folders, *words) == 0
    assert json.loads((out / "result.json").read_text()) == found, "two runs agree exactly"


def test_mistakes_are_one_line(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.json").write_text("[1]")
    for words, wanted in (
        (("--metric", "fid"), "--metric: 'fid' is not one of"),
        (("--embedder", "inception,path=none.pth"), "path: there is no file 'none.pth'"),
        (("--embedder", "clip,path=none"), "CLIP is read from a local folder"),
        (("--metric", "lpips", "--lpips", "a,net=alex"), "--lpips"),
        (("--metric", "clipsim", "--captions", tmp_path / "texts.json"), "a JSON object of texts by a medium's name"),
    ):
        assert run(*folders, "--device", "cpu", "--out", tmp_path / "out", *words) == 2
        said = capsys.readouterr().err
        assert wanted in said
        assert said.count("\n") == 1, said

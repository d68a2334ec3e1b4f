"""`anyx data` as it is typed: help that teaches, files written, counts printed, one line for a mistake."""

import json
import math
from pathlib import Path

import pytest
import torch

from anyx.commands import main
from anyx.data.sources import JSONLSource
from anyx.media import Audio, Image


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["data", *words])
    return ended.value.code


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two good pairs, one without its file, one of another shape."""
    (tmp_path / "media").mkdir()
    Image(torch.zeros(3, 4, 4, dtype=torch.uint8)).save(tmp_path / "media/fox.png")
    Audio((torch.arange(80) * 2 * math.pi / 8).sin()[None], 8000).save(tmp_path / "media/dog.wav")
    rows = [
        {"caption": "A red fox in deep snow", "image_name": "fox.png"},
        {"caption": "A dog barks twice", "audio_name": "dog.wav"},
        {"caption": "gone", "image_name": "gone.png"},
        {"text": "no pair"},
    ]
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(rows))
    return file


@pytest.mark.parametrize("command", ["convert", "info", "dialogues"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    printed = capsys.readouterr().out
    assert f"anyx data {command} " in printed.split("Options")[0].split("[option=value]", 1)[1]


def test_convert_info_and_dialogues(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, media = pairs.with_name("native.jsonl.gz"), f"root={pairs.parent / 'media'}"
    assert run("convert", "nextgpt_pairs", str(pairs), str(out), media, "direction=in") == 0
    printed = capsys.readouterr().out
    assert f"4 records read, 2 written to {out}, 2 skipped" in printed
    assert "gone.png" in printed
    assert "row 3: it names 0 files" in printed
    assert [record["id"] for record in JSONLSource(out)] == ["pairs/0", "pairs/1"]

    assert run("info", str(out), "--read") == 0
    printed = capsys.readouterr().out
    assert "image+text -> text" in printed
    assert "image: 1 in 1 files, 0 of them missing or broken" in printed
    (pairs.parent / "media/fox.png").write_bytes(b"no picture")
    assert run("info", str(pairs), media, "--format", "nextgpt_pairs", "--read") == 0
    printed = capsys.readouterr().out
    assert "image: 2 in 2 files, 2 of them missing or broken" in printed
    assert "audio: 1 in 1 files, 0 of them missing or broken" in printed
    assert "4 records read, 1 skipped" in printed

    made = pairs.with_name("dialogues.jsonl")
    command = ["dialogues", str(pairs), str(made), media, "--copies", "3", "--outputs", "image", "--seed", "1"]
    assert run(*command, "--kinds", "describe", "--kinds", "make") == 0
    assert "6 written" in capsys.readouterr().out
    assert {record["id"].split("/")[2] for record in JSONLSource(made)} <= {"describe", "make"}


def test_limits_and_strictness(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = pairs.with_name("out.jsonl")
    words = ["convert", "nextgpt_pairs", str(pairs), str(out), f"root={pairs.parent / 'media'}"]
    assert run(*words, "--limit", "1") == 0
    assert len(JSONLSource(out)) == 1
    assert run(*words, "--no-check") == 0
    assert len(JSONLSource(out)) == 3
    capsys.readouterr()
    assert run(*words, "--strict") == 2
    assert "a medium is missing" in capsys.readouterr().err
    assert len(JSONLSource(out)) == 3, "the file that was there stays"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "lava", "{}", "out.jsonl"], "format: 'lava' is not one of jsonl, llava"),
        (["convert", "llava", "nowhere.json", "out.jsonl"], "path: no such file: nowhere.json"),
        (["convert", "llava", "{}", "out.jsonl", "root"], "root: an override is written a.b=c"),
        (["convert", "llava", "{}", "out.json"], "native records are written to a .jsonl"),
        (["info", "{}", "rot=x", "--format", "llava"], "rot: Key 'rot' not in 'LlavaSource'"),
        (["dialogues", "{}", "out.jsonl", "--templates", "none.yaml"], "none.yaml: no such file"),
        (["dialogues", "{}", "out.jsonl", "--kinds", "paint"], "kinds: 'paint' is not one of describe"),
    ],
)
def test_a_mistake_is_a_line(words: list[str], message: str, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*(word.format(pairs) for word in words)) == 2
    assert message in capsys.readouterr().err

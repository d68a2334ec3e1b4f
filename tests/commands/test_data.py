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


@pytest.mark.parametrize("command", ["convert", "info", "pack", "dialogues"])
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


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    """Three sources: one good, one with a fault of each kind, one of a stage's own."""
    Image(torch.zeros(3, 40, 40, dtype=torch.uint8)).save(tmp_path / "good.png")
    data = (tmp_path / "good.png").read_bytes()
    for name, held in (("empty", b""), ("cut", data[:-40]), ("broken", b"no picture")):
        (tmp_path / f"{name}.png").write_bytes(held)
    Image(torch.zeros(3, 80, 80, dtype=torch.uint8)).save(tmp_path / "large.png")
    names = ["good", "empty", "cut", "broken", "large", "gone"]
    lines = [json.dumps({"media": {"image": f"{name}.png"}, "caption": name}) for name in names]
    (tmp_path / "bad.jsonl").write_text("\n".join([*lines, json.dumps({"caption": "nothing"})]))
    (tmp_path / "good.jsonl").write_text("\n".join(lines[:1] * 3))
    sources = {"good": {"path": str(tmp_path / "good.jsonl")}}
    sources["bad"] = {"path": str(tmp_path / "bad.jsonl"), "limits": {"pixels": 2000}}
    file = tmp_path / "check.yaml"
    file.write_text(json.dumps({"data": {name: {"type": "jsonl", **node} for name, node in sources.items()}}))
    return file


@pytest.mark.parametrize("workers", ["0", "2"])
def test_check_counts_every_fault(yaml: Path, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    out = yaml.with_name("skipped.jsonl")
    assert run("check", str(yaml), "--out", str(out), "--workers", workers) == 0
    good, bad, example = capsys.readouterr().out.splitlines()
    assert good == "good: 3 records, 0 bad"
    faults = "1 corrupt, 1 missing, 1 truncated, 1 oversized, 1 zero-length, 1 unfit"
    assert bad == f"bad: 7 records, 6 bad: {faults}"
    assert example.startswith("  e.g. EmptyError: cannot read ")
    found = {Path(json.loads(line)["reason"].split(": ")[1]).name for line in out.read_text().splitlines()}
    assert len(found) == 6


def test_check_of_one_source_and_strictly(yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(yaml), "--source", "good", "--strict") == 0
    assert run("check", str(yaml), "--limit", "1", "--strict") == 0
    capsys.readouterr()
    assert run("check", str(yaml), "--strict") == 2
    assert "data.bad: bad/1 is zero-length" in capsys.readouterr().err
    assert run("check", str(yaml), "--source", "god") == 2
    assert "--source 'god' is not one of good, bad" in capsys.readouterr().err


def test_pack_writes_shards_that_check_reads(yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = yaml.parent / "shards"
    assert run("pack", "jsonl", str(yaml.with_name("bad.jsonl")), str(folder)) == 0
    printed = capsys.readouterr().out
    assert f"7 records read, 5 written to {folder}, 2 skipped" in printed, "one is no record, the file of one is gone"
    assert "1 shards" in printed
    node = {"type": "webdataset", "path": str(folder), "index": str(yaml.parent / "index")}
    yaml.write_text(json.dumps({"data": {"packed": node}}))
    assert run("check", str(yaml)) == 0
    assert "packed: 5 records, 3 bad: 1 corrupt, 1 truncated, 1 zero-length" in capsys.readouterr().out

"""`anyx run` with many requests: folders, lines of JSON, the manifest, what fails, what goes on, how it ends."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PILImage

from anyx.commands import loading, main, requests
from anyx.media import Audio, Image
from anyx.model import AnyX

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "experiments/anyworld/model"
DRAW = "draw two red squares on the left."
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model() -> AnyX:
    return loading.load_model(MODEL, loading.Loading("cpu"), None)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: AnyX) -> Run:
    """The command, with the model loaded once, as it is the same at every call."""
    monkeypatch.setattr(loading, "load_answering", lambda *_: model)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main(["run", *words, "--model", str(MODEL), "--out", "out"])
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, level in (("a.png", 0), ("b c.png", 90), ("b c.jpg", 90), (".hidden.png", 0)):
        PILImage.new("RGB", (48, 48), (level, 0, 0)).save(folder / name)
    return folder


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: line for line in lines}


def test_a_folder_is_a_request_a_file(run: Run, pictures: Path, tmp_path: Path) -> None:
    code, printed, error = run("draw this.", "--image", "pictures", "--batch-size", "2")
    assert (code, error) == (0, "")
    lines = manifest(tmp_path / "out")
    assert list(lines) == ["a", "b_c.jpg", "b_c.png"]
    for name, line in lines.items():
        assert line["error"] is None
        assert [file.startswith(f"{name}_") for file in line["files"]] == [True] * len(line["parts"])
        assert all((tmp_path / "out" / file).is_file() for file in line["files"])
        for file in line["files"]:
            if file.endswith(".png"):
                Image.read(tmp_path / "out" / file)
        assert line["inputs"][0]["content"][-1] == {"type": "text", "text": "draw this."}
        assert line["seconds"] > 0
        assert name in printed
    assert not list((tmp_path / "out").glob(".*"))


def test_what_is_no_medium_by_its_suffix_is_left_out(run: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "notes.txt").write_text("a cow")
    (pictures / "Thumbs.db").write_bytes(b"x")
    shutil.copy(pictures / "a.png", pictures / "NAMELESS")
    (pictures / "a.png").rename(pictures / "A.PNG")
    code, _, error = run("name this.", "--image", "pictures")
    assert (code, error) == (0, "--image: 2 of 6 files in 'pictures' left out by their suffix: Thumbs.db, notes.txt\n")
    assert list(manifest(tmp_path / "out")) == ["A", "NAMELESS", "b_c.jpg", "b_c.png"]
    (pictures / "torn.png").write_bytes(b"no picture")
    code, printed, _ = run("name this.", "--image", "pictures", "--resume")
    assert code == 1, "a picture that cannot be read is a failure as before"
    told = manifest(tmp_path / "out")["torn"]["error"]
    assert told == "cannot read pictures/torn.png: cannot identify image file"
    assert f"torn: error: {told}" in printed
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("a cow")
    code, _, error = run("name this.", "--image", "words")
    assert (code, error) == (
        2,
        "error: --image: by its suffix none of 1 files in 'words' is one: notes.txt\n",
    )


def test_each_file_by_itself_and_one_beside_all(run: Run, pictures: Path, tmp_path: Path) -> None:
    sound = Audio(torch.rand(1, 8000) - 0.5, 16000).save(tmp_path / "s.wav")
    both = ("--image", "pictures/a.png", "--audio", str(sound))
    assert run("name this.", *both, "--each")[0] == 0
    assert list(manifest(tmp_path / "out")) == ["a", "s"]
    shutil.rmtree(tmp_path / "out")
    assert run("name this.", "--image", "pictures", "--audio", str(sound))[0] == 0
    sent = [part["type"] for part in manifest(tmp_path / "out")["a"]["inputs"][0]["content"]]
    assert sent == ["audio", "image", "text"]
    shutil.rmtree(tmp_path / "out")
    assert run("name this.", *both, "--json")[0] == 0
    assert list(manifest(tmp_path / "out")) == ["request"]


LINES = """\
{"id": "text->image", "prompt": "draw two red squares on the left.", "seed": 3}

{"prompt": "name this.", "image": "pictures/a.png"}
MESSAGES
{"id": "broken", "prompt": "name this.", "image": "broken.png"}
{"id": "missing", "prompt": "name this.", "image": ["pictures/a.png", "none.png"]}
{"id": "smells", "prompt": "name this.", "smell": "x"}
{"id": "../../up", "prompt": "draw two red squares on the left."}
{"id": "text_to_image", "prompt": "hello"}
{"id": "half
["no mapping"]
{"id": "empty"}
{"id": "seed", "prompt": "hello", "seed": "x"}
{"id": "role", "messages": [{"role": "king", "content": "hello"}]}
"""


PARTS = [{"type": "image", "path": "pictures/a.png"}, {"type": "text", "text": "name this."}]
MESSAGES = json.dumps({"id": "messages", "messages": [{"role": "user", "content": PARTS}]})


def test_a_broken_line_is_its_own_fault(run: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    code, printed, _ = run("-", "--json", stdin=LINES.replace("MESSAGES", MESSAGES))
    assert code == 1
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {line["id"]: line for line in lines} == manifest(tmp_path / "out")
    failed = {line["id"]: line["error"] for line in lines if line["error"]}
    good = {line["id"]: line for line in lines if not line["error"]}
    assert list(good) == ["text_to_image", "000003", "messages", "_.._up"]
    assert good["000003"]["text"] == good["messages"]["text"] != ""
    for name, said in {
        "broken": "cannot read broken.png",
        "missing": "none.png",
        "smells": "line 7: 'smell' is not one of id, messages, prompt, seed, image, audio, video",
        "text_to_image~8": "'text_to_image' is that of an earlier request",
        "000010": "line 10: ",
        "000011": "line 11: a line is a mapping with id, messages, prompt, seed or image, audio, video",
        "empty": "line 12: nothing is asked",
        "seed": "line 13: seed: 'x' given",
        "role": "role: 'king' is not one of user, assistant, system",
    }.items():
        assert said in failed.pop(name), name
    assert not failed
    assert all(path.parent == tmp_path / "out" for path in tmp_path.rglob("*_image.png"))


def test_a_line_s_seed_is_its_own(run: Run, model: AnyX, tmp_path: Path) -> None:
    (tmp_path / "asked.jsonl").write_text(
        "".join(json.dumps({"id": str(seed), "prompt": DRAW, "seed": seed}) + "\n" for seed in (3, 4))
    )
    assert run("--requests", "asked.jsonl", "--decode", "image.steps=2")[0] == 0
    made = [Image.read(tmp_path / f"out/{seed}_1_image.png").pixels for seed in (3, 4)]
    assert not torch.equal(*made)
    with model.merged():
        alone = model.chat([{"role": "user", "content": DRAW}], seeds=4, decode={"image": {"steps": 2}})
    near = (alone.media("image")[0].pixels.int() - made[1].int()).abs()  # type: ignore[union-attr]
    assert near.max() <= 2, "a batch of another size is rounded otherwise"


def test_a_run_goes_on_where_it_stopped(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert run("name this.", "--image", "pictures")[0] == 0
    file = tmp_path / "out" / "manifest.jsonl"
    code, _, error = run("name this.", "--image", "pictures")
    assert code == 2
    assert "is there already: --resume goes on with it" in error
    first = file.read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*_text.txt")}
    assert run("name this.", "--image", "pictures", "--resume")[0] == 0
    assert file.read_text() == first
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is done again"
    lines = first.splitlines()
    lost = json.loads(lines[1])
    (tmp_path / "out" / lost["files"][0]).unlink()
    file.write_text(f"{lines[0]}\n{lines[1]}\n{lines[2][:40]}")  # killed while a line was written; a file is gone
    assert run("name this.", "--image", "pictures", "--resume")[0] == 0
    assert {name: line["text"] for name, line in manifest(tmp_path / "out").items()} == {
        line["id"]: line["text"] for line in map(json.loads, lines)
    }
    assert (tmp_path / "out" / lost["files"][0]).is_file()
    assert run("draw this.", "--image", "pictures", "--resume")[0] == 0
    assert all(line["parts"][-1] == "image" for line in manifest(tmp_path / "out").values()), "asked otherwise now"


def test_what_failed_is_tried_again(run: Run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.png").write_bytes(b"no picture")
    assert run("name this.", "--image", "pictures")[0] == 1
    assert manifest(tmp_path / "out")["a"]["error"]
    PILImage.new("RGB", (48, 48)).save(pictures / "a.png")
    assert run("name this.", "--image", "pictures", "--resume")[0] == 0
    assert manifest(tmp_path / "out")["a"]["error"] is None


def test_the_code_says_whether_what_was_asked_for_was_made(run: Run, tmp_path: Path) -> None:
    assert run(DRAW, "--expect", "image")[0] == 0
    code, _, error = run("hello", "--expect", "image")
    assert (code, error) == (3, "without what was asked for: image\n")
    shutil.rmtree(tmp_path / "out")
    two = f'{{"id": "a", "prompt": "{DRAW}"}}\n{{"id": "b", "prompt": "hello"}}\n'
    assert run("-", "--expect", "image", stdin=two)[0] == 3
    assert {name: line["missing"] for name, line in manifest(tmp_path / "out").items()} == {"a": [], "b": ["image"]}
    assert run("-", "--expect", "image", "--resume", stdin=two)[0] == 3, "what was kept is held against it too"
    assert run("-", "--resume", stdin=two)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--expect", "smell", "hello"], "--expect: 'smell' is not one of text, image, audio, video"),
        (["--requests", "none.jsonl"], "--requests: there is no file 'none.jsonl'"),
        (["--requests", "-", "hello"], "--requests: its lines say all that is asked"),
        (["-"], "nothing was asked: there is no request"),
        (["hello", "--resume"], "--resume: of many requests"),
        (["name this.", "--image", "empty"], "--image: there is no file in the folder 'empty'"),
        (["name this.", "--input", "smell=empty"], "this model reads image, audio, video, not 'smell'"),
        (["name this.", "--image", "empty", "--box", "1,2,3,4"], "--box: of one request"),
        (["--each"], "nothing was asked"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_mistake_is_a_line_and_code_two(run: Run, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    code, _, error = run(*words)
    assert code == 2
    assert error.startswith("error: ")
    assert said in error
    assert not (tmp_path / "out").exists()


def test_names_are_files_names() -> None:
    told = ("image->audio", "a/b", "..", "", "x y\n", "ä.1+=@-", "~/.ssh")
    assert [requests.named(one) for one in told] == ["image_to_audio", "a_b", "_", "_", "x_y_", "ä.1+=@-", "_.ssh"]


def test_an_interrupted_run_says_so_and_goes_on(tmp_path: Path) -> None:
    """The real program, and a real signal between two requests."""
    asked = "".join(json.dumps({"id": f"{n:03d}", "prompt": DRAW}) + "\n" for n in range(200))
    (tmp_path / "asked.jsonl").write_text(asked)
    words = ["run", "--requests", "asked.jsonl", "--model", str(MODEL), "--out", "out", "--device", "cpu", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "anyx", *words, "--batch-size", "1", "--decode", "image.steps=40"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    first = json.loads(child.stdout.readline())
    child.send_signal(signal.SIGINT)
    rest, error = child.communicate(timeout=120)
    assert child.returncode == 130
    assert error.strip().endswith("interrupted; --resume goes on")
    done = manifest(tmp_path / "out")
    assert list(done) == [first["id"], *(json.loads(line)["id"] for line in rest.splitlines())]
    assert 1 <= len(done) < 200
    assert all((tmp_path / "out" / file).is_file() for line in done.values() for file in line["files"])

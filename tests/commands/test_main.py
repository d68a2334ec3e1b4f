"""The command line's manners: help that teaches, one red line for a mistake, tracebacks on request."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from anyx.commands import COMMANDS, main, options

ROOT = Path(__file__).parents[2]


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_help_shows_an_example(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = command.__name__  # type: ignore[attr-defined]
    assert run(name, "--help") == 0
    printed = capsys.readouterr().out
    assert f"Usage: anyx {name}" in printed
    assert name == "doctor" or f"anyx {name}" in printed.split("Options")[0].replace("Usage: anyx", "", 1)


def test_help_says_how_a_key_with_dots_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run("check", "--help") == 0
    assert "'stages.encode.train[inputs.*.projector]=1e-4'" in capsys.readouterr().out


def test_a_mistake_is_a_line_and_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("encoders: {image: {type: clop}}\ninputs: {image: {encoder: vision, projector: {type: linear}}}\n")
    assert run("check", str(path)) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.startswith("error: ")
    assert "encoders.image.type: 'clop' is not one of " in printed.err
    assert "inputs.image.encoder: 'vision' is not one of image" in printed.err, "all errors at once"


def test_a_class_of_the_folder_that_one_is_in_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thumbnail.py").write_text((ROOT / "docs" / "examples" / "thumbnail.py").read_text())
    yaml = "encoders: {eye: {type: 'thumbnail:Thumbnail', size: 8}}\n"
    (tmp_path / "my.yaml").write_text(yaml)
    anyx = [str(Path(sys.executable).with_name("anyx")), "check", "my.yaml"]
    done = subprocess.run(anyx, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 encoders" in done.stdout


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out.startswith(f"anyx {version} (Python {sys.version_info.major}.")


@pytest.mark.parametrize(
    ("given", "name"), [("experiments/anyworld/model", "anyworld"), ("configs/models/nextgpt.yaml", "nextgpt")]
)
def test_an_export_is_called_as_the_server_calls_the_model(given: str, name: str, tmp_path: Path) -> None:
    assert run("export", str(ROOT / given), str(tmp_path)) == 0
    assert f"pipeline: {name}\n" in (tmp_path / "deploy.yaml").read_text()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        main(["check", str(tmp_path / "none.yaml"), "--debug"])


def test_a_missing_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "hello", "--model", "runs/none/such") == 2
    assert "there is no folder 'runs/none/such'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "serve", "chat"])
def test_a_missing_model_is_named_without_an_option_that_there_is_not(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command, "nope", *(["--port", "0"] if command != "chat" else [])) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: there is no folder 'nope'; name a model's folder")
    assert "--model" not in printed


def test_a_model_is_named_once_and_is_no_request(capsys: pytest.CaptureFixture[str]) -> None:
    model = "experiments/anyworld/model"
    assert run("chat", model, "--model", "runs/other") == 2
    assert f"two models were named, {model} and --model runs/other" in capsys.readouterr().err
    assert run("run", model) == run("run", model, "Draw a penguin.") == 2
    told = f'error: {model} is the folder of a model, and no request: anyx run --model {model} "WORDS"\n'
    assert capsys.readouterr().err == 2 * told


def test_an_override_replaces_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("encoders: {eye: {type: efficientnet, size: 32}}\n")
    assert run("check", str(path), "encoders.eye.size=64", "--resolved") == 0
    assert "size: 64" in capsys.readouterr().out
    assert run("check", str(path), "encoders.eye.sise=64") == 2
    assert "Did you mean: 'size'?" in capsys.readouterr().err


def test_named_paths_keep_their_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.png", "b.png", "c.npy")]
    for file in files:
        file.touch()
    media = {"image": files[:2], "audio": None}
    named = options.named_paths(media, [f"depth={files[2]}"])
    assert named == [("image", files[0]), ("image", files[1]), ("depth", files[2])]
    with pytest.raises(ValueError, match="is not of the form key=path"):
        options.named_paths({}, ["depth"])
    with pytest.raises(ValueError, match=r"--audio: there is no file 'none.wav'"):
        options.named_paths({"audio": [Path("none.wav")]}, None)
    with pytest.raises(ValueError, match=r"--input depth=no.png: there is no file 'no.png'"):
        options.named_paths({}, ["depth=no.png"])


@pytest.mark.parametrize(
    "word",
    [
        "outputs.image.decoder.steps=5",
        "llm.lora.targets.0=v_proj",
        "stages.encode.train[inputs.*.projector]=1e-4",
        "outputs.image.decoder.path=https://a//b c",
        "outputs.an-image.decoder=null",
    ],
)
def test_a_first_word_may_be_an_override(word: str) -> None:
    assert options.first_word(word, "nothing", ["seed=1"]) == ("nothing", [word, "seed=1"])
    assert options.first_word(word, "nothing", None) == ("nothing", [word])


@pytest.mark.parametrize("word", ["", "is a=b?", "is a.b=c?", "x=5", "2.5=x", "fox.com/?q=1", "my.jsonl", "a.b c=d"])
def test_other_first_words_stay_what_they_are(word: str) -> None:
    assert options.first_word(word, "nothing", ["a.b=c"]) == (word, ["a.b=c"])
    assert options.first_word(word, "nothing", None) == (word, [])


def test_decode_options_reach_their_output() -> None:
    said = ["image.size=[512,256]", "video.frames=8", "image.steps=3"]
    assert options.decode_options(["image", "video"], 5, None, said) == {
        "image": {"steps": 3, "size": [512, 256]},
        "video": {"steps": 5, "frames": 8},
    }
    assert options.decode_options(["image"], None, 2.0, ["a.seconds=1"]) == {
        "image": {"guidance": 2},
        "a": {"seconds": 1},
    }
    assert options.decode_options(["image"], None, None) == {}
    with pytest.raises(ValueError, match=r"image.size: it is written a.b=c"):
        options.decode_options(["image"], None, None, ["image.size"])


@pytest.mark.parametrize("device", ["foo", "cuda:99", "cpu:1"])
def test_a_device_that_is_not_here_is_named(device: str) -> None:
    with pytest.raises(ValueError, match=f"--device: '{device}' is not one of .*cpu"):
        options.pick_device(device)
    assert options.pick_device("cpu") == "cpu"


@pytest.mark.parametrize("words", [["check", "{}", "llm.path={{"], ["plan", "{}", "llm.path={{"]])
def test_an_override_that_is_no_yaml_is_a_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.yaml").write_text("llm: {path: x}\n")
    assert run(*(word.format(tmp_path / "a.yaml") for word in words)) == 2
    assert capsys.readouterr().err.startswith("error: llm.path={: no override: ")


def test_evaluate_takes_overrides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evaluation.yaml").write_text("corpus: c.py:C\njudges: {}\n")
    assert run("evaluate", str(tmp_path), "--out", str(tmp_path / "out"), "limit=0", "bach=3") == 2
    printed = capsys.readouterr().err
    assert "limit: must be int >= 1, but 0 was given" in printed
    assert "bach: Key 'bach' not in 'settings'. Did you mean: 'batch'?" in printed


def test_a_turn_refuses_what_the_model_cannot_read() -> None:
    turn = options.user_turn("What is it?", [("image", Path("a.png"))], ["image"])
    assert turn["content"] == [{"type": "image", "path": "a.png"}, {"type": "text", "text": "What is it?"}]
    with pytest.raises(ValueError, match="this model reads image, not 'audio'"):
        options.user_turn("", [("audio", Path("a.wav"))], ["image"])
    with pytest.raises(ValueError, match="nothing was asked"):
        options.user_turn("", [], ["image"])

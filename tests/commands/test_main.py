"""The command line's manners: help that teaches, one red line for a mistake, tracebacks on request."""

from pathlib import Path

import pytest

from anyx.commands import COMMANDS, main, options


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


def test_a_mistake_is_a_line_and_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("encoders: {image: {type: clop}}\ninputs: {image: {encoder: vision, projector: {type: linear}}}\n")
    assert run("check", str(path)) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.startswith("error: ")
    assert "encoders.image.type: 'clop' is not one of clip" in printed.err
    assert "inputs.image.encoder: 'vision' is not one of image" in printed.err, "all errors at once"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        main(["check", str(tmp_path / "none.yaml"), "--debug"])


def test_a_missing_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "hello", "--model", "runs/none/such") == 2
    assert "there is no folder 'runs/none/such'" in capsys.readouterr().err


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


def test_a_turn_refuses_what_the_model_cannot_read() -> None:
    turn = options.user_turn("What is it?", [("image", Path("a.png"))], ["image"])
    assert turn["content"] == [{"type": "image", "path": "a.png"}, {"type": "text", "text": "What is it?"}]
    with pytest.raises(ValueError, match="this model reads image, not 'audio'"):
        options.user_turn("", [("audio", Path("a.wav"))], ["image"])
    with pytest.raises(ValueError, match="nothing was asked"):
        options.user_turn("", [], ["image"])

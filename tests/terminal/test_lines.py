"""What the tab key offers, and how paths are quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyx.terminal.lines import completions, paths, places

COMMANDS = {"image": None, "load": None, "set": ["temperature=", "image.steps="], "seed": (), "help": ()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("cow.png", "cow two.png", "it's.png", ".hidden", "my pictures/fox.png", "sub/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("/", ["/image ", "/load ", "/set ", "/seed", "/help"]),
        ("/s", ["/set ", "/seed"]),
        ("/set te", ["/set temperature="]),
        ("/set i", ["/set image.steps="]),
        ("/seed ", []),
        ("/nothing x", []),
        ("What is /im", []),
        ("/image cow", ["/image 'cow two.png'", "/image cow.png"]),
        ("/image 'cow t", ["/image 'cow two.png'"]),
        ('/image "cow t', ['/image "cow two.png"']),
        ("/image cow\\ t", ["/image 'cow two.png'"]),
        ("/image my", ["/image 'my pictures/"]),
        ("/image 'my pictures/", ["/image 'my pictures/fox.png'"]),
        ("/image it", ["/image 'it'\"'\"'s.png'"]),
        ("/load sub/", ["/load sub/a.wav"]),
        ("/image none/", []),
        ("/image .h", ["/image .hidden"]),
    ],
)
def test_completions(here: Path, line: str, wanted: list[str]) -> None:
    assert completions(line, COMMANDS) == wanted


def test_what_is_completed_can_be_sent(here: Path) -> None:
    for name in ("cow.png", "cow two.png", "it's.png", "my pictures/fox.png"):
        assert [here / name] in [places(found) for found in paths(f"{here}/{name}"[:-4])]


def test_paths_are_words_of_a_shell(here: Path) -> None:
    assert places("cow two.png") == [Path("cow two.png")], "as it is, where there is such a file"
    assert places("'cow two.png' cow.png") == [Path("cow two.png"), Path("cow.png")]
    assert places("cow\\ two.png") == [Path("cow two.png")]
    assert places("~")[0] == Path.home()
    with pytest.raises(ValueError, match="a path with blanks stands in quotes"):
        places("'cow")

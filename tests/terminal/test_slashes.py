"""What is said of a line that begins with a slash and is no command, or of one that is given what it does not take."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as PILImage

from anyx.media import Audio, Image, Medium
from anyx.terminal import slashes

KNOWN = ("image", "audio", "save", "load", "set", "seed", "history", "reset")
INPUTS: dict[str, type[Medium]] = {"audio": Audio, "image": Image}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/imgae cow.png", "/imgae is no command; did you mean /image? /help lists them"),
        ("/Seed 3", "/Seed is no command; did you mean /seed? /help lists them"),
        ("/claer", "/claer is no command; did you mean /clear? /help lists them"),
        ("/", "/ is no command; /help lists them"),
        ("/xyzzy cow.png", "/xyzzy is no command; /help lists them"),
        ("/none/such.png what is this?", "/none/such.png is no command; /help lists them"),
        (f"/{'x' * 5000}", "is no command; /help lists them"),
    ],
)
def test_what_is_no_command_is_one_line(line: str, said: str) -> None:
    told = str(slashes.unknown(line, KNOWN, INPUTS))
    assert told.endswith(said)
    assert "\n" not in told


@pytest.mark.parametrize("name", ["cow.png", "two cows.PNG"])
@pytest.mark.parametrize("asked", ["", " what is this?"])
def test_a_pasted_path_is_told_how_it_is_shown(name: str, asked: str, tmp_path: Path) -> None:
    file = tmp_path / name
    PILImage.new("RGB", (8, 8)).save(file)
    place = f"'{file}'" if " " in name else str(file)
    for pasted in {str(file), str(file).replace(" ", "\\ ")}:
        told = str(slashes.unknown(f"{pasted}{asked}", KNOWN, INPUTS))
        assert told == f"{file} is a file, and no command: /image {place} shows it to the model"
    assert "text only" in str(slashes.unknown(str(file), KNOWN, {}))


def test_aliases_stand_for_commands() -> None:
    assert slashes.parted("/clear") == ("reset", "")
    assert slashes.parted("/save  a b ") == ("save", "a b")


def test_values_are_held_to_what_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert slashes.number("seed", "7") == 7
    assert slashes.number("retry", "", 3) == 3
    for given in ("-1", "x", "1.5", ""):
        with pytest.raises(ValueError, match=rf"^/seed: '{given}' given; it takes a whole number, 0 or more$"):
            slashes.number("seed", given)
    assert slashes.folder("save", "", Path("here")) == Path("here")
    assert slashes.folder("save", "'x y'") == Path("x y")
    for given in ("x y", ""):
        with pytest.raises(ValueError, match=rf"^/load: '{given}' given; it takes one folder, in quotes"):
            slashes.folder("load", given)
    slashes.alone("reset", "")
    with pytest.raises(ValueError, match=r"^/reset: 'all' given; it takes nothing$"):
        slashes.alone("reset", "all")

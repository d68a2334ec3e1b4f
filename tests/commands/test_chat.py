"""`anyx chat` in a real pseudo-terminal, with AnyWorld's model: what a user types, and what the screen then holds."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pexpect
import pyte
import pytest
from PIL import Image as PILImage
from terminal_readers import read_kitty

from anyx.terminal import asking

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "experiments/anyworld/model"
DRAW = "draw two red squares on the left."
PROMPT = "you> "
HOW = ["--out", "out", "--device", "cpu"]
RUNS = (["chat", str(MODEL), *HOW], ["chat", "outputs.image.decoder.steps=2", "--model", str(MODEL), *HOW])
# Two runs one after the other share what is imported, which is nearly all of their time, and not what was typed.
PROGRAM = f"""
import readline
from anyx.commands import main
for words in {RUNS}:
    try:
        main(words)
    except SystemExit as ended:
        print("LEFT", ended.code, flush=True)
    readline.clear_history()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


class Recorder:
    """What came, in the pieces it came in."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def flush(self) -> None:
        pass

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Terminal:
    """A chat in a terminal that answers `answer` when it is asked what it can draw."""

    def __init__(self, folder: Path, answer: str) -> None:
        environment = os.environ | {"TERM": "xterm-256color", "ANYX_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        for name in ("COLUMNS", "COLORTERM", "TERM_PROGRAM", "TMUX", "KITTY_WINDOW_ID", "NO_COLOR", "LC_TERMINAL"):
            environment.pop(name, None)
        environment["PYTHONPATH"] = str(ROOT)
        self.heard = Recorder()
        self.child = pexpect.spawn(
            sys.executable,
            ["-c", PROGRAM],
            cwd=folder,
            env=environment,
            dimensions=(50, 200),
            timeout=180,
            encoding="utf-8",
        )
        self.child.logfile_read = self.heard
        self.begin(answer)

    def begin(self, answer: str) -> None:
        """Answer what is asked at the beginning of a run."""
        self.child.expect_exact(asking.QUERY)
        self.child.send(answer)
        self.child.expect_exact(PROMPT)

    def say(self, line: str) -> str:
        """Type a line; what stands between it and the next prompt."""
        self.child.sendline(line)
        return self.told()

    def told(self) -> str:
        self.child.expect_exact(PROMPT)
        return str(self.child.before)

    def screen(self) -> list[str]:
        """What a user sees by now, pictures left out."""
        screen = pyte.Screen(200, 400)
        pyte.Stream(screen).feed(re.sub(r"\x1b_[^\x1b]*\x1b\\", "", self.heard.text))
        return [line.rstrip() for line in screen.display if line.strip()]

    def leave(self) -> int:
        """Ctrl-D; the code that the run ends with."""
        self.child.sendeof()
        self.child.expect(r"LEFT (\w+)")
        return int(self.child.match[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("chat")
    (made / "my pictures").mkdir()
    return made


@pytest.fixture(scope="module")
def kitty(folder: Path) -> Iterator[Terminal]:
    """One chat for all tests here, as loading is most of its time; every test begins with /reset."""
    terminal = Terminal(folder, "\x1b_Gi=31;OK\x1b\\\x1b[?62;c")
    yield terminal
    if terminal.child.isalive():
        terminal.child.terminate(force=True)


def files(told: str, key: str) -> list[str]:
    return re.findall(rf"\[{key}\] (\S+\.\w+)", re.sub(r"\x1b\[[\d;]*m", "", told))


def test_a_picture_is_drawn_where_it_is_said(kitty: Terminal, folder: Path) -> None:
    kitty.say("/reset")
    before = len(kitty.heard.pieces)
    told = kitty.say(DRAW)
    pieces = [one for one in kitty.heard.pieces[before:] if re.search("two|red|squares|left", one.replace(DRAW, ""))]
    assert len(pieces) > 2, "words come as they are said"
    (file,) = files(told, "image")
    escapes = "".join(re.findall(r"\x1b_G.*?\x1b\\", told))
    pixels, keys = read_kitty(escapes)
    assert (pixels == np.asarray(PILImage.open(folder / file))).all()
    assert int(keys["r"]) <= 16
    assert told.index("two red squares on the left.", len(DRAW)) < told.index("\x1b_G") < told.index(file)
    assert re.search(r"\r\x1b\[K\[image\] \d/8", told), "how far the decoder is"
    assert not [line for line in kitty.screen() if re.match(r"\[image\] \d", line)], "and it is wiped"
    assert (folder / file).with_name("0_text.txt").read_text() == "two red squares on the left."
    happened = kitty.say("/what")
    assert re.search(r"signal image +6 signal tokens", happened)
    assert re.search(r"make +image +8 steps +\d+\.\d+ s", happened)


def test_one_seed_one_picture(kitty: Terminal, folder: Path) -> None:
    drawn = []
    for seed in (0, 0, 5):
        kitty.say("/reset")
        kitty.say(f"/seed {seed}")
        drawn.append(folder / files(kitty.say(DRAW), "image")[0])
    assert len({*drawn}) == 3
    assert drawn[0].read_bytes() == drawn[1].read_bytes() != drawn[2].read_bytes()
    again = folder / files(kitty.say("/retry 0"), "image")[0]
    assert again.read_bytes() == drawn[0].read_bytes()
    assert (folder / files(kitty.say("/retry"), "image")[0]).read_bytes() != drawn[0].read_bytes(), "another seed"
    assert len(kitty.say("/history").strip().splitlines()) == 3, "a line is echoed, two are the turn"
    kitty.say("/seed 0")


def test_files_are_attached_completed_and_refused(kitty: Terminal, folder: Path) -> None:
    kitty.say("/reset")
    drawn = folder / files(kitty.say(DRAW), "image")[0]
    shutil.copy(drawn, folder / "my pictures" / "two squares.png")
    (folder / "broken.png").write_bytes(b"no picture")
    kitty.say("/reset")
    kitty.child.send("/ima\tmy\ttwo\t\r")
    assert "attached 'my pictures/two squares.png'" in kitty.told()
    assert "red squares" in kitty.say("name this.")
    assert "[image] name this." in kitty.say("/history")
    assert "error: /image: there is no file 'none.png'" in kitty.say("/image none.png")
    assert "error: " in kitty.say("/image 'my pictures")
    assert "error: cannot read broken.png" in kitty.say("/image broken.png")
    assert "error: none: no conversation can be read" in kitty.say("/load none")
    assert "error: /edit: '9' given; your messages are 1 to 1" in kitty.say("/edit 9 x")
    assert "error: temperature: -1 given; it is 0 (greedy) or more" in kitty.say("/set temperature=-1")
    assert "error: /set: 'heat' is not one of" in kitty.say("/set heat=1")
    assert "error: decode.image" in kitty.say("/set image.stpes=1")
    assert "/image|audio|video PATH" in kitty.say("/help")
    refused = {
        "/imgae cow.png": "error: /imgae is no command; did you mean /image? /help lists them",
        "/seed -1": "error: /seed: '-1' given; it takes a whole number, 0 or more",
        "/image": "error: /image: the path of a file is missing",
        "/save x y": "error: /save: 'x y' given; it takes one folder",
        "/history 3": "error: /history: '3' given; it takes nothing",
        f"{folder}/broken.png what is this?": f"{folder}/broken.png shows it to the model",
        "/set image.size=big": "error: decode.image.size: 'big' given; it is WIDTHxHEIGHT, HEIGHT,WIDTH or one number",
    }
    for line, said in refused.items():
        told = kitty.say(line)
        assert said in told.replace("\r\n", "")
        assert "/quit" not in told, "the whole help is not shown"
    assert not (folder / "x").exists()
    assert "image.size=32x64" in kitty.say("/set image.size=32x64")
    kitty.say("/set image.size=null")
    kitty.say("/image 'my pictures/two squares.png'")
    assert "dropped 1" in kitty.say("/drop")
    told = kitty.say("/edit 1 draw this.")
    assert files(told, "image")
    assert "[image] draw this." in kitty.say("/history")
    kitty.child.send("/edit 1\r")
    kitty.child.expect_exact("edit> draw this.")  # what was said stands there to be changed
    kitty.child.send("\x15name this.\r")
    assert "red squares" in kitty.told().replace("name this.", "")


def test_what_is_saved_goes_on_as_it_was(kitty: Terminal, folder: Path) -> None:
    kitty.say("/reset")
    kitty.say("/image 'my pictures/two squares.png'")
    kitty.say("name this.")
    assert "image.steps=5" in kitty.say("/set image.steps=5 temperature=0")
    assert "conversation.json" in kitty.say("/save 'kept here'")
    after = (folder / files(kitty.say("now draw that."), "image")[0]).read_bytes()
    kitty.say("/set image.steps=null")
    kitty.say("/clear")
    assert "nothing was said yet" in kitty.say("/history")
    assert "[image] name this." in kitty.say("/load 'kept here'")
    assert "image.steps=5" in kitty.say("/set")
    assert (folder / files(kitty.say("now draw that."), "image")[0]).read_bytes() == after
    kitty.say("/set image.steps=null")


def test_ctrl_c_stops_the_reply_and_not_the_program(kitty: Terminal, folder: Path) -> None:
    kitty.say("/reset")
    kitty.say("/set image.steps=900")
    before = len(list((folder / "out").glob("turn*/*.png")))
    kitty.child.sendline(DRAW)
    kitty.child.expect(r"\[image\] \d+/900")
    began = time.monotonic()
    kitty.child.sendintr()
    assert "stopped; the message is forgotten, /retry sends it again" in kitty.told()
    assert time.monotonic() - began < 10
    assert len(list((folder / "out").glob("turn*/*.png"))) == before
    assert "nothing was said yet" in kitty.say("/history")
    kitty.say("/set image.steps=null")
    assert files(kitty.say("/retry 0"), "image"), "and the next one comes"
    kitty.child.send("half a line")
    kitty.child.expect_exact("half a line")
    time.sleep(0.5)  # Python's readline loses a signal that comes while it reads a key, until the next key
    kitty.child.sendintr()
    assert DRAW in kitty.child.before + kitty.told() + kitty.say("/history")


def test_lines_are_remembered_by_the_next_run(kitty: Terminal, folder: Path) -> None:
    """One that answers nothing about pictures gets half blocks; the arrow up brings the last line of the run before."""
    kitty.say("/reset")
    kitty.say(DRAW)
    assert kitty.leave() == 0
    history = folder / "home" / "chat_history"
    assert DRAW in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    before = {file: file.read_bytes() for file in (folder / "out").rglob("*.png")}
    kitty.begin("\x1b[?62;c")
    kitty.child.send("\x1b[A\r")
    told = kitty.told()
    assert DRAW in told
    assert "\N{UPPER HALF BLOCK}" in told
    assert "\x1b_G" not in told
    assert all(file.read_bytes() == held for file, held in before.items()), "no file of the run before is written over"
    assert kitty.leave() == 0

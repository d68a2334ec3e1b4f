"""Which pictures a terminal is sent: by its name, by its answer through a real pseudo-terminal, by the user's word."""

from __future__ import annotations

import sys

import pexpect
import pytest

from anyx.terminal import asking

KITTY, SIXEL, PLAIN = b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", b"\x1b[?62;4;22c", b"\x1b[?64;1;2c"
ASK = (
    "import os, sys\nfrom anyx.terminal import asking\n"
    "print('CHOSEN', asking.choose('auto', terminal=True, environment=os.environ, ask=asking.ask)[0], flush=True)\n"
    "print('TYPED', input())\n"
)


@pytest.mark.parametrize(
    ("environment", "answer", "wanted"),
    [
        ({"TERM": "xterm-kitty"}, b"", "kitty"),
        ({"TERM": "xterm", "KITTY_WINDOW_ID": "1"}, b"", "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, b"", "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, b"", "iterm"),
        ({"TERM": "screen-256color", "TMUX": "x", "TERM_PROGRAM": "iTerm.app"}, PLAIN, "blocks"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, SIXEL, "sixel"),
        ({"TERM": "xterm-256color"}, KITTY, "kitty"),
        ({"TERM": "xterm-256color"}, SIXEL, "sixel"),
        ({"TERM": "xterm-256color"}, b"\x1b[?4;1c", "blocks"),  # the first number is a class, no ability
        ({"TERM": "xterm-256color"}, PLAIN, "blocks"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, PLAIN, "none"),
        ({"TERM": "vt100"}, b"", "none"),
        ({"TERM": "vt100", "COLORTERM": "truecolor"}, b"", "blocks"),
        ({"TERM": "dumb"}, KITTY, "none"),
        ({}, KITTY, "none"),
    ],
    ids=str,
)
def test_the_choice(environment: dict[str, str], answer: bytes, wanted: str) -> None:
    def choose(asked: asking.Graphics, terminal: bool) -> str:
        return asking.choose(asked, terminal=terminal, environment=environment, ask=lambda: answer)[0]

    assert choose("auto", True) == wanted
    assert choose("auto", False) == "none"
    assert choose("sixel", False) == "sixel"
    with pytest.raises(ValueError, match="--graphics: 'ascii' is not one of auto, kitty, iterm, sixel, blocks, none"):
        asking.known("ascii")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("answer", "wanted"), [(KITTY, "kitty"), (SIXEL, "sixel"), (b"", "blocks")], ids=str)
def test_a_terminal_is_asked(answer: bytes, wanted: str) -> None:
    """One that answers nothing costs half a second, and its keys work afterwards."""
    child = pexpect.spawn(sys.executable, ["-c", ASK], env={"TERM": "xterm-256color", "PATH": ""}, timeout=30)
    child.expect_exact(asking.QUERY)
    child.send(answer)
    child.expect_exact(f"CHOSEN {wanted}\r\n")
    child.sendline("hello")
    child.expect_exact("TYPED hello")
    assert b"\x1b_G" not in child.before, "the answer is not echoed"
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_without_a_terminal_nothing_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert asking.ask() == b""
    assert capsys.readouterr().out == ""
    assert asking.cell() == (10, 20)

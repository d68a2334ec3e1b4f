"""What the terminal can draw: it is asked, or its name is known, and a choice of the user's comes before both."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, get_args

Graphics = Literal["auto", "kitty", "iterm", "sixel", "blocks", "none"]
QUERY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"  # a pixel of kitty's; then what every terminal answers
ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
ITERM = ("iTerm.app", "WezTerm", "mintty")
TRUE = ("truecolor", "24bit")


def known(name: str) -> Graphics:
    """One of the protocols; ValueError for another name."""
    found: Graphics | None = next((one for one in get_args(Graphics) if one == name), None)
    if found is None:
        raise ValueError(f"--graphics: {name!r} is not one of {', '.join(get_args(Graphics))}")
    return found


def choose(
    asked: Graphics, *, terminal: bool, environment: Mapping[str, str], ask: Callable[[], bytes]
) -> tuple[Graphics, bool]:
    """The protocol to draw with, and whether colours may be any of 24 bits.

    `auto`: nothing where the output is no terminal, or a dumb one; else what its environment names, else what it
    answers to `ask`, else half blocks where it has colours.
    """
    true = environment.get("COLORTERM", "") in TRUE
    if asked != "auto":
        return asked, true
    kind = environment.get("TERM", "")
    if not terminal or kind in ("", "dumb"):
        return "none", true
    nested = "TMUX" in environment or kind.startswith(("screen", "tmux"))  # names are the outer terminal's
    if not nested and ("KITTY_WINDOW_ID" in environment or kind in ("xterm-kitty", "xterm-ghostty")):
        return "kitty", true
    if not nested and (environment.get("TERM_PROGRAM") in ITERM or environment.get("LC_TERMINAL") == "iTerm2"):
        return "iterm", true
    answered = ask()
    if b"\x1b_Gi=31;OK" in answered:
        return "kitty", true
    if (found := ANSWER.search(answered)) and b"4" in found[1].split(b";")[1:]:
        return "sixel", true
    colours = true or "color" in kind or kind.startswith(("xterm", "linux", "screen", "tmux"))
    return ("blocks" if colours and not environment.get("NO_COLOR") else "none"), true


def ask(seconds: float = 0.5) -> bytes:
    """What the terminal answers to `QUERY`; nothing where input or output is no terminal, or it stays silent."""
    if sys.platform == "win32" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return b""
    import termios
    import tty

    place, answered = sys.stdin.fileno(), b""
    before = termios.tcgetattr(place)
    try:
        tty.setcbreak(place, termios.TCSADRAIN)  # no echo, no waiting for a line
        sys.stdout.write(QUERY)
        sys.stdout.flush()
        ends = time.monotonic() + seconds
        while not ANSWER.search(answered) and (left := ends - time.monotonic()) > 0:
            if select.select([place], [], [], left)[0]:
                answered += os.read(place, 1024)
    finally:
        termios.tcsetattr(place, termios.TCSADRAIN, before)
    return answered


def cell() -> tuple[int, int]:
    """Width and height of a letter in pixels, where the terminal tells its size in pixels; else (10, 20)."""
    if sys.platform != "win32":
        import fcntl
        import struct
        import termios

        with suppress(OSError, ValueError):
            told = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
            rows, columns, width, height = struct.unpack("HHHH", told)
            if rows and columns and width // columns and height // rows:
                return width // columns, height // rows
    return 10, 20

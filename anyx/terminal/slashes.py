"""What follows a slash: which command it is, what it may be given, and the one line for what it may not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anyx.terminal.lines import places

HELP = """\
words             send them, with whatever is attached; Ctrl-C stops the reply
/{key} PATH       attach a file, or several, to the next message; in quotes where a path has blanks
/drop             attach nothing after all
/seed N           the noise of the next replies starts at N
/set NAME=VALUE   how replies are drawn: temperature=0.7, {output}.steps=20; alone it shows what is set
/history          what was said, with the numbers of your messages
/edit N [WORDS]   say another thing in the place of message N, and go on from there
/retry [N]        answer the last message again, with seed N or another one
/what             what happened in the last reply, and the seconds it took
/save [FOLDER]    write the conversation with its media; /load FOLDER reads one again
/reset            forget the conversation (/clear too)
/quit             leave (or Ctrl-D)"""
ALIASES = {"clear": "reset", "exit": "quit"}


def parted(line: str) -> tuple[str, str]:
    """The name of a line's command, an alias as what it stands for, and what comes after it."""
    name, _, rest = line[1:].partition(" ")
    return ALIASES.get(name, name), rest.strip()


def unknown(line: str, known: Iterable[str], inputs: Mapping[str, type[Any]]) -> ValueError:
    """Why a line is no command: a file that is shown otherwise, a slip of the keys, or a name that there is not.

    `inputs` are the model's, with the kind of media that each reads.
    """
    if file := pasted(line):
        suffix = file.suffix.lower().removeprefix(".")
        fitting = [key for key, kind in inputs.items() if suffix in kind.suffixes] or list(inputs)
        if not fitting:
            return ValueError(f"{file} is a file, and this model reads text only; /help lists the commands")
        place = f"'{file}'" if " " in str(file) else str(file)
        return ValueError(f"{file} is a file, and no command: /{fitting[0]} {place} shows it to the model")
    name = line[1:].partition(" ")[0]
    like = difflib.get_close_matches(name.lower(), [*known, *ALIASES], n=1)
    meant = f"; did you mean /{like[0]}?" if like else ";"
    return ValueError(f"/{name} is no command{meant} /help lists them")


def pasted(line: str) -> Path | None:
    """The file that a line begins with, as a terminal pastes it, blanks in its path or not."""
    words = line.split(" ")
    for end in range(len(words), 0, -1):
        path = Path(" ".join(words[:end]).replace("\\ ", " "))
        try:
            if path.is_file():
                return path
        except OSError:  # a name that is too long is none
            continue
    return None


def number(name: str, rest: str, default: int | None = None) -> int:
    """The whole number that a command is given; ValueError where it is another thing, or nothing without a default."""
    if not rest and default is not None:
        return default
    if not rest.isdecimal():
        raise ValueError(f"/{name}: {rest!r} given; it takes a whole number, 0 or more")
    return int(rest)


def folder(name: str, rest: str, default: Path | None = None) -> Path:
    """The folder that a command is given; ValueError where it is several words, or none without a default."""
    if not rest and default is not None:
        return default
    found = places(rest)
    if not rest or len(found) != 1:
        raise ValueError(f"/{name}: {rest!r} given; it takes one folder, in quotes where its path has blanks")
    return found[0]


def alone(name: str, rest: str) -> None:
    """ValueError where something stands after a command that takes nothing."""
    if rest:
        raise ValueError(f"/{name}: {rest!r} given; it takes nothing")

"""A line that is typed: edited, remembered from run to run, completed by the tab key; words quoted as in a shell.

Editing is Python's `readline`, where there is one and input is a terminal; elsewhere lines are read as they come.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

REMEMBERED = 1000  # lines


def places(rest: str) -> list[Path]:
    """Paths after a command: the whole, where there is such a file; else words, quoted where they have blanks.

    ValueError where a quotation does not end.
    """
    whole = Path(rest).expanduser()
    if whole.exists():
        return [whole]
    try:
        return [Path(word).expanduser() for word in shlex.split(rest)]
    except ValueError as error:
        raise ValueError(f"{rest}: {str(error).lower()}; a path with blanks stands in quotes") from None


def completions(line: str, commands: Mapping[str, Collection[str] | None]) -> list[str]:
    """Whole lines that a line may become: names of commands, then words that a command takes; None: paths."""
    if not line.startswith("/"):
        return []
    name, blank, rest = line[1:].partition(" ")
    if not blank:
        return [f"/{one}{'' if takes == () else ' '}" for one, takes in commands.items() if one.startswith(name)]
    takes = commands.get(name, ())
    if takes is None:
        return [f"/{name} {path}" for path in paths(rest)]
    return [f"/{name} {word}" for word in takes if word.startswith(rest)]


def paths(typed: str) -> list[str]:
    """Paths that what was typed may become, in quotes where a shell wants them; folders end with a slash."""
    mark = typed[:1] if typed[:1] in ("'", '"') else ""
    plain = typed[1:] if mark else typed.replace("\\ ", " ")
    folder, _, start = plain.rpartition("/")
    base = Path(f"{folder}/" if folder or plain.startswith("/") else ".").expanduser()
    found = []
    with suppress(OSError):
        for entry in sorted(os.scandir(base), key=lambda one: one.name):
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                path = f"{plain[: len(plain) - len(start)]}{entry.name}"
                found.append(_quoted(path, mark, entry.is_dir()))
    return found


def _quoted(path: str, mark: str, folder: bool) -> str:
    """A folder's quotation stays open: more of the path is to come."""
    needed = mark or ("'" if shlex.quote(path.replace("~", "")) != path.replace("~", "") else "")
    if needed and needed in path:
        return shlex.quote(path) if not folder else f"{path}/"
    return f"{needed}{path}/" if folder else f"{needed}{path}{needed}"


class Lines:
    """Lines from the user. `history` is a file, kept to its owner; without one nothing is remembered."""

    def __init__(self, commands: Mapping[str, Collection[str] | None], history: Path | None) -> None:
        self.commands, self.history = commands, history
        self.edits = sys.stdin.isatty() and sys.stdout.isatty() and _begin(self._complete)
        self._found: Sequence[str] = ()
        if self.edits and history is not None:
            import readline

            with suppress(OSError):  # none yet, or not ours
                readline.read_history_file(history)
            readline.set_history_length(REMEMBERED)

    def ask(self, prompt: str, draft: str = "") -> str:
        """The next line, with `draft` there already; EOFError where there are no more."""
        if not self.edits:
            return input(prompt)
        import readline

        readline.set_startup_hook(lambda: readline.insert_text(draft))
        try:
            return input(prompt)
        finally:
            readline.set_startup_hook()

    def keep(self) -> None:
        """Write what was typed where the next run finds it; a folder that cannot be written costs the history alone."""
        if not self.edits or self.history is None:
            return
        import readline

        with suppress(OSError):
            self.history.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.history, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(self.history)

    def _complete(self, text: str, state: int) -> str | None:
        if state == 0:
            self._found = completions(text, self.commands)
        return self._found[state] if state < len(self._found) else None


def _begin(complete: object) -> bool:
    """Have the tab key complete whole lines; False where Python has no readline."""
    try:
        import readline
    except ImportError:  # Windows
        return False
    readline.set_completer_delims("")  # what a blank parts is for `completions` to say
    readline.set_completer(complete)  # type: ignore[arg-type]
    other = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if other else "tab: complete")
    return True

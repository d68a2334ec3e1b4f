"""What can be seen of an agent at work: its steps, each told as it happens, and the trace that keeps them.

The first step says what was `asked`, with its media. A turn is one reply of the model. Its words come in pieces
(`words`); then what it thinks (`thought`) and each call (`action`), followed by its `result` or an `error`, both of
which the model is told. The last step of a run is always either `value`, the answer, or `stop`, which says why there is
none or what cut it short.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anyx.reply import Media, suffix_of

StepKind = Literal["asked", "words", "thought", "action", "result", "error", "value", "stop"]


@dataclass(frozen=True)
class Step:
    """One step: `at` seconds after the run began, having taken `seconds`.

    `text` is what a reader wants to see. `tool` and `arguments` are those of an action, its result or error; `media` by
    handle are new ones; `data` are further values for JSON, such as boxes in shares of a picture's sides.
    """

    kind: StepKind
    text: str
    turn: int
    at: float
    seconds: float = 0.0
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    media: Mapping[str, Media] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The step for JSON; of media their handles."""
        rounded = {"at": round(self.at, 4), "seconds": round(self.seconds, 4)}
        made = {"kind": self.kind, "text": self.text, "turn": self.turn, **rounded}
        called = {"tool": self.tool, "arguments": dict(self.arguments)} if self.tool else {}
        more = {"media": list(self.media), "data": dict(self.data)}
        return made | called | {key: value for key, value in more.items() if value}


class Clock:
    """Makes the steps of a run, which begins now; `turn` is the one it is at."""

    def __init__(self) -> None:
        self.began, self.turn = time.monotonic(), 0

    def step(
        self,
        kind: StepKind,
        text: str,
        *,
        since: float | None = None,
        tool: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        media: Mapping[str, Media] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Step:
        """A step that ends now, and began at `since` of `time.monotonic`."""
        now = time.monotonic()
        took = 0.0 if since is None else now - since
        return Step(kind, text, self.turn, now - self.began, took, tool, arguments or {}, media or {}, data or {})


class Trace:
    """All steps of a run, pieces of words left out, since they stand in what follows them."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.steps: list[Step] = []
        for step in steps:
            self.hear(step)

    def hear(self, step: Step) -> None:
        """One more step."""
        if step.kind != "words":
            self.steps.append(step)

    @property
    def value(self) -> str | None:
        """The answer; None where the run stopped without one."""
        return next((step.text for step in reversed(self.steps) if step.kind == "value"), None)

    @property
    def media(self) -> dict[str, Media]:
        """All media by handle, the user's included."""
        return {handle: one for step in self.steps for handle, one in step.media.items()}

    def save(self, folder: str | Path) -> list[Path]:
        """Write `trace.json` and the media, `image_1.png` for `<image 1>`; returns the files."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for handle, medium in self.media.items():
            name = f"{handle.strip('<>').replace(' ', '_')}.{suffix_of(medium)}"
            files[handle] = medium.save(folder / name)
        names = {handle: path.name for handle, path in files.items()}
        made = {"value": self.value, "steps": [step.plain() for step in self.steps], "media": names}
        trace = folder / "trace.json"
        trace.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return [trace, *files.values()]

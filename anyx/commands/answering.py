"""Requests answered in batches, each into files of its own; one that fails costs itself alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyx import durable
from anyx.commands.manifest import Line, Manifest
from anyx.commands.requests import Request
from anyx.prompt import parts_of

if TYPE_CHECKING:
    from anyx.backends import WholeModel
    from anyx.media import Medium
    from anyx.model import AnyX
    from anyx.reply import Reply

ALL, SOME_FAILED, NOT_MADE = 0, 1, 3  # the codes to end with
FAULTS = (ValueError, OSError, RuntimeError)  # files, disks, what a GPU has no room for


def answer(
    model: AnyX | WholeModel,
    requests: Sequence[Request],
    manifest: Manifest,
    *,
    how: Mapping[str, Any],
    identity: Mapping[str, Any],
    batch_size: int,
    expect: Collection[str] = (),
    tell: Callable[[Line], None],
    show: bool = True,
) -> int:
    """Answer what the manifest has not; returns the code to end with.

    `how` are keywords of `generate`; `identity` is what else tells one run's answers from another's.
    """
    digests = {one.name: one.digest({**how, **identity}) for one in requests}
    kept = manifest.keep(digests, expect)
    for line in kept.values():
        tell(line)
    waiting = [one for one in requests if one.name not in kept]
    lines = list(kept.values())
    with progress(len(requests), len(kept), show) as advance:
        for start in range(0, len(waiting), batch_size):
            for line in _batch(model, waiting[start : start + batch_size], manifest.path.parent, how, digests, expect):
                manifest.add(line)
                lines.append(line)
                tell(line)
                advance()
    if any(line.error is not None for line in lines):
        return SOME_FAILED
    return NOT_MADE if any(line.missing for line in lines) else ALL


def _batch(
    model: AnyX | WholeModel,
    requests: Sequence[Request],
    folder: Path,
    how: Mapping[str, Any],
    digests: Mapping[str, str],
    expect: Collection[str],
) -> Iterator[Line]:
    """A line each: replies are made side by side, and one by one where that fails."""
    began, ready, lines = time.perf_counter(), [], {}
    for one in requests:
        try:
            if one.error is not None:
                raise ValueError(one.error)
            ready.append((one, [_read(model, message) for message in one.messages]))
        except FAULTS as error:
            lines[one.name] = failed(one, digests[one.name], error)
    try:
        replies: list[Reply | Exception] = [
            *_replies(model, [chat for _, chat in ready], [one.seed for one, _ in ready], how)
        ]
    except FAULTS:
        replies = [_alone(model, chat, one.seed, how) for one, chat in ready]
    seconds = (time.perf_counter() - began) / max(1, len(ready))
    for (one, _), reply in zip(ready, replies, strict=True):
        try:
            if isinstance(reply, Exception):
                raise reply
            lines[one.name] = _written(one, reply, folder, digests[one.name], seconds, expect)
        except FAULTS as error:
            lines[one.name] = failed(one, digests[one.name], error)
    return iter([lines[one.name] for one in requests])


def _read(model: AnyX | WholeModel, message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its media read, so that a broken file is its own request's alone."""
    if message.get("role") == "assistant":
        return dict(message)
    kinds = kinds_of(model)
    content: list[Any] = []
    for part in parts_of(message):
        if part["type"] != "text":
            if part["type"] not in kinds:
                raise ValueError(f"{part['type']!r} is not one of {', '.join(kinds) or 'text'}, which this model reads")
            part = {"type": part["type"], "media": kinds[part["type"]].read(part["path"])}
        content.append(part)
    return {**message, "content": content}


def kinds_of(model: AnyX | WholeModel) -> Mapping[str, type[Medium]]:
    """The kind of media that each input of a model reads."""
    from anyx.model import AnyX

    return {key: port.kind for key, port in model.inputs.items()} if isinstance(model, AnyX) else model.inputs


def _replies(
    model: AnyX | WholeModel, chats: Sequence[Any], seeds: Sequence[int], how: Mapping[str, Any]
) -> list[Reply]:
    from anyx.model import AnyX

    if not chats:
        return []
    if isinstance(model, AnyX):
        return model.generate(chats, seeds=seeds, **how)
    return [model.chat(chat, seeds=seed, **how) for chat, seed in zip(chats, seeds, strict=True)]


def _alone(model: AnyX | WholeModel, chat: Any, seed: int, how: Mapping[str, Any]) -> Reply | Exception:
    try:
        return _replies(model, [chat], [seed], how)[0]
    except FAULTS as error:
        return error


def _written(one: Request, reply: Reply, folder: Path, digest: str, seconds: float, expect: Collection[str]) -> Line:
    """The reply in files `<name>_<number>_<key>.<suffix>`, each whole or not there."""
    files = []
    for name, part in zip(reply.names(), reply.parts, strict=True):
        file = folder / f"{one.name}_{name}"
        with durable.replacing(file) as place:
            place.write_bytes(part.encode() if isinstance(part, str) else part.to_bytes(file.suffix[1:]))
        files.append(file.name)
    missing = [key for key in expect if key not in reply.keys]
    return Line(
        one.name, one.messages, one.seed, digest, reply.keys, files, reply.text, round(seconds, 3), missing=missing
    )


def failed(one: Request, digest: str, error: Exception) -> Line:
    """A line that says why there is no answer."""
    told = " ".join(str(error).split()) or type(error).__name__
    return Line(one.name, one.messages, one.seed, digest, [], [], "", 0.0, error=told)


@contextmanager
def progress(total: int, done: int, show: bool) -> Iterator[Callable[[], None]]:
    """A bar on the standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    silent = not (show and sys.stderr.isatty())
    with Progress(console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task("requests", total=total, completed=done)
        yield lambda: bar.advance(task)

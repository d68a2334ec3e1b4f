"""Tools under one roof: a call is checked, its handles become media, and it runs within a time. Errors are results.

A tool runs in a thread of its own, so that one that hangs does not hold the loop: after its time it is told to stop
(its watch is cancelled) and left alone. A tool answers one call at a time, of however many conversations, so at most
one thread a tool is ever left behind.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from anyx.agents.interfaces import Call, Gallery, Result, Tool
from anyx.agents.specs import Spec, spec_of
from anyx.faults import MediaError
from anyx.signatures import closest, hints_of
from anyx.watching import Cancelled, Watch

log = logging.getLogger("anyx")
LOOK = 0.02  # seconds between two looks at whether somebody cancelled


class FunctionTool:
    """A plain function as a tool: its signature is its spec (`specs`). It returns a `Result`, or words or a number."""

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function, self.spec = function, spec_of(function, name)
        hints = hints_of(function)
        self._watch = [one for one in inspect.signature(function).parameters if hints.get(one) is Watch]

    def __call__(self, arguments: Mapping[str, Any], watch: Watch) -> Result:
        """Call the function."""
        found = self.function(**arguments, **dict.fromkeys(self._watch, watch))
        return found if isinstance(found, Result) else Result(text=str(found))


class Toolbox:
    """Tools by name. `tools` are such of the protocol or plain functions; two of one name are a ValueError."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]] = ()) -> None:
        self.tools: dict[str, Tool] = {}
        self._locks: dict[str, threading.Lock] = {}
        for tool in tools:
            self.add(FunctionTool(tool) if inspect.isfunction(tool) else tool)  # type: ignore[arg-type]

    def add(self, tool: Tool) -> None:
        """One more."""
        if tool.spec.name in self.tools:
            raise ValueError(f"tools: {tool.spec.name!r} is given twice")
        self.tools[tool.spec.name] = tool
        self._locks[tool.spec.name] = threading.Lock()

    @property
    def specs(self) -> list[Spec]:
        """What each takes."""
        return [tool.spec for tool in self.tools.values()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tools)

    def run(
        self, call: Call, gallery: Gallery, *, seconds: float = 60.0, watch: Watch | None = None, implied: bool = False
    ) -> Result:
        """The result of a call, an error of any kind included; `Cancelled` alone is raised.

        Media are named by handles of `gallery`. With `implied`, one that is not named is the last one the user sent.
        """
        tool = self.tools.get(call.tool)
        if tool is None:
            known = ", ".join(self.tools) or "none"
            return Result(error=f"there is no tool {call.tool[:80]!r}.{closest(call.tool, self.tools)} Tools: {known}")
        try:
            arguments = _resolved(tool.spec, call.arguments, gallery, implied)
        except ValueError as error:
            return Result(error=str(error))
        return self._within(tool, arguments, seconds, watch or Watch())

    def _within(self, tool: Tool, arguments: Mapping[str, Any], seconds: float, watch: Watch) -> Result:
        """Run a tool in its thread and wait for it."""
        own, found, name = Watch(), list[Result](), tool.spec.name
        lock, until = self._locks[name], time.monotonic() + seconds
        while not lock.acquire(timeout=LOOK):
            if watch.cancelled:
                raise Cancelled(f"{name} was cancelled")
            if time.monotonic() > until:
                return Result(error=f"{name} is still busy with an earlier call; it was waited for {seconds:.3g} s")
        context = contextvars.copy_context()

        def work() -> None:
            try:
                found.append(context.run(_called, tool, arguments, own))
            finally:
                lock.release()

        thread = threading.Thread(target=work, daemon=True, name=f"tool {name}")
        thread.start()
        while thread.is_alive() and time.monotonic() < until and not watch.cancelled:
            thread.join(LOOK)
        if watch.cancelled:
            own.cancel()
            raise Cancelled(f"{name} was cancelled")
        if not found:
            own.cancel()
            return Result(error=f"{name} did not answer within {seconds:.3g} s")
        return found[0]


def _resolved(spec: Spec, given: Mapping[str, Any], gallery: Gallery, implied: bool) -> dict[str, Any]:
    """Arguments with their media; ValueError for the model."""
    kinds = {one.name: one.medium for one in spec.parameters if one.medium}
    filled = dict(given)
    for one in spec.parameters:
        if one.medium and one.required and one.name not in filled and implied:
            medium = gallery.implied(one.medium)
            filled[one.name] = next((handle for handle, held in gallery.media.items() if held is medium), None)
    made = spec.check(filled)
    return {name: gallery.get(kinds[name], value) if name in kinds else value for name, value in made.items()}


def _called(tool: Tool, arguments: Mapping[str, Any], watch: Watch) -> Result:
    """The boundary to code of others: whatever it raises becomes a result."""
    try:
        return tool(arguments, watch)
    except (ValueError, MediaError) as error:
        return Result(error=f"{tool.spec.name}: {error}")
    except Cancelled:
        return Result(error=f"{tool.spec.name} was stopped")
    except Exception as error:
        log.warning("tool %s failed", tool.spec.name, exc_info=True)
        return Result(error=f"{tool.spec.name} failed: {type(error).__name__}")

"""Tools of a worker (`workers`) as tools of this process: the same spec, the same result, by the standard library.

No redirection is followed and no proxy asked; an answer has a size and a time, whichever way it comes. What goes wrong
on the way is a ValueError in a line, which the toolbox tells the model like any other.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from anyx.agents.interfaces import Result, Tool
from anyx.agents.specs import Spec
from anyx.benchmarks.http_judge import KEY, Unmoved
from anyx.serving import tool_wire as wire
from anyx.serving.intake import Intake
from anyx.signatures import require
from anyx.watching import Cancelled, Watch

PIECE = 2**16


class Client:
    """Asks a worker at `url`. `key` names the environment variable that holds its key.

    An answer has at most `bytes` and comes within `timeout` seconds.
    """

    def __init__(
        self, url: str, intake: Intake, *, key: str | None = None, timeout: float = 60.0, bytes: int = 2**26
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url: {url!r} given; a worker's begins with http:// or https://")
        if key is not None and not KEY.fullmatch(os.environ.get(key, "")):
            raise ValueError(
                f"key: the environment variable {key} is not set to a key: letters of ASCII without blanks"
            )
        self.url, self.intake, self.key, self.timeout, self.bytes = url.rstrip("/"), intake, key, timeout, bytes
        self.opener = urllib.request.build_opener(Unmoved, urllib.request.ProxyHandler({}))

    def ask(self, path: str, body: Any = None, watch: Watch | None = None) -> Any:
        """The bytes of an answer; ValueError with what went wrong."""
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {os.environ[self.key]}"
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        until = time.monotonic() + self.timeout
        try:
            with self.opener.open(request, timeout=self.timeout) as reply:
                return self._read(reply, until, watch or Watch())
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"the worker at {self.url} refused ({error.code}): {refusal(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise ValueError(f"the worker at {self.url} did not answer: {why}") from None

    def _read(self, reply: Any, until: float, watch: Watch) -> Any:
        found = bytearray()
        while piece := reply.read1(PIECE):
            found += piece
            if len(found) > self.bytes:
                raise ValueError(f"the worker at {self.url} answers with more than {self.bytes:,} bytes")
            if watch.cancelled:
                raise Cancelled("the call was cancelled")
            if time.monotonic() > until:
                raise ValueError(f"the worker at {self.url} did not end its answer within {self.timeout:g} s")
        return bytes(found)


class RemoteTool:
    """One tool of a worker."""

    def __init__(self, client: Client, spec: Spec, name: str | None = None) -> None:
        self.client, self.theirs = client, spec
        self.spec = Spec(name or spec.name, spec.description, spec.parameters)

    def __call__(self, arguments: Mapping[str, Any], watch: Watch) -> Result:
        """Let the worker run it."""
        body = wire.written(self.theirs, arguments)
        answer = self.client.ask(f"/tools/{quote(self.theirs.name)}", body, watch)
        return wire.result_of(answer, self.client.intake)


def tools(client: Client, names: Sequence[str] | None = None) -> list[RemoteTool]:
    """All tools of a worker, or those named; ValueError where one is not there."""
    given = wire.loaded(client.ask("/tools"))
    if not isinstance(given, list) or len(given) > 256:
        raise ValueError(f"the worker at {client.url} lists no tools")
    specs = {spec.name: spec for spec in map(Spec.read, given)}
    missing = [name for name in names or () if name not in specs]
    if missing:
        raise ValueError(f"the worker at {client.url} has no tool {', '.join(missing)}; it has {', '.join(specs)}")
    return [RemoteTool(client, specs[name]) for name in (specs if names is None else names)]


def remote(intake: Intake, name: str, node: Mapping[str, Any]) -> list[Tool]:
    """The tools of a setup's node `{url, tools, key, timeout, bytes}`; one tool alone is called by the node's name."""
    settings = {key: value for key, value in node.items() if key not in ("url", "tools")}
    require(f"tools.{name}", settings, Client)
    client = Client(node["url"], intake, **settings)
    found = tools(client, node.get("tools"))
    return [RemoteTool(client, found[0].theirs, name)] if len(found) == 1 else list(found)


def refusal(error: urllib.error.HTTPError) -> str:
    """What a worker says to its refusal."""
    try:
        said = error.read(2000).decode(errors="replace")
        return str(json.loads(said)["error"])[:500]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return str(error.reason)

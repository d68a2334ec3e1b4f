"""What goes wrong with a request, as HTTP and OpenAI's clients are told: one body for every error of every route."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from anyx.serving.engine import Busy, Closing
from anyx.serving.intake import Refused
from anyx.watching import Cancelled

LEFT = 499  # the client has left: nobody reads it, but it is counted


class Problem(Exception):
    """An answer that is an error: HTTP's `status`, words, and what a program can tell it by."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's error."""
        return {"error": {"message": self.message, "type": kind(self.status), "param": self.param, "code": self.code}}

    def data(self) -> bytes:
        """The body in ASCII: what a stranger sent may hold letters that UTF-8 has no bytes for."""
        return json.dumps(self.body()).encode("ascii")


def kind(status: int) -> str:
    """The type that OpenAI gives an error of a status."""
    known = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return known.get(status, "server_error" if status >= 500 else "invalid_request_error")


def problem_of(error: Exception) -> Problem:
    """What a client is told of an error; of those that are not the client's it learns nothing."""
    match error:
        case Problem():
            return error
        case Refused():
            return Problem(error.status, str(error), code="media_refused")
        case Busy():
            return Problem(429, str(error), code="queue_full", headers={"Retry-After": str(error.after)})
        case Closing():
            return Problem(503, str(error), code="shutting_down", headers={"Retry-After": "5"})
        case TimeoutError():
            return Problem(504, "the reply took longer than this server allows", code="timeout")
        case Cancelled():
            return Problem(LEFT, "the request was cancelled", code="cancelled")
        case ValueError():
            return Problem(400, str(error), code="invalid_value")
    return Problem(500, "the server failed to answer; its log says why", code="internal_error")


def http_problem(status: int, detail: object) -> Problem:
    """An error of the web framework itself, such as 404 and 405."""
    return Problem(status, str(detail) or HTTPStatus(status).phrase, code=HTTPStatus(status).name.lower())


def beyond(name: str) -> Problem:
    """A field that is known, and says what is not done here."""
    told = f"{name}: this server cannot do what it asks for; leave it out"
    return Problem(400, told, param=name, code="unsupported_parameter")


def body_problem(errors: Sequence[Mapping[str, Any]], sent_as: str) -> Problem:
    """Why a body is not what a route reads: `errors` are what pydantic says of it, `sent_as` its Content-Type."""
    found = max(errors, key=lambda error: len(error["loc"]))  # of text or parts it is parts that say where they fail
    kind, named = sent_as.partition(";")[0].strip(), "Content-Type: application/json"
    *_, form = kind.lower().partition("application/")
    where = ".".join(str(place) for place in found["loc"] if place not in ("body", "str") and place != "list[Part]")
    match found["type"]:
        case "json_invalid":
            where, told = "", f"the body is no JSON: {found['ctx']['error']}, at character {found['loc'][-1]}"
        case "missing" if not where:
            told = f"the body is empty; send a JSON object with {named}"
        case _ if not where and form != "json" and not form.endswith("+json"):
            how = f"as {kind[:80]!r}" if kind else "without a type"
            told = f"the body is sent {how}; send a JSON object with {named}"
        case _ if not where:
            told = "the body is JSON, but no object"
        case "extra_forbidden":
            told = f"{where}: this server knows no such field; leave it out"
        case _:
            told = f"{where}: {found['msg']}"
    return Problem(400, told, param=where or None, code="invalid_value")

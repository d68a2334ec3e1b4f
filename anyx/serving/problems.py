"""What goes wrong with a request, as HTTP and OpenAI's clients are told: one body for every error of every route."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

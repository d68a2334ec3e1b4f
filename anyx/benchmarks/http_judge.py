"""A judge behind an OpenAI-compatible interface: `POST {url}/chat/completions`, by the standard library alone.

Nothing is sent unless a URL and a model are named. The key is read from the environment variable that is named, goes
to that URL alone (redirections are refused) and is in no message and no file. What may pass by itself (429, 408, 5xx,
no connection, no answer in time) is tried again, each time after twice as long or as long as the server says, but
after a minute at the latest.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import IO, Any

KEY = re.compile("[!-~]+")
LONGEST = 60.0  # seconds to wait before another try
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)


class Unmoved(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key would go along."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """None makes it an error."""


class HttpJudge:
    """Asks a model at `url`, greedily, for answers of at most `max_tokens`; `name` is the model's.

    `key` names an environment variable. ValueError: a URL that is not http(s), a variable that is not set, a refusal of
    the server, an answer of another form. ConnectionError: `retries` more tries, of `timeout` seconds each, all failed.
    `role` is what it is called in errors: `--judge-url`, `--judge-key`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        retries: int = 4,
        timeout: float = 60.0,
        wait: float = 1.0,
        max_tokens: int = 1024,
        role: str = "judge",
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--{role}-url: {url!r} given; it begins with http:// or https://")
        if key is not None and not KEY.fullmatch(os.environ.get(key, "")):  # http.client would refuse it, and tell it
            raise ValueError(
                f"--{role}-key: the environment variable {key} is not set to a key: letters of ASCII, without "
                "blanks or ends of lines"
            )
        self.name, self.url = model, f"{url.rstrip('/')}/chat/completions"
        self.key, self.retries, self.timeout, self.wait, self.max_tokens = key, retries, timeout, wait, max_tokens
        self.role = role
        self.opener = urllib.request.build_opener(Unmoved)

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """One answer a prompt, one after the other."""
        return [self.ask(prompt) for prompt in prompts]

    def ask(self, prompt: str | Sequence[Mapping[str, Any]]) -> str:
        """One answer to words or to a conversation of the chat form, after as many tries as it takes or are allowed."""
        pause = self.wait
        for left in range(self.retries, -1, -1):
            try:
                return self.said(self.post(prompt))
            except http.client.InvalidURL as error:
                raise ValueError(f"--{self.role}-url: {self.url}: {error}") from None
            except urllib.error.HTTPError as error:
                failed = self.without_key(f"{error.code} {error.reason}: {told(error)}")
                if error.code not in PASSING:
                    raise ValueError(f"the {self.role} at {self.url} refused: {failed}") from None
                pause = max(pause, seconds(error.headers.get("Retry-After")))
            except (OSError, http.client.HTTPException) as error:  # no connection, no answer in time, half an answer
                failed = str(error) or type(error).__name__
            if left:
                time.sleep(min(pause, LONGEST))
                pause *= 2
        raise ConnectionError(f"the {self.role} at {self.url} did not answer in {self.retries + 1} tries: {failed}")

    def said(self, body: bytes) -> str:
        """The words of an answer; ValueError where it has another form."""
        try:
            content: Any = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            content = None
        if not isinstance(content, str):
            shown = self.without_key(body[:200].decode(errors="replace"))
            raise ValueError(
                f"the {self.role} at {self.url} answered {shown!r}; choices[0].message.content was expected"
            )
        return content

    def without_key(self, text: str) -> str:
        """What a server said, in which it may have said the key again."""
        return text if self.key is None else text.replace(os.environ[self.key], "***")

    def post(self, prompt: str | Sequence[Mapping[str, Any]]) -> bytes:
        """The body of one answer."""
        asked = {
            "model": self.name,
            "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt),
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {os.environ[self.key]}"
        request = urllib.request.Request(self.url, json.dumps(asked).encode(), headers, method="POST")
        with self.opener.open(request, timeout=self.timeout) as reply:
            body: bytes = reply.read()
        return body


def told(error: urllib.error.HTTPError) -> str:
    """What a server said to its refusal, as far as it comes."""
    try:
        with error:
            return error.read(500).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return ""


def seconds(said: str | None) -> float:
    """What `Retry-After` asks for, 0 where it is no number."""
    return float(said) if said is not None and said.isdecimal() else 0.0

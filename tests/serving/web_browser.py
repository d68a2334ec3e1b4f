"""The real `anyx demo` in its own process, and a headless Chromium that talks with it."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
TRIES = 30_000  # milliseconds: the machine may be busy
FETCH = """async (source) => {
    const bytes = new Uint8Array(await (await fetch(source)).arrayBuffer());
    let text = ''; for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def chromium() -> str:
    """Where the browser is; without one the tests are skipped, or fail where ANYX_BROWSER says `required`."""
    found = os.environ.get("ANYX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        told = "no Chromium: install one, or name it in ANYX_CHROMIUM"
        if os.environ.get("ANYX_BROWSER") == "required":
            pytest.fail(told)
        pytest.skip(told)
    return found


@contextmanager
def demo(*words: object) -> Iterator[str]:
    """`anyx demo` on a free port: its address."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "anyx", "demo", *map(str, words), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            yield next(line.split()[0] for line in lines if line.startswith("http://127.0.0.1:"))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def opened(*flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own; `flags` beside those of all tests."""
    place = chromium()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=place, headless=True, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody with a page of the demo open; `strayed` are requests to elsewhere, `errors` what went wrong in it."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1280, dark: bool = False) -> None:
        self.address = address
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            permissions=["microphone", "camera"],
        )
        self.context.set_default_timeout(TRIES)
        self.strayed: list[str] = []
        self.errors: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.open()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def open(self) -> None:
        """Load the page."""
        self.page.goto(self.address)
        self.page.wait_for_selector("#anyx-box textarea")

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", f"blob:{self.address}")):
            self.strayed.append(request.url)

    def type(self, words: str) -> None:
        """Words into the box."""
        self.page.fill("#anyx-box textarea", words)

    def attach(self, *files: dict[str, Any] | Path) -> None:
        """Files into the box."""
        before = self.page.locator("#anyx-box .thumbnail-item").count()
        self.page.set_input_files("#anyx-box input[type=file]", list(files))  # type: ignore[arg-type]
        expect(self.page.locator("#anyx-box .thumbnail-item")).to_have_count(before + len(files), timeout=TRIES)

    def press(self) -> None:
        """Send what is in the box."""
        self.page.focus("#anyx-box textarea")
        self.page.keyboard.press("Enter")

    def turns(self, count: int) -> None:
        """Wait until so many turns were answered."""
        self.page.wait_for_selector(f'#anyx-happened[data-turns="{count}"]', state="attached")

    def say(self, words: str, *, turns: int = 1) -> None:
        """Send words, and wait for the reply."""
        self.type(words)
        self.press()
        self.turns(turns)

    def set(self, name: str, value: object) -> None:
        """Fill in a setting."""
        self.reveal(name)
        self.page.fill(f"#anyx-{name} input, #anyx-{name} textarea", str(value))
        self.page.keyboard.press("Tab")

    def reveal(self, name: str) -> None:
        """Open what a setting stands in: `image-steps` is of the image, `seed` of the words."""
        group = name.rpartition("-")[0] or "words"
        for outer, inner in (("settings", f"of-{group}"), (f"of-{group}", name)):
            if not self.page.is_visible(f"#anyx-{inner}"):
                self.page.click(f"#anyx-{outer} > button")
            self.page.wait_for_selector(f"#anyx-{inner}", state="visible")

    @property
    def said(self) -> str:
        """All words of the talk."""
        return self.page.inner_text("#anyx-talk")

    @property
    def happened(self) -> str:
        """The words of the panel."""
        return self.page.inner_text("#anyx-happened")

    def media(self, tag: str, who: str = "bot", *, count: int | None = None) -> list[bytes]:
        """The files of the pictures (`img`), sounds (`audio`) or clips (`video`) of one side of the talk.

        With `count` it waits until so many are there; sounds lie in a shadow tree, which locators see.
        """
        found = self.page.locator(f"#anyx-talk .message.{who} {tag}")
        if count is not None:
            expect(found).to_have_count(count, timeout=TRIES)
        for place in range(found.count()):
            expect(found.nth(place)).to_have_attribute("src", re.compile("."), timeout=TRIES)
        sources = [found.nth(place).evaluate("one => one.src") for place in range(found.count())]
        return [base64.b64decode(self.page.evaluate(FETCH, source)) for source in sources]

    def clear(self) -> None:
        """Begin anew, if anything was said."""
        if self.page.locator('#anyx-happened[data-turns="0"]').count():
            return
        self.page.click("#anyx-clear")
        self.turns(0)

    def taken(self) -> zipfile.ZipFile:
        """The conversation, downloaded."""
        with self.page.expect_download() as download:
            self.page.click("#anyx-take")
        return zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))

    def shot(self, name: str) -> None:
        """Keep what the page looks like."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


def file(name: str, data: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
    """A file that is uploaded from memory."""
    return {"name": name, "mimeType": kind, "buffer": data}

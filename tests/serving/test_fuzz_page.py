"""Spoilt files through all of the demo's own HTTP: its upload, its queue, and every function of the page with a file.

No answer is of 5xx, nothing hangs, no program is started, and the page answers afterwards. Every file-taking function
of the page is found in the page's own configuration: a new one is tried without a line here.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from corpus import drawn, files, mutated, odd
from live import FOLDER, until
from scripted import invert
from test_fuzz import BOUNDS, TIME
from test_fuzz_demo import NAMES, SUFFIXES

from anyx import hub
from anyx.agents.llava_plus import LlavaPlus
from anyx.agents.loop import Agent, Bounds
from anyx.agents.talkers import AnyXTalker
from anyx.agents.toolbox import Toolbox
from anyx.serving import web
from anyx.serving.sockets import listening

TAKES = ("multimodaltextbox", "image", "video", "audio", "file", "uploadbutton", "imageeditor", "gallery", "model3d")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")
BOXES = "inputs.image.boxes.type=minigpt_v2"
UPLOAD = "/gradio_api/upload"
STUB = '#!/bin/sh\necho "$0 $@" >> "{log}"\nexit 1\n'


class Page:
    """The demo at an address; `functions` are those with a file among their inputs, by what they are triggered by."""

    def __init__(self, http: httpx.Client) -> None:
        self.http, self.sessions = http, 0
        config = http.get("/config").json()
        self.components = {one["id"]: one for one in config["components"]}
        self.functions = {
            f"{self.components[target]['props'].get('elem_id') or self.components[target]['type']}.{event}": one
            for one in config["dependencies"]
            if one["backend_fn"] and any(self.components[each]["type"] in TAKES for each in one["inputs"])
            for target, event in one["targets"]
        }

    def upload(self, name: str, data: bytes) -> str | None:
        """Where a file lies that was sent, if it was taken."""
        reply = self.http.post(UPLOAD, files={"files": (name, data)})
        fine(reply)
        return str(reply.json()[0]) if reply.status_code == 200 else None

    def body(self, function: dict[str, Any], path: str, name: str) -> dict[str, Any]:
        """What the page sends to have a function take a file."""
        file = {"path": path, "orig_name": name, "size": 1, "meta": {"_type": "gradio.FileData"}}
        data = []
        for place in function["inputs"]:
            kind, props = self.components[place]["type"], self.components[place]["props"]
            box = {"text": "what is this?", "files": [file]}
            data.append(box if kind == "multimodaltextbox" else file if kind in TAKES else props.get("value"))
        self.sessions += 1
        return {"data": data, "fn_index": function["id"], "session_hash": f"s{self.sessions:06d}"}  # as long as any

    def ask(self, body: dict[str, Any]) -> str:
        """What became of a call: "refused" at the door, "failed", or "done" with all that was shown."""
        reply = self.http.post("/gradio_api/queue/join", json=body)
        fine(reply)
        if reply.status_code != 200:
            return f"refused {reply.status_code}"
        shown = ""
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}) as lines:
            fine(lines)
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {"msg": ""}
                shown += line
                if message["msg"] == "process_completed":
                    return ("done " if message["success"] else "failed ") + shown
                assert message["msg"] != "unexpected_error", line
        raise AssertionError(f"the queue told no end: {shown[-500:]}")


def fine(reply: httpx.Response) -> None:
    if reply.status_code >= 500:
        print(reply.status_code, reply.request.url, reply.request.content[:2000] if reply.is_closed else "")
    assert reply.status_code < 500


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What is started by this process, and stubs on PATH that write down what is started by any other."""
    folder, started, watching = tmp_path_factory.mktemp("programs"), [], True
    for name in ("ffmpeg", "ffprobe"):
        (folder / name).write_text(STUB.format(log=folder / "log"))
        (folder / name).chmod(0o755)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        keeper = event == "subprocess.Popen" and "anyx.serving.keeper" in arguments[1]
        if watching and event in PROGRAMS and not keeper:
            started.append(f"{event} {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        sys.addaudithook(heard)  # which cannot be taken away again, but be told to hear nothing
        yield started
        watching = False
    if (folder / "log").exists():
        started.append((folder / "log").read_text())
    assert started == []


@pytest.fixture(scope="module")
def page(programs: list[str]) -> Iterator[Page]:
    model = hub.load(FOLDER / "model", overrides=(BOXES, "sampling.max_new_tokens=2")).eval()
    agent = Agent(AnyXTalker(model), Toolbox([invert]), LlavaPlus(), Bounds(turns=1))
    options = web.Options(bounds=BOUNDS, agent=lambda intake: agent)
    with web.application(model, options) as app, listening("127.0.0.1", 0) as socket:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            until(lambda: server.started)
            with httpx.Client(base_url=f"http://127.0.0.1:{socket.getsockname()[1]}", timeout=30) as http:
                yield Page(http)
        finally:
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()


def test_every_tab_takes_files(page: Page) -> None:
    wanted = {
        "anyx-box.submit",
        "anyx-picture.input",
        "anyx-clip.stop_recording",
        "anyx-ground.input",
        "anyx-agent-box.submit",
    }
    assert wanted <= page.functions.keys()
    (picture,), became = files()["image"][:1], {}
    for name, function in page.functions.items():
        path = page.upload("a.png", picture)
        assert path is not None
        became[name] = page.ask(page.body(function, path, "a.png"))
    assert {name for name, told in became.items() if not told.startswith("done")} == set()
    assert not [name for name, told in became.items() if "⚠" in told or "\\u26a0" in told]


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_whatever_is_sent_to_the_page_is_answered(page: Page, programs: list[str], count: int) -> None:
    torch.manual_seed(0)
    corpus, became = files(), Counter[str]()
    longest, began = 0.0, time.monotonic()

    def one(chance: random.Random) -> None:
        nonlocal longest
        start = time.monotonic()
        name, function = chance.choice(sorted(page.functions.items()))
        kind = chance.choice(list(corpus))
        file = chance.choice(NAMES) + chance.choice(SUFFIXES)
        way = chance.choice(("file", "file", "file", "form", "body", "bytes"))
        data = mutated(chance, corpus, kind)
        if way == "form":  # the upload's own form is spoilt
            headers = {"content-type": "multipart/form-data; boundary=spoilt"}
            form = page.http.build_request("POST", UPLOAD, files={"files": (file, data[:2000])}, headers=headers).read()
            reply = page.http.post(UPLOAD, content=mutated(chance, {"form": [form]}, "form"), headers=headers)
            fine(reply)
            became[f"form {reply.status_code}"] += 1
        elif (path := page.upload(file, data)) is None:
            became["no upload"] += 1
        else:
            body: Any = page.body(function, path, file)
            if way == "body":
                body = odd(chance, body)
            elif way == "bytes":
                body = mutated(chance, {"body": [json.dumps(body).encode()]}, "body")
            told = page.ask(body) if way == "file" else joined(page, body)
            became[f"{way} {name if way == 'file' else ''} {told.split()[0]}"] += 1
            if way == "file":
                assert told.startswith(("done", "failed")), told
                became["read" if "⚠" not in told and "\\u26a0" not in told else "told why not"] += 1
        longest = max(longest, time.monotonic() - start)

    drawn(count, one)
    print(f"{count} inputs in {time.monotonic() - began:.0f} s, the longest {longest:.2f} s, {dict(became)}")
    assert longest < TIME + 20, "nothing hangs"
    assert {"read", "told why not"} <= became.keys()
    assert programs == []
    assert page.http.get("/").status_code == 200
    path = page.upload("a.png", corpus["image"][0])
    assert path is not None
    again = page.ask(page.body(page.functions["anyx-box.submit"], path, "a.png"))
    assert again.startswith("done")
    assert "⚠" not in again


def joined(page: Page, body: Any) -> str:
    """A spoilt call: it may be of another session, or of none, so nobody waits for its end."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = page.http.post("/gradio_api/queue/join", content=content, headers={"content-type": "application/json"})
    fine(reply)
    return str(reply.status_code)

"""`anyx push`: a dry run sends nothing; a stand-in of the Hub on loopback gets a folder that loads anywhere."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants
from test_build import configure, raw_model

from anyx import AnyX
from anyx.build import build
from anyx.commands import main
from anyx.pushing import push


class Hub(BaseHTTPRequestHandler):
    """The calls of an upload, as the Hub answers them where every file is small; what was committed is kept."""

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, said.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])  # type: ignore[attr-defined]
            self.answer({"commitUrl": "https://huggingface.co/me/foxes/commit/0", "commitOid": "0", "success": True})
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(said)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif self.path == "/api/repos/create":
            self.server.made.append(json.loads(said))  # type: ignore[attr-defined]
            self.answer({"url": "https://huggingface.co/me/foxes", "name": "me/foxes"})
        else:
            self.answer({})

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        self.answer({"id": "me/foxes", "sha": "0", "siblings": [], "xetEnabled": False})

    def answer(self, said: Any) -> None:
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # CI sets it, and this one is on loopback
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files, server.made = [], {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path, tiny_llm_folder: str) -> Path:
    """A model on an LLM of this machine."""
    torch.manual_seed(0)
    shutil.copytree(tiny_llm_folder, tmp_path / "weights" / "fox")
    (tmp_path / "weights" / "fox" / "LICENSE").write_text("MIT License")
    raw = raw_model(str(tmp_path / "weights" / "fox"))
    return build(configure(tmp_path / "model.yaml", raw)).save_pretrained(tmp_path / "saved")


def test_a_dry_run_shows_the_card_and_the_files(
    folder: Path, tmp_path: Path, hub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "matrix.json"
    results.write_text(json.dumps({"seen": {"text -> image": {"top1": 0.5, "ci95": [0.4, 0.6], "n": 40}}}))
    with pytest.raises(SystemExit) as ended:
        main(["push", str(folder), "me/foxes", "--private", "--dry-run", "--results", str(results)])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "| `llm` | `fox` | mit |" in shown
    assert "| seen | text -> image | 50 (40-60) | 40 |" in shown
    assert "parts/llm.path/fox/model.safetensors" in shown
    assert shown.rstrip().endswith("nothing was sent: me/foxes")
    assert not hub.asked
    assert "top-1" not in (folder / "README.md").read_text()


def test_what_is_uploaded_loads_anywhere(folder: Path, tmp_path: Path, hub: Any) -> None:
    address = f"http://127.0.0.1:{hub.server_address[1]}"
    done = push(folder, "me/foxes", private=True, token="hf_of_nobody", endpoint=address)
    assert done.address is not None
    assert done.address.endswith("/me/foxes/commit/0")
    assert {path for path, _ in hub.asked} >= {"/api/repos/create", "/api/models/me/foxes/commit/main"}
    assert {token for _, token in hub.asked} == {"Bearer hf_of_nobody"}
    assert "private" in json.dumps(hub.made[0])
    before = AnyX.from_pretrained(folder)
    shutil.rmtree(tmp_path / "weights")
    for name, data in hub.files.items():
        file = tmp_path / "elsewhere" / "deep" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    place = tmp_path / "elsewhere" / "deep"
    assert done.files == {name: len(data) for name, data in hub.files.items()}
    assert yaml.safe_load((place / "config.yaml").read_text())["llm"]["path"] == "./parts/llm.path/fox"
    after = AnyX.from_pretrained(place)
    states = [one.llm.states(one.llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2) > 0) for one in (before, after)]
    assert torch.equal(*states)
    assert all(torch.equal(x, after.own_state()[name]) for name, x in before.own_state().items())


def test_a_card_of_ones_own_is_kept(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    assert push(folder, "me/foxes", dry_run=True).card == "mine"


def test_what_cannot_be_pushed_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no model folder: it has no config.yaml and no model.safetensors"):
        push(tmp_path, "me/foxes", dry_run=True)
    with pytest.raises(ValueError, match="repo: 'foxes' is not of the form owner/name"):
        push(folder, "foxes", dry_run=True)
    shutil.rmtree(tmp_path / "weights")
    with pytest.raises(ValueError, match=r"llm.path: .*fox is not there, so that it cannot be uploaded"):
        push(folder, "me/foxes", dry_run=True)

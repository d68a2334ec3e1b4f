"""NExT-GPT, cut to a few thousand weights: its stages learn in either order, and the GPU check runs on a CPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anyx import AnyX, yamls
from anyx.build import build
from anyx.config import check
from anyx.imports import import_file
from anyx.media import Image
from anyx.training.run import train

NEXTGPT = Path(__file__).parents[2] / "experiments" / "nextgpt"
gpu_check = import_file(NEXTGPT / "gpu_check.py")


def test_the_gpu_check_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "report.json"
    report = gpu_check.main(
        [str(NEXTGPT / "tiny.yaml"), "--device", "cpu", "--steps", "1", "--words", "3", "--json", str(written)]
    )
    assert written.is_file()
    assert list(report["stages"]) == ["encode", "decode", "instruct"]
    for row in report["stages"].values():
        assert row["operations a step"] > 0
        assert 0 < row["MFU"] < 1
        assert row["tokens a second"] > 0
    assert set(report["reply"]) == {
        "reading the request", "3 words", "outputs.image", "outputs.video", "outputs.audio"
    }  # fmt: skip
    assert "words a second" in capsys.readouterr().out


def shrunk(folder: Path, stages: dict[str, Any] | None = None) -> dict[str, Any]:
    """`tiny.yaml` with two records under every name of `data`, and other stages where they are given."""
    picture = Image(torch.full((3, 32, 32), 200, dtype=torch.uint8)).save(folder / "ball.png")
    shown = {"type": "image", "path": str(picture), "caption": "a red ball"}
    records = [
        {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}
        for ask, answer in (
            ([shown, {"type": "text", "text": "what is it"}], "a red ball"),
            ("a red ball", [{"type": "text", "text": "a red ball"}, shown]),
        )
    ]
    lines = folder / "some.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    raw = yamls.read(NEXTGPT / "tiny.yaml")
    raw |= {"stages": stages} if stages else {}
    raw["data"] = {name: {"type": "jsonl", "path": str(lines)} for name in raw["data"]}
    return raw


def test_the_authors_order_keeps_what_the_llm_learnt(tmp_path: Path) -> None:
    """Encode, instruct, decode: in the published code the last stage saves over the LoRA of the one before (A2.2)."""
    raw = shrunk(tmp_path)
    order = ["encode", "instruct", "decode"]
    folder = train(check(raw), out=tmp_path / "run", stages=order, cache=tmp_path / "cache", device="cpu")
    saved = load_file(folder / "model.safetensors")
    tuned = load_file(folder / "instruct" / "final.safetensors")
    kept = sorted(float(x.abs().sum()) for name, x in saved.items() if "lora_B" in name)
    learnt = sorted(float(x.abs().sum()) for name, x in tuned.items() if "lora_B" in name)
    assert learnt
    assert min(learnt) > 0
    assert kept == pytest.approx(learnt)


def test_the_recommended_stages_run(tmp_path: Path) -> None:
    """Each stage as it is written, of `tiny.yaml`'s parts: what it names is saved, and LoRA has learnt."""
    recommended = yamls.read(NEXTGPT / "recommended.yaml")["stages"]
    stages = {
        name: {**stage, "epochs": None, "steps": 4, "batch_size": 2}
        for name, stage in recommended.items()
        if stage is not None
    }
    assert list(stages) == ["perceive", "converse", "express"]
    config = check(shrunk(tmp_path, stages))
    folder = train(config, out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    saved = load_file(folder / "model.safetensors")
    assert all(x.isfinite().all() for x in saved.values())
    for name, learns in (
        ("perceive", ("inputs.",)),
        ("converse", ("inputs.", "llm.lora.", "llm.signal_tokens.")),
        ("express", ("outputs.",)),
    ):
        tuned = load_file(folder / name / "final.safetensors")
        named = {prefix for key in tuned for prefix in ("inputs.", "outputs.", "llm.") if key.startswith(prefix)}
        assert named == {prefix.split(".")[0] + "." for prefix in learns}, name
    assert min(float(x.abs().sum()) for key, x in saved.items() if "lora_B" in key) > 0


def test_the_whole_tables_learn_as_they_did_there(tmp_path: Path) -> None:
    """A1.5: the published code trains all of the embedding and the head; the rest of the body stays as it was."""
    raw = shrunk(tmp_path)
    raw["stages"]["instruct"]["train"]["llm.body.tables"] = 1e-2
    folder = train(check(raw), out=tmp_path / "run", stages=["instruct"], cache=tmp_path / "cache", device="cpu")
    learnt = load_file(folder / "learnt.safetensors")
    torch.manual_seed(check(raw).seed)
    before = {
        name: x
        for name, x in build(check(raw)).named_parameters()
        if name.endswith(("embed_tokens.weight", "lm_head.weight"))
    }
    assert {x.shape for x in before.values()} == {torch.Size([32000, 32])}
    assert learnt.keys() == before.keys()
    assert not any(torch.equal(x, before[name]) for name, x in learnt.items())
    model = AnyX.from_pretrained(folder)
    loaded = dict(model.named_parameters())
    assert all(torch.equal(x, loaded[name]) for name, x in learnt.items())
    model.learnt = ()
    assert not (model.save_pretrained(folder) / "learnt.safetensors").exists(), "another model's would be laid over it"
    raw["stages"]["decode"]["init"] = str(folder / "instruct")  # whoever starts from such a stage keeps its tables
    for again in (False, True):
        after = train(
            check(raw), out=tmp_path / "next", stages=["decode"], cache=tmp_path / "cache", device="cpu", resume=again
        )
        kept = load_file(after / "learnt.safetensors")
        assert kept.keys() == learnt.keys()
        assert all(torch.equal(x, kept[name]) for name, x in learnt.items())

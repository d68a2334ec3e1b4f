"""Whole stages on a tiny model: what is learnt, what stays, what a killed run loses (nothing)."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from lightning import Callback
from safetensors.torch import load_file

from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed, Record
from anyx.input_projectors import MLPInputProjector
from anyx.interfaces import Condition
from anyx.media import Audio, Image
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import checkpoint, run
from anyx.training.report import Metrics
from anyx.training.trainee import Average, Trainee

LORA = {"r": 2, "alpha": 4, "dropout": 0.3, "targets": ["q_proj", "v_proj"]}
INSTRUCT = {"llm.lora": 1e-2, "*puts.*.projector": 1e-2, "llm.signal_tokens": 1e-2}


class Teaching(tiny.TinyDecoder):
    """A tiny decoder whose captions have conditions, and whose media have latents."""

    def encode_text(self, captions: list[str]) -> Condition:
        values = torch.stack([torch.full((3, 5), len(caption) / 10) for caption in captions])
        return Condition(
            {"prompt_embeds": values}, {"prompt_embeds": torch.tensor([[True, True, False]] * len(captions))}
        )

    def text_parts(self) -> tuple[torch.nn.Module, str]:
        return torch.nn.Identity(), "lengths of captions"


def model(seed: int = 0) -> AnyX:
    torch.manual_seed(seed)
    made = tiny.anyx(lora=LORA)
    for key, kind in (("image", Image), ("audio", Audio)):
        made.outputs[key].decoder = Teaching(kind).requires_grad_(False)
    return made.eval()


def record(index: int) -> Record:
    picture = Image(torch.full((3, 4, 4), 20 * index, dtype=torch.uint8))
    text = {"role": "assistant", "content": "A fox." * (1 + index % 3)}
    ask = {"role": "user", "content": [{"type": "image", "media": picture, "caption": "a fox"}]}
    draw = {"role": "user", "content": "Draw a red fox, please."}
    drawn = {"role": "assistant", "content": [{"type": "image", "media": picture, "caption": "fox" * (1 + index % 2)}]}
    plain = [{"role": "user", "content": "Here it is"}, {"role": "assistant", "content": "please"}]
    return {"id": str(index), "messages": [[ask, text], [draw, drawn], plain][index % 3]}


FEEDS = [Feed("dialogues", [record(index) for index in range(9)])]


def stage(**given: Any) -> Stage:
    base = {"name": "s", "train": INSTRUCT, "losses": {"text": 1, "caption": {"kind": "mse", "weight": 2}}}
    return Stage(**{**base, "data": {"d": 1}, "steps": 8, "batch_size": 3, "log_every": 2, "warmup": 2, **given})


def fit(model: AnyX, stage: Stage, out: Path, feeds: list[Feed] = FEEDS) -> run.Run:
    metrics = Metrics(out / "metrics.csv", list(stage.losses))
    made = run.Run(out, metrics, FeatureCache(out / "features"), device="cpu")
    run.fit(model, stage, feeds, [1.0] * len(feeds), made)
    return made


def weights(folder: Path) -> Mapping[str, torch.Tensor]:
    return load_file(folder / "s" / checkpoint.FINAL)


def test_only_what_was_thawed_changes_and_is_saved(tmp_path: Path) -> None:
    made = model()
    before = {name: parameter.clone() for name, parameter in made.named_parameters()}
    fit(made, stage(), tmp_path)
    changed = {name for name, parameter in made.named_parameters() if not torch.equal(parameter, before[name])}
    saved = weights(tmp_path)
    assert changed == saved.keys() - {name for name in saved if "outputs.audio" in name or "inputs.audio" in name}
    assert not any("encoders" in name or "decoder" in name or "embed_tokens" in name for name in saved)
    assert list((tmp_path / "s").glob("state-*")) == []
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[0]["loss"]) == pytest.approx(float(rows[0]["text"]) + 2 * float(rows[0]["caption"]), rel=0.3)


class Kill(Callback):
    """Ends the process's run as a signal would, in the middle of a stage."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.done == self.step:
            raise RuntimeError("killed")


@pytest.mark.parametrize("planned", [{"bucket": False}, {"bucket": True}, {"tokens": 120, "batch_size": 5}], ids=str)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: Mapping[str, Any]
) -> None:
    given = stage(save_every=3, ema=0.9, accumulate=2, **planned)
    fit(model(), given, tmp_path / "whole")
    whole = run.make_trainer

    def killed(trainee: Trainee, made: run.Run, state: Any) -> Any:
        trainer = whole(trainee, made, state)
        trainer.callbacks.append(Kill(5))
        return trainer

    monkeypatch.setattr(run, "make_trainer", killed)
    with pytest.raises(RuntimeError, match="killed"):
        fit(model(), given, tmp_path / "cut")
    assert checkpoint.steps(tmp_path / "cut" / "s") == [3]
    monkeypatch.undo()
    torch.randn(7)  # another process has another random state
    fit(model(), given, tmp_path / "cut")
    once, twice = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)

    def logged(folder: str) -> list[dict[str, str]]:
        rows = list(csv.DictReader((tmp_path / folder / "metrics.csv").open()))
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    assert logged("cut") == logged("whole")


def test_rows_of_like_length_share_a_batch_only_where_the_llm_learns(tmp_path: Path) -> None:
    """Where its states are given, length costs nothing: no batch is chosen by it, as without `bucket`."""
    alone = {"train": {"outputs.*.projector": 1e-2}, "losses": {"caption": {"kind": "mse", "weight": 2}}}
    for name, given, same in (("given", alone, True), ("learnt", {}, False)):
        for bucket in (True, False):
            fit(model(), stage(bucket=bucket, precision="fp32", **given), tmp_path / name / str(bucket))
        one, other = (weights(tmp_path / name / str(bucket)) for bucket in (True, False))
        assert all(torch.equal(one[key], other[key]) for key in one) is same


@pytest.mark.parametrize("pack", [True, False])
def test_epochs_of_a_budget_last_as_long_as_their_batches(tmp_path: Path, pack: bool) -> None:
    seen: list[int] = []

    class Count(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            batch = batch[0].batch
            assert len(batch.ids) == 1 or (int(batch.mask.sum()) if pack else batch.mask.numel()) <= 100
            seen.append(len(batch.ids))

    made = run.Run(
        tmp_path, Metrics(tmp_path / "m.csv", ["text", "caption"]), FeatureCache(tmp_path / "f"), callbacks=[Count()]
    )
    run.fit(model(), stage(steps=None, epochs=6, tokens=100, batch_size=9, pack=pack), FEEDS, [1.0], made)
    assert sum(seen) == pytest.approx(6 * 9, rel=0.15)
    assert weights(tmp_path)


def test_a_finished_stage_is_loaded_not_repeated(tmp_path: Path) -> None:
    first, second = model(), model()
    fit(first, stage(), tmp_path)
    fit(second, stage(), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"does not fit this stage: it has unknown .* were the stage's globs changed"):
        fit(model(), stage(train={"llm.lora": 1e-3}), tmp_path)


def test_frozen_encoders_and_teachers_run_once(tmp_path: Path) -> None:
    made = model()
    calls: list[int] = []
    made.encoders["eye"].register_forward_hook(lambda module, args, output: calls.append(len(output.values)))
    fit(made, stage(), tmp_path)
    assert sum(calls) == 3  # the three pictures that users send, each once in eight steps
    fit(made, stage(name="t"), tmp_path)
    assert sum(calls) == 3
    fit(made, stage(name="u", cache=False), tmp_path)
    assert sum(calls) > 3


def test_an_encoder_that_learns_is_not_cached(tmp_path: Path) -> None:
    made = model()
    before = made.encoders["eye"].map.weight.clone()
    fit(made, stage(train={"encoders.eye": 1e-2}, losses={"text": 1}), tmp_path)
    assert not torch.equal(made.encoders["eye"].map.weight, before)
    assert len(FeatureCache(tmp_path / "features")) == 0


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_align_needs_no_llm(tmp_path: Path, contrast: float) -> None:
    made = model()
    made.llm.model.register_forward_hook(lambda *_: pytest.fail("the LLM ran"))
    captions = [FEEDS[0].source[index] for index in (0, 3, 6)]
    options = {"kind": "mse", "pad": " ", "contrast": contrast}
    given = stage(train={"inputs.image.projector": 3e-2}, losses={"align": options}, steps=30)
    made_run = fit(made, given, tmp_path, [Feed("captions", captions)])
    values = made_run.metrics.curves()["s"]["align"][1]
    assert values[-1] < 0.8 * values[0]


def test_denoise_reads_target_media_or_latents(tmp_path: Path) -> None:
    made = model()
    fit(made, stage(losses={"denoise": {"drop": 0.5}}, train={"outputs.*.projector": 1e-2}), tmp_path, [drawings()])
    assert any("outputs.image" in name for name in weights(tmp_path))


def drawings() -> Feed:
    return Feed("drawings", [record(index) for index in (1, 4, 7)])


def test_init_starts_from_another_stage(tmp_path: Path) -> None:
    fit(model(), stage(), tmp_path)
    again = model(1)
    start = stage(name="next", init=str(tmp_path / "s"), steps=1, train={"llm.lora": 1e-9})
    fit(again, start, tmp_path)
    saved = weights(tmp_path)
    name = "inputs.image.projector.map.weight"
    assert torch.equal(dict(again.named_parameters())[name], saved[name])
    with pytest.raises(ValueError, match="init: no weights at"):
        fit(again, replace(start, name="other", init=str(tmp_path / "nothing")), tmp_path)


def test_init_brings_running_statistics_and_compares_shapes(tmp_path: Path) -> None:
    def standardising(hidden: int = 4) -> AnyX:
        made = model()
        made.inputs["image"].projector = MLPInputProjector(6, made.llm.dim, hidden=hidden, norm="data")
        return made

    given = stage(train={"inputs.image.projector": 1e-2}, losses={"text": 1}, steps=3, bucket=False)
    fit(standardising(), given, tmp_path)
    after = replace(given, name="next", init=str(tmp_path / "s"), train={"inputs.audio.projector": 1e-9})
    again = standardising()
    fit(again, after, tmp_path)
    name = "inputs.image.projector.norm.running_mean"
    assert torch.equal(again.state_dict()[name], weights(tmp_path)[name])
    assert again.state_dict()[name].any()
    with pytest.raises(ValueError, match=r"final.safetensors: inputs.image.projector.proj.0.bias is \(4,\), the model"):
        fit(standardising(hidden=5), replace(after, name="other"), tmp_path)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "s" / checkpoint.FINAL).read_bytes()[:99])
    with pytest.raises(ValueError, match=r"cut\.safetensors is no whole safetensors file"):
        fit(standardising(), replace(after, name="cut", init=str(tmp_path / "cut.safetensors")), tmp_path)


def test_minutes_stop_a_stage_early(tmp_path: Path) -> None:
    made_run = fit(model(), stage(steps=10_000, minutes=0.005, log_every=1), tmp_path)
    assert 0 < made_run.metrics.curves()["s"]["loss"][0][-1] < 10_000
    assert (tmp_path / "s" / checkpoint.FINAL).is_file()


def test_a_batch_that_no_loss_fits_is_an_error(tmp_path: Path) -> None:
    plain = Feed("plain", [record(2)])
    with pytest.raises(ValueError, match=r"stages.s: none of the losses caption applies"):
        fit(model(), stage(losses={"caption": 1}), tmp_path, [plain])


def test_bf16_autocast_leaves_weights_in_fp32(tmp_path: Path) -> None:
    made = model()
    fit(made, stage(precision="bf16", steps=2), tmp_path)
    assert {x.dtype for x in weights(tmp_path).values()} == {torch.float32}


def test_average_forgets_its_start() -> None:
    value = {"x": torch.zeros(())}
    average = Average(value, 0.9)
    for _ in range(60):
        average.follow({"x": torch.ones(())})
    assert 0.99 < float(average.shadow["x"]) <= 1


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    """And it is not written over the last checkpoint."""
    stage = Stage("s", train={"inputs.*.projector": 1e-3}, losses={"text": 1, "align": 1}, data={"d": 1}, steps=1)
    trainee = Trainee(model(), stage, 1)
    trainee.sums, trainee.counts = {"loss": torch.tensor(torch.nan), "align": torch.tensor(torch.inf)}, {}
    with pytest.raises(ValueError, match=r"stages.s: align is no finite number by step 0"):
        trainee.means()
    with pytest.raises(ValueError, match="is no finite number"):
        checkpoint.save(tmp_path, trainee, 0.0)
    assert not list(tmp_path.iterdir())

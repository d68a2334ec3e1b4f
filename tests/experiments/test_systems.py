"""Every system, cut to a few thousand weights: its stages learn what they name, and what was saved answers alike."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from anyx import AnyX
from anyx.commands import main
from anyx.config import load
from anyx.data.sources import Feed
from anyx.schema import Stage
from anyx.training import run
from anyx.training.stage import select

ROOT = Path(__file__).parents[2]
MODELS, SYSTEMS = ROOT / "configs/models", ROOT / "experiments/systems"
OWN = {  # systems with a folder of their own, whose tiny YAML the test beside this one trains
    "llava15": "llava/tiny.yaml",
    "minigpt_v2": "minigpt_v2/tiny.yaml",
    "nextgpt": "nextgpt/tiny.yaml",
    "xllm": "xllm/tiny.yaml",
}
SMOKE = {path.stem: path for path in sorted(SYSTEMS.glob("*.yaml"))}
FILES = {
    "image": ROOT / "experiments/llava/data/swan.webp",
    "video": ROOT / "experiments/emoji/data/video/cow.webp",
    "audio": ROOT / "experiments/emoji/data/sound/cow2_0.ogg",
    "series": SYSTEMS / "data/corner.csv",
}
SIZES = ("steps", "epochs", "batch_size", "accumulate", "warmup", "bucket", "max_length")  # all that may be its own
WORDS = r"layer\.{}\.(intermediate\.dense|output\.(dense|LayerNorm))\."  # of the instruction in a Q-Former's layer
STILL = {  # what a stage names and no answer hangs on, so that it learns nothing
    # the last layer is asked at words alone: of pictures only keys and values are read there
    "cogvlm": r"expert\.layers\.1\.(mlp\.\w+|self_attn\.[qo]_proj)\.weight",
    "mplug_owl2": r"adaptive\.layers\.1\.post_attention_layernorm\.weight",
    # what becomes of the instruction in the Q-Former's last layer nobody reads: weights decay, biases have no decay to
    "instructblip": WORDS.format(1) + "bias",
    "xinstructblip": WORDS.format(1) + "bias",
    "videochat2/instruct": WORDS.format(1),
    # all of it begins with zeros: after eight steps the query is too small for the gradient of its norm to move it
    "videochat/instruct": r"temporal\.blocks\.0\.norm_query\.weight",
    # captions are asked for in no words, and only those words pass here
    "videochat2/connect": rf"embeddings\.(word|position)_embeddings|{WORDS.format('.')}",
    # patches are taken from the last layer but one, and before the last norm
    "llava_next": r"vision\.tower\.(encoder\.layers\.2|post_layernorm)\.",
    "macaw": r"tower\.post_layernorm\.",
    # a bias of queries is added to a token's likeness to every group alike
    "nextgpt_v15": r"assign\.q_proj\.bias",
}
State = dict[str, Tensor]


def bases(path: Path) -> set[Path]:
    """A YAML and all that it is laid over."""
    base = yaml.safe_load(path.read_text()).get("base", [])
    return {path}.union(*(bases((path.parent / one).resolve()) for one in ([base] if isinstance(base, str) else base)))


def test_no_system_is_without_one() -> None:
    systems = {path.stem for path in MODELS.glob("*.yaml") if not path.stem.endswith("_hf")}
    assert systems - OWN.keys() == SMOKE.keys(), "each system of configs/models has a YAML in experiments/systems"
    for name, path in SMOKE.items() | {(name, ROOT / "experiments" / file) for name, file in OWN.items()}:
        assert MODELS / f"{name}.yaml" in bases(path)


@pytest.mark.parametrize("name", SMOKE)
def test_the_stages_are_the_system_s_own(name: str) -> None:
    published, tiny = load(MODELS / f"{name}.yaml").stages, load(SMOKE[name]).stages
    assert list(tiny) == list(published)
    for key, stage in tiny.items():
        kept, own = (
            {k: v for k, v in dataclasses.asdict(one).items() if k not in SIZES} for one in (stage, published[key])
        )
        assert kept == own
        assert stage.data == published[key].data


class Watched:
    """Each stage's model before and after it, and what it thawed, as `fit` goes on."""

    def __init__(self) -> None:
        self.model: Any = None
        self.stages: list[tuple[Stage, State, State, set[str]]] = []

    def fit(self, model: AnyX, stage: Stage, feeds: Sequence[Feed], weights: Sequence[float], given: run.Run) -> None:
        for port in model.outputs.values():
            port.lend("projector")  # what waits cannot be compared
        wanted = {id(one) for one in select(model.parts(), stage.train).parameters()}
        before, self.model = copied(model), model
        FIT(model, stage, feeds, weights, given)
        named = {name for name, one in model.named_parameters(remove_duplicate=False) if id(one) in wanted}
        self.stages.append((stage, before, copied(model), named))


FIT = run.fit


def copied(model: AnyX) -> State:
    return {name: x.detach().cpu().clone() for name, x in model.state_dict().items()}


def said(model: AnyX, chats: list[Any], *, alone: bool) -> list[Any]:
    replies = [model.chat(one, max_new_tokens=3) for one in chats] if alone else model.generate(chats, max_new_tokens=3)
    return [[part if isinstance(part, str) else type(part) for part in reply.parts] for reply in replies]


@pytest.mark.parametrize("name", SMOKE)
def test_it_is_planned(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `anyx plan configs/models/NAME.yaml`, whose layers are more."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(SMOKE[name])])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    told = {line.split()[0] for line in printed.out.splitlines() if line.strip()}
    config = load(SMOKE[name])
    assert told >= {f"inputs.{key}" for key in config.inputs} | {f"encoders.{key}" for key in config.encoders}


@pytest.mark.parametrize("name", SMOKE)
def test_it_learns_and_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, watched = load(SMOKE[name]), Watched()
    monkeypatch.setattr(run, "fit", watched.fit)
    folder = run.train(config, out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    for stage, before, after, named in watched.stages:
        moved = {key for key, x in after.items() if not torch.equal(x, before[key])}
        assert moved <= named, stage.name
        allowed = STILL.get(f"{name}/{stage.name}", STILL.get(name, "^$"))
        still = [key for key in named - moved if not re.search(allowed, key)]
        assert not still, stage.name
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == set(config.stages)
    assert all(math.isfinite(float(row["loss"])) for row in rows)

    model, loaded = watched.model.eval(), AnyX.from_pretrained(folder)
    here, there = copied(model), copied(loaded)
    assert here.keys() == there.keys()
    assert all(torch.equal(x, there[key]) for key, x in here.items())
    chats = [
        [{"role": "user", "content": [{"type": key, "path": str(FILES[port.media])}, {"type": "text", "text": "Who?"}]}]
        for key, port in config.inputs.items()
    ]
    chats.append([{"role": "user", "content": "Hello there!"}])
    answers = said(model, chats, alone=True)
    assert said(loaded, chats, alone=True) == answers
    assert said(loaded, chats, alone=False) == answers

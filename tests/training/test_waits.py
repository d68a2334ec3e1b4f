"""No step waits for a GPU: whole steps on tensors of a pretended device, whose values nobody can ask for.

The tensors know shape, type and device and hold nothing: what would make the host wait (`item`, `tolist`, a boolean
index) raises `DataDependentOutputException`, and what mixes devices raises too. The device is `lazy`, which nothing
here has: torch wants a driver for `cuda` even where nothing is computed, and for this one not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from lightning import Callback
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anyx.data.batches import Dialogues
from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed, Record
from anyx.interfaces import Condition
from anyx.media import Audio, Image
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import run
from anyx.training.report import Metrics
from anyx.training.trainee import Trainee

GPU = torch.device("lazy", 0)


class Teaching(tiny.TinyDecoder):
    """A tiny decoder whose captions have conditions."""

    def encode_text(self, captions: list[str]) -> Condition:
        values = torch.stack([torch.full((3, 5), len(caption) / 10) for caption in captions])
        real = torch.tensor([[True, True, False]] * len(captions))
        return Condition({"prompt_embeds": values}, {"prompt_embeds": real})

    def text_parts(self) -> tuple[nn.Module, str]:
        return nn.Identity(), "lengths of captions"


def model() -> AnyX:
    made = tiny.anyx(lora={"r": 2, "alpha": 4, "targets": ["q_proj", "v_proj"]})
    for key, kind in (("image", Image), ("audio", Audio)):
        made.outputs[key].decoder = Teaching(kind).requires_grad_(False)
    return made.eval()


def record(index: int) -> Record:
    """A picture that is described, one that is drawn, or words alone; rows of unlike lengths."""
    shown = {"type": "image", "media": Image(torch.full((3, 4, 4), index, dtype=torch.uint8)), "caption": "a fox"}
    talks = (([shown], "A fox." * (1 + index % 4)), ("Draw a red fox.", [shown]), ("Here it is", "please"))
    asked, said = talks[index % 3]
    return {
        "id": str(index),
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
    }


class Beside(TorchDispatchMode):
    """The host's tensors as they are, beside those of the pretended GPU."""

    def __init__(self, gpu: FakeTensorMode) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_leaves((args, kwargs or {}))
        there = any(isinstance(x, FakeTensor) or (isinstance(x, torch.device) and x.type == GPU.type) for x in given)
        with self.gpu if there else nullcontext():
            return func(*args, **(kwargs or {}))


class Building(TorchFunctionMode):
    """`torch.tensor` straight onto the device waits for its copy, unless nothing is in it (transformers' caches)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is not torch.tensor or given.get("device") is None:
            return func(*args, **given)
        made = func(*args, **given | {"device": "cpu"})
        assert torch.device(given["device"]) != GPU or not made.numel()
        return made.to(given["device"])


@contextmanager
def moved(made: nn.Module) -> Iterator[None]:
    """The module with its weights on a pretended GPU, for good."""
    mode, known = FakeTensorMode(allow_non_fake_inputs=True), {}

    def there(tensor: Tensor) -> Tensor:
        if id(tensor) not in known:
            copy = FakeTensor(mode, tensor.detach().to("meta"), GPU)
            learns = tensor.requires_grad
            known[id(tensor)] = nn.Parameter(copy, requires_grad=learns) if isinstance(tensor, nn.Parameter) else copy
        return known[id(tensor)]

    for module in made.modules():
        for table in (module._parameters, module._buffers):
            table.update({name: there(x) for name, x in table.items() if x is not None})
    with Building(), Beside(mode):
        yield


class Caught(Callback):
    """The batches of a run on the processor."""

    def __init__(self) -> None:
        self.batches: list[Dialogues] = []

    def on_train_batch_end(self, trainer: Any, trainee: Any, outputs: Any, batch: Any, index: int) -> None:
        self.batches.append(batch[0])


CASES: Mapping[str, Mapping[str, Any]] = {
    "encode": {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1, "align": {"weight": 1, "contrast": 1}}},
    "decode": {
        "train": {"outputs.*.projector": 1e-2, "llm.signal_tokens": 1e-2},
        "losses": {"text": 1, "caption": {"weight": 1, "groups": "first"}},
    },
    "instruct": {
        "train": {"llm.lora": 1e-2, "*puts.*.projector": 1e-2, "llm.signal_tokens": 1e-2},
        "losses": {"text": 1, "caption": 1},
    },
}


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_no_step_waits(name: str, pack: bool, tmp_path: Path) -> None:
    made, caught = model(), Caught()
    chosen = Stage("s", **CASES[name], data={"d": 1}, pack=pack, steps=3, batch_size=3)
    metrics, cache = Metrics(tmp_path / "metrics.csv", list(chosen.losses)), FeatureCache(tmp_path / "features")
    feeds = [Feed("d", [record(index) for index in range(9)])]
    run.fit(made, chosen, feeds, [1.0], run.Run(tmp_path, metrics, cache, device="cpu", callbacks=[caught]))
    assert caught.batches
    with moved(made):
        trainee = Trainee(made, chosen, 3)
        for batch in caught.batches:
            loss = trainee.training_step((batch.to(GPU), {}), 0)
            assert loss.device == GPU
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainee.selection.parameters(), 1.0)
    assert all(parameter.device == GPU for parameter in trainee.selection.parameters())
    assert any(parameter.grad is not None for parameter in trainee.selection.parameters())


def test_asking_would_be_seen() -> None:
    made: AnyX = model()
    with moved(made), pytest.raises(DataDependentOutputException):
        made.llm.signal_tokens.embedding.sum().item()

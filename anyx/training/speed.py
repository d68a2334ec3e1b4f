"""Switches of a stage that change how fast it runs or what it holds, and nothing that it learns (but for rounding).

`tuned` turns on what a stage asks for and turns it off again behind it. What the machine has not is left out with one
line in the log.

- `gradient_checkpointing`: each layer of the LLM keeps only what it reads, and runs again on the way back (Chen et al.
  2016, arXiv 1604.06174). Hooks before a layer, which bring adapters' readings, stay outside; dropout draws the same.
- `compile`: each layer by torch.compile, one graph for all lengths. It needs a C++ compiler, on GPUs Triton.
- `channels_last`: weights of convolutions in encoders and decoders by pixel, which tensor cores and oneDNN read faster.
- `liger`: RMSNorm, rotary positions and gated feed-forward as Liger's fused Triton kernels (arXiv 2410.10989), on CUDA.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from anyx.bodies import layers_of
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training.backbones import Model

COMPILERS = ("c++", "g++", "clang++", "cl")  # any that torch's inductor looks for
log = logging.getLogger("anyx")


@contextmanager
def tuned(model: Model, stage: Stage, device: torch.device) -> Iterator[None]:
    """The model with the stage's switches on."""
    with ExitStack() as stack:
        llm = model.llm if isinstance(model, AnyX) else None
        if stage.channels_last:
            stack.enter_context(by_pixel([*model.encoders.values(), *decoders(model)]))
        if llm is not None:
            layers = layers_of(llm.model)
            if stage.liger:
                fuse(llm.model, device)
            if stage.compile and able(device):
                stack.enter_context(compiled(layers))
            if stage.gradient_checkpointing:
                stack.enter_context(recomputed(layers))
        yield


def decoders(model: Model) -> list[nn.Module]:
    """The decoders; of one that waits its shadow, so that it is not fetched for this."""
    return [port.known for port in model.outputs.values() if port.known is not None]


@contextmanager
def recomputed(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Layers whose forward keeps alone what it reads; without gradients they run as ever."""
    layers = list(layers)

    def run(forward: Callable[..., Any], *given: Any, **keywords: Any) -> Any:
        call = partial(forward, *given)
        call.keywords.update(keywords)  # whatever a family's layers take
        if not torch.is_grad_enabled() or keywords.get("use_cache"):  # a cache would be filled twice
            return call()
        return checkpoint(call, use_reentrant=False)

    for layer in layers:
        vars(layer)["forward"] = partial(run, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


@contextmanager
def compiled(layers: Iterable[nn.Module], backend: str = "inductor") -> Iterator[None]:
    """Layers that torch compiles at their first call; `backend` is one of torch.compile's."""
    layers = list(layers)
    for layer in layers:
        layer.compile(dynamic=True, backend=backend)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None  # what nn.Module.compile sets, and no method unsets


def able(device: torch.device) -> bool:
    """Whether torch.compile can make code for a device here; said once where it cannot."""
    missing = None
    if device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
        missing = "a C++ compiler"
    if device.type == "cuda" and find_spec("triton") is None:
        missing = "triton"
    if missing:
        log.warning("compile: %s is not here; layers run as they are", missing)
    return missing is None


@contextmanager
def by_pixel(parts: Iterable[nn.Module]) -> Iterator[None]:
    """Convolutions' weights with their channels last in memory."""
    found = [module for part in parts for module in part.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    for module in found:
        place(module, torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d)
    try:
        yield
    finally:
        for module in found:
            place(module, torch.contiguous_format)


def place(module: nn.Conv2d | nn.Conv3d, form: torch.memory_format) -> None:
    """A weight's order in memory; its parameter stays the same object."""
    module.weight.data = module.weight.data.contiguous(memory_format=form)


def fuse(body: PreTrainedModel, device: torch.device) -> None:
    """Liger's kernels in the place of the body's, for good: what they compute is the same."""
    if device.type != "cuda" or find_spec("liger_kernel") is None:
        wanted = "CUDA" if device.type != "cuda" else "liger-kernel (pip install -e '.[liger]')"
        log.info("liger: needs %s; layers run as they are", wanted)
        return
    from liger_kernel.transformers import monkey_patch as liger

    family = str(body.config.model_type)
    apply = liger.MODEL_TYPE_TO_APPLY_LIGER_FN.get(family)
    if apply is None:
        log.info("liger: has no kernels for %s; layers run as they are", family)
        return
    apply(model=body, rope=True, rms_norm=True, cross_entropy=False, fused_linear_cross_entropy=False)

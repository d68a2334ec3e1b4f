"""Which of Lightning's engines holds a model on the devices of a run, and an LLM whose layers are shared out.

By FSDP2 every process keeps its part of each frozen layer and gathers the whole when it is that layer's turn. What
learns is small, and whole everywhere: checkpoints, optimisers and moving averages are those of any run. A process waits
for the others at every layer, so all make the same passes whatever they have read: one a step, there and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from anyx.llm import LLM
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training.backbones import Model
from anyx.training.launch import Machines
from anyx.training.stage import select


def engine(machines: Machines) -> str | Strategy:
    """The strategy of a run on these machines; one process needs none."""
    if machines.world == 1:
        return "auto"
    if machines.strategy == "fsdp":
        return ModelParallelStrategy(data_parallel_size=machines.world, tensor_parallel_size=1)
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def share_out(model: Model, stage: Stage, machines: Machines, device: str) -> Lockstep | None:
    """Share an LLM's frozen layers out over the processes, where the run wants that; once a run."""
    if machines.strategy != "fsdp" or machines.world == 1:
        return None
    if not isinstance(model, AnyX):
        raise ValueError("strategy: fsdp shares out the layers of an LLM, and this configuration has none; take ddp")
    body = [name for name in select(model.parts(), stage.train).names if name == "llm.body"]
    if body:
        told = "it learns whole in every process, and fsdp shares out frozen layers"
        raise ValueError(f"stages.{stage.name}.train: llm.body: {told}; take deepspeed_3, or llm.lora")
    if any(not parameter.is_floating_point() for parameter in model.llm.model.parameters()):
        raise ValueError("strategy: fsdp shares out layers as they are, and llm.quantize has made others; take ddp")
    layers = [module for module in model.llm.model.get_decoder().layers if isinstance(module, nn.Module)]
    if not isinstance(layers[0], FSDPModule):
        frozen = {id(parameter) for parameter in model.parts()["llm.body"]}
        kind = "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"
        mesh = init_device_mesh(kind, (machines.world,))
        for layer in layers:
            ours = {parameter for parameter in layer.parameters() if id(parameter) not in frozen}
            fully_shard(layer, mesh=mesh, ignored_params=ours)
    return Lockstep(model.llm)


class Lockstep:
    """Keeps the passes of a shared-out LLM alike: each has a way back, whatever learns; idle processes make one too."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.states: list[Tensor] = []
        decoder = llm.model.get_decoder()
        self.hooks = [
            decoder.register_forward_pre_hook(self.enter, with_kwargs=True),
            decoder.register_forward_hook(self.leave),
        ]

    def enter(self, module: nn.Module, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, Any]:
        """Embeddings that want a gradient."""
        embeddings = named["inputs_embeds"]
        if torch.is_grad_enabled() and not embeddings.requires_grad:
            return given, {**named, "inputs_embeds": embeddings.detach().requires_grad_()}
        return given, named

    def leave(self, module: nn.Module, given: Sequence[Any], output: Any) -> None:
        """Where the way back begins."""
        if torch.is_grad_enabled():
            self.states.append(output.last_hidden_state)

    def idle(self) -> None:
        """The pass of a process that has nothing to read."""
        ids = torch.zeros(1, 1, dtype=torch.long, device=self.llm.model.device)
        self.llm.states(self.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))

    def passed(self) -> list[Tensor]:
        """The states of this step's passes."""
        passed, self.states = self.states, []
        return passed

    def release(self) -> None:
        """Let the LLM go its own ways again."""
        for hook in self.hooks:
            hook.remove()

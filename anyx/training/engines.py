"""Which of Lightning's engines holds a model on the devices of a run, and an LLM whose layers are shared out.

By FSDP2 every process keeps its part of each frozen layer and gathers the whole when it is that layer's turn. What
learns is small, and whole everywhere: checkpoints, optimisers and moving averages are those of any run. A process waits
for the others at every layer, so all make the same passes whatever they have read: one a step, there and back.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from anyx.llm import LLM
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training.backbones import Model
from anyx.training.launch import Machines
from anyx.training.stage import select

ZERO = {"deepspeed_2": 2, "deepspeed_3": 3}
PERSISTENT = 1 << 26  # numbers of a parameter that ZeRO-3 keeps whole: more than a projector's matrix has


def engine(machines: Machines, stage: Stage) -> str | Strategy:
    """The strategy of a stage on these machines; one process needs none."""
    if machines.world == 1:
        return "auto"
    if machines.strategy == "fsdp":
        return ModelParallelStrategy(data_parallel_size=machines.world, tensor_parallel_size=1)
    if machines.strategy in ZERO:
        if importlib.util.find_spec("deepspeed") is None:
            raise ValueError(
                f"strategy: {machines.strategy} needs DeepSpeed; install the extra: pip install -e '.[deepspeed]'"
            )
        return DeepSpeedStrategy(config=zero(machines, stage))
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def zero(machines: Machines, stage: Stage) -> dict[str, Any]:
    """DeepSpeed's configuration. Its engine clips by itself, and does not where nobody says so.

    What learns stays whole in every process (the threshold): a process need not ask the others for a projector that
    they may not run.
    """
    sharing: dict[str, Any] = {"stage": ZERO[machines.strategy]}
    if sharing["stage"] == 3:
        sharing["stage3_param_persistence_threshold"] = PERSISTENT
    return {
        "zero_optimization": sharing,
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": stage.clip or 0.0,
        "train_micro_batch_size_per_gpu": max(1, stage.batch_size // machines.world),
    }


def share_out(model: Model, stage: Stage, machines: Machines, device: str) -> Lockstep | None:
    """Share an LLM's frozen layers out over the processes, where the run wants that; once a run."""
    if machines.strategy not in ("fsdp", "deepspeed_3") or machines.world == 1:
        return None
    if not isinstance(model, AnyX):
        told = "shares out the layers of an LLM, and this configuration has none; take ddp"
        raise ValueError(f"strategy: {machines.strategy} {told}")
    if any(not parameter.is_floating_point() for parameter in model.llm.model.parameters()):
        told = "shares out layers as they are, and llm.quantize has made others; take ddp"
        raise ValueError(f"strategy: {machines.strategy} {told}")
    if machines.strategy == "fsdp":
        if "llm.body" in select(model.parts(), stage.train).names:
            told = "it learns whole in every process, and fsdp shares out frozen layers"
            raise ValueError(f"stages.{stage.name}.train: llm.body: {told}; take deepspeed_3, or llm.lora")
        share_layers(model, machines, "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda")
    model.llm.shared_out = True
    return Lockstep(model.llm)


def share_layers(model: AnyX, machines: Machines, kind: str) -> None:
    """By FSDP2: each layer's frozen weights; LoRA and adapters within stay whole."""
    layers = [module for module in model.llm.model.get_decoder().layers if isinstance(module, nn.Module)]
    if isinstance(layers[0], FSDPModule):
        return
    frozen = {id(parameter) for parameter in model.parts()["llm.body"]}
    mesh = init_device_mesh(kind, (machines.world,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params={x for x in layer.parameters() if id(x) not in frozen})


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

"""A model's stages as vLLM-Omni writes them: which engine runs what, from whose states, and what leaves it.

vLLM-Omni splits an any-to-any model into stages: a `PipelineConfig` in Python says how they hang together, a deploy
YAML where they run. Both files are read by its own resolver in `tests/serving/test_omni.py` where it is installed
(0.30.0). It knows the pipeline once `register` of the file was called, by an entry point of the group
`vllm_omni.general_plugins`. Stage 0 here is the LLM, before
which encoders and input projectors stand; every output with a decoder is a diffusion stage that reads the LLM's states
at its signal tokens. What crosses between two stages is what `AnyX.condition` makes of these states: whoever deploys
writes that function for his version of the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from anyx import yamls
from anyx.config import Config

FIELDS = ("stage_id", "model_stage", "execution_type", "input_sources", "final_output", "final_output_type")
REGISTER = (
    "",
    "",
    "def register() -> None:",
    '    """Make `deploy.yaml` find the stages: for an entry point of the group `vllm_omni.general_plugins`."""',
    "    register_pipeline(PIPELINE)",
    "",
)
SEQUENCES = 8  # answered side by side in a stage, unless the operator says otherwise


class Stage(NamedTuple):
    """One engine: its number and name, how it runs, whose outputs it reads, what it hands out and to whom."""

    number: int
    name: str
    runs: str  # LLM_AR: token by token; DIFFUSION
    reads: tuple[int, ...]
    gives: str
    between: str | None  # what engines hand on: text and hidden states
    tokens: int  # of its signal group; of the LLM 0

    def fields(self) -> dict[str, Any]:
        """As a `StagePipelineConfig` names them."""
        told = dict(zip(FIELDS, (self.number, self.name, self.runs, self.reads, True, self.gives), strict=True))
        more = {"owns_tokenizer": True, "engine_output_type": self.between} if self.between else {}
        return told | more


def stages(config: Config) -> list[Stage]:
    """The stages of a model; ValueError where it has no LLM, or nothing to show."""
    if config.llm is None:
        raise ValueError("llm: is missing; backbones alone are no pipeline")
    shown = {key: output for key, output in config.outputs.items() if output.decoder is not None}
    if not shown:
        raise ValueError("outputs: none has a decoder, so there is one stage only; vLLM itself serves such an LLM")
    first = Stage(0, "llm", "LLM_AR", (), "text", "text,latent", 0)
    return [
        first,
        *(
            Stage(number, key, "DIFFUSION", (0,), output.media, None, output.tokens)
            for number, (key, output) in enumerate(shown.items(), 1)
        ),
    ]


def pipeline(name: str, graph: Sequence[Stage]) -> str:
    """`pipeline.py`: the topology, which the engine imports."""
    lines = [
        f'"""The stages of {name}, written by `anyx export`."""',
        "",
        "from vllm_omni.config.pipeline_registry import register_pipeline",
        "from vllm_omni.config.stage_config import PipelineConfig, StageExecutionType, StagePipelineConfig",
        "",
        "PIPELINE = PipelineConfig(",
        f"    model_type={name!r},",
        "    stages=(",
    ]
    for stage in graph:
        if stage.tokens:
            lines.append(f"        # reads the states at the {stage.tokens} signal tokens that open {stage.name!r}")
        lines.append("        StagePipelineConfig(")
        for field, value in stage.fields().items():
            written = f"StageExecutionType.{value}" if field == "execution_type" else repr(value)
            lines.append(f"            {field}={written},")
        lines.append("        ),")
    return "\n".join([*lines, "    ),", ")", *REGISTER])


def deploy(name: str, graph: Sequence[Stage]) -> str:
    """`deploy.yaml`: where the stages run; one device each, and shared memory between them."""
    placed: list[dict[str, Any]] = []
    for stage in graph:
        one: dict[str, Any] = {"stage_id": stage.number, "max_num_seqs": SEQUENCES, "devices": str(stage.number)}
        if stage.reads:
            one["input_connectors"] = {f"from_stage_{source}": "memory" for source in stage.reads}
        else:
            one["output_connectors"] = {f"to_stage_{other.number}": "memory" for other in graph if other.reads}
        placed.append(one)
    connectors = {"memory": {"name": "SharedMemoryConnector"}}
    return yamls.dump({"pipeline": name, "async_chunk": False, "connectors": connectors, "stages": placed})

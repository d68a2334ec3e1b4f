"""The exported stages are the model's: read back as the engine reads them."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyx import config, yamls
from anyx.commands import export
from anyx.serving import omni

ROOT = Path(__file__).parents[2]


class Given:
    """Keeps the keywords it was built with, as the engine's frozen dataclasses do."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields


class Execution(Enum):
    LLM_AR = "llm_ar"
    DIFFUSION = "diffusion"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exported file imports its classes from; the engine itself needs a GPU."""
    module = ModuleType("vllm_omni.config.stage_config")
    vars(module).update(PipelineConfig=Given, StagePipelineConfig=Given, StageExecutionType=Execution)
    for name in ("vllm_omni", "vllm_omni.config"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("model", ["configs/models/nextgpt.yaml", "experiments/emoji/model"])
def test_every_decoder_is_a_stage_behind_the_llm(model: str, tmp_path: Path) -> None:
    export.export(ROOT / model, tmp_path, name="mine")
    scope: dict[str, Any] = {}
    exec(compile((tmp_path / "pipeline.py").read_text(), "pipeline.py", "exec"), scope)
    told = scope["PIPELINE"].fields
    graph = [stage.fields for stage in told["stages"]]
    assert told["model_type"] == "mine"
    assert graph[0]["model_stage"] == "llm"
    assert {stage["model_stage"] for stage in graph[1:]} == {"image", "audio", "video"}
    assert [stage["stage_id"] for stage in graph] == [0, 1, 2, 3]
    assert [stage["input_sources"] for stage in graph] == [(), (0,), (0,), (0,)]
    assert all(stage["final_output_type"] == stage["model_stage"] for stage in graph[1:])
    assert {stage["execution_type"] for stage in graph[1:]} == {Execution.DIFFUSION}
    assert [stage for stage in graph if "owns_tokenizer" in stage] == [graph[0]]
    placed = yamls.read(tmp_path / "deploy.yaml")
    assert [stage["stage_id"] for stage in placed["stages"]] == [0, 1, 2, 3]
    assert placed["stages"][0]["output_connectors"] == {f"to_stage_{n}": "memory" for n in (1, 2, 3)}
    assert placed["stages"][2]["input_connectors"] == {"from_stage_0": "memory"}
    assert placed["connectors"]["memory"]["name"] == "SharedMemoryConnector"


def test_what_shows_nothing_is_no_pipeline() -> None:
    with pytest.raises(ValueError, match="none has a decoder"):
        omni.stages(config.load(ROOT / "configs" / "models" / "llava15.yaml"))

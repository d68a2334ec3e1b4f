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
    registry = ModuleType("vllm_omni.config.pipeline_registry")
    vars(registry).update(register_pipeline=lambda pipeline: None)
    monkeypatch.setitem(sys.modules, registry.__name__, registry)
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


@pytest.mark.parametrize("model", ["configs/models/nextgpt.yaml", "experiments/emoji/model"])
def test_the_engine_itself_reads_the_files(model: str, tmp_path: Path, tiny_llm_folder: str) -> None:
    """By the resolver that `vllm serve --omni` calls; what it does not know would land in `engine_extras`."""
    pytest.importorskip("vllm_omni", reason="vLLM-Omni is not installed")
    from vllm_omni.config.resolver import resolve_omni_config
    from vllm_omni.config.stage_config import load_deploy_config
    from vllm_omni.distributed.omni_connectors.utils.initialization import load_omni_transfer_config
    from vllm_omni.outputs.output_modality import OutputModality

    export.export(ROOT / model, tmp_path, name=f"mine_{Path(model).stem}")
    scope: dict[str, Any] = {"__name__": "pipeline"}
    exec(compile((tmp_path / "pipeline.py").read_text(), "pipeline.py", "exec"), scope)
    where = str(tmp_path / "deploy.yaml")

    def resolve() -> Any:
        return resolve_omni_config(
            tiny_llm_folder,
            trust_remote_code=False,
            deploy_config_path=where,
            cli_overrides={},
            stage_overrides=None,
            strategy_config_path=None,
        )

    with pytest.raises(KeyError, match="is not registered"):
        resolve()
    scope["register"]()
    read = resolve()
    assert read.pipeline_config is scope["PIPELINE"]
    assert [stage.stage_id for stage in read.stage_configs] == [0, 1, 2, 3]
    assert [type(stage).__name__ for stage in read.stage_configs] == [
        "VllmOmniARStageConfig",
        *["VllmOmniDiffusionStageConfig"] * 3,
    ]
    assert OutputModality.from_string(read.stage_configs[0].engine_output_type) == (
        OutputModality.TEXT | OutputModality.LATENT
    )
    placed = load_deploy_config(where)
    assert all(stage.engine_extras == {} for stage in placed.stages)
    assert set(load_omni_transfer_config(where).connectors) == {("0", "1"), ("0", "2"), ("0", "3")}


def test_what_shows_nothing_is_no_pipeline() -> None:
    with pytest.raises(ValueError, match="none has a decoder"):
        omni.stages(config.load(ROOT / "configs" / "models" / "llava15.yaml"))

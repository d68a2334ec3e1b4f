"""Every YAML that is shipped passes `anyx check` and is built; what they claim about the published systems holds."""

from pathlib import Path

import pytest
import torch

from anyx import published
from anyx.build import build
from anyx.commands import main
from anyx.config import Config, load, read
from anyx.evaluation.run import read_settings
from anyx.packaged import PACKAGED, folder
from anyx.training.backbones import Backbones
from anyx.training.stage import select

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [path for folder in ("configs", "experiments") for path in sorted((ROOT / folder).rglob("*.yaml"))]
FOREIGN = ROOT / "experiments/lmms_eval/tasks"  # in lmms-eval's own form, with tags that only it reads
SECTIONS = {"base", "llm", "encoders", "inputs", "outputs", "stages"}  # what makes a YAML one of a model
FILES = [path for path in SHIPPED if FOREIGN not in path.parents and SECTIONS & read(path).keys()]
NEXT_GPT = ROOT / "configs/models/nextgpt.yaml"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_yaml_passes_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    assert printed.out.startswith("ok")


def built(config: Config) -> dict[str, int]:
    """Build a configuration on `meta` as `anyx plan` does, see that its stages find what they train; sizes by part."""
    if config.llm is None:
        with torch.device("meta"):
            parts = Backbones.build(config).parts()
    else:
        parts = build(config, meta=True).parts()
    assert all(parameter.is_meta for part in parts.values() for parameter in part)
    for stage in config.stages.values():
        assert select(parts, stage.train).names
    return {name: sum(parameter.numel() for parameter in part) for name, part in parts.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_yaml_is_built(path: Path) -> None:
    """Weights that are not here are known by their published sizes, or come with packages."""
    config = load(path)
    packaged = config.llm is None or (published.find(config.llm.path) is None and isinstance(config.llm.path, str))
    if packaged and not all(folder(name).is_dir() for name in PACKAGED):
        pytest.skip("the sizes that come with packaged weights are not in the cache; run `make setup`")
    assert built(config)


def test_next_gpt_has_the_published_sizes() -> None:
    """Tokens 4 / 24 / 8, and sizes of what learns of A1.2 in the reference sheet."""
    config = load(NEXT_GPT)
    assert {key: output.tokens for key, output in config.outputs.items()} == {"image": 4, "video": 24, "audio": 8}
    sizes = built(config)
    assert sizes["llm.lora"] == 33_554_432
    assert {sizes[f"inputs.{key}.projector"] for key in config.inputs} == {4_198_400}  # one, shared
    counts = {key: sizes[f"outputs.{key}.projector"] for key in config.outputs}
    assert counts == {"image": 31_958_784, "video": 32_090_112, "audio": 31_788_544}


def test_the_models_are_found() -> None:
    assert {path.name for path in FILES} >= {"nextgpt.yaml", "nextgpt_v15.yaml", "pandagpt.yaml", "experiment.yaml"}


@pytest.mark.parametrize(
    "path", [path for path in SHIPPED if path.name == "evaluation.yaml"], ids=lambda path: path.parent.name
)
def test_shipped_evaluations_are_readable(path: Path) -> None:
    assert read_settings(path.parent).judges

"""Every YAML that is shipped passes `anyx check`, and what they claim about the published systems holds."""

from pathlib import Path

import pytest

from anyx.commands import main
from anyx.config import load, read
from anyx.evaluation.run import read_settings
from anyx.schema import Node

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [path for folder in ("configs", "experiments") for path in sorted((ROOT / folder).rglob("*.yaml"))]
SECTIONS = {"base", "llm", "encoders", "inputs", "outputs", "stages"}  # what makes a YAML one of a model
FILES = [path for path in SHIPPED if SECTIONS & read(path).keys()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_yaml_passes_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    assert printed.out.startswith("ok")


def test_the_models_are_found() -> None:
    assert {path.name for path in FILES} >= {"nextgpt.yaml", "experiment.yaml"}


@pytest.mark.parametrize(
    "path", [path for path in SHIPPED if path.name == "evaluation.yaml"], ids=lambda path: path.parent.name
)
def test_shipped_evaluations_are_readable(path: Path) -> None:
    assert read_settings(path.parent).judges


def test_next_gpt_has_its_published_sizes() -> None:
    """Tokens 4 / 24 / 8, and projector sizes of A1.2 in the reference sheet, from the condition each decoder reads."""
    config = load(ROOT / "configs/models/nextgpt.yaml")
    assert {key: output.tokens for key, output in config.outputs.items()} == {"image": 4, "video": 24, "audio": 8}
    conditions = {"image": (77, 768), "video": (77, 1024), "audio": (1, 512)}
    published = {"image": 31_958_784, "video": 32_090_112, "audio": 31_788_544}
    for key, output in config.outputs.items():
        assert isinstance(output.projector, Node)
        projector = output.projector.cls(4096, {"prompt_embeds": conditions[key]}, **output.projector.kwargs)
        assert sum(parameter.numel() for parameter in projector.parameters()) == published[key]
    for port in config.inputs.values():
        assert port.projector is not None
        projector = port.projector.cls(1024, 4096, **port.projector.kwargs)
        assert sum(parameter.numel() for parameter in projector.parameters()) == 4_198_400

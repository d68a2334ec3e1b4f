"""Files, bases and overrides become one mapping; what cannot be read is one line that names where it stands."""

from pathlib import Path
from typing import Any

import pytest

from anyx.yamls import ConfigError, read

YAML = """
llm: {lora: {targets: [q_proj, k_proj]}}
inputs: {image: {projector: {type: mlp, layers: 3}}}
stages: {encode: {train: {"inputs.*.projector": 4e-4}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(YAML)
    return tmp_path / "a.yaml"


def projector(raw: dict[str, Any]) -> Any:
    return raw["inputs"]["image"]["projector"]


@pytest.mark.parametrize("flip", [False, True])
def test_the_order_of_overrides_does_not_matter(file: Path, flip: bool) -> None:
    given = ["inputs.image.projector.tokens=3", "inputs.image.projector.type=linear"]
    assert projector(read(file, given[::-1] if flip else given)) == {"type": "linear", "tokens": 3}
    assert projector(read(file, given[:1])) == {"type": "mlp", "layers": 3, "tokens": 3}


def test_an_item_of_a_list_is_replaced_by_its_number(file: Path) -> None:
    assert read(file, ["llm.lora.targets.0=v_proj"])["llm"]["lora"]["targets"] == ["v_proj", "k_proj"]
    assert read(file, ["llm.lora.targets=[v_proj]"])["llm"]["lora"]["targets"] == ["v_proj"]
    with pytest.raises(ConfigError, match=r"^llm\.lora\.targets\.2: the list has 2 items"):
        read(file, ["llm.lora.targets.2=v_proj"])


def test_a_key_with_dots_stands_in_brackets(file: Path) -> None:
    made = read(file, ["stages.encode.train[inputs.*.projector]=1e-3"])
    assert made["stages"]["encode"]["train"] == {"inputs.*.projector": 1e-3}


def test_of_several_bases_the_later_count(tmp_path: Path) -> None:
    """Each is merged over those before it, with paths from its own folder, and the YAML itself over all."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "one.yaml").write_text(YAML + "seed: 1")
    (tmp_path / "parts/two.yaml").write_text("llm: {path: ./llm}\ninputs: {image: {projector: {layers: 2}}}\nseed: 2")
    (tmp_path / "both.yaml").write_text("base: [one.yaml, parts/two.yaml]\nstages: {encode: null}")
    made = read(tmp_path / "both.yaml")
    assert made["llm"] == {"lora": {"targets": ["q_proj", "k_proj"]}, "path": str(tmp_path / "parts/llm")}
    assert projector(made) == {"type": "mlp", "layers": 2}
    assert (made["seed"], made["stages"]) == (2, {"encode": None})
    (tmp_path / "one.yaml").write_text("base: [parts/two.yaml, both.yaml]")
    with pytest.raises(ConfigError, match=r"both.yaml: base: one.yaml leads back"):
        read(tmp_path / "both.yaml")
    (tmp_path / "both.yaml").write_text("base: []\nseed: 3")
    assert read(tmp_path / "both.yaml") == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,", "a.yaml: no YAML: while parsing"),
        ("- 1", "a.yaml: a configuration is a mapping, but list was found"),
        ("base: 5", "a.yaml: base: must be the path of a YAML or a list of such, but 5 was given"),
        ("base: [b.yaml, 5]", r"or a list of such, but \['b.yaml', 5\] was given"),
        ("base: none.yaml", "none.yaml: no such file"),
        ("base: b.yaml", "a.yaml: base: b.yaml leads back to where it was named"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ConfigError, match=words) as raised:
        read(tmp_path / "a.yaml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [("seed", "seed: an override is written a.b=c"), ("llm.path={", "llm.path={: no override: while parsing")],
)
def test_broken_overrides_are_one_line(file: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        read(file, [override])
    assert "\n" not in str(raised.value)

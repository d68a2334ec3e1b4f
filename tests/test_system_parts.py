"""`configs/README.md` says what each system added beside its YAML: one file a part, and the table is what is there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from anyx.config import Config, load
from anyx.converters import SYSTEMS
from anyx.imports import find
from anyx.schema import Node

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "configs" / "README.md"


def parts(config: Config) -> Iterator[tuple[str, type]]:
    """Every component of a system with the name that its YAML gives it."""
    assert config.llm
    nodes = [*config.encoders.values(), *(port.projector for port in config.inputs.values())]
    nodes += [part for port in config.outputs.values() for part in (port.projector, port.decoder)]
    nodes += config.llm.adapters.values()
    yield from ((node.type, node.cls) for node in nodes if isinstance(node, Node))


def file_of(cls: type) -> str:
    """Where a class is, from the repository's root."""
    return Path(inspect.getfile(cls)).resolve().relative_to(ROOT).as_posix()


def rows() -> list[str]:
    """A row a system, in the order of the first table: parts in files that no system above it has."""
    found, known = [], set[str]()
    listed = re.findall(r"^\| \[([^\]]+)\]\(models/(\w+)\.yaml\) \| (?=\[|\|)", TABLE.read_text(encoding="utf-8"), re.M)
    for title, name in dict(listed).items():
        used = {
            file: kind for kind, cls in parts(load(ROOT / f"configs/models/{name}.yaml")) for file in [file_of(cls)]
        }
        new = [f"`{kind}` {file}" for file, kind in used.items() if file not in known]
        known |= used.keys()
        system = "llava" if name in ("llava15", "llava_next", "bakllava") else name
        reader = file_of(find(SYSTEMS[system], "system")) if system in SYSTEMS else ""
        found.append(f"| {title} | {', '.join(new) or '-'} | {reader or '-'} |")
    return found


def test_a_system_is_a_yaml_and_at_most_a_file_a_part() -> None:
    said = TABLE.read_text(encoding="utf-8").partition(
        "| system | parts that none above it has | converter |\n|---|---|---|\n"
    )[2]
    assert said.splitlines()[: len(rows())] == rows()

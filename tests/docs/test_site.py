"""Every page is found and true: in the nav, its links and anchors lead somewhere, its commands and code can be run."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import typer
import yaml

from anyx import registry
from anyx.commands import application
from anyx.config import load

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
BLOCKS = [
    (name, language, code)
    for name, text in PAGES.items()
    for language, code in re.findall(r"```(\w*)[^\n]*\n(.*?)```", text, re.DOTALL)
]
LINES = [
    line.split(" #")[0].strip() for _, language, code in BLOCKS if language == "bash" for line in code.splitlines()
]
ANYX = sorted({line[line.index("anyx ") :] for line in LINES if re.match(r"(PYTHONPATH=\S+ )?anyx ", line)})


def group() -> dict[str, typer.core.TyperCommand]:
    found = typer.main.get_command(application())
    return dict(found.commands)  # type: ignore[attr-defined]


def nav(entries: object) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in inner for page in nav(entry)]  # type: ignore[attr-defined]


def test_every_page_is_in_the_nav_once() -> None:
    said = nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    made = {
        f"reference/{kind}.md" for kind in (*reference.KINDS, "yaml", "media", "data", "losses", "python", "commands")
    }
    assert sorted(said) == sorted({*PAGES, *made, "systems.md"})


def test_the_site_is_built_and_asks_nobody(tmp_path: Path) -> None:
    """Strictly: a link or an anchor that leads nowhere, or a page that is missing, ends it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    html = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {name.replace(".md", ".html") for name in PAGES} <= set(html)
    asked = [
        f"{name}: {found}" for name, text in html.items() for found in re.findall(r'src="(?:https?:)?//[^"]*', text)
    ]
    asked += [
        f"{name}: {link}" for name, text in html.items() for link in re.findall(r'<link[^>]*"(?:https?:)?//[^>]*', text)
    ]
    assert not asked
    assert "class Thumbnail(Encoder)" in re.sub(r"<[^>]*>", "", html["add/encoder.html"])
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".py", ".yaml")]


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    """So that the test above can fail."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[gone](gone.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nstrict: true\n")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0


def test_the_reference_has_every_component_and_key() -> None:
    pages = reference.pages()
    for kind in reference.KINDS:
        for name in registry.TABLES[kind]:
            assert f"\n## {name}\n" in pages[f"reference/{kind}.md"]
    for key in ("batch_size", "pack", "accumulate", "media", "lora", "limits"):
        assert f"| `{key}` |" in pages["reference/yaml.md"]
    assert "| `k` | `int` | `4` |" in pages["reference/input_projectors.md"]
    assert "| `precision` | `auto or bf16 or fp32` | `'auto'` |" in pages["reference/yaml.md"]
    assert "AnyX.session" in pages["reference/python.md"]
    assert "| `--resume`" in pages["reference/commands.md"]


@pytest.mark.parametrize("line", ANYX)
def test_commands_parse(line: str) -> None:
    """Every option is one of the command's, every argument has its place; nothing is run."""
    words = shlex.split(line)[1:]
    commands = group()
    command = commands[words[0]]
    if "commands" in vars(command):
        command = vars(command)["commands"][words[1]]
        words = words[1:]
    context = command.make_context(words[0], words[1:])
    if words[0] in ("train", "check", "plan") and (ROOT / (path := context.params["config"])).is_file():
        load(ROOT / path, context.params["overrides"] or ())


def test_targets_scripts_and_files_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(PAGES.values())
    assert {word for line in LINES if line.startswith("make ") for word in line.split()[1:]} <= targets
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    paths = set(re.findall(r"`((?:anyx|tests|configs|experiments|docs)/[\w./]*)`", text))
    paths |= {found for line in LINES for found in re.findall(r"python (\S+\.py)", line)}
    paths |= set(re.findall(r'--8<-- "([^":]+)', text))
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, language, code in BLOCKS if language == "python"])
def test_python_compiles_and_its_imports_exist(name: str, code: str) -> None:
    """Code that a page includes is run by `test_examples.py`; the rest compiles, and its imports are there."""
    if "--8<--" in code:
        return
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert node.module
            exec(compile(ast.Module([node], []), name, "exec"), {})

"""What the README says can be typed: make targets exist, `anyx` lines parse, Python compiles, links lead somewhere."""

import ast
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from omegaconf import OmegaConf

from anyx.commands import application, main
from anyx.config import load

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "configs/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("experiments/*/README.md"))),
)
TEXTS = {name: (ROOT / name).read_text() for name in NAMES}
BLOCKS = [
    (name, language, code)
    for name, text in TEXTS.items()
    for language, code in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
]
LINES = [
    line.split("#")[0].strip() for _, language, code in BLOCKS if language in ("bash", "") for line in code.splitlines()
]
INVOCATIONS = sorted({line for line in LINES if line.startswith("anyx ")} | {
    found for text in TEXTS.values() for found in re.findall(r"`(anyx [^`\n]+)`", text)
})  # fmt: skip


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {word for line in LINES if line.startswith("make ") for word in line.split()[1:]}
    said |= {target for text in TEXTS.values() for target in re.findall(r"`make ([a-z-]+)`", text)}
    assert said
    assert said <= targets


def test_make_alone_lists_every_target() -> None:
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "demo", "web", "test", "train", "evaluate", "lint", "bench"):
        assert f"make {target} " in done.stdout


@pytest.mark.parametrize("line", INVOCATIONS)
def test_anyx_lines_parse(line: str) -> None:
    """Every option is one of the command's, every argument has its place; nothing is run."""
    words = shlex.split(line)[1:]
    group = typer.main.get_command(application())
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    if "..." in words:  # arguments left out: what is shown has to be an option
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known
        return
    context = command.make_context(words[0], [word for word in words[1:] if word != "--debug"])
    assert context.info_name == words[0]
    if words[0] in ("train", "check", "plan"):
        load(ROOT / context.params["config"], context.params["overrides"] or ())


@pytest.mark.parametrize("line", [line for line in INVOCATIONS if line.split()[1] in ("check", "plan")])
def test_what_reads_no_weights_runs(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line)[1:])
    assert ended.value.code == 0


def test_scripts_exist() -> None:
    scripts = {found for text in TEXTS.values() for found in re.findall(r"python\s+(\S+\.py)", text)}
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


def test_scripts_take_the_options_shown() -> None:
    """Every `--option` on the line of a script is one that it declares."""
    shown = {
        found for text in TEXTS.values() for found in re.findall(r"python\s+(experiments/\S+\.py)([^`\n#]*)", text)
    }
    assert any("--" in rest for _, rest in shown)
    for script, rest in shown:
        source = (ROOT / script).read_text()
        missing = [option for option in re.findall(r"--[a-z][\w-]*", rest) if f'"{option}"' not in source]
        assert not missing, f"{script} takes no {missing}"


def there(module: object, name: str) -> bool:
    try:
        getattr(module, name)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("code", [code for _, language, code in BLOCKS if language == "python"])
def test_python_compiles_and_its_imports_exist(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not there(module, alias.name)]
            assert not missing, f"from {node.module} import {missing}"


@pytest.mark.parametrize("code", [code for _, language, code in BLOCKS if language == "yaml"])
def test_yaml_is_a_model(code: str, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(code + "data:\n  captions: {type: jsonl, path: captions.jsonl}\n")
    assert OmegaConf.load(path).llm.path
    assert load(path).inputs


def test_the_component_of_the_readme_works() -> None:
    import torch

    from anyx import Image

    code = next(code for _, language, code in BLOCKS if language == "python" and "(Encoder)" in code)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    encoder = names["Thumbnail"](size=8)  # type: ignore[operator]
    inputs = encoder.transform(Image(torch.zeros(3, 20, 30, dtype=torch.uint8)))
    assert encoder({key: tensor[None] for key, tensor in inputs.items()}).values.shape == (1, 1, encoder.dim)


@pytest.mark.parametrize("name", list(TEXTS))
def test_links_and_files_exist(name: str) -> None:
    beside = (ROOT / name).parent.relative_to(ROOT)
    links = [str(beside / link) for link in re.findall(r"\]\(([^)#]+)\)", TEXTS[name]) if "://" not in link]
    links += re.findall(r"`((?:anyx|tests|configs|experiments|encoders|decoders)/[\w./]*)`", TEXTS[name])
    missing = [link for link in links if not (ROOT / link).exists() and "mine" not in link]
    assert not missing


def test_files_of_the_makefile_exist() -> None:
    files = re.findall(
        r"\S+/\S+\.(?:py|yaml)", (ROOT / "Makefile").read_text().replace("$(EMOJI)", "experiments/emoji")
    )
    assert files
    assert all((ROOT / file).is_file() for file in files)

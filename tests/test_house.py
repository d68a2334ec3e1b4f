"""The house defends its own rules: floors, package list, names, sizes, and nothing of anybody's machine in the tree.

Every rule reads the real source with `ast`, so a new file is held to it without being named here; a new room of `anyx`
without a floor fails.
"""

import ast
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"anyx": ROOT / "anyx", "anyx.encoders": ROOT / "encoders", "anyx.decoders": ROOT / "decoders"}
FLOORS = {
    "media": 0, "codecs": 0, "interfaces": 0, "layers": 0, "splice": 0, "registry": 0, "schema": 0, "templates": 0,
    "signatures": 0, "yamls": 0, "packaged": 0, "compact": 0, "imports": 0, "qformer": 0, "arrays": 0,
    "weights": 0, "whole": 0, "tables": 0, "context": 0, "caching": 0,
    "numbering": 0, "sampling": 0, "files": 0, "durable": 0, "randomness": 0, "encoders": 1,
    "decoders": 1, "faults": 0, "watching": 0, "detokenizing": 0, "ranks": 0, "bodies": 0, "digests": 0,
    "input_projectors": 1, "output_projectors": 1, "llm": 1, "prompt": 1, "config": 1,
    "wiring": 1, "waiting": 0, "frozen": 0, "decoding": 1, "reply": 1,
    "ports": 1, "conversions": 1, "published": 1, "grouping": 1, "connector": 1, "pages": 1, "adapters": 1,
    "bridges": 1, "inside": 1, "queries": 1, "resampling": 1, "latents": 0, "glu": 1, "lexicon": 1, "packing": 0,
    "unpadded": 0, "lora": 0, "films": 0,
    "scoring": 1,
    "anyres": 1, "grounding": 1, "integrate": 0, "cformer": 1,
    "model": 2, "prefix": 2, "processor": 2, "components": 2, "speaking": 2,
    "merging": 4, "pushing": 4, "cards": 2, "migrations": 0,
    "data": 3, "build": 3, "hub": 3, "backends": 3, "tools": 3,
    "training": 4, "evaluation": 4, "benchmarks": 4, "converters": 4,
    "agents": 5, "serving": 5, "terminal": 5, "commands": 6, "__main__": 7, "__init__": 7,
}  # fmt: skip
SIDEWAYS = {
    ("interfaces", "media"), ("splice", "interfaces"), ("media", "codecs"), ("codecs", "media"),
    ("model", "processor"), ("model", "prefix"), ("hub", "build"),
    ("schema", "signatures"), ("config", "wiring"), ("qformer", "layers"),
    ("qformer", "weights"), ("media", "arrays"), ("arrays", "codecs"),
    ("prompt", "pages"), ("context", "interfaces"), ("caching", "context"),
    ("splice", "context"), ("unpadded", "schema"), ("latents", "layers"),
    ("media", "files"), ("files", "codecs"), ("anyres", "input_projectors"),
    ("waiting", "interfaces"), ("whole", "durable"), ("whole", "compact"), ("waiting", "frozen"),
    ("codecs", "faults"), ("files", "faults"), ("media", "faults"),
    ("arrays", "faults"), ("digests", "interfaces"), ("digests", "files"), ("model", "speaking"),
    ("speaking", "processor"), ("unpadded", "splice"), ("bodies", "unpadded"), ("splice", "layers"),
    ("benchmarks", "evaluation"), ("serving", "agents"), ("yamls", "migrations"), ("media", "films"),
    ("films", "codecs"), ("films", "faults"), ("serving", "terminal"),
}  # fmt: skip
CORE = ("model", "splice", "prompt", "processor", "speaking", "llm", "training")
MODALITY = re.compile(r"image|audio|video|speech|picture|sound", re.IGNORECASE)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name -> file."""
    found: dict[str, Path] = {}
    for package, folder in ROOMS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}
EACH = pytest.mark.parametrize("name", list(MODULES))


def room(name: str) -> str:
    """`anyx.training.run` -> training; `anyx` -> __init__."""
    return [*name.split("."), "__init__"][1]


def imports(name: str, *, top: bool = False) -> Iterator[str]:
    """Absolute names that a module imports, resolved; `top` leaves out those inside functions and TYPE_CHECKING."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in walk_top(TREES[name]) if top else ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                ancestor = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                base = f"{ancestor}.{base}".rstrip(".")
            submodules = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in MODULES]
            yield from submodules
            if len(submodules) < len(node.names):
                yield base


def walk_top(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run at import time."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        todo.extend(ast.iter_child_nodes(node))


@EACH
def test_arrows_point_down(name: str) -> None:
    """A room imports lower floors only; floor 1's rooms never each other; the face alone may look up."""
    here = room(name)
    assert here in FLOORS, f"{name} has no floor: add '{here}' to FLOORS here, and to CONTRIBUTING.md"
    for target in imports(name):
        if target.split(".")[0] in ("experiments", "tests"):
            pytest.fail(f"{name} imports {target}: nothing imports experiments or tests")
        if not target.startswith("anyx"):
            continue
        there = room(target)
        if there in (here, "__init__") and not (there == "__init__" and FLOORS[here] < 7):
            continue
        lower = FLOORS[there] < FLOORS[here] or (here, there) in SIDEWAYS
        inside = (here, there) == ("model", "hub") and target not in set(imports(name, top=True))
        assert lower or inside, f"{name} (floor {FLOORS[here]}) imports {target} (floor {FLOORS[there]})"


def test_registry_imports_nothing_of_ours() -> None:
    assert not [target for target in imports("anyx.registry") if target.startswith("anyx")]


@pytest.mark.parametrize(
    "name", [name for name in MODULES if room(name) in ("layers", "splice", "arrays", "codecs", "media")]
)
def test_the_ground_floor_knows_no_framework(name: str) -> None:
    heavy = {"transformers", "diffusers", "peft", "lightning", "omegaconf", "huggingface_hub"}
    assert not heavy & {target.split(".")[0] for target in imports(name)}


@pytest.mark.parametrize(
    ("package", "rooms"),
    [
        ("omegaconf", {"yamls"}),
        ("lightning", {"training"}),
        ("diffusers", {"decoders", "agents"}),
        ("av", {"codecs", "films", "commands"}),
        ("peft", {"llm", "lora"}),
        ("gradio", {"commands", "serving"}),
        ("fastapi", {"commands", "serving"}),
        ("torchvision", set()),
    ],
)
def test_third_parties_stay_in_their_rooms(package: str, rooms: set[str]) -> None:
    users = {room(name) for name in MODULES if package in {target.split(".")[0] for target in imports(name)}}
    assert users <= rooms, f"{package} is imported by {sorted(users - rooms)}, allowed: {sorted(rooms)}"


def test_every_third_party_is_a_dependency() -> None:
    names = {"PIL": "pillow", "yaml": "pyyaml"}
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    lines = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    declared = {re.split(r"[<>=\[ ]", line)[0].lower().replace("_", "-") for line in lines}
    used = {target.split(".")[0] for name in MODULES for target in imports(name)} - sys.stdlib_module_names - {"anyx"}
    missing = {package for package in used if names.get(package, package).lower().replace("_", "-") not in declared}
    assert not missing, f"imported, but not in pyproject.toml: {sorted(missing)}"


def test_importing_anyx_is_light() -> None:
    heavy = ("diffusers", "lightning", "gradio", "av", "transformers", "peft", "omegaconf", "matplotlib")
    code = f"import sys, anyx; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ast.literal_eval(done.stdout.strip()))
    assert not loaded & {"diffusers", "lightning", "gradio", "av"}, f"`import anyx` loads {sorted(loaded)}"


def test_packages_list_matches_the_folders() -> None:
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"} | {"anyx.configs"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == folders


def test_every_folder_of_code_is_a_package() -> None:
    bare = [str(path.parent) for path in MODULES.values() if not (path.parent / "__init__.py").exists()]
    assert not bare


def words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Identifiers and strings of a module, without its docstrings."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            yield node.lineno, node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in CORE])
def test_core_rooms_name_no_modality(name: str) -> None:
    """A modality is a key of a mapping: a fifth one must cost no line in these rooms."""
    found = [f"{MODULES[name].name}:{line} {word}" for line, word in words(TREES[name]) if MODALITY.search(word)]
    assert not found, f"{name} names a modality: {found}"


@EACH
def test_no_maybe_attributes(name: str) -> None:
    """No hasattr, no getattr with a default: an interface says what is there."""
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    maybe = [call for call in calls if call.func.id == "hasattr" or (call.func.id == "getattr" and len(call.args) > 2)]  # type: ignore[attr-defined]
    assert not maybe, f"{name}: {[f'line {call.lineno}: {ast.unparse(call)}' for call in maybe]}"


@EACH
def test_no_keywords_handed_on(name: str) -> None:
    """No `**kwargs` pass-through: every parameter is written where it is taken."""
    handed = []
    for function in ast.walk(TREES[name]):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.args.kwarg:
            taken = function.args.kwarg.arg
            for call in ast.walk(function):
                for keyword in call.keywords if isinstance(call, ast.Call) else ():
                    if keyword.arg is None and ast.unparse(keyword.value) == taken:
                        handed.append(f"line {call.lineno}: {function.name}(**{taken})")
    assert not handed, f"{name}: {handed}"


@EACH
def test_importing_does_no_work(name: str) -> None:
    """At import time: definitions and values, no bare calls and no loops (a guard that raises is allowed)."""
    for node in TREES[name].body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{name}:{node.lineno} {ast.unparse(node)}"
        assert not isinstance(node, ast.For | ast.While | ast.With), f"{name}:{node.lineno} works at import time"
    assert "utils" not in name.split(".")


@EACH
def test_docstring_first(name: str) -> None:
    assert not TREES[name].body or ast.get_docstring(TREES[name]), f"{name} does not say what it is"


def test_files_are_short() -> None:
    folders = [*ROOMS.values(), ROOT / "tests", ROOT / "experiments", ROOT / "docs"]
    lengths = {path: len(path.read_text().splitlines()) for folder in folders for path in folder.rglob("*.py")}
    long = {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > 300}
    assert not long, f"over 300 lines: {long}"
    counts = [len(path.read_text().splitlines()) for path in MODULES.values()]
    assert statistics.median(counts) <= 120


def committed() -> list[Path]:
    """The files git knows, or would know: tracked and not ignored; without git, all but what is made."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    made = ("out", "runs")
    tops = [path for path in ROOT.iterdir() if path.name not in made and not path.name.startswith(".")]
    return [file for top in tops for file in (top, *top.rglob("*")) if file.is_file() and file.suffix != ".pyc"]


def test_contributing_shows_the_same_floors() -> None:
    rows = re.findall(r"^\| (\d) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    shown = {name: int(floor) for floor, text in rows for name in re.findall(r"`(\w+)`", text)}
    assert shown == {name: floor for name, floor in FLOORS.items() if not name.startswith("__")}


def test_nothing_of_a_machine_is_committed() -> None:
    """No path of anybody's machine, no registry's host; the words are split so that this file passes."""
    banned = ["/wo" "rk/", "/ro" "ot/", "/opt/py" "pi", "pypi" ".org", "python" "hosted.org", "registry." "npmjs", "npm" "mirror", "deb." "debian"]  # fmt: skip  # noqa: E501
    pattern = re.compile("|".join(map(re.escape, banned)) + r"|/ho" r"me/\w+/|/User" r"s/\w+/")
    found = []
    for path in committed():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        match = pattern.search(data.decode("utf-8", errors="replace"))
        if match:
            found.append(f"{path.relative_to(ROOT)}: {match.group()}")
    assert not found


def test_the_lock_holds_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.]+( ; .+)?", line) for line in lines)
    locked = {line.split("==")[0]: line.split(" ")[0] for line in lines}
    wanted = PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["dev"]
    missing = [need for need in wanted if re.split(r"[<>=]", need)[0].replace("_", "-") not in locked]
    assert not missing
    assert locked["torch"] == "torch==2.11.0"
    assert locked["torchaudio"] == "torchaudio==2.11.0"

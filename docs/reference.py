"""The pages that are made and not written: the reference by signatures, the Python face, the commands, the systems.

`pages()` gives path -> Markdown; `hooks.py` hands them to MkDocs. What a component takes is its signature, what a
section of a YAML may say a dataclass, so that no page says otherwise than the code does.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import anyx
from anyx import registry
from anyx.config import Config
from anyx.faults import Limits
from anyx.imports import find
from anyx.schema import Input, LLMConfig, Lora, Output, Source, Stage
from anyx.signatures import hints_of
from anyx.templates import Joined, Template, Turn

ROOT = Path(__file__).resolve().parent.parent
KINDS = {  # table of the registry -> title, and where a YAML names one
    "encoders": ("Encoders", "`encoders.<name>`"),
    "input_projectors": ("Input projectors", "`inputs.<key>.projector`"),
    "output_projectors": ("Output projectors", "`outputs.<key>.projector`"),
    "decoders": ("Decoders", "`outputs.<key>.decoder`"),
    "adapters": ("Adapters", "`llm.adapters.<name>`"),
}
SECTIONS: tuple[type, ...] = (LLMConfig, Lora, Input, Output, Source, Limits, Stage, Template, Turn, Joined)


def pages() -> dict[str, str]:
    """Every generated page by its path in the site."""
    made = {f"reference/{kind}.md": components(kind) for kind in KINDS}
    made["reference/yaml.md"] = sections()
    made["reference/data.md"] = named("Sources of data", "`type` of `data.<name>`", find(registry.SOURCES, "sources"))
    made["reference/losses.md"] = losses()
    made["reference/media.md"] = media()
    made["reference/python.md"] = face()
    made["reference/commands.md"] = commands()
    made["systems.md"] = plain((ROOT / "configs/README.md").read_text(encoding="utf-8"), "configs")
    return made


def components(kind: str) -> str:
    """A page of the registered components of a kind, each with its keyword arguments."""
    title, place = KINDS[kind]
    return named(title, f"`type` of {place}", registry.TABLES[kind], keywords=True)


def named(title: str, place: str, names: Mapping[str, str], *, keywords: bool = False) -> str:
    """A page of classes that a YAML names; with `keywords` only those parameters that are no wired widths."""
    parts = [f"# {title}", f"Names for the {place}. Everything below is made from the signatures and docstrings."]
    for name, target in sorted(names.items()):
        cls = find(target, name)
        parameters = inspect.signature(cls).parameters.values()
        taken = [one for one in parameters if not keywords or one.kind is one.KEYWORD_ONLY]
        parts += [f"## {name}", f"`{target}`", prose(cls), table(rows(taken, hints_of(cls.__init__)))]
    return page(parts)


def sections() -> str:
    """What each section of a YAML may say."""
    top = "llm, encoders, inputs, outputs, stages, data, seed, base"
    lead = "A YAML has the keys " + ", ".join(f"`{key}`" for key in top.split(", ")) + "."
    parts = ["# The YAML", lead + " `base` names YAMLs that it is laid over.", prose(Config)]
    for cls in SECTIONS:
        fields = {one.name: one for one in dataclasses.fields(cls)}
        hints, lines = hints_of(cls), list[tuple[str, str, str]]()
        for name, one in fields.items():
            required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
            value = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
            lines.append((name, said(hints.get(name, Any)), "required" if required else default(value)))
        parts += [f"## {cls.__name__.removesuffix('Config')}", prose(cls), table(lines)]
    return page(parts)


def losses() -> str:
    """What `losses` of a stage may name."""
    parts = ["# Losses", "Names for `stages.<name>.losses`: a weight, or a mapping with `weight` and these options."]
    for name, function in find("anyx.training.objectives:OBJECTIVES", "losses").items():
        taken = list(inspect.signature(function).parameters.values())[1:]
        parts += [f"## {name}", prose(function), table(rows(taken, hints_of(function)))]
    return page(parts)


def media() -> str:
    """The kinds of media, and what each is read from."""
    parts = ["# Media", "Names for `media` of an input or output; without it the key is the name."]
    for name, target in registry.MEDIA.items():
        parts += [
            f"## {name}",
            f"`{target}`, written as `.{find(target, name).suffix}`",
            *described(find(target, name)),
        ]
    return page(parts)


def face() -> str:
    """What `from anyx import ...` gives."""
    parts = ["# Python", "The names of `anyx`. Each is imported when it is first asked for."]
    for name in anyx.__all__:
        one = getattr(anyx, name)
        parts += [f"## {name}", f"`{one.__module__}`", *described(one)]
    return page(parts)


def described(one: Any) -> list[str]:
    """A class or function: how it is called, what it says of itself, its own public methods."""
    parts = [code(one.__name__, one), prose(one)]
    for name, member in vars(one).items() if isinstance(one, type) else ():
        method = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and isinstance(method, types.FunctionType) and method.__doc__:
            parts += [f"### {one.__name__}.{name}", code(name, method), prose(method)]
    return parts


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    import typer

    from anyx.commands import application

    group: Any = typer.main.get_command(application())
    found = {name: command for name, command in group.commands.items() if "commands" not in vars(command)}
    for name, inner in group.commands.items():
        found |= {f"{name} {one}": command for one, command in vars(inner).get("commands", {}).items()}
    parts = ["# Commands", "What `anyx COMMAND --help` says of each."]
    for name, command in found.items():
        told, _, shown = (command.help or "").partition("\b")
        lines = []
        for one in command.params:
            words = ", ".join(one.opts) if one.param_type_name == "option" else (one.metavar or one.name.upper())
            lines.append((words, escaped(vars(one).get("help") or "")))
        parts += [f"## anyx {name}", escaped(" ".join(told.split()))]
        parts += [f"```bash\n{inspect.cleandoc(shown.partition(chr(10) * 2)[0])}\n```"] if shown.strip() else []
        parts += [grid(("option", "meaning"), [(f"`{words}`", help) for words, help in lines])]
    return page(parts)


def plain(text: str, folder: str) -> str:
    """A page of the repository for the site: what its links lead to is told when the mouse rests on them."""

    def shown(found: re.Match[str]) -> str:
        path = (ROOT / folder / found[2]).resolve().relative_to(ROOT)
        return f'<span title="{path}">{found[1]}</span>'

    return re.sub(r"\[([^\]]+)\]\((?!\w+://)([^)#]+)\)", shown, text)


def rows(parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, type and default of parameters."""
    return [
        (one.name, said(hints.get(one.name, Any)), "required" if one.default is one.empty else default(one.default))
        for one in parameters
    ]


def default(value: Any) -> str:
    """A default as a YAML writes it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else "[]" if value == () else repr(value)


def said(hint: Any) -> str:
    """An annotation in the words of a YAML."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "null"
    if hint is Any:
        return "anything"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(said, inner)))
    if origin is Annotated:
        return " ".join((said(inner[0]), *map(str, inner[1:])))
    if origin is Literal:
        return " or ".join(
            "null" if one is None else str(one).lower() if isinstance(one, bool) else one for one in inner
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping to {said(inner[1])}"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"list of {', '.join(map(said, inner))}"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return f"list of {said(inner[0])}"
    return {Path: "path"}.get(hint) or (hint.__name__ if isinstance(hint, type) else str(hint))


def table(lines: Iterable[tuple[str, str, str]]) -> str:
    """Keys with their types and defaults as a table; nothing where there are none."""
    return grid(("key", "type", "default"), [tuple(f"`{cell}`" for cell in line) for line in lines])


def grid(titles: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; bars and line breaks within cells are kept from ending them."""
    cells = [" | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in line) for line in lines]
    return (
        "\n".join(f"| {row} |" for row in (" | ".join(titles), " | ".join("---" for _ in titles), *cells))
        if cells
        else ""
    )


def code(name: str, one: Callable[..., Any]) -> str:
    """A signature as code, without the annotations, which the prose tells by their units and shapes."""
    taken = [p.replace(annotation=p.empty) for p in inspect.signature(one).parameters.values()]
    return f"```text\n{name}{inspect.Signature(taken)}\n```"


def prose(one: Any) -> str:
    """The docstring; what looks like HTML outside of code is no HTML."""
    return escaped(inspect.cleandoc(one.__doc__ or ""))


def escaped(text: str) -> str:
    """A text whose `<` outside of backticks are themselves."""
    return "".join(
        part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(re.split("(`[^`]*`)", text))
    )


def page(parts: Iterable[str]) -> str:
    """Paragraphs as one page."""
    return "\n\n".join(part for part in parts if part) + "\n"

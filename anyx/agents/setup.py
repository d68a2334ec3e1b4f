"""An agent from a YAML: which model, which tools from which folders, which form, within which bounds.

    style: react                      # or llava_plus, or marks
    model: {type: causal, path: models/llm}
    tools:
      detect: {type: detector, path: models/grounding-dino}
      count: {type: "mine.py:count"}
    bounds: {turns: 6, seconds: 120}

A tool's key is the name that the model calls it by. What is wrong is said at once, before any weight is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from anyx.agents.interfaces import Talker, Tool
from anyx.agents.llava_plus import LlavaPlus
from anyx.agents.loop import Agent, Bounds
from anyx.agents.marked import MarksAgent
from anyx.agents.react import React
from anyx.agents.toolbox import FunctionTool, Toolbox
from anyx.agents.tools import TOOLS
from anyx.imports import find
from anyx.packaged import locate
from anyx.signatures import Errors, check_fields, check_keywords, closest
from anyx.tools.loading import is_own, segmenter
from anyx.tools.marks import Marker
from anyx.yamls import ConfigError

STYLES = ("llava_plus", "react", "marks")
MODELS = ("anyx", "causal", "http")
KEYS = ("style", "model", "tools", "bounds", "teach", "segmenter")
Remote = Callable[[str, Mapping[str, Any]], list[Tool]]  # the tools of another machine, from their node's other keys


def anyx(*, path: str, device: str | None = None, max_new_tokens: int | None = None, seed: int = 0) -> Talker:
    """A folder of ours, which speaks as its own `sampling` says, or a YAML of a whole model of transformers.

    Without `max_new_tokens` a reply has as many as the model's YAML says, or else 512: a call of a tool is long.
    """
    from anyx import backends, hub
    from anyx.agents.talkers import LENGTH, AnyXTalker, WholeTalker

    if backends.is_whole(Path(path)):
        whole = backends.load(path, device=device or "cpu")
        return WholeTalker(whole, name=path, max_new_tokens=LENGTH if max_new_tokens is None else max_new_tokens)
    model = hub.load(path, device=device or "cpu").eval()
    sampling = None if max_new_tokens is None else model.sampling.but(max_new_tokens)
    return AnyXTalker(model, name=Path(path).name, seed=seed, sampling=sampling)


def causal(*, path: str, device: str | None = None, max_new_tokens: int = 512) -> Talker:
    """A language model of transformers; of an id that anyx keeps a copy of, the copy."""
    from anyx.agents.talkers import CausalTalker

    return CausalTalker.load(locate(path), device=device or "cpu", max_new_tokens=max_new_tokens)


def http(*, url: str, name: str, key: str | None = None, sees: bool = False, timeout: float = 60.0) -> Talker:
    """A model behind an OpenAI-compatible address; `key` names the environment variable that holds its key."""
    from anyx.agents.talkers import HttpTalker

    return HttpTalker(url, name, key=key, sees=sees, timeout=timeout)


TALKERS: Mapping[str, Callable[..., Talker]] = {"anyx": anyx, "causal": causal, "http": http}


def check(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A setup without its mistakes; `ConfigError` with all of them, before any weight is read."""
    errors = Errors()
    for key in raw:
        if key not in KEYS:
            errors.add(key, f"is not one of {', '.join(KEYS)}.{closest(key, KEYS)}")
    style = raw.get("style", "llava_plus")
    if style not in STYLES:
        errors.add("style", f"{style!r} is not one of {', '.join(STYLES)}")
    model = raw.get("model")
    model = {"type": "anyx", "path": model} if isinstance(model, str) else model
    if not isinstance(model, Mapping) or model.get("type") not in TALKERS:
        errors.add("model", f"a path, or a mapping whose type is one of {', '.join(TALKERS)}, but {model!r} was given")
    else:
        rest = {key: value for key, value in model.items() if key != "type"}
        check_keywords(errors, "model", rest, TALKERS[model["type"]], wired=False)
    tools = _check_tools(errors, raw.get("tools") or {})
    if style == "marks" and not isinstance(raw.get("segmenter"), str):
        errors.add("segmenter", "is missing; style marks needs the folder of a segmenter")
    if style == "marks" and tools:
        errors.add("tools", "style marks has no tools but its segmenter")
    check_fields(errors, "bounds", raw.get("bounds") or {}, Bounds)
    if errors:
        raise ConfigError(errors)
    return {**raw, "style": style, "model": model, "tools": tools}


def checked_tools(nodes: Any) -> Mapping[str, Mapping[str, Any]]:
    """The tools of a setup, at least one; `ConfigError` with all that is wrong."""
    errors = Errors()
    found = _check_tools(errors, nodes or {})
    if not found and not errors:
        errors.add("tools", "none are given")
    if errors:
        raise ConfigError(errors)
    return found


def _check_tools(errors: Errors, tools: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(tools, Mapping):
        errors.add("tools", f"must be a mapping from names to tools, but {tools!r} was given")
        return {}
    for name, node in tools.items():
        _check_tool(errors, f"tools.{name}", node)
    return tools


def _check_tool(errors: Errors, path: str, node: Any) -> None:
    if not isinstance(node, Mapping) or not isinstance(node.get("type"), str):
        errors.add(path, f"a tool is a mapping with a type, but {node!r} was given")
        return
    kind, rest = node["type"], {key: value for key, value in node.items() if key != "type"}
    if kind in TOOLS:
        check_keywords(errors, path, rest, find(TOOLS[kind], path), wired=False)
    elif kind == "remote":
        if not isinstance(node.get("url"), str):
            errors.add(f"{path}.url", "is missing; a remote tool has the address of its worker")
    elif not is_own(kind):
        errors.add(f"{path}.type", f"{kind!r} is not one of {', '.join((*TOOLS, 'remote'))}, nor module:function")
    elif rest:
        errors.add(path, f"a function of one's own takes no settings, but {', '.join(rest)} were given")


def toolbox(nodes: Mapping[str, Mapping[str, Any]], *, remote: Remote | None = None, device: str = "cpu") -> Toolbox:
    """The tools of a setup that was checked, by their names; `remote` makes those of other machines."""
    box = Toolbox()
    for name, node in nodes.items():
        kind, rest = node["type"], {key: value for key, value in node.items() if key != "type"}
        if kind == "remote":
            if remote is None:
                raise ValueError(f"tools.{name}: a remote tool needs a client (anyx.serving.tool_client)")
            for tool in remote(name, rest):
                box.add(tool)
        elif kind in TOOLS:
            maker = find(TOOLS[kind], f"tools.{name}")
            placed = maker if kind == "calculator" or "device" in rest else partial(maker, device=device)
            box.add(FunctionTool(placed(**rest), name))
        else:
            box.add(FunctionTool(find(kind, f"tools.{name}.type"), name))
    return box


def agent(raw: Mapping[str, Any], *, remote: Remote | None = None, device: str = "cpu") -> Agent | MarksAgent:
    """The agent of a setup. Raises `ConfigError` for a setup that is wrong."""
    setup = check(raw)
    node = dict(setup["model"])
    kind, bounds = node.pop("type"), Bounds(**(setup.get("bounds") or {}))
    talker = TALKERS[kind](**(node if kind == "http" else {"device": device, **node}))
    if setup["style"] == "marks":
        return MarksAgent(talker, Marker(segmenter(setup["segmenter"], device=device)), bounds)
    box = toolbox(setup["tools"], remote=remote, device=device)
    form = React() if setup["style"] == "react" else LlavaPlus(teach=bool(setup.get("teach", False)))
    return Agent(talker, box, form, bounds)

"""From a configuration to stages and their feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from anyx.config import Config
from anyx.data.sources import Feed, feed
from anyx.schema import Stage


def kept(part: str) -> bool:
    """Whether a model folder holds a part by itself: LoRA, signal tokens, adapters and projectors."""
    return (
        part in ("llm.lora", "llm.signal_tokens")
        or part.startswith("llm.adapters.")
        or part.split(".")[2:3] == ["projector"]
    )


def choose(config: Config, names: Sequence[str] | None) -> list[Stage]:
    """The stages of these names, in their order; all without names."""
    for name in names or ():
        if name not in config.stages:
            raise ValueError(f"stages: {name!r} is not one of {', '.join(config.stages) or 'none'}")
    if not config.stages:
        raise ValueError("stages: the configuration has none")
    return [config.stages[name] for name in (config.stages if names is None else names)]


def feeds_of(stage: Stage, config: Config) -> tuple[list[Feed], list[float]]:
    """The stage's feeds and weights: names of `data:` with a weight, or whole nodes, which may carry one."""
    feeds, weights = [], []
    for name, value in stage.data.items():
        node = dict(value) if isinstance(value, Mapping) else dict(config.data[name])
        weights.append(float(node.pop("weight", 1.0) if isinstance(value, Mapping) else value))
        feeds.append(feed(name, node))
    return feeds, weights


def held_out(stage: Stage, config: Config) -> list[Feed]:
    """The feeds that the stage is validated on; none where it is not."""
    return feeds_of(replace(stage, data=stage.validate["data"]), config)[0] if stage.validate is not None else []


def settings_of(config: Config) -> dict[str, str]:
    """What each encoder and decoder was built with, as text, by its path in the YAML."""
    nodes = {f"encoders.{name}": node for name, node in config.encoders.items()}
    nodes |= {f"outputs.{key}.decoder": port.decoder for key, port in config.outputs.items()}
    return {path: f"{node.type} {sorted(node.kwargs.items())}" for path, node in nodes.items()}

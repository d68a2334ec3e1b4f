"""From a configuration to stages and their feeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from anyx.config import Config
from anyx.data.mixture import Draw
from anyx.data.sources import Feed, feed, length_of
from anyx.schema import StageConfig
from anyx.training.stage import Stage


def kept(part: str) -> bool:
    """Whether a model folder holds a part: LoRA, signal tokens and projectors."""
    return part in ("llm.lora", "llm.signal_tokens") or part.endswith(".projector")


def choose(config: Config, names: Sequence[str] | None) -> list[Stage]:
    """The stages of these names, in their order; all without names."""
    for name in names or ():
        if name not in config.stages:
            raise ValueError(f"stages: {name!r} is not one of {', '.join(config.stages) or 'none'}")
    if not config.stages:
        raise ValueError("stages: the configuration has none")
    return [stage_of(name, config.stages[name], config.seed) for name in (config.stages if names is None else names)]


def stage_of(name: str, given: StageConfig, seed: int) -> Stage:
    """A stage from its section of the YAML; the configuration's seed stands in for its own."""
    values = {item.name: getattr(given, item.name) for item in fields(given)}
    known = {item.name for item in fields(Stage)}
    for item in fields(given):
        if item.name not in known and values.pop(item.name) != item.default:
            raise ValueError(f"stages.{name}.{item.name}: this version of the trainer does not know it")
    return Stage(**{**values, "name": name, "seed": seed if values.get("seed") is None else values["seed"]})


def feeds_of(stage: Stage, config: Config) -> tuple[list[Feed], list[float]]:
    """The stage's feeds and weights: names of `data:` with a weight, or whole nodes, which may carry one."""
    feeds, weights = [], []
    for name, value in stage.data.items():
        node = dict(value) if isinstance(value, Mapping) else dict(config.data[name])
        weights.append(float(node.pop("weight", 1.0) if isinstance(value, Mapping) else value))
        feeds.append(feed(name, node))
    return feeds, weights


def lengths(feeds: Sequence[Feed]) -> Callable[[Draw], int]:
    """About how long the sample of a draw will be, to put draws of like length into one batch."""
    known: dict[tuple[int, int], int] = {}

    def length(draw: Draw) -> int:
        place = (draw.source, draw.record)
        if place not in known:
            known[place] = length_of(feeds[draw.source].source, draw.record)
        return known[place]

    return length


def settings_of(config: Config) -> dict[str, str]:
    """What each output's decoder was built with, as text."""
    return {key: f"{port.decoder.type} {sorted(port.decoder.kwargs.items())}" for key, port in config.outputs.items()}

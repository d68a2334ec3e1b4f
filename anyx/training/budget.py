"""What a stage takes on a device as a whole: does it fit, hours with the filling of the cache, disk.

The number of records and of media in them is read from the stage's sources where these are here, else given. Every
medium is taken for another one, and goes once through its frozen encoder. Several devices hold the whole model each,
share the records, and send each other their gradients once a step (ring all-reduce).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anyx.config import Config
from anyx.data.sources import UNREADABLE, Feed
from anyx.prompt import parts_of
from anyx.schema import Stage
from anyx.training.devices import Device
from anyx.training.forecast import Once, Step
from anyx.training.plan import feeds_of
from anyx.training.rehearsal import Memory, Work

LOOKED_AT = 256  # records of a source whose media are counted


@dataclass(frozen=True)
class Budget:
    """Bytes and seconds. `steps`, `filling` and `cache` are None where nobody knows how many records there are."""

    held: float  # of each device's memory
    step: float  # an optimiser step
    steps: int | None
    filling: float | None
    cache: float | None

    @property
    def seconds(self) -> float | None:
        """The whole stage."""
        return None if self.steps is None else self.steps * self.step + (self.filling or 0.0)


@dataclass(frozen=True)
class Amounts:
    """Records of a stage, and media by key that its encoders hear."""

    records: int
    media: Mapping[str, float]


def amounts(stage: Stage, config: Config, records: int | None) -> Amounts | None:
    """What is there; of `records`, where they are given, each has one medium, of every key as often."""
    if records is not None:
        return Amounts(records, {key: records / len(config.inputs) for key in config.inputs})
    try:
        feeds, _ = feeds_of(stage, config)
    except (ValueError, OSError):
        return None  # the data are not here; a plan does not need them
    media: Counter[str] = Counter()
    for feed in feeds:
        for key, count in shown(feed, config.inputs).items():
            media[key] += count  # type: ignore[assignment]  # a share of the records
    return Amounts(sum(len(feed.source) for feed in feeds), media)


def shown(feed: Feed, keys: Mapping[str, object]) -> dict[str, float]:
    """Media by key in all records of a feed, by some of them that lie evenly."""
    step = max(1, len(feed.source) // LOOKED_AT)
    looked = range(0, len(feed.source), step)
    found: Counter[str] = Counter()
    for index in looked:
        try:
            messages = feed.source[index].get("messages", ())
            found.update(part["type"] for message in messages for part in parts_of(message) if part["type"] in keys)
        except UNREADABLE:
            continue
    return {key: count / len(looked) * len(feed.source) for key, count in found.items()}


def budget(
    stage: Stage, step: Step, device: Device, there: Amounts | None, once: Mapping[str, Once], *, devices: int = 1
) -> Budget:
    """The stage on so many devices."""
    sent = 2 * step.memory.gradients * (devices - 1) / devices / device.link
    seconds = stage.accumulate * step.seconds(device) + sent
    steps = stage.steps
    if steps is None and there is not None:
        steps = max(1, stage.length(there.records) // devices)
    filling = cache = None
    if there is not None:
        kept = {key: there.media.get(key, 0.0) for key in once} if stage.cache else {}
        works = {key: Work("products", medium.dtype, medium.operations, medium.kept) for key, medium in once.items()}
        filling = sum(count * device.takes(works[key]) for key, count in kept.items()) / devices
        cache = sum(count * once[key].kept for key, count in kept.items())
    return Budget(device.holds(step.memory), seconds, steps, filling, cache)


def advice(stage: Stage, memory: Memory, device: Device) -> Sequence[str]:
    """What to change where a stage does not fit, in the words of the YAML; nothing where it does."""
    room, held = device.memory, device.holds(memory)
    if held <= room:
        return []
    spare = room - device.holds(memory._replace(activations=0))
    said = []
    if spare > 0:
        rows = int(stage.batch_size * spare / (held - room + spare))
        if rows:
            factor = -(-stage.batch_size // rows)
            said.append(f"batch_size={rows}, accumulate={stage.accumulate * factor}")
        if not stage.gradient_checkpointing:
            said.append("gradient_checkpointing=true")
    if memory.weights > room / 2:
        said.append("llm.dtype=bfloat16 if it is float32, fewer parts, or devices that share the weights")
    if memory.gradients + memory.optimizer > room / 2:
        said.append("let less learn (llm.lora in the place of llm.body)")
    return said

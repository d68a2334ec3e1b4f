"""What a score is: figures by name, what they depend on, and one value an item, from which errors are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """Figures of one metric over `n` items.

    `by` names what else a figure depends on, versioned where it could change: `{"parser": "mme@official"}`. `figures`
    are by name, the one to compare first; None where nothing could be measured. `items` are values one an item (1.0 or
    0.0 for right or wrong), where the first figure is `scale` times their mean, and `clusters` the source item of each,
    where several came of one: confidence intervals and paired tests read these. `share` says that no item can be below
    0 or above 1, whatever those here are.
    """

    metric: str
    by: Mapping[str, str]
    figures: Mapping[str, float | None]
    n: int
    items: Sequence[float] = ()
    clusters: Sequence[str] = ()
    scale: float = 1.0
    share: bool = False
    details: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)  # figures by subset

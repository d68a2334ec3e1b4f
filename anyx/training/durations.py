"""Lengths of time as people and Slurm write them."""

from __future__ import annotations

import re

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def seconds_of(limit: str) -> float:
    """`2h`, `90m`, `1h30m`, `45s`, `00:45:00` or `1-00:00:00`, as Slurm writes days."""
    text = limit.strip().lower()
    if match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text):
        numbers = [int(number or 0) for number in match.groups()]
        total = float(sum(number * unit for number, unit in zip(numbers, UNITS.values(), strict=True)))
    elif re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        total = sum(float(number) * UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([dhms])", text))
    else:
        raise ValueError(f"max_time: {limit!r} is no time such as 2h, 90m, 1h30m or 00:45:00")
    if not total:
        raise ValueError(f"max_time: {limit!r} is no time at all")
    return total

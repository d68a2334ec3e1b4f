"""`make bench`: every goal of the engine, measured in one run, into `experiments/benchmarks/README.md`.

Each benchmark runs in a process of its own, one after the other, so that nothing of one is in the memory or the caches
of the next. A benchmark is a file beside this one with `figures(quick)`; what it says is a line of the table.

    python experiments/benchmarks/bench.py [--quick] [--only stages packing] [--threads 2]
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from anyx.training.stage import cpu_has_bf16

HERE = Path(__file__).parent
README = HERE / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
BENCHMARKS = (
    "stages", "memory", "packing", "generation", "planner", "flags", "dummy_branch", "loading", "saving", "scaling",
)  # fmt: skip


def facts() -> str:
    """The machine."""
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    bf16 = "with" if cpu_has_bf16() else "without"
    return (
        f"{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} cores of {name} ({bf16} bf16 instructions), "
        f"{torch.get_num_threads()} threads, {memory:.0f} GiB, torch {torch.__version__}"
    )


def run(name: str, quick: bool, threads: int) -> list[dict[str, Any]]:
    """One benchmark's figures, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--figures", name, "--threads", str(threads)]
    done = subprocess.run([*command, *(["--quick"] if quick else [])], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [{"goal": name, "bar": "runs", "value": None, "quartiles": None, "pairs": 0, "met": False, "note": last}]
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def number(value: Any) -> str:
    """As few digits as say it."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def said(figure: Mapping[str, Any]) -> str:
    """Whether a goal is met; nothing where there is only a figure."""
    met = figure["met"]
    return "" if met is None else "yes" if met else "no; profile" if figure.get("profile") else "no"


def tally(figures: list[dict[str, Any]]) -> str:
    """How many goals are met."""
    goals = [figure["met"] for figure in figures if figure["met"] is not None]
    profiled = sum(said(figure) == "no; profile" for figure in figures)
    more = f", {profiled} with a profile of what bounds it" if profiled else ""
    return f"{sum(goals)} of {len(goals)} goals met{more}"


def table(figures: list[dict[str, Any]], seconds: float) -> str:
    """The figures as Markdown."""
    lines = [
        f"{facts()}. {tally(figures)}; {seconds / 60:.0f} minutes.",
        "",
        "| goal | bar | measured | quartiles | pairs | met | |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        spread = "" if figure["quartiles"] is None else "-".join(number(x) for x in figure["quartiles"])
        cells = (figure["goal"], figure["bar"], f"**{number(figure['value'])}**", spread, str(figure["pairs"]))
        lines.append(f"| {' | '.join(cells)} | {said(figure)} | {figure['note']} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table where the README has its place."""
    given = README.read_text()
    before, _, rest = given.partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs")
    parser.add_argument("--only", nargs="+", default=BENCHMARKS, choices=BENCHMARKS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    parser.add_argument("--figures", choices=BENCHMARKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.figures:
        print(json.dumps(importlib.import_module(given.figures).figures(given.quick)))
        return
    console, start, found = Console(), time.monotonic(), []
    for name in given.only:
        began = time.monotonic()
        with console.status(name):
            figures = run(name, given.quick, given.threads)
        found += figures
        for figure in figures:
            mark = said(figure) or "--"
            console.print(f"{mark} {figure['goal']}: {number(figure['value'])} ({figure['bar']}) {figure['note']}")
        console.print(f"[dim]{name}: {time.monotonic() - began:.0f} s[/]")
    if tuple(given.only) == BENCHMARKS and not given.quick:
        write(table(found, time.monotonic() - start))
    console.print(f"{tally(found)}, {time.monotonic() - start:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    sys.exit(any(said(figure) == "no" for figure in found))


if __name__ == "__main__":
    main()

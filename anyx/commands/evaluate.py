"""`anyx evaluate`: the measurements that an experiment's evaluation.yaml names, resumable record by record."""

import json
from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def evaluate(
    experiment: Annotated[Path, typer.Argument(help="A folder with an evaluation.yaml.")],
    overrides: options.Overrides = None,
    out: options.Out = Path("out/evaluation"),
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="The trained model; default: the one that the YAML names.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every concept, not the YAML's fixed choice.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many concepts a cell; for a quick look.")] = None,
    score_only: Annotated[
        bool, typer.Option("--score-only", help="Score the records in --out again; no model is loaded.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Two folders with records of the same requests: paired tests, cell by cell."),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = None,
) -> None:
    """Measure the 4 x 4 matrix: what goes in, what comes out, and how often it is right.

    A stopped run continues where it was: finished records are kept in --out, with every medium beside them, and can be
    scored again, by other judges too, without the model. Where the YAML has floors and a cell is below its own, the
    exit code is 1.

    \b
    anyx evaluate experiments/emoji --out out/evaluation
    anyx evaluate experiments/emoji --model runs/emoji --limit 5
    anyx evaluate experiments/emoji batch=32 max_new_tokens=24
    anyx evaluate experiments/emoji --out out/evaluation --score-only
    anyx evaluate experiments/emoji --compare out/before out/after --out out/compared
    """
    from anyx.evaluation.run import compare as versus
    from anyx.evaluation.run import evaluate as measure
    from anyx.evaluation.run import score

    if everything and limit is not None:
        raise ValueError(f"--all, --limit {limit}: one of the two is allowed")
    if compare is not None:
        found = versus(experiment, compare, overrides or ())
        out.mkdir(parents=True, exist_ok=True)
        (out / "comparison.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        console.print(str(out / "comparison.json"), style="cyan", markup=False, highlight=False)
        return
    if score_only:
        found = score(experiment, out, overrides or ())
    else:
        found = measure(
            experiment,
            out,
            overrides or (),
            model=model,
            all=everything,
            limit=limit,
            seed=seed,
            device=options.pick_device(device),
        )
        for name in ("matrix.json", "report.html"):
            console.print(str(out / name), style="cyan", markup=False, highlight=False)
    for cell in found["below"]:
        console.print(cell, style="red", markup=False, highlight=False)
    if found["below"]:
        raise typer.Exit(1)

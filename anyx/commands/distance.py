"""`anyx distance`: how far the media in one folder lie from those in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands import options
from anyx.commands.aids import parted
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.scoring.lpips import Lpips


def distance(
    real: Annotated[Path, typer.Argument(help="A folder of real media: pictures, sounds or clips, at any depth.")],
    made: Annotated[Path, typer.Argument(help="A folder of those that a model made, of the same kind.")],
    metric: Annotated[
        str,
        typer.Option(
            help="One or more, by commas: kid, frechet, inception_score, kl, psnr, ssim, lpips, mcd, similarity, "
            "clipsim, clip-s@hessel, consistency."
        ),
    ] = "kid,frechet",
    embedder: Annotated[
        str,
        typer.Option(
            metavar="NAME[,key=value]...",
            help="What makes features or logits: handcrafted, random-conv, or of local weights inception, vggish, "
            "cnn14 (path=FILE), clip (path=FOLDER); or module:Class.",
        ),
    ] = "handcrafted",
    lpips: Annotated[
        str | None,
        typer.Option(metavar="FILE,heads=FILE[,net=alex]", help="Safetensors of VGG16 or AlexNet, and LPIPS' heads."),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="A JSON object of texts by a medium's name, for clipsim and clip-s@hessel.")
    ] = None,
    out: options.Out = Path("out/distance"),
    seed: options.Seed = 0,
    device: options.Device = None,
) -> None:
    """Measure how far made media lie from real ones: FID, KID, FAD, inception score, PSNR, LPIPS and more.

    Sets: kid, frechet (FID and FAD are this, over an embedder each), inception_score. Read a Frechet distance against
    its floor, that of real media among themselves: few media inflate both. KID is unbiased.

    Pairs, told by name (a/1.png and b/1.jpg): kl, psnr, ssim, lpips, mcd of sounds, similarity (the cosine of
    features). Against texts: clipsim, clip-s@hessel. Of clips by themselves: consistency.

    Nothing is downloaded, and of a file of weights nothing is run: the figure names the embedder with a digest of
    them. The figures of one embedder compare with each other alone. In --out lies result.json.

    \b
    anyx distance real made
    anyx distance real made --embedder inception,path=pt_inception.pth --metric frechet,kid,inception_score
    anyx distance sounds said --embedder vggish,path=vggish-10086976.pth,pooled=false --metric frechet
    anyx distance sounds said --embedder cnn14,path=Cnn14_16k_mAP=0.438.pth --metric frechet,inception_score,kl
    anyx distance real made --metric psnr,ssim,lpips --lpips vgg16.safetensors,heads=lpips-vgg.safetensors
    anyx distance real made --embedder clip,path=clip-vit-base-patch32 --metric clipsim --captions texts.json
    """
    from anyx.evaluation.distances import Measures, distances

    own, tool = parted("--embedder", embedder)
    measures = Measures(
        {**own, **tool},
        None if lpips is None else _lpips(lpips),
        None if captions is None else _captions(options.there("--captions", captions)),
        options.pick_device(device),
    )
    found = distances(real, made, [one.strip() for one in metric.split(",")], measures, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _show(found)
    console.print(str(out / "result.json"), style="cyan", markup=False, highlight=False)


def _lpips(text: str) -> Lpips:
    from anyx.evaluation.embedding import built
    from anyx.scoring.lpips import Lpips

    own, tool = parted("--lpips", text)
    made: Lpips = built(Lpips, {**own, **tool}, "--lpips")
    return made


def _captions(file: Path) -> dict[str, str]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--captions: {file} is no JSON: {error}") from error
    if not isinstance(held, dict) or not all(isinstance(text, str) for text in held.values()):
        raise ValueError(f"--captions: {file} is to hold a JSON object of texts by a medium's name")
    return held


def _show(found: dict[str, Any]) -> None:
    """A table of the figures, with what each depends on under it."""
    from rich.table import Table

    from anyx.benchmarks.results import number

    table = Table(title=f"{found['made']} made beside {found['real']} real ({found['kind']})")
    for head in ("figure", "value", "95%"):
        table.add_column(head, justify="left" if head == "figure" else "right")
    for result in found["results"]:
        for place, (name, value) in enumerate(result["figures"].items()):
            bounds = result["interval"] if not place else None
            figure = name if not place else f"  {name}"
            table.add_row(figure, number(value), f"{number(bounds[0])} to {number(bounds[1])}" if bounds else "")
    console.print(table)
    for by in dict.fromkeys(result["by"].get("embedder", "") for result in found["results"]):
        if by:
            console.print(f"by {by}", markup=False, highlight=False)

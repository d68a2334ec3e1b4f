"""What several commands share: the words of their options, and how a request and a model are made from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from anyx.interfaces import Media

MODEL = Path("experiments/emoji/model")
OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[\w*-]+|\[[^\]=]+\])+=")  # a key with dots or brackets; `x=5` may be a question

console = Console()

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[a.b=c]...",
        help="Values that replace the YAML's, e.g. stages.encode.batch_size=8; an item of a list by its number: "
        "llm.lora.targets.0=v_proj; a key with dots in brackets: 'stages.encode.train\\[inputs.*.projector]=1e-4'.",
    ),
]
ModelOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[a.b=c]...", help="Values that replace the model's own, e.g. outputs.image.decoder.steps=30."
    ),
]
ModelFolder = Annotated[
    Path, typer.Option("--model", "-m", help="A folder written by training or save_pretrained, or a Hub id.")
]
Served = Annotated[str, typer.Argument(help="A folder written by training or save_pretrained, or a Hub id.")]
Host = Annotated[
    str, typer.Option(help="The address to listen on; another than loopback opens it to a network, 0.0.0.0 to all.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="A name that callers may use for this machine, such as a proxy's; repeatable."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder that receives the files; made when missing.")]
Seed = Annotated[int, typer.Option(help="Noise and sampling start here: one seed, one answer.")]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        help="The reply ends after this many tokens at the latest. Default, as of the next: `sampling` of the "
        "model's YAML, or 128."
    ),
]
Temperature = Annotated[
    float | None, typer.Option(help="0 picks the likeliest token (greedy); 1 samples as the LLM does. Default: 0.")
]
TopP = Annotated[float | None, typer.Option(help="Sample among the likeliest tokens of this share; default: 1, all.")]
TopK = Annotated[int | None, typer.Option(help="Sample among so many of the likeliest tokens; default: 0, all.")]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1, words of the reply are said again less; default: 1, none.")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Denoising steps of every decoder; default: each decoder's own.")
]
Guidance = Annotated[float | None, typer.Option(min=0.0, help="Classifier-free guidance; default: each decoder's own.")]
Decode = Annotated[
    list[str] | None,
    typer.Option(
        "--decode",
        metavar="KEY.NAME=VALUE",
        help="How one output is made, e.g. image.size=512x256 (WIDTHxHEIGHT, or HEIGHT,WIDTH), video.frames=8, "
        "audio.seconds=5; repeatable. A decoder that does not take NAME says what it takes.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best one present.")]


def first_word(given: str, default: str, overrides: Sequence[str] | None) -> tuple[str, list[str]]:
    """An optional word and the overrides after it; a word that is itself an override (`a.b=c`) is the first of them."""
    if OVERRIDE.match(given):
        return default, [given, *(overrides or ())]
    return given, list(overrides or ())


def no_model(words: str, command: str) -> str:
    """Words that are asked; ValueError where they are the folder of a model, which `command` takes by --model."""
    if words and "\n" not in words and len(words) < 255 and (Path(words) / "config.yaml").is_file():
        raise ValueError(f'{words} is the folder of a model, and no request: {command} --model {words} "WORDS"')
    return words


def pick_device(name: str | None) -> str:
    """The device asked for, or the best one present; ValueError where it is not here."""
    import torch

    graphics = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    present = graphics if torch.cuda.is_available() else []
    present += [*(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
    if name is not None and name not in present:
        raise ValueError(f"--device: {name!r} is not one of {', '.join(present)}, which are here")
    return name or present[0]


def named_paths(
    media: dict[str, Sequence[Path] | None], inputs: Sequence[str] | None, *, folders: bool = False
) -> list[tuple[str, Path]]:
    """`--image a.png --input depth=b.png` -> [("image", a.png), ("depth", b.png)], each file, or folder, there."""
    pairs = [
        (key, path if folders and path.is_dir() else there(f"--{key}", path))
        for key, paths in media.items()
        for path in paths or ()
    ]
    for text in inputs or ():
        key, sign, place = text.partition("=")
        if not (key and sign and place):
            raise ValueError(f"--input {text!r} is not of the form key=path")
        path = Path(place)
        pairs.append((key, path if folders and path.is_dir() else there(f"--input {text}", path)))
    return pairs


def there(asked: str, path: Path) -> Path:
    """The path of a file, if there is one; `asked` is where the user named it."""
    if not path.is_file():
        raise ValueError(f"{asked}: there is no file '{path}'")
    return path


def user_turn(prompt: str, media: Sequence[tuple[str, Path | Media]], allowed: Sequence[str]) -> dict[str, Any]:
    """One user message in the Hugging Face chat form: the media first, then the words."""
    for key, source in media:
        if key not in allowed:
            raise ValueError(f"{source}: this model reads {', '.join(allowed) or 'text only'}, not '{key}'")
    parts: list[dict[str, Any]] = [
        {"type": key, "path": str(source)} if isinstance(source, Path) else {"type": key, "media": source}
        for key, source in media
    ]
    if prompt:
        parts.append({"type": "text", "text": prompt})
    if not parts:
        raise ValueError("nothing was asked: give a prompt, or at least one --image, --audio, --video or --input")
    return {"role": "user", "content": parts}


def decode_options(
    outputs: Sequence[str], steps: int | None, guidance: float | None, said: Sequence[str] | None = None
) -> dict[str, Any]:
    """`--steps` and `--guidance` for every output of the model, `--decode key.name=value` for one."""
    from anyx.yamls import dotted

    every = {name: value for name, value in (("steps", steps), ("guidance", guidance)) if value is not None}
    made: dict[str, Any] = {key: dict(every) for key in outputs} if every else {}
    for key, settings in dotted(said or ()).items():
        made[key] = made[key] | settings if key in made and isinstance(settings, dict) else settings
    return made

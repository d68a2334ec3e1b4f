"""`anyx run`: one request, one reply, its media in files; or many, with a manifest of what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from anyx.commands import loading, options
from anyx.commands.options import console

NOT_MADE, INTERRUPTED = 3, 130  # codes to end with, beside 0, 1 (some failed) and 2 (a mistake in what was typed)

if TYPE_CHECKING:
    from anyx.backends import WholeModel
    from anyx.commands.manifest import Line
    from anyx.interfaces import Media
    from anyx.model import AnyX


def run(
    prompt: Annotated[str, typer.Argument(help="The words of the request; - reads requests from stdin.")] = "",
    overrides: options.ModelOverrides = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture to read, or a folder of such; repeatable.")
    ] = None,
    audio: Annotated[
        list[Path] | None, typer.Option(help="A sound or speech file to read, or a folder of such; repeatable.")
    ] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A clip to read, or a folder of such; repeatable.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="key=path, for any other input of the model: a depth map (16-bit PNG), readings of a sensor (npy, "
            "CSV, or npz, which holds their rate too); repeatable.",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What is asked for, as the model's template knows it: vqa, grounding, refer, ...")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X0,Y0,X1,Y1",
            help="A box of the picture, in pixels, where {box} stands in the words, or at their end; repeatable.",
        ),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="One request a file, with the same words; folders imply it.")
    ] = False,
    requests: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.jsonl",
            help='A request a line: {"id", "messages"} or {"id", "prompt", "image": PATH or [PATH, ...], ...}, and '
            '"seed"; - is stdin.',
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: leave out what the manifest has answered.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the manifest's lines, and nothing else, to stdout.")
    ] = False,
    expect: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="An output that every reply should hold: image; repeatable.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered side by side.")] = 8,
    model: options.ModelFolder = options.MODEL,
    out: options.Out = Path("out"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    repetition_penalty: options.RepetitionPenalty = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decode: options.Decode = None,
    device: options.Device = None,
    dtype: loading.DTypeOption = None,
    offload: loading.OffloadOption = None,
    quantize: loading.QuantizeOption = None,
) -> None:
    """Answer requests: text, pictures, sound and clips in and out.

    \b
    anyx run "Draw a penguin." --out out/
    anyx run --image cow.png "What is this? Say it aloud."
    anyx run --audio moo.wav --seed 7 "Show me what this is, moving."
    anyx run --input imu=walk.npz "What is this person doing?"
    anyx run "Draw a penguin." --decode image.guidance=3 --decode image.steps=30
    anyx run "Draw a penguin." outputs.image.decoder.guidance=3
    anyx run --audio moo.wav outputs.image.decoder.steps=5
    anyx run --model configs/models/llava15_hf.yaml --image cow.png "What is this?"
    anyx run -m models/minigpt_v2 --image farm.jpg --task refer "the cow"
    anyx run -m models/minigpt_v2 --image farm.jpg --task identify --box 10,20,110,220 "what is this {box}"

    Boxes in the answer are written to boxes.json, in pixels, and drawn on the picture, boxes.png.

    Many requests: a folder, --each, or lines of JSON. Files are <id>_<number>_<key>.<suffix>, manifest.jsonl has a line
    a request.

    \b
    anyx run --image photos/ "What is this?" --out out/photos --resume
    anyx run --requests asked.jsonl --out out/asked --batch-size 16 --json
    make-requests | anyx run - --expect image --out out/drawn

    Ends with 0: all answered; 1: some failed, the manifest says why, the others are done; 2: a mistake in what was
    typed; 3: a reply lacks what --expect names; 130: interrupted, --resume goes on.
    """
    words, values = options.first_word(options.no_model(prompt, "anyx run"), "", overrides)
    media = options.named_paths({"image": image, "audio": audio, "video": video}, inputs, folders=True)
    lines = "-" if words == "-" and requests is None else requests
    many = lines is not None or each or any(path.is_dir() for _, path in media)
    how: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
    }
    asked = Asked("" if words == "-" else words, media, task, box or (), seed)
    if lines is not None and (asked.words or media or task or box):
        raise ValueError("--requests: its lines say all that is asked; no words, media, --task or --box beside them")
    if resume and not (many or json):
        raise ValueError("--resume: of many requests (a folder, --each, --requests), or with --json")
    identity = {"model": str(model), "values": values, "dtype": dtype, "quantize": quantize}
    try:
        loaded = loading.load_answering(model, loading.Loading(device, dtype, offload, quantize), values)
        how |= {"decode": options.decode_options(list(loaded.outputs), steps, guidance, decode)}
        if unknown := [key for key in expect or () if key not in ("text", *loaded.outputs)]:
            raise ValueError(f"--expect: {unknown[0]!r} is not one of {', '.join(('text', *loaded.outputs))}")
        if many or json:
            manner = Manner(resume, json, tuple(expect or ()), batch_size, each)
            several(loaded, asked, lines, how, identity, out, manner)
        else:
            one(loaded, asked, how, out, expect or ())
    except KeyboardInterrupt:
        typer.secho("interrupted" + ("; --resume goes on" if many else ""), fg=typer.colors.RED, err=True)
        raise typer.Exit(INTERRUPTED) from None


class Asked(NamedTuple):
    """What the command line asks."""

    words: str
    media: list[tuple[str, Path]]
    task: str | None
    boxes: Sequence[str]
    seed: int


class Manner(NamedTuple):
    """How many requests are gone through."""

    resume: bool
    json: bool
    expect: tuple[str, ...]
    batch_size: int
    each: bool


def one(loaded: AnyX | WholeModel, asked: Asked, how: Mapping[str, Any], out: Path, expect: Sequence[str]) -> None:
    """Answer one request, and print what is said and the files of it."""
    from anyx.commands import boxes
    from anyx.model import AnyX

    places, config = boxes.numbers(asked.boxes), loaded.config if isinstance(loaded, AnyX) else None
    ground = boxes.ground_of(config.inputs if config else {}, asked.media, places)
    words = in_task(loaded, asked.task, boxes.with_boxes(asked.words, places, ground))
    sent: list[tuple[str, Path | Media]] = [*asked.media]
    if ground and ground.image:
        sent[ground.number] = (asked.media[ground.number][0], ground.image)
    turn = options.user_turn(words, sent, list(loaded.inputs))
    reply = loaded.chat([turn], seeds=asked.seed, **how)
    if reply.text:
        console.print(reply.text, markup=False, highlight=False)
    files, malformed = boxes.save(ground, reply.text, out) if ground else ([], 0)
    if malformed:
        console.print(f"{malformed} boxes of the answer are malformed", style="yellow", highlight=False)
    for path in [*reply.save(out), *files]:
        console.print(str(path), style="cyan", markup=False, highlight=False)
    if missing := [key for key in expect if key not in reply.keys]:
        typer.secho(f"without what was asked for: {', '.join(missing)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(NOT_MADE)


def several(
    loaded: AnyX | WholeModel,
    asked: Asked,
    lines: str | None,
    how: Mapping[str, Any],
    identity: Mapping[str, Any],
    out: Path,
    manner: Manner,
) -> None:
    """Answer many requests; ends with the code that says how that went."""
    from anyx.commands import answering, requests
    from anyx.commands.manifest import Manifest
    from anyx.model import AnyX

    if asked.boxes:
        raise ValueError("--box: of one request, whose picture it is in")
    inputs = list(loaded.inputs)
    if lines is not None:
        wanted = requests.of_lines(lines, inputs, asked.seed)
    else:
        words = in_task(loaded, asked.task, asked.words)
        options.user_turn(words, asked.media, inputs)
        alone = [manner.each or path.is_dir() for _, path in asked.media]
        kinds, files = answering.kinds_of(loaded), []
        for (key, path), by in zip(asked.media, alone, strict=True):
            found, left = requests.files_of(key, path, kinds[key]) if by else ([], [])
            files += found
            if left:
                told = f"--{key}: {len(left)} of {len(left) + len(found)} files in '{path}' left out by their suffix"
                typer.echo(f"{told}: {requests.few(left)}", err=True)
        beside = [given for given, by in zip(asked.media, alone, strict=True) if not by]
        wanted = requests.of_files(words, beside, files, asked.seed)
    if not wanted:
        raise ValueError("nothing was asked: there is no request")

    def tell(line: Line) -> None:
        if manner.json:
            typer.echo(line.json())
        elif line.error is not None:
            console.print(f"{line.id}: error: {line.error}", style="red", markup=False, highlight=False, soft_wrap=True)
        else:
            shown = " ".join(str(out / file) for file in line.files if not file.endswith(".txt"))
            console.print(f"{line.id}: {line.text.strip()} {shown}", markup=False, highlight=False, soft_wrap=True)

    manifest = Manifest(out, resume=manner.resume)
    with loaded.merged() if isinstance(loaded, AnyX) else nullcontext():
        code = answering.answer(
            loaded,
            wanted,
            manifest,
            how=how,
            identity=identity,
            batch_size=manner.batch_size,
            expect=manner.expect,
            tell=tell,
        )
    if code:
        raise typer.Exit(code)


def in_task(loaded: AnyX | WholeModel, task: str | None, words: str) -> str:
    """The words as a task of the model's template asks them."""
    from anyx.model import AnyX

    if task is None:
        return words
    if not isinstance(loaded, AnyX):
        raise ValueError(f"--task {task}: a whole model of transformers has no tasks; say it in the words")
    return loaded.processor.prompt.template.asked(task, words)

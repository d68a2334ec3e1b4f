"""`anyx benchmark`: a model on the released files of a benchmark, its score, two runs against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands import loading, options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.benchmarks.judges import TextJudge

Runs = tuple[Path, Path] | None


def benchmark(
    name: Annotated[str, typer.Argument(help="Which; `anyx benchmark list` lists them.")],
    overrides: options.ModelOverrides = None,
    data: Annotated[Path | None, typer.Option(help="The folder with its released files, unpacked.")] = None,
    out: options.Out = Path("out/benchmark"),
    model: options.ModelFolder = options.MODEL,
    split: Annotated[
        str | None, typer.Option(help="Of several splits: a word in the names of their files, such as val or test.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many pictures or questions, spread evenly; for a quick look.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="So many samples are answered side by side.")] = 8,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest reply in tokens; default: the benchmark's own.")
    ] = None,
    parser: Annotated[
        str | None, typer.Option(help="What reads the answers (mme@lmms, ptb-java); default: the published one.")
    ] = None,
    score_only: Annotated[
        bool, typer.Option("--score-only", help="Score the records in --out again; no model is loaded.")
    ] = False,
    compare: Annotated[Runs, typer.Option(help="Two folders with records: a paired test of A less B.")] = None,
    rank: Annotated[Runs, typer.Option(help="Two folders with records: how often a judge puts A before B.")] = None,
    brought: Annotated[
        Path | None,
        typer.Option("--import", help="A folder that lmms-eval wrote: its --output_path, with --log_samples."),
    ] = None,
    judge_file: Annotated[Path | None, typer.Option(help="JSONL of what a judge said; nobody is asked.")] = None,
    judge_url: Annotated[
        str | None, typer.Option(help="A server to ask, OpenAI-compatible, such as http://localhost:8000/v1.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's name on that server, or in that file.")] = None,
    judge_key: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="The environment variable that holds the server's key.")
    ] = None,
    judge_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server, 5 times.")] = 60,
    judge_prompt: Annotated[
        Path | None,
        typer.Option(help="A text to ask the judge by, with {question} {context} {reference} {prediction}."),
    ] = None,
    correct: Annotated[
        str | None,
        typer.Option(
            metavar="DETECTOR,words=FILE", help="Score replies put right by what a detector finds, beside the raw ones."
        ),
    ] = None,
    marks: Annotated[
        str | None, typer.Option(metavar="SEGMENTER[,mode=MODE]", help="Ask about pictures with numbered regions.")
    ] = None,
    chair: Annotated[
        str | None, typer.Option(metavar="SYNONYMS,objects=FILE", help="Measure CHAIR of captions, too.")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = None,
) -> None:
    """Run a benchmark of understanding from its released files, and score the records.

    A score hangs on what reads the answers and on the words of the question: both stand in the result. A stopped run
    goes on where it was. Records are scored without the model, by another parser too: the same MME answers are worth
    1078 or 1163. Broken or missing pictures are counted, not scored. In --out lie records.jsonl (what was asked and
    said), skipped.jsonl, and result.json.

    Results of lmms-eval's tasks are brought in by --import, under the task's name; two such runs compare too.

    Long answers (llava-bench, mm-vet) are scored by a judge. Nothing leaves this machine unless --judge-url, or a URL
    of --correct, is given; what a judge said is kept in judgements.jsonl, from which --judge-file scores again.

    --correct takes a Grounding DINO (a folder, or module:Class of one's own) and the names of things, a line each, or
    a language model: language=URL,model=NAME,key=VARIABLE or language=said.jsonl; answerer=MODEL looks at colours.
    --marks takes a SAM; its mode is mask, contour, box or number. Old records can be corrected without their model;
    marks are of the question.

    \b
    anyx benchmark mme --data MME_Benchmark_release_version --model runs/mine --out out/mme
    anyx benchmark mme --out out/mme --score-only --parser mme@lmms
    anyx benchmark mmbench --data mmbench --limit 20
    anyx benchmark vqav2 --data vqa --split val --batch 32
    anyx benchmark mme --compare out/mme out/before --out out/compared
    anyx benchmark mme --import lmms --out out/lmms-mme
    anyx benchmark mm-vet --out out/mm-vet --score-only --judge-url https://api.example.com/v1 --judge-model gpt-4 \
--judge-key API_KEY
    anyx benchmark mm-vet --rank out/mm-vet out/before --judge-file judged.jsonl
    anyx benchmark pope --out out/pope --score-only --correct grounding-dino-tiny,words=coco.txt,threshold=0.3
    anyx benchmark refcoco --data refcoco --marks sam-vit-base,mode=box,side=32
    anyx benchmark coco --out out/coco --score-only --chair synonyms.json,objects=instances_val2017.json
    """
    from anyx.benchmarks import benchmark as measure
    from anyx.benchmarks import compare as versus
    from anyx.benchmarks import imported, score
    from anyx.benchmarks import rank as ranked
    from anyx.benchmarks.choices import ready
    from anyx.benchmarks.table import BENCHMARKS
    from anyx.benchmarks.table import benchmark as named
    from anyx.commands.aids import aids

    if name == "list":
        for known, (_, about) in BENCHMARKS.items():
            console.print(
                f"{known:18} {about}; --data: {named(known).holds}", markup=False, highlight=False, soft_wrap=True
            )
        return
    if brought is not None:
        imported(name, brought, out)
        console.print(str(out / "result.json"), style="cyan", markup=False, highlight=False)
        return
    if compare is None:
        named(name)  # imported runs are of tasks that are not ours
    judge = _judge(judge_file, judge_url, judge_model, judge_key, judge_timeout)
    if judge is not None and not compare and not rank and named(name).review is None:
        raise ValueError(f"--judge-file, --judge-url: {name} is scored without a judge; --rank asks one")
    if rank and (parser or judge_prompt):
        raise ValueError(
            "--rank: the judge is asked in words of its own and read by its own parser; leave out "
            "--judge-prompt and --parser"
        )
    if (compare or rank) and (correct or marks or chair):
        raise ValueError("--compare, --rank: --correct, --marks and --chair are of one run; they are not allowed here")
    if score_only and marks is not None:
        raise ValueError("--marks: marks are of the question; records without them cannot get some by --score-only")
    if compare is not None:
        _write(versus(name, compare, parser=parser, judge=judge, judge_prompt=judge_prompt), out / "comparison.json")
        return
    if rank is not None:
        if judge is None:
            raise ValueError("--rank: a judge ranks; name one by --judge-file, or --judge-url and --judge-model")
        _write(ranked(name, rank, judge, out / "judgements.jsonl"), out / "ranking.json")
        return
    if score_only:
        helped = aids(name, correct, None, chair, device, out)
        score(name, out, parser=parser, judge=judge, judge_prompt=judge_prompt, aids=helped)
    else:
        if data is None:
            raise ValueError(f"--data: the folder with the files of {name} is missing: {named(name).holds}")
        ready(name, data, split, parser, judge_prompt)
        helped = aids(name, correct, marks, chair, device, out)
        answering, identity = _model(model, device, overrides)
        found = measure(
            name,
            data,
            out,
            model=answering,
            identity=identity,
            split=split,
            limit=limit,
            batch=batch,
            max_new_tokens=max_new_tokens,
            seed=seed,
            parser=parser,
            judge=judge,
            judge_prompt=judge_prompt,
            aids=helped,
        )
        if found is None:
            console.print(f"answers are in {out}; a judge scores them: --score-only with --judge-url or --judge-file")
            return
    console.print(str(out / "result.json"), style="cyan", markup=False, highlight=False)


def _judge(file: Path | None, url: str | None, model: str | None, key: str | None, timeout: float) -> TextJudge | None:
    """The judge that the options name, if they name one."""
    from anyx.benchmarks.http_judge import HttpJudge
    from anyx.benchmarks.judges import Replay

    if file is not None and url is not None:
        raise ValueError("--judge-file and --judge-url: one of the two is allowed")
    if file is not None:
        return Replay(file, model)
    if url is None:
        if model is not None or key is not None:
            raise ValueError("--judge-model, --judge-key: these are of a judge that --judge-url or --judge-file names")
        return None
    if model is None:
        raise ValueError("--judge-model: the judge's name on the server is missing")
    return HttpJudge(url, model, key=key, timeout=timeout)


def _model(path: Path, device: str | None, overrides: list[str] | None) -> tuple[Any, str]:
    """The model and by what it is told from others: its files, or its YAML, and the overrides."""
    from anyx.backends import WholeModel
    from anyx.benchmarks.asking import OneByOne
    from anyx.evaluation.run import told_by
    from anyx.sampling import Sampling

    found = loading.load_answering(path, loading.Loading(device), overrides)
    found.sampling = Sampling()  # greedy, whatever the model's own is: figures are not drawn
    identity = " ".join([told_by(path), *(overrides or ())])
    return (OneByOne(found) if isinstance(found, WholeModel) else found), identity


def _write(found: dict[str, Any], file: Path) -> None:
    """Write what was found, and print it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    console.print(text, markup=False, highlight=False)
    console.print(str(file), style="cyan", markup=False, highlight=False)

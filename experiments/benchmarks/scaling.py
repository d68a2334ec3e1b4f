"""How costs grow when samples, tokens, media of a sample and entries of the cache are doubled, in one picture.

A cost that grows linearly has exponent 1: the slope of log seconds over log size. Fixed costs make it less.

    python experiments/benchmarks/scaling.py [--quick]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cache_scale
import torch
import workload
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from anyx.data.dialogues import DialogueReader
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.sources import Feed
from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Tokens
from anyx.llm import LLM
from anyx.media import Image
from anyx.model import AnyX
from anyx.ports import InputPort

PICTURE = Path(__file__).parent / "scaling.svg"
MOST = 1.1  # exponent
Series = Mapping[int, float]


def small(folder: Path) -> AnyX:
    """A small LLM that reads cached pictures of four tokens."""
    torch.manual_seed(workload.SEED)
    words = PreTrainedTokenizerFast.from_pretrained(workload.tokenizer(folder / "words"))
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 704}
    llm = LLM(LlamaForCausalLM(LlamaConfig(vocab_size=4096, **sizes)), words)
    model = AnyX(
        llm, template="vicuna_v0", inputs={"image": InputPort("eye", LinearInputProjector(64, 256), kind=Image)}
    )
    features = Tokens.full(torch.randn(1, 4, 64))
    model.processor.features = lambda key, part: features
    return model


def told(media: int, text: str) -> list[dict[str, Any]]:
    """A dialogue with some media."""
    parts = [{"type": "image", "path": f"{i}"} for i in range(media)]
    return [
        {"role": "user", "content": [*parts, {"type": "text", "text": text}]},
        {"role": "assistant", "content": text},
    ]


def seconds(run: Callable[[], Any], rounds: int) -> float:
    """The median of some runs, after one that does not count."""
    run()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def samples(model: AnyX, rounds: int) -> dict[int, float]:
    """Plan, read and collate so many records."""
    texts, found = workload.captions(), {}
    for count in (500, 1000, 2000, 4000):
        records = [{"id": str(i), "messages": told(1, texts[i % len(texts)])} for i in range(count)]
        feed = Feed("captions", records)

        def read(feed: Feed = feed, count: int = count) -> None:
            batches = Batches(Mixture([feed.source], [1.0], seed=0), 8)
            rows = iter(Loader([feed], DialogueReader(model.processor), batches))
            for _ in range(count // 8):
                next(rows)

        found[count] = seconds(read, rounds)
    return found


def step(model: AnyX, chats: Sequence[Any]) -> Callable[[], None]:
    """Collate, splice, forward and back of some conversations."""
    made = [model.processor(chat) for chat in chats]

    def run() -> None:
        out = model(model.processor.collate(made))
        model.llm.logits(out.states).mean().backward()
        model.zero_grad()

    return run


def tokens(model: AnyX, rounds: int) -> dict[int, float]:
    """A step of so many tokens, in rows of like length."""
    text = workload.captions()[0]
    length = len(model.processor(told(1, text)).ids) + 3
    return {length * rows: seconds(step(model, [told(1, text)] * rows), rounds) for rows in (8, 16, 32, 64)}


def media(model: AnyX, rounds: int) -> dict[int, float]:
    """A step of eight rows with so many media each, of four tokens a medium and no words but a few."""
    return {count: seconds(step(model, [told(count, "budo")] * 8), rounds) for count in (4, 8, 16, 32)}


def exponent(series: Series) -> float:
    """The slope of log seconds over log size."""
    sizes = torch.tensor([float(size) for size in series], dtype=torch.float64).log()
    costs = torch.tensor(list(series.values()), dtype=torch.float64).log()
    sizes, costs = sizes - sizes.mean(), costs - costs.mean()
    return float((sizes * costs).sum() / sizes.square().sum())


def draw(found: Mapping[str, Series], path: Path) -> None:
    """One panel of lines, each from 1, with the line of what is linear."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for name, series in found.items():
        first = next(iter(series))
        panel.loglog(
            [size / first for size in series], [cost / series[first] for cost in series.values()], "o-",
            label=f"{name} (exponent {exponent(series):.2f})", base=2,
        )  # fmt: skip
    widest = max(max(series) / min(series) for series in found.values())
    panel.loglog([1, widest], [1, widest], "k:", label="linear", base=2)
    panel.set(xlabel="times as many", ylabel="times the seconds")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters, not their outlines
        figure.savefig(path, metadata={"Date": None})


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """The exponents, and the picture."""
    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory() as name:
        model = small(Path(name))
        found: dict[str, Series] = {
            "samples read": samples(model, rounds),
            "tokens of a step": tokens(model, rounds),
            "media of a sample": media(model, rounds),
        }
    points = cache_scale.series(cache_scale.QUICK if quick else cache_scale.SIZES)
    found["entries of the cache"] = {point["entries"]: point["index_seconds"] for point in points}
    if not quick:
        draw(found, PICTURE)
    return [
        {
            "goal": f"{what}, doubled: exponent of the cost",
            "bar": f"<= {MOST}",
            "value": round(exponent(series), 3),
            "quartiles": None,
            "pairs": len(series),
            "met": exponent(series) <= MOST,
            "note": f"{min(series):,} to {max(series):,}",
        }
        for what, series in found.items()
    ] + cache_scale.figures(quick, points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(figures(parser.parse_args().quick), indent=1))


if __name__ == "__main__":
    main()

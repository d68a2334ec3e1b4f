"""What a whole training step costs beside a bare transformers step, on the workload of the reference's baseline.

Three sides follow each other on the same batch, in one process: ours (everything of a step of `anyx`: plan, read, look
up, collate, splice, LLM, losses, backward, clip, AdamW, Lightning, callbacks), bare (embed, LLM, logits everywhere,
loss, backward, clip, fused AdamW, as the baseline's own bare step) and lean (bare, with logits at labels only).

    python experiments/benchmarks/stages.py [--rounds 9] [--threads 2] [--cases 1:video 2:image]
"""

import argparse
import copy
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import workload
from lightning import Callback
from ratios import compared, goal
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from anyx.build import build
from anyx.data.batches import Dialogues
from anyx.data.cache import FeatureCache
from anyx.interfaces import Tokens
from anyx.model import AnyX
from anyx.processor import stack
from anyx.schema import Stage
from anyx.training import run
from anyx.training.plan import settings_of
from anyx.training.report import Metrics

CASES = ("1:image", "1:audio", "1:video", "2:image", "2:video", "2:audio", "3:text")
BATCH = {1: 4, 2: 8, 3: 8}
BARS = {"1": 0.90, "2": 0.82, "2:audio": 0.75, "3": 0.75}
REFERENCE = {
    "1:image": 1.67,
    "1:audio": 1.88,
    "1:video": 15.97,
    "2:image": 1.56,
    "2:video": 1.37,
    "2:audio": 1.40,
    "3:text": 1.33,
}
TRAINABLE = {"1:image": 524_800, "2:image": 30_123_776 + 2 * 38 * 512, "3:text": 1_048_576}  # what the bare lines train
WARMUP = 3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}  # a busy machine's wall tells little
clock = CLOCKS["wall"]


def stage_of(number: int, key: str, steps: int, *, cache: bool = True) -> Stage:
    """The stage of a case: the baseline's optimiser, nothing but what its bare line trains."""
    train = {
        1: {"inputs.image.projector": 1e-4},
        2: {f"outputs.{key}.projector": 1e-4, "llm.signal_tokens": 1e-4},
        3: {"llm.lora": 1e-4},
    }[number]
    losses: dict[str, Any] = {"text": 1.0}
    if number == 2:
        losses["caption"] = {"weight": 1.0, "pads": 1.0, "relative": False}
    return Stage(
        f"{number}-{key}", train, losses, {"workload": 1.0}, steps=steps, batch_size=BATCH[number], betas=(0.9, 0.95),
        weight_decay=1e-3, warmup=0, schedule="constant", precision="fp32", bucket=False, cache=cache, workers=0,
    )  # fmt: skip


class Bare:
    """The baseline's bare step: a transformers model, what the case trains, AdamW."""

    def __init__(self, model: AnyX, number: int, key: str, *, copied: bool = True) -> None:
        self.number, self.key = number, key
        self.body = copy.deepcopy(model.llm.model) if number == 3 and copied else model.llm.model
        self.body.train(number == 3)  # the workload's LoRA has dropout, on both sides
        self.rows = self.body.get_input_embeddings().weight.shape[0]
        self.signals = nn.Parameter(model.llm.signal_tokens.embedding.detach().clone(), requires_grad=number == 2)
        self.said = nn.Parameter(self.signals.detach().clone(), requires_grad=number == 2)
        ports = {1: "inputs.image.projector", 2: f"outputs.{key}.projector"}
        projector = copy.deepcopy(model.get_submodule(ports[number])) if number in ports else nn.Identity()
        learning: list[nn.Parameter] = {
            1: list(projector.parameters()),
            2: [*projector.parameters(), self.signals, self.said],
            3: [parameter for name, parameter in self.body.named_parameters() if ".lora_" in name],
        }[number]
        self.projector = projector
        self.learning = [parameter.requires_grad_(True) for parameter in learning]
        self.optimizer = torch.optim.AdamW(self.learning, lr=1e-4, betas=(0.9, 0.95), weight_decay=1e-3, fused=True)

    def prepared(self, model: AnyX, value: Dialogues) -> dict[str, Any]:
        """A batch as a bare script would have it ready: ids, places, features, labels."""
        batch = value.batch
        with torch.no_grad():
            spliced, _ = model.read(batch)
        made: dict[str, Any] = {
            "embeddings": spliced.embeddings.detach(),
            "mask": spliced.mask,
            "labels": spliced.labels,
        }
        if self.number == 1:
            given = batch.inputs[self.key]
            assert given.tokens is not None
            made["features"] = given.tokens.values
            made["places"] = given.rows, spliced.index[given.rows, given.positions]
        if self.number == 2:
            target = batch.targets[self.key]
            made["ids"] = batch.ids
            made["columns"] = target.positions[:, None] + torch.arange(model.outputs[self.key].tokens)
            made["taught"] = value.teachers[self.key].values["values.prompt_embeds"]
        return made

    def step(self, given: dict[str, Any], *, lean: bool) -> float:
        """One step, logits everywhere or at label positions only; its seconds."""
        start = clock()
        embeddings = given["embeddings"]
        if self.number == 1:
            heard = self.projector.forward(Tokens.full(given["features"])).values[:, 0]
            embeddings = embeddings.index_put(given["places"], heard)
        elif self.number == 2:
            ids = given["ids"]
            rows = F.embedding((ids - self.rows).clamp(min=0), self.signals)
            embeddings = torch.where((ids >= self.rows)[..., None], rows, embeddings)
        states = self.body.model(
            inputs_embeds=embeddings, attention_mask=given["mask"], use_cache=False
        ).last_hidden_state
        before, labels = states[:, :-1], given["labels"][:, 1:]
        if lean:
            before, labels = before[labels != -100], labels[labels != -100]
        logits = self.body.lm_head(before)
        if self.number == 2:
            logits = torch.cat([logits, F.linear(before, self.said)], -1)
        loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100)
        if self.number == 2:
            said = states[torch.arange(len(states))[:, None], given["columns"]]
            spoken = self.signals[given["ids"][torch.arange(len(states))[:, None], given["columns"]] - self.rows]
            made = self.projector.forward(Tokens.full(said), spoken).values["prompt_embeds"]
            loss = loss + torch.linalg.vector_norm(made - given["taught"], dim=-1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = loss.detach()
        return clock() - start


class Sides(Callback):
    """Times our step from where the last other side ended to where the next begins."""

    def __init__(self, model: AnyX, bare: Bare, media: Callable[[Dialogues], float] | None) -> None:
        self.model, self.bare, self.media = model, bare, media
        self.seconds: dict[str, list[float]] = {"ours": [], "bare": [], "lean": [], "online": []}
        self.losses: list[tuple[float, float]] = []
        self.resumed = clock()

    def on_train_batch_end(self, trainer: Any, trainee: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ours = clock() - self.resumed
        given = self.bare.prepared(self.model, batch[0])
        found = {"ours": ours, "bare": self.bare.step(given, lean=False), "lean": self.bare.step(given, lean=True)}
        if self.media is not None:
            found["online"] = ours + self.media(batch[0])
        if batch_idx >= WARMUP:
            for name, seconds in found.items():
                self.seconds[name].append(seconds)
        trainer.optimizers[0].zero_grad()
        self.trainable = sum(p.numel() for p in trainee.parameters() if p.requires_grad)
        self.moments = sum(
            x.numel() * x.element_size()
            for s in trainer.optimizers[0].state.values()
            for n, x in s.items()
            if n != "step"
        )
        self.resumed = clock()


def online(model: AnyX, key: str, paths: list[Path]) -> Callable[[Dialogues], float]:
    """The seconds of a step's encoder where nothing is cached; media are read and transformed off the clock."""
    kind, transform = model.processor.kinds[key], model.processor.transforms[key]
    ready = {path: transform(kind.read(path)) for path in paths}
    turn = itertools.cycle(paths)

    def media(value: Dialogues) -> float:
        tensors = stack([ready[next(turn)] for _ in value.batch.inputs[key].rows])
        start = clock()
        model.encode(key, tensors)
        return clock() - start

    return media


def bound(model: AnyX, key: str, media: Callable[[Dialogues], float], value: Dialogues) -> float:
    """The FLOP model of `numbers.md`: (encoder + LLM forward and back) / (LLM forward and back), analytic."""
    with FlopCounterMode(display=False) as encoder, torch.no_grad():
        media(value)
    with FlopCounterMode(display=False) as llm:
        output = model(value.batch)
        F.cross_entropy(model.llm.logits(output.states), output.labels).backward()
    model.zero_grad()
    return 1 + encoder.get_total_flops() / llm.get_total_flops()


def measure(case: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Run a stage of the workload, its bare steps beside it."""
    number, key = int(case[0]), case[2:]
    checked = workload.config(folder, lora=number == 3, media=number < 3)
    model = build(checked, lazy=True)
    torch.manual_seed(0)
    steps = rounds + WARMUP
    feed = workload.feed(number, key, steps * BATCH[number], folder)
    media = (
        online(model, key, [workload.media(key, i, folder) for i in range(2 * BATCH[number])])
        if case in ("1:image", "1:video")
        else None
    )
    sides = Sides(model, Bare(model, number, key), media)
    with tempfile.TemporaryDirectory() as out:
        made = run.Run(
            Path(out), Metrics(Path(out) / "metrics.csv", ["text", "caption"]), FeatureCache(folder / "features"),
            settings_of(checked), device="cpu", callbacks=[sides],
        )  # fmt: skip
        run.fit(model, stage_of(number, key, steps), [feed], [1.0], made)
    found = {
        "case": case,
        "ours / bare": compared(sides.seconds["ours"], sides.seconds["bare"]),
        "ours / lean": compared(sides.seconds["ours"], sides.seconds["lean"]),
        "trainable": sides.trainable,
        "moments": sides.moments,
    }
    if media is not None:
        found["online / ours"] = compared(sides.seconds["online"], sides.seconds["ours"])
        batch = model.processor.collate(
            [model.processor(record["messages"]) for record in feed.source[: BATCH[number]]]
        )
        found["bound"] = round(bound(model, key, media, Dialogues(batch, {}, {}, {})), 3)
    return found


def figures(quick: bool = False, cases: tuple[str, ...] = CASES, folder: Path | None = None) -> list[dict[str, Any]]:
    """The goals of parts 1 and 2 of the issue."""
    made: list[dict[str, Any]] = []
    for case in cases:
        found = measure(case, 3 if quick else 9, folder or workload.home())
        bar = BARS.get(case, BARS[case[0]])
        made.append(
            goal(
                f"stage {case}, a step from the cache / bare",
                found["ours / bare"],
                most=bar,
                note=f"reference / bare: {REFERENCE[case]}",
            )
        )
        made.append(goal(f"stage {case}, a step / bare with logits at labels only", found["ours / lean"], most=1.05))
        if case in TRAINABLE:
            wanted = TRAINABLE[case]
            made.append(
                {
                    "goal": f"stage {case}, trainable parameters, AdamW's moments 8 bytes each",
                    "bar": f"= {wanted:,}",
                    "value": found["trainable"],
                    "quartiles": None,
                    "pairs": 1,
                    "met": found["trainable"] == wanted and found["moments"] == 8 * wanted,
                    "note": "",
                }
            )
        if "bound" in found:
            made.append(
                goal(
                    f"stage {case}, what the cache saves (online / cached)",
                    found["online / ours"],
                    least=0.85 * found["bound"],
                    note=f"analytic bound {found['bound']}",
                )
            )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    globals()["clock"] = CLOCKS[given.clock]
    for case in given.cases:
        print(json.dumps(measure(case, given.rounds, workload.home())))


if __name__ == "__main__":
    main()

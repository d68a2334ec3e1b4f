"""What `anyx plan --on here` says of three stages, against what they take: peak memory and seconds of a step.

Each stage trains in a process of its own, on the LLM of the reference's baseline (hidden 512, 8 layers, ffn 1408, 32000
rows, fp32): an input projector, an output projector with signal tokens, LoRA. Memory is the largest resident set of the
process less what it was when everything had been imported; seconds are the median of the steps after the first five.
The plan knows the configuration, the length of rows and how many positions of them are supervised. The machine is
measured before and after each stage, as other work on it comes and goes, and the plan takes the mean of both.

    python experiments/benchmarks/planner.py [--steps 16] [--runs 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

LLAMA = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "intermediate_size": 1408,
    "tie_word_embeddings": False,
}
BLOCKS = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4}
DECODER = {  # Stable Diffusion's condition; it does not run, and is small
    "type": "stable_diffusion",
    "vae": BLOCKS | {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2},
    "unet": BLOCKS
    | {"attention_head_dim": 4, "sample_size": 8, "cross_attention_dim": 768}
    | {
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    },
    "text": {
        "text_encoder": {
            "vocab_size": 1000,
            "hidden_size": 768,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
        }
    },
    "tokenizer": {"words": ["fox", "rain"], "length": 77},
}
ENCODER = {"type": "imagebind", "trunk": "vision", "dim": 192, "depth": 4, "heads": 3, "out_dim": 1024}
PROJECTOR = {"type": "transformer", "hidden": 512, "layers": 4, "heads": 4}
STAGES = {
    "encode": {"train": {"inputs.image.projector": 4e-4}, "losses": {"text": 1}, "batch_size": 4},
    "decode": {
        "train": {"outputs.image.projector": 4e-4, "llm.signal_tokens": 4e-4},
        "losses": {"text": 1, "caption": 1},
        "batch_size": 8,
    },
    "instruct": {"train": {"llm.lora": 1e-4}, "losses": {"text": 1}, "batch_size": 8},
}
SENTENCE = "a red fox on the grass beside a river, looking up, two children play in the street, heavy rain"
WARMUP, STEPS, RUNS = 5, 16, 3


def raw(stage: str, steps: int, tokenizer: str, data: str) -> dict[str, Any]:
    """The configuration of one stage, with the parts that it uses."""
    llm: dict[str, Any] = {"path": LLAMA, "tokenizer": tokenizer}
    made: dict[str, Any] = {"llm": llm}
    if stage == "instruct":
        llm["lora"] = {"r": 32, "alpha": 32, "dropout": 0.1, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    if stage == "encode":
        made["encoders"] = {"vision": ENCODER}
        made["inputs"] = {"image": {"encoder": "vision", "projector": {"type": "linear"}}}
    if stage == "decode":
        made["outputs"] = {"image": {"tokens": 4, "projector": PROJECTOR, "decoder": DECODER}}
    made["data"] = {"some": {"type": "jsonl", "path": data}}
    made["stages"] = {stage: STAGES[stage] | {"data": {"some": 1}, "steps": steps, "save_minutes": 1000}}
    return made


def write(folder: Path, stage: str, count: int) -> tuple[str, str]:
    """A tokenizer and a file of dialogues."""
    from stage1_overhead import tokenizer

    from anyx.media import Image

    tokenizer(folder)
    lines = []
    for index in range(count):
        picture = {"type": "image"}
        if stage == "encode":
            pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
            picture["path"] = str(Image(pixels).save(folder / f"{index}.png"))
        ask, answer = {"type": "text", "text": "Go on."}, {"type": "text", "text": f"{SENTENCE} {index:04d}"}
        question = [picture, ask] if stage == "encode" else [ask]
        said = [answer, picture | {"caption": f"fox {index}"}] if stage == "decode" else [answer]
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": said}]
        lines.append(json.dumps({"id": str(index), "messages": messages}))
    (folder / "data.jsonl").write_text("\n".join(lines))
    return str(folder), str(folder / "data.jsonl")


def resident(what: str) -> int:
    """Bytes of memory of this process, `VmRSS` now or `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def real(stage: str, steps: int) -> dict[str, float]:
    """Train it here: bytes at the peak, seconds of a step, length of rows, supervised positions of a row."""
    from lightning import Callback

    from anyx.build import build
    from anyx.config import check
    from anyx.data.cache import FeatureCache
    from anyx.prompt import IGNORE
    from anyx.training import run
    from anyx.training.plan import feeds_of, settings_of
    from anyx.training.report import Metrics

    class Clock(Callback):
        """When steps end, and how long their rows are."""

        def __init__(self) -> None:
            self.ends: list[float] = []
            self.lengths: list[int] = []
            self.supervised: list[float] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.ends.append(time.perf_counter())
            ids = batch[0].batch.ids
            self.lengths.append(ids.shape[1])
            self.supervised.append(int((batch[0].batch.labels[:, 1:] != IGNORE).sum()) / len(ids))

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer, data = write(folder, stage, STAGES[stage]["batch_size"] * steps)
        config = check(raw(stage, steps, tokenizer, data))
        torch.ones(8, 8) @ torch.ones(8, 8)
        imported = resident("VmRSS")
        model = build(config)
        clock, one = Clock(), config.stages[stage]
        made = run.Run(
            folder,
            Metrics(folder / "metrics.csv", list(one.losses)),
            FeatureCache(folder / "features"),
            settings_of(config),
            device="cpu",
            callbacks=[clock],
        )
        run.fit(model, one, *feeds_of(one, config), made)
    between = [b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False)][WARMUP:]
    return {
        "memory": resident("VmHWM") - imported,
        "seconds": statistics.median(between),
        "length": statistics.mean(clock.lengths),
        "supervised": statistics.mean(clock.supervised),
    }


def planned(rows: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """What the plan says of stages with rows of (length, supervised): bytes, and seconds of this machine as it is."""
    from anyx.build import build
    from anyx.config import check
    from anyx.training import devices, forecast

    here, found = devices.here(), {}
    for stage, (length, supervised) in rows.items():
        with tempfile.TemporaryDirectory() as name:
            tokenizer, data = write(Path(name), stage, 1)
            config = check(raw(stage, 1, tokenizer, data))
            model = build(config, meta=True)
        step = forecast.rehearse(
            model, config.stages[stage], round(length), supervised=round(supervised), native=here.half
        )
        found[stage] = {"memory": here.holds(step.memory), "seconds": step.seconds(here), **step.memory._asdict()}
    return found


def apart(*arguments: str) -> dict[str, Any]:
    """What this file says in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def compare(steps: int, runs: int) -> dict[str, dict[str, Any]]:
    """Planned over measured of each stage, in turns."""
    taken: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for _ in range(runs):
        taken.append({stage: apart("--real", stage, "--steps", str(steps)) for stage in STAGES})
        rows = {stage: (one["length"], one["supervised"]) for stage, one in taken[-1].items()}
        said.append(apart("--planned", json.dumps(rows)))
    found = {}
    for stage in STAGES:
        ratios = {
            key: [
                (before[stage][key] + after[stage][key]) / 2 / measured[stage][key]
                for before, measured, after in zip([said[0], *said], taken, said, strict=False)
            ]
            for key in ("memory", "seconds")
        }
        found[stage] = {
            "ratios": ratios,
            "planned": [one[stage] for one in said],
            "measured": [one[stage] for one in taken],
        }
    return found


def figures(quick: bool) -> list[dict[str, Any]]:
    """Each stage by both bars, for `make bench`."""
    found = []
    for stage, compared in compare(12 if quick else STEPS, 2 if quick else RUNS).items():
        for key, bar in (("memory", 0.10), ("seconds", 0.30)):
            ratios = compared["ratios"][key]
            low, value, high = statistics.quantiles(ratios, n=4, method="inclusive")
            sides = [statistics.median(one[key] for one in compared[side]) for side in ("planned", "measured")]
            told = "{:.0f} of {:.0f} MiB, peak resident set less import" if key == "memory" else "{:.3f} of {:.3f} s"
            scale = 2**20 if key == "memory" else 1
            found.append(
                {
                    "goal": f"planner, {stage}: {key} planned / measured",
                    "bar": f"within {bar:.0%}",
                    "value": round(value, 3),
                    "quartiles": [round(low, 3), round(high, 3)],
                    "pairs": len(ratios),
                    "met": abs(value - 1) <= bar,
                    "note": told.format(*(side / scale for side in sides)),
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--real", choices=STAGES, help="train one stage here and say what it took")
    parser.add_argument("--planned", type=json.loads, metavar="JSON", help="say what the plan says of rows by stage")
    given = parser.parse_args()
    if given.real:
        print(json.dumps(real(given.real, given.steps)))
    elif given.planned:
        print(json.dumps(planned(given.planned)))
    else:
        print(json.dumps(compare(given.steps, given.runs), indent=1))


if __name__ == "__main__":
    main()

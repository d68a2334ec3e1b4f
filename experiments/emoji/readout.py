"""What should read the speech decoder's condition from the LLM's signal states? `python experiments/emoji/readout.py`.

States at the audio signal tokens of a trained model are computed once: for every second training template of every
thing (and the decoding stage's), and for two kept-back ones. Each readout is then fitted to the decoder's own text
encodings as the last stage would, and asked the kept-back ones. What it misses there is what speech is garbled by: a
request in words that training never had. Prints mean squared errors in units of 1e-4 (the encodings' own power is 104).

Letters: m dialogues, s signal tokens, d the LLM's width.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyx import AnyX
from anyx.data.sources import JSONLSource
from anyx.imports import import_file
from anyx.interfaces import Tokens
from anyx.output_projectors import MLPOutputProjector
from anyx.training.losses import distance

HERE = Path(__file__).parent
KEY = "audio"
READOUTS = [
    {"stack": stack, "hidden": hidden, "dropout": dropout}
    for stack, hidden, dropout in (
        (2, 256, 0.1), (2, 256, 0.5), (4, 256, 0.1), (4, 256, 0.5), (2, 512, 0.5), (4, 512, 0.5), (4, 1024, 0.5),
    )
]  # fmt: skip


def main() -> None:
    """Compute states, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    model = AnyX.from_pretrained(str(given.model)).eval()
    learnt, asked = (states(model, dialogues) for dialogues in (training(), kept_back()))
    print("| stack | hidden | dropout | weights | trained on | kept back |\n|---|---|---|---|---|---|")
    for readout in READOUTS:
        weights, *errors = fitted(readout, learnt, asked, given.steps)
        cells = [*map(str, readout.values()), f"{weights:,}", *(f"{1e4 * error:.2f}" for error in errors)]
        print(f"| {' | '.join(cells)} |", flush=True)


def training() -> list[Any]:
    """Every second way to ask for every name aloud, and the decoding stage's requests for speech."""
    speech, imagine = (
        [record["messages"] for record in JSONLSource(str(HERE / "dialogues" / f"{name}.jsonl.gz"))]
        for name in ("speech", "captions_out")
    )
    return [turns for turns in [*speech[::2], *imagine] if shown(turns)]


def kept_back() -> list[Any]:
    """Two requests in words that training never had, for every name."""
    dialogues = import_file(HERE / "dialogues.py")
    lead = dialogues.templates["answers"][KEY][0]
    return [
        dialogues.turns(
            dialogues.filled(template, concept),
            [dialogues.words(dialogues.filled(lead, concept)), dialogues.shown(concept, KEY)],
        )["messages"]
        for concept in dialogues.corpus.core()
        for template in dialogues.templates["test"][f"text->{KEY}"][:2]
    ]


def shown(messages: Any) -> list[str]:
    """The captions of the speech in a dialogue."""
    parts = [part for turn in messages if not isinstance(turn["content"], str) for part in turn["content"]]
    return [part["caption"] for part in parts if part["type"] == KEY]


@torch.inference_mode()
def states(model: AnyX, dialogues: list[Any]) -> tuple[Tensor, Tensor]:
    """States at the signal tokens, (m, s, d), and what the decoder's text encoder says of the captions, (m, 1, c)."""
    found: list[tuple[int, Tensor]] = []
    bare = [[{**turn, "content": without_files(turn["content"])} for turn in turns] for turns in dialogues]
    order = sorted(range(len(bare)), key=lambda place: len(json.dumps(bare[place])))
    size = model.outputs[KEY].tokens
    for start in range(0, len(order), 32):
        places = order[start : start + 32]
        batch = model.processor.collate([model.processor(bare[place]) for place in places])
        spliced, _ = model.read(batch)
        hidden = model.llm.states(spliced.embeddings, spliced.mask).float()
        target = batch.targets[KEY]
        begin = spliced.index[target.rows, target.positions]
        at = hidden[target.rows[:, None], begin[:, None] + torch.arange(size)]
        found += [(places[row], state) for row, state in zip(target.rows.tolist(), at, strict=True)]
    decoder: Any = model.outputs[KEY].decoder
    names = {name for turns in bare for name in shown(turns)}
    encoded = {name: next(iter(decoder.encode_text([name]).values.values()))[0].float() for name in sorted(names)}
    taught = torch.stack([encoded[shown(turns)[0]] for turns in bare])
    return torch.stack([state for _, state in sorted(found, key=lambda one: one[0])]), taught


def without_files(content: Any) -> Any:
    """A message whose media are named by caption alone: targets need no file."""
    return content if isinstance(content, str) else [{k: v for k, v in part.items() if k != "path"} for part in content]


def fitted(
    readout: dict[str, Any], learnt: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor], steps: int
) -> tuple[int, float, float]:
    """Weights of a readout, and its error on what it was fitted to and on what was kept back."""
    torch.manual_seed(0)
    seen, taught = learnt
    projector = MLPOutputProjector(seen.shape[-1], {"c": (taught.shape[1], taught.shape[2])}, norm="data", **readout)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for _ in range(steps):
        rows = torch.randint(len(seen), (256,))
        made = projector(Tokens.full(seen[rows])).values["c"]
        loss = 40 * distance(made, taught[rows], None, "mse", relative=False).value
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    projector.eval()
    with torch.no_grad():
        errors = [
            float((projector(Tokens.full(x)).values["c"] - y).square().mean())
            for x, y in ((seen, taught), (new, wanted))
        ]
    return sum(parameter.numel() for parameter in projector.parameters()), errors[0], errors[1]


if __name__ == "__main__":
    main()

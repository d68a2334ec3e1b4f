"""Train the judges: `python experiments/emoji/judges.py [picture] [sound] [speech] [--steps N]`; minutes on a CPU core.

They see real training media only (noto, fluent, frames 0 to 8; slt, rms, awb), never twemoji, kal16 or espeak, and none
of the model's outputs. Pictures are also blurred and sounds also smeared, so that a judge reads coarse media.
Prints the share of held-out media that each judge names right: the ceilings of the matrix. `speech`, which is not
trained here, prints that of the recogniser in `evaluation.yaml`, on held-out and on clean speech of every voice.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from anyx import config
from anyx.evaluation.classifiers import (
    PictureJudge,
    SoundJudge,
    fitted,
    log_mel,
    picture_net,
    pixels_of,
    sound_net,
    stored,
)
from anyx.evaluation.judges import build, rankings
from anyx.evaluation.metrics import hits
from anyx.imports import import_file
from anyx.media import Audio

HERE = Path(__file__).parent
corpus = import_file(HERE / "corpus.py")
augment = import_file(HERE / "augment.py")
Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]


def picture_draws(batch: int) -> Draw:
    """Augmented training stills and frames with their labels: half stills, half frames."""
    concepts = corpus.core()
    stills = torch.stack(
        [torch.stack([corpus.picture(c.image[s]).pixels for s in ("noto", "fluent")]) for c in concepts]
    )
    frames = torch.stack([corpus.train_frames(c) for c in concepts])
    pool = torch.cat([stills[:, :1].expand(-1, 8, -1, -1, -1), frames, stills[:, 1:]], 1)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(concepts), (batch,), generator=generator)
        x = pool[rows, torch.randint(pool.shape[1], (batch,), generator=generator)]
        x = pixels_of(augment.pictures(x, generator))
        size = int(torch.randint(20, 65, (), generator=generator))  # coarse copies of a third of the batch
        third = batch // 3
        small = functional.interpolate(x[:third], (size, size), mode="bilinear", antialias=True)
        x[:third] = functional.interpolate(small, (64, 64), mode="bilinear")
        grey = torch.rand(batch, 1, 1, 1, generator=generator) < 0.15
        return torch.where(grey, x.mean(1, keepdim=True), x), rows

    return draw


def sound_draws(batch: int) -> Draw:
    """Log-mel bands of augmented training speech, masked and smeared, with their labels."""
    concepts = corpus.core()
    clips = [[corpus.spoken(c.speech[v]).samples[0] for v in corpus.VOICES["train"]] for c in concepts]
    made: list[tuple[Tensor, int]] = []

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if len(made) < 20 * len(concepts):  # a growing store of copies, then drawn from
            for row in torch.randint(len(concepts), (batch // 2,), generator=generator).tolist():
                voice = int(torch.randint(3, (), generator=generator))
                copy = Audio(augment.speech(clips[row][voice], generator)[None], corpus.RATE)
                made.append((log_mel(fitted(copy)[None])[0].bfloat16(), row))
        picks = torch.randint(len(made), (batch,), generator=generator).tolist()
        x = torch.stack([made[i][0] for i in picks]).float()
        for mask, size in ((x.transpose(2, 3), 40), (x, 12)):
            start = torch.randint(mask.shape[2] - size, (batch,), generator=generator)
            place = torch.arange(mask.shape[2])
            width = torch.randint(1, size, (batch,), generator=generator)
            hidden = (place >= start[:, None]) & (place < (start + width)[:, None])
            mask.masked_fill_(hidden[:, None, :, None], -1.5)
        shift = int(torch.randint(-3, 4, (), generator=generator))  # another speaker's formants
        x = x.roll(shift, 2)
        half = batch // 2
        x[:half] = functional.avg_pool2d(x[:half], 3, 1, 1)
        return x, torch.tensor([made[i][1] for i in picks])

    return draw


def fit(net: nn.Module, draw: Draw, steps: int, rate: float, seed: int = 0) -> nn.Module:
    """Cross-entropy with smoothed labels, AdamW, one cycle, bf16 convolutions."""
    generator = torch.Generator().manual_seed(seed)
    net = net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    start = time.time()
    for step in range(steps):
        x, labels = draw(generator)
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(net(x).float(), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    return net.eval()


def ceilings(judge: PictureJudge | SoundJudge, key: str, splits: tuple[str, ...]) -> dict[str, float]:
    """Share of held-out media of the core concepts that the judge names right, by split."""
    found = {}
    for split in splits:
        media = [corpus.held_out(concept, key, split, 0) for concept in corpus.core()]
        right = judge(media).argmax(-1) == torch.arange(len(media))
        found[f"{split} {key}"] = round(right.float().mean().item(), 3)
    return found


def recognised() -> dict[str, float]:
    """Share of speech of the core concepts that the recogniser names right: augmented, then clean, voice by voice."""
    nodes = {"audio": {"speech": config.read(HERE / "evaluation.yaml")["judges"]["audio"]["speech"]}}
    judge = build(nodes, corpus.EmojiCorpus().labels, HERE)["audio"]["speech"]
    sets = {"seen audio": [corpus.held_out(concept, "audio", "seen", 0) for concept in corpus.core()]}
    for voice in (*corpus.VOICES["seen"], *corpus.VOICES["unseen"], *corpus.REBUILT):
        sets[voice] = [corpus.spoken(concept.speech[voice]) for concept in corpus.core()]
    ranked = {name: rankings(judge, media) for name, media in sets.items()}
    return {name: round(hits(rows, range(len(rows)), 1) / len(rows), 3) for name, rows in ranked.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("which", nargs="*", default=["picture", "sound"])
    options.add_argument("--steps", type=int, default=1600)
    options.add_argument("--batch", type=int, default=96)
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    labels = corpus.EmojiCorpus().labels
    if "picture" in given.which:
        path = HERE / "judges" / "picture.safetensors"
        stored(fit(picture_net(len(labels)), picture_draws(given.batch), given.steps, 4e-3), path)
        judge = PictureJudge(labels, path=path)
        print(ceilings(judge, "image", ("seen", "unseen")) | ceilings(judge, "video", ("seen", "unseen")))
    if "sound" in given.which:
        path = HERE / "judges" / "sound.safetensors"
        stored(fit(sound_net(len(labels)), sound_draws(given.batch), given.steps, 4e-3), path)
        print(ceilings(SoundJudge(labels, path=path), "audio", corpus.EmojiCorpus.judged))
    if "speech" in given.which:
        print(recognised())


if __name__ == "__main__":
    main()

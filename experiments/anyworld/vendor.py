"""Write what is trained small enough to be kept: `python experiments/anyworld/vendor.py WHAT RUN FOLDER`.

`image` and `audio` take a run of backbones.yaml, `motion` one of motion.yaml: two bytes a weight. `model` takes one of
experiment.yaml: a byte a weight for what is between the parts, two for the parts that learnt as a whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

HALF = torch.float16


def backbone(what: str, run: Path, folder: Path) -> None:
    """Write a decoder, or what makes one move."""
    from anyx.decoders import AudioLDMDecoder, StableDiffusionDecoder, VideoDecoder

    if what == "motion":
        VideoDecoder(path=str(run / "decoders" / "video"), frames=8).save_motion(folder, HALF)
    else:
        kind = {"image": StableDiffusionDecoder, "audio": AudioLDMDecoder}[what]
        kind(path=str(run / "decoders" / what), load_text=True).save(folder, HALF)


def model(run: Path, folder: Path) -> None:
    """Write a model folder."""
    from anyx import AnyX, hub, whole

    made = AnyX.from_pretrained(run)
    hub.save(made, folder, dtype=torch.int8)
    learnt = whole.tensors(made, made.parts(), made.learnt)
    whole.save(learnt, made.learnt, folder / hub.LEARNT, dtype=HALF)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=("image", "audio", "motion", "model"))
    options.add_argument("run", type=Path)
    options.add_argument("folder", type=Path)
    given = options.parse_args()
    if given.what == "model":
        model(given.run, given.folder)
    else:
        backbone(given.what, given.run, given.folder)
    size = sum(file.stat().st_size for file in given.folder.rglob("*") if file.is_file())
    print(f"{given.folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

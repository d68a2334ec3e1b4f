"""X-InstructBLIP's files of picture and video, in both spellings -> a model folder -> the same files; true sizes.

A modality's Q-Former, norm and map are held against transformers' InstructBLIP of the same weights. How the keys of the
published files are spelled is partly assumed; `anyx/converters/blip2.py` says which part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lavis_files as lavis
import pytest
import torch
from torch import Tensor

from anyx import AnyX
from anyx.converters.blip2 import XInstructBLIP
from anyx.converters.keys import KeysError, best
from anyx.converters.systems import check_sizes, convert, export
from anyx.interfaces import TextBatch
from anyx.media import Image

KEYS = ("image", "video")
IDS = TextBatch(torch.tensor([[2, 5, 6, 7, 8, 3]]), torch.ones(1, 6, dtype=torch.bool))
Files = dict[str, dict[str, Tensor]]


def spelled(state: dict[str, Tensor], key: str, qformer: str) -> dict[str, Tensor]:
    """One modality's trainables, from InstructBLIP's names."""
    table = {"Qformer.": f"{key}_{qformer}.", "ln_vision.": f"{key}_ln.", "query_tokens": f"{key}_query_tokens"}
    table["llm_proj."] = f"{key}_llm_proj."
    return {
        next(new + name.removeprefix(old) for old, new in table.items() if name.startswith(old)): x
        for name, x in state.items()
    }


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """Two models over one tower and one LLM, each with a norm, Q-Former and map of its own."""
    models = {}
    for seed, key in enumerate(KEYS):
        torch.manual_seed(seed)
        models[key] = lavis.whole("instructblip")
    shared = models["image"].vision_model.state_dict()
    models["video"].vision_model.load_state_dict(
        {name: x for name, x in shared.items() if "post_layernorm" not in name}, strict=False
    )
    return models


@pytest.fixture(scope="module")
def bases(theirs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return lavis.write_bases(tmp_path_factory.mktemp("bases"), theirs["image"])


def written(theirs: dict[str, Any], folder: Path, qformer: str = "Qformer", keys: tuple[str, ...] = KEYS) -> Files:
    """The folder of files, and what is in them."""
    files = {f"{key}_qformer.pth": spelled(lavis.trainables(theirs[key], "llm_proj"), key, qformer) for key in keys}
    folder.mkdir()
    for name, state in files.items():
        torch.save({"model": state, "epoch": 1}, folder / name)
    return files


def values(*keys: str) -> list[str]:
    return ["llm.dtype=float32", *(lavis.HEADS.format(key) for key in keys)]


def equal(file: Path, state: dict[str, Tensor]) -> bool:
    found = torch.load(file, weights_only=True)
    return found.keys() == state.keys() and all(torch.equal(found[name], x) for name, x in state.items())


@torch.no_grad()
def wanted(theirs: Any, pixels: Tensor) -> Tensor:
    """Transformers' LLM tokens of pictures (n, 3, h, w), each with the question."""
    seen = theirs.vision_model(pixel_values=pixels).last_hidden_state
    queries = theirs.query_tokens.expand(len(pixels), -1, -1)
    ids = IDS.ids.expand(len(pixels), -1)
    mask = torch.ones(len(pixels), queries.shape[1] + ids.shape[1], dtype=torch.long)
    states = theirs.qformer(input_ids=ids, attention_mask=mask, query_embeds=queries, encoder_hidden_states=seen)
    return theirs.language_projection(states.last_hidden_state[:, : queries.shape[1]])  # type: ignore[no-any-return]


@pytest.mark.parametrize("qformer", ["Qformer", "qformer"])
def test_both_there_and_back(theirs: dict[str, Any], bases: dict[str, str], tmp_path: Path, qformer: str) -> None:
    files = written(theirs, tmp_path / "in", qformer)
    folder = tmp_path / "out"
    convert("xinstructblip", tmp_path / "in", folder, bases=bases, overrides=values(*KEYS), any_size=True)
    ours = AnyX.from_pretrained(folder).eval()
    pixels = torch.randn(4, 3, 28, 28)
    with torch.no_grad():
        for key, given in (("image", pixels[:1]), ("video", pixels[None])):
            tokens = ours.inputs[key].projector(ours.encode(key, {"pixels": given}), IDS).values
            expected = wanted(theirs[key], given.flatten(0, -4)).flatten(0, 1)[None]
            torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=1e-4)
    assert expected.shape == (1, 4 * lavis.QUERIES, 16)
    picture = Image(torch.randint(0, 255, (3, 30, 50), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "what is this?"}]
    assert ours.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
    export("xinstructblip", folder, tmp_path / "back")
    assert sorted(file.name for file in (tmp_path / "back").iterdir()) == sorted(files)
    assert all(equal(tmp_path / "back" / name, state) for name, state in files.items())
    export("xinstructblip", folder, tmp_path / "both.pth")
    assert equal(tmp_path / "both.pth", {name: x for state in files.values() for name, x in state.items()})


@pytest.mark.parametrize("key", KEYS)
def test_one_there_and_back(theirs: dict[str, Any], bases: dict[str, str], tmp_path: Path, key: str) -> None:
    ((name, state),) = written(theirs, tmp_path / "in", keys=(key,)).items()
    for number, place in enumerate((tmp_path / "in", tmp_path / "in" / name)):
        folder = tmp_path / f"out{number}"
        convert("xinstructblip", place, folder, bases=bases, overrides=values(key), any_size=True)
        assert list(AnyX.from_pretrained(folder).inputs) == [key]
        export("xinstructblip", folder, tmp_path / f"back{number}")
        assert [file.name for file in (tmp_path / f"back{number}").iterdir()] == [name]
        assert equal(tmp_path / f"back{number}" / name, state)


def test_files_that_are_not_read_are_named(
    theirs: dict[str, Any], bases: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(theirs, tmp_path / "in", keys=("image",))
    torch.save({"audio_ln.weight": torch.ones(2)}, tmp_path / "in" / "audio_qformer.pth")
    convert("xinstructblip", tmp_path / "in", tmp_path / "out", bases=bases, overrides=values("image"), any_size=True)
    assert "audio_qformer.pth not read; of its files image_qformer.pth, video_qformer.pth are" in caplog.text


def test_what_does_not_fit_is_named(theirs: dict[str, Any], bases: dict[str, str], tmp_path: Path) -> None:
    state = written(theirs, tmp_path / "in")["image_qformer.pth"]
    sound = spelled(lavis.trainables(theirs["image"], "llm_proj"), "audio", "Qformer")
    cases: list[tuple[dict[str, Tensor], str]] = [
        (sound, r"unknown \(\d+\): audio_query_tokens"),
        ({name: x for name, x in state.items() if "llm_proj" not in name}, r"missing \(2\): image_llm_proj.weight"),
        (state | {"image_llm_proj.bias": torch.zeros(15)}, r"misshaped \(1\): image_llm_proj.bias is 15 instead of 16"),
        (state | {"video_ln.bias": torch.zeros(16)}, "missing .*video_query_tokens"),
    ]
    for wrong, told in cases:
        torch.save(wrong, tmp_path / "x.pth")
        with pytest.raises(KeysError, match=told):
            convert("xinstructblip", tmp_path / "x.pth", tmp_path / "out", bases=bases, any_size=True)
    torch.save({}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"neither image_\* nor video_\*"):
        convert("xinstructblip", tmp_path / "x.pth", tmp_path / "out", bases=bases, any_size=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"image_qformer\.pth, video_qformer\.pth"):
        convert("xinstructblip", tmp_path / "empty", tmp_path / "out", bases=bases, any_size=True)
    assert not (tmp_path / "out").exists()


def test_the_true_files_are_known() -> None:
    with torch.device("meta"):
        state = lavis.trainables(lavis.whole("instructblip", true=True), "llm_proj")
    each = 185_660_160 + 32 * 768 + 769 * 4096 + 2 * 1408 + 512
    assert sum(x.numel() for x in state.values()) == each
    files = [spelled(state, key, "Qformer") for key in KEYS]
    system = XInstructBLIP()
    for given in (*files, files[0] | files[1]):
        layout, match = best(system.layouts, {name: tuple(x.shape) for name, x in given.items()}, "x")
        assert (layout, match.faults) == ("Qformer", 0)
        check_sizes("x", system, match.sizes)
        assert "block" not in match.sizes

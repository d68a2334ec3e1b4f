"""What is computed before the first step, and that a bad record or file costs itself only."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
import tiny
import torch
from components import TINY

from anyx.data import filling
from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.pairs import PairReader
from anyx.data.sources import Feed
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.interfaces import Media, Tokens
from anyx.media import Audio, Image, MediaError
from anyx.training.backbones import Backbones
from anyx.training.prepare import counted, fill
from anyx.training.readers import teacher_digest


def ask(*parts: object, role: str = "user") -> dict[str, object]:
    return {"messages": [{"role": role, "content": list(parts)}]}


def picky(key: str, media: Media, generator: torch.Generator) -> Media:
    if isinstance(media, Image) and not media.pixels.any():
        raise ValueError("this one is black")
    return media


def test_a_bad_record_or_file_costs_itself_only(tmp_path: Path) -> None:
    good = [{"type": "image", "media": Image(torch.full((3, 4, 4), level, dtype=torch.uint8))} for level in (9, 0, 99)]
    soundfile.write(tmp_path / "empty.wav", torch.zeros(0, 1).numpy(), 8000)
    with pytest.raises(MediaError, match="it lasts 0 seconds"):
        Audio.read(tmp_path / "empty.wav")
    records = [
        ask({"type": "image", "path": str(tmp_path / "missing.png")}),
        ask({"type": "audio", "path": str(tmp_path / "empty.wav")}),
        {"messages": [{"content": [good[0]]}]},  # no role
        ask({"type": "text"}),
        ask({"type": "image", "media": 5}),
        ask({"type": "image", "caption": "half a \ud83d"}, role="assistant"),
        *(ask(part) for part in good),
    ]
    model, cache = tiny.anyx(), FeatureCache(tmp_path / "features")
    reader = DialogueReader(
        model.processor, cache, encoders={"image": "eye", "audio": "eye"}, teachers={"image": "text"}
    )
    fill(model, reader, [Feed("chat", records, picky)], cache)
    assert len(cache) == 2  # of three pictures, one of which the augmentation refuses


def test_a_teacher_leaves_memory_once_it_has_spoken(tmp_path: Path) -> None:
    """Its conditions are in the cache; what would be lost with it, as it is in no folder, stays."""
    given = TINY["decoders"]["stable_diffusion"][0] | {"tokenizer": {"words": ["cow"], "length": 5}}
    text = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    built = StableDiffusionDecoder(**given, text=text)
    for decoder, stays in ((StableDiffusionDecoder(path=str(built.save(tmp_path / "sd"))), False), (built, True)):
        model = Backbones({}, {"image": decoder}, kinds={"image": Image})
        for _ in range(2):  # the second time the cache has everything already
            cache = FeatureCache(tmp_path / f"features{stays}")
            reader = PairReader(model.kinds, {}, cache, {"image": teacher_digest(decoder, "")})
            assert decoder.parts()["text"]
            fill(model, reader, [Feed("pairs", [{"media": {"image": "a.png"}, "caption": "a cow"}])], cache)
            assert bool(decoder.parts()["text"]) == stays


class Dead(Exception):
    """A process that was killed."""


def test_a_fill_that_was_killed_goes_on_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed together does not depend on what was computed before: this encoder would tell."""
    monkeypatch.setattr(filling, "SHARD", 5)
    pictures = [Image(torch.full((3, 4, 4), index, dtype=torch.uint8)) for index in range(40)]
    asks = [{"role": "user", "content": [{"type": "image", "media": picture}]} for picture in pictures]
    feed = Feed("chat", [{"messages": [ask, {"role": "assistant", "content": "A fox."}]} for ask in asks])

    def filled(folder: str, calls: int = 99, **given: Any) -> FeatureCache:
        torch.manual_seed(0)
        model, cache = tiny.anyx(), FeatureCache(tmp_path / folder)
        eye: list[int] = []

        def together(_: Any, inputs: Any, tokens: Tokens) -> Tokens:
            eye.append(1)
            if len(eye) > calls:
                raise Dead
            return tokens._replace(values=tokens.values + inputs[0]["numbers"].sum())

        model.encoders["eye"].register_forward_hook(together)
        reader = DialogueReader(model.processor, cache, encoders={"image": "eye"})
        fill(model, reader, [feed], cache, **given)
        return cache

    whole = filled("whole")
    assert len(whole) == 40
    with pytest.raises(Dead):
        filled("cut", calls=2)
    assert len(FeatureCache(tmp_path / "cut")) == 32
    first, *_ = sorted((tmp_path / "cut").glob("*.safetensors"))
    first.unlink()  # and some of what there was is lost
    ranks = [filled("ranks", share=(rank, 2)) for rank in range(2)]
    ranks[0].refresh()
    for found in (filled("cut"), ranks[0]):
        assert set(found) == set(whole)
        assert all(torch.equal(found[name]["values"], whole[name]["values"]) for name in whole)


def test_long_work_says_how_far_it_is_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "anyx")
    assert list(counted(range(3), "features of image", 3, every=0)) == [0, 1, 2]
    assert caplog.messages[0].startswith("features of image: 1 of 3, ")
    assert len(caplog.messages) == 2
    assert list(counted(range(3), "features of image", 3)) == [0, 1, 2]
    assert len(caplog.messages) == 2  # it did not take long

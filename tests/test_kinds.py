"""Kinds of media: those of the registry are those of `anyx.media`; a class from outside is one more, in and out."""

import dataclasses

import pytest
from midi import Notes
from PIL import Image as PILImage

from anyx import codecs, config, media, registry
from anyx.digests import media_digest
from anyx.interfaces import Medium
from anyx.media import Audio, Image, Video
from anyx.reply import Reply


def test_the_registry_and_the_module_name_the_same_kinds() -> None:
    assert {name: registry.resolve("media", name) for name in registry.MEDIA} == media.MEDIA
    for kind in media.MEDIA.values():
        assert kind.__base__ is Medium
        assert dataclasses.fields(kind)
        assert kind.suffix in kind.suffixes
    assert not Notes.suffixes, "a kind from outside that says none is tried with every file"


def test_the_suffixes_of_pictures_are_those_of_the_formats_that_are_opened() -> None:
    PILImage.init()
    known = {suffix[1:] for suffix, name in PILImage.registered_extensions().items() if name in codecs.RASTERS}
    assert known == Image.suffixes
    assert Image.suffixes < Video.suffixes, "a still picture is a clip of one frame"
    assert {"mp4", "webm", "mkv"} <= Audio.suffixes & Video.suffixes, "the sound of a film is heard"


def test_a_class_from_outside_is_a_kind() -> None:
    import torch

    assert registry.resolve("media", "midi:Notes") is Notes
    notes = Notes(torch.tensor([[60.0, 80.0, 0.0, 1.0]]))
    reply = Reply(["Here: ", notes])
    assert reply.keys == ["text", "notes"]
    assert media_digest(notes) == media_digest(Notes(notes.notes.clone())) != media_digest(Notes(notes.notes + 1))


@pytest.mark.parametrize(
    ("name", "said"),
    [("smell", "'smell' is not one of audio, image, series, video"), ("anyx.media:read", "is no Medium")],
)
def test_what_is_no_kind_is_refused(name: str, said: str) -> None:
    given = {"encoders": {"eye": {"type": "clip", "path": "x"}}, "inputs": {"depth": {"encoder": "eye", "media": name}}}
    with pytest.raises(config.ConfigError, match=rf"inputs\.depth\.media: .*{said}"):
        config.check(given)


def test_a_kind_is_a_frozen_dataclass() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Medium()  # type: ignore[abstract]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Image.read(bytes(Image(media.torch.zeros(3, 2, 2, dtype=media.torch.uint8)).to_bytes())).pixels = None  # type: ignore[misc,assignment]

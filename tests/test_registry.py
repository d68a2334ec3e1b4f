"""Names resolve to classes that subclass their interface; errors name what is allowed."""

import pytest

from anyx import interfaces, registry

KINDS = {
    "encoders": interfaces.Encoder,
    "decoders": interfaces.Decoder,
    "input_projectors": interfaces.InputProjector,
    "output_projectors": interfaces.OutputProjector,
    "adapters": interfaces.Adapter,
    "media": interfaces.Medium,
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in registry.TABLES.items() for name in names])
def test_every_name_is_a_component(kind, name):
    assert issubclass(registry.resolve(kind, name), KINDS[kind])


def test_rooms_export_what_is_registered():
    from anyx import decoders, encoders

    for room, kind in ((encoders, "encoders"), (decoders, "decoders")):
        classes = {target.split(":")[1] for target in registry.TABLES[kind].values()}
        assert classes == set(room.__all__)
        for name in classes:
            assert getattr(room, name).__name__ == name
        with pytest.raises(AttributeError, match="Clop"):
            room.Clop  # noqa: B018


def test_a_class_may_be_named_directly():
    target = "anyx.input_projectors:LinearInputProjector"
    assert registry.resolve("input_projectors", target) is registry.resolve("input_projectors", "linear")
    shown = "anyx.encoders:EfficientNetEncoder"  # a room that loads its classes when asked
    assert registry.resolve("encoders", shown) is registry.resolve("encoders", "efficientnet")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("encoders", "clop", "'clop' is not one of .*clip, .*imagebind, .*whisper"),
        ("encoder", "clip", "'encoder' is not one of encoders, decoders"),
        ("encoders", "nowhere.to_be:Found", "needs the package 'nowhere'"),
        ("encoders", "anyx.encoders.nowhere:Found", "run `make setup`"),
        ("encoders", "anyx.media:Smell", "has no class 'Smell'"),
        ("encoders", "anyx.media:read", "is no Encoder"),
        ("encoders", "json:JSONDecoder", "is no Encoder"),
        ("decoders", "anyx.encoders:ClipEncoder", "is no Decoder"),
    ],
)
def test_errors_name_what_is_allowed(kind, name, message):
    with pytest.raises(ValueError, match=message):
        registry.resolve(kind, name)


def test_rooms_refuse_their_wrong_name():
    import importlib

    for room in ("encoders", "decoders"):
        with pytest.raises(ImportError, match=f"anyx.{room}"):
            importlib.import_module(room)

"""Tables of key patterns: sizes are read from a file, what misfits is named, and the way back is the same."""

from __future__ import annotations

import pytest

from anyx.converters.keys import KeysError, Layout, Rule, best

LAYOUT = Layout(
    [
        Rule("table", "tables.embedding", "rows width"),
        Rule("layers.{layer}.{side}.w", "body.{side}.{layer}.weight", "3*width width"),
        Rule("layers.{layer}.{side}.b", "body.{side}.{layer}.bias", "3*width"),
        Rule("first", "first", "1 width 7"),
    ],
    {"side": ("left", "right")},
)
SIZES = {"rows": 10, "width": 4, "layer": 3}
WHOLE = {name: shape for name, (_, shape) in LAYOUT.expand(SIZES).items()}


def test_a_table_names_every_tensor() -> None:
    assert len(WHOLE) == 1 + 3 * 2 * 2 + 1
    assert LAYOUT.expand(SIZES)["layers.2.left.w"] == ("body.left.2.weight", (12, 4))
    assert WHOLE["first"] == (1, 4, 7)


def test_groups_are_there_whole_or_not_and_places_may_count_in_steps() -> None:
    layout = Layout(
        [
            Rule("layer.{layer}", "body.{layer}", "width"),
            Rule("cross.{layer}", "crossing.{layer}", "width", every=2),
            Rule("head", "unread.head", "rows width", "words"),
            Rule("head.bias", "unread.bias", "rows", "words"),
        ]
    )
    plain = {f"layer.{n}": (4,) for n in range(5)} | {f"cross.{n}": (4,) for n in (0, 2, 4)}
    match = layout.classify(plain)
    assert (match.faults, match.sizes) == (0, {"width": 4, "layer": 5})
    assert match.names["cross.4"] == "crossing.4"
    assert set(layout.expand({"width": 4, "layer": 5, "rows": 7})) == {*plain, "head", "head.bias"}
    assert layout.classify(plain | {"head": (7, 4), "head.bias": (7,)}).faults == 0
    assert layout.classify(plain | {"head": (7, 4)}).missing == ("head.bias",)
    assert layout.classify(plain | {"cross.3": (4,)}).unknown == ("cross.3",)
    back = {match.names[name]: shape for name, shape in plain.items()}
    assert layout.classify(back, back=True).faults == 0


@pytest.mark.parametrize("back", [False, True])
def test_sizes_are_read_and_both_ways_agree(back: bool) -> None:
    shapes = {name: shape for name, (_, shape) in LAYOUT.expand(SIZES, back=back).items()}
    match = LAYOUT.classify(shapes, back=back)
    assert match.sizes == SIZES
    assert match.faults == 0
    assert match.names == {name: other for name, (other, _) in LAYOUT.expand(SIZES, back=back).items()}


def test_what_misfits_is_named_and_nothing_else() -> None:
    shapes = WHOLE | {
        "layers.1.left.w": (12, 5),
        "layers.1.up.w": (12, 4),
        "first": (4, 7),
        "layers.01.left.w": (12, 4),
    }
    del shapes["layers.2.right.b"]
    match = LAYOUT.classify(shapes)
    assert match.unknown == ("layers.1.up.w", "layers.01.left.w")
    assert match.missing == ("layers.2.right.b",)
    assert match.misshaped == {"layers.1.left.w": ((12, 5), (12, 4)), "first": ((4, 7), (1, 4, 7))}
    assert match.sizes == SIZES, "the majority says what the width is"
    with pytest.raises(KeysError) as raised:
        best({"only": LAYOUT}, shapes, "x.pt is no such file")
    told = str(raised.value)
    assert told.startswith("x.pt is no such file (held against its layout 'only'):\n")
    assert "  unknown (2): layers.1.up.w, layers.01.left.w\n" in told
    assert "  missing (1): layers.2.right.b\n" in told
    assert "layers.1.left.w is 12 x 5 instead of 12 x 4, first is 4 x 7 instead of 1 x 4 x 7" in told
    assert raised.value.match.missing == match.missing


def test_a_hole_in_what_counts_is_missing() -> None:
    shapes = {name: shape for name, shape in WHOLE.items() if not name.startswith("layers.1.")}
    assert {name.split(".")[1] for name in LAYOUT.classify(shapes).missing} == {"1"}


def test_the_nearest_layout_is_taken() -> None:
    other = Layout([Rule("other." + rule.theirs, rule.ours, rule.shape) for rule in LAYOUT.rules], LAYOUT.words)
    layouts = {"plain": LAYOUT, "other": other}
    assert best(layouts, WHOLE, "x")[0] == "plain"
    assert best(layouts, {f"other.{name}": shape for name, shape in WHOLE.items()}, "x")[0] == "other"


def test_long_lists_are_cut_in_the_message_only() -> None:
    with pytest.raises(KeysError, match=r"unknown \(100\): stray0, .* and 76 more\n") as raised:
        best({"only": LAYOUT}, {f"stray{i}": (1,) for i in range(100)}, "x")
    assert len(raised.value.match.unknown) == 100


def test_a_place_that_stands_twice_has_one_value() -> None:
    layout = Layout([Rule("{i}.{i}.{s}.{s}", "a.{i}.{s}", "n")], {"s": ("x", "y")})
    match = layout.classify({"0.0.x.x": (2,), "0.0.y.y": (2,), "0.1.x.x": (2,), "0.0.x.y": (2,)})
    assert match.unknown == ("0.1.x.x", "0.0.x.y")
    assert match.missing == ()


def test_numbers_in_steps() -> None:
    layout = Layout([Rule("a.{i}", "b.{i}", "n", every=4, first=3), Rule("c", "c", "n")], said={"every i": 4})
    assert list(layout.expand({"i": 12, "n": 1})) == ["a.3", "a.7", "a.11", "c"]
    match = layout.classify({"a.3": (2,), "a.11": (2,), "a.8": (2,), "c": (2,)})
    assert (match.unknown, match.missing) == (("a.8",), ("a.7",))
    assert match.sizes == {"n": 2, "i": 12, "every i": 4}
    assert layout.classify({"c": (2,)}).missing == ("a.3",), "a file without any is not whole"

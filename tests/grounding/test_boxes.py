"""Every codec: what it writes it reads back within its quantum; no text of a model makes it raise."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anyx.config import load
from anyx.grounding import CODECS, BoxCodec, Parsed, Region, Size, codec
from anyx.grounding.fuyu import FuyuCodec

MARKS = [[1, 2, 30, 40], [5, 6, 7, 8], [0, 0, 57, 57]]
# name, options, largest error in shares of the longer side (the quantum), numbers of its boxes
CASES: list[tuple[str, dict[str, Any], float]] = [
    ("minigpt_v2", {}, 1 / 100),
    ("minigpt_v2", {"published": True}, 1 / 100),
    ("qwen_vl", {}, 1 / 1000 + 1e-9),
    ("qwen_vl", {"decode": "evaluated"}, 2 / 999),
    ("cogvlm", {}, 1 / 1000 + 1e-9),
    ("kosmos2", {}, 1 / 32),
    ("kosmos2", {"grid": 8, "spaced": True}, 1 / 8),
    ("llava", {}, 0.005 + 1e-9),
    ("llava", {"frame": "picture", "precision": 3}, 0.0005 + 1e-9),
    ("shikra", {}, 0.0005 + 1e-9),
    ("shikra", {"style": "small", "frame": "picture"}, 0.0055 + 1e-9),
    ("shikra", {"style": "token"}, 0.001 + 1e-9),
    ("fuyu", {}, 0.0),
    ("fuyu", {"fit": [300, 400], "published": True}, 0.0),
]
IDS = [" ".join([name, *map(str, options.values())]) for name, options, _ in CASES]
SIDES = st.integers(40, 3000)
QUICK = settings(max_examples=25, deadline=None)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Size, list[Region]]:
    """A size, and phrases with boxes of at least a pixel inside of it."""
    size = Size(draw(SIDES), draw(SIDES))

    def box() -> tuple[float, ...]:
        x0, y0 = draw(st.floats(0, size.width - 1)), draw(st.floats(0, size.height - 1))
        return (x0, y0, draw(st.floats(x0 + 0.5, size.width)), draw(st.floats(y0 + 0.5, size.height)))

    phrase = st.lists(st.text(alphabet="abzя狗", min_size=1, max_size=5), min_size=1, max_size=3).map(" ".join)
    phrases = draw(st.lists(phrase, min_size=1, max_size=3))
    return size, [Region(words, tuple(box() for _ in range(draw(st.integers(1, 3))))) for words in phrases]


def quantum(made: BoxCodec, share: float, size: Size) -> float:
    """The largest error in pixels."""
    if isinstance(made, FuyuCodec):
        return 1.0 / made.scale(size) + (2.0 if made.published else 0.0) + 1e-6
    return share * max(size) + 1e-6


@pytest.mark.parametrize(("name", "options", "share"), CASES, ids=IDS)
@given(picture=pictures())
@QUICK
def test_what_is_written_is_read_back(name: str, options: dict[str, Any], share: float, picture: Any) -> None:
    size, regions = picture
    made = codec(name, options)
    text = made.format(["Here: ", *regions, "."], size)
    parsed = made.parse(text, size)
    assert parsed.malformed == 0
    assert [region.phrase for region in parsed.regions] == [region.phrase for region in regions]
    for found, wanted in zip(parsed.regions, regions, strict=True):
        for box, given_ in zip(found.boxes, wanted.boxes, strict=True):
            assert all(abs(a - b) <= quantum(made, share, size) for a, b in zip(box, given_, strict=True)), (
                box,
                given_,
            )
            assert all(0 <= value <= size[place % 2] for place, value in enumerate(box))


@given(
    boxes=st.lists(st.tuples(*[st.floats(-50, 50)] * 3, *[st.floats(0, 9)] * 3), min_size=1, max_size=4),
    precision=st.integers(1, 4),
)
@QUICK
def test_boxes_in_space(boxes: list[tuple[float, ...]], precision: int) -> None:
    made = codec("space", {"precision": precision})
    text = made.format(["There is ", Region("a chair", tuple(boxes))], Size(1, 1))
    (region,) = made.parse(text, Size(1, 1)).regions
    assert region.phrase == "There is a chair"  # no mark says where a phrase begins
    for found, wanted in zip(region.boxes, boxes, strict=True):
        assert found == pytest.approx(wanted, abs=0.5 * 10**-precision + 1e-9)


def test_marks_are_boxes_by_number() -> None:
    made = codec("set_of_mark", {"marks": MARKS})
    size = Size(57, 57)
    regions = [Region("a dog", ((1, 2, 30, 40),)), Region("two cats", ((5, 6, 7, 8), (0, 0, 57, 57)))]
    text = made.format(regions, size)
    assert text == "a dog [1], two cats [2] [3]"
    assert made.parse(text, size) == Parsed(tuple(regions))
    assert made.parse("see [4]", size).malformed == 1
    with pytest.raises(ValueError, match="none of the 3 marks"):
        made.format([Region("", ((1, 1, 2, 2),))], size)


ALL = [*CASES, ("space", {}, 0.0), ("set_of_mark", {"marks": MARKS}, 0.0)]
PIECES = (
    "<p>", "</p>", "{<", "{<10><20><30><40>}", "{<10><20><300><40>}", "<delim>", "<box>", "</box>", "(1,2),(3,4)",
    "<box>(1,2),(3,4)</box>", "<quad>", "[[", "]]", "[[001,002,003,004]]", "[0.1, 0.2, 0.3, 0.4]", "[", "[.1", "(0.1,",
    "<object>", "</object>", "<patch_index_0001>", "<patch_index_9999>", "<phrase>", "[1]", "[77]", "<0x00>", "<0x01>",
    "9" * 5000, "\n", "a dog", ", ", "<b_st>", "<bin_1>", "<b_ed>", "<p_st>", "<p_ed>", "(1,2,3,4,5,6)", "é", "\0",
)  # fmt: skip


@pytest.mark.parametrize(("name", "options", "share"), ALL, ids=[*IDS, "space", "marks"])
@given(text=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=12).map("".join))
@example(text="<p>" * 3000)
@example(text="{<1><2>" * 3000)
@example(text="[[" + "0" * 9000)
@example(text="[0.1, " * 3000)
@QUICK
def test_no_text_raises(name: str, options: dict[str, Any], share: float, text: str) -> None:
    parsed = codec(name, options).parse(text, Size(57, 913))
    assert parsed.malformed >= 0
    assert all(box for region in parsed.regions for box in region.boxes)


BROKEN = [  # what looks like a box and is none, and how many of them
    ("minigpt_v2", "<p>a</p> {<10><20><30>}", 1),
    ("minigpt_v2", "<p>a</p> {<10><20><30><400>} and {<9><9><9><9>}", 1),
    ("minigpt_v2", "{<50><20><30><40>}", 1),
    ("qwen_vl", "<ref>a</ref><box>(1,2),(3)</box>", 1),
    ("qwen_vl", "<box>(1,2),(3,1000)</box><box>(1,2),(3", 2),
    ("cogvlm", "a dog [[1,2,3,4]]", 1),
    ("kosmos2", "<object><patch_index_0001><patch_index_2000></object><object>", 2),
    ("llava", "a [0.1, 0.2, 0.3] b [0.1, 0.2, 1.3, 0.4]", 2),
    ("llava", "a [-0.1, 0.2, 0.3, 0.4]", 1),
    ("shikra", "a [0.1,0.2,0.3] b [0.9,0.2,0.3,0.4]", 2),
    ("fuyu", "<box>1, 2, 3</box><box>900, 2, 901, 4</box>", 2),
    ("space", "(1,2,3,4,5) (1,2,3,4,-5,6)", 2),
    ("set_of_mark", "[1]", 1),
]


@pytest.mark.parametrize(("name", "text", "count"), BROKEN)
def test_what_is_malformed_is_counted(name: str, text: str, count: int) -> None:
    assert codec(name).parse(text, Size(100, 100)).malformed == count


TEXTS = {  # the forms of the papers and the codes, written out
    "minigpt_v2": "<p>a dog</p> {<10><20><30><40>}<delim>{<0><0><100><100>}",
    "qwen_vl": "<ref>a dog</ref><box>(100,200),(300,400)</box><box>(0,0),(999,999)</box>",
    "cogvlm": "a dog [[100,200,300,400;000,000,999,999]]",
    "kosmos2": "<phrase>a dog</phrase><object><patch_index_0195><patch_index_0393></delimiter_of_multi_objects/>"
    "<patch_index_0000><patch_index_1023></object>",
    "llava": "a dog [0.10, 0.20, 0.30, 0.40] [0.00, 0.00, 1.00, 1.00]",
    "shikra": "a dog [0.100,0.200,0.300,0.400;0.000,0.000,1.000,1.000]",
    "fuyu": "a dog<box>100, 50, 200, 150</box><box>0, 0, 500, 500</box>",
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_published_form(name: str) -> None:
    size, regions = Size(1000, 1000), [Region("a dog", ((100, 200, 300, 400), (0, 0, 1000, 1000)))]
    assert codec(name).format(regions, size) == TEXTS[name]


def test_a_padded_square_is_said_apart_from_the_picture() -> None:
    size, box = Size(200, 100), [Region("", ((0, 0, 200, 100),))]
    assert codec("llava").format(box, size) == "[0.00, 0.25, 1.00, 0.75]"
    assert codec("llava", {"frame": "picture"}).format(box, size) == "[0.00, 0.00, 1.00, 1.00]"
    (region,) = codec("llava").parse("[0.00, 0.00, 1.00, 1.00]", size).regions
    assert region.boxes == ((0, 0, 200, 100),)  # what lies in the padding is cut


@pytest.mark.parametrize("name", ["llava", "shikra", "minigpt_v2"])
def test_boxes_are_cut_at_the_picture_s_edge_not_at_the_padding_s(name: str) -> None:
    size = Size(100, 200)
    made = codec(name)
    beyond, within = ([Region("", (box,))] for box in ((-50, -20, 150, 130), (0, 0, 100, 130)))
    assert made.format(beyond, size) == made.format(within, size)


@pytest.mark.parametrize("name", ["minigpt_v2", "qwen_vl", "cogvlm", "kosmos2", "llava", "shikra", "fuyu"])
def test_what_is_no_box_is_refused_and_no_boxes_are_none(name: str) -> None:
    size, made = Size(100, 200), codec(name)
    for box in ((90, 90, 10, 100), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)):
        with pytest.raises(ValueError, match=r"boxes: \(.*\) given; a box is x0, y0, x1, y1"):
            made.format([Region("a dog", (box,))], size)
    parsed = made.parse(made.format([Region("a dog", ())], size), size)
    assert (parsed.regions, parsed.malformed) == ([], 0)


@pytest.mark.parametrize("grid", [8, 32])
def test_kosmos_writes_a_box_without_width_on_a_border_of_bins(grid: int) -> None:
    made, size = codec("kosmos2", {"grid": grid}), Size(100, 100)
    parsed = made.parse(made.format([Region("", ((50, 50, 50, 75),))], size), size)
    assert (len(parsed.regions), parsed.malformed) == (1, 0)


def test_chinese_phrases_end_at_chinese_punctuation() -> None:
    text = "图中有一只狗、旁边是一只猫 [[001,002,300,400]]。还有球 [[001,002,300,400]]"
    parsed = codec("cogvlm").parse(text, Size(100, 100))
    assert [region.phrase for region in parsed.regions] == ["旁边是一只猫", "还有球"]
    assert parsed.text == "图中有一只狗、旁边是一只猫。还有球"


@pytest.mark.parametrize(
    ("name", "options", "broken", "box"),
    [
        ("space", {}, "(1,2,3,4,-5,6)", "(1,2,3,4,5,6)"),
        ("shikra", {"style": "small"}, "(9.00,0.10,0.20,0.40)", "(0.10,0.10,0.20,0.40)"),
    ],
)
def test_no_phrase_holds_the_rest_of_a_malformed_box(name: str, options: Any, broken: str, box: str) -> None:
    parsed = codec(name, options).parse(f"{broken} a cat {box}", Size(10, 10))
    assert (parsed.malformed, [region.phrase for region in parsed.regions]) == (1, ["a cat"])


def test_points_and_quadrilaterals() -> None:
    size = Size(1000, 500)
    for name, text in (("shikra", "a nose [0.100,0.100]"), ("fuyu", "a nose<point>50, 25</point>")):
        made = codec(name, {"frame": "picture"} if name == "shikra" else {})
        assert made.format([Region("a nose", ((100, 50),))], size) == text
        assert made.parse(text, size).regions == [Region("a nose", (pytest.approx((100, 50)),))]
    quad = Region("text", ((0, 0, 10, 5, 10, 10, 0, 5),))
    text = codec("qwen_vl").format([quad], size)
    assert text == "<ref>text</ref><quad>(0,0),(10,10),(10,20),(0,10)</quad>"
    assert codec("qwen_vl").parse(text, size).regions == [Region("text", (pytest.approx(quad.boxes[0]),))]


def test_fuyu_scales_as_transformers_does() -> None:
    from transformers.models.fuyu.processing_fuyu import (
        scale_bbox_to_transformed_image,
        scale_point_to_transformed_image,
    )

    size, made = Size(2400, 1500), FuyuCodec()
    for box in ((17, 301, 2000, 1400), (0, 1, 2, 3), (11.0, 13.5, 1200.2, 900.9)):
        x0, y0, x1, y1 = box
        wanted = scale_bbox_to_transformed_image(y0, x0, y1, x1, made.scale(size))
        assert made.format([Region("", (box,))], size) == f"<box>{', '.join(map(str, wanted))}</box>"
        dot = scale_point_to_transformed_image(x0, y0, made.scale(size))
        assert made.format([Region("", (box[:2],))], size) == f"<point>{', '.join(map(str, dot))}</point>"
    assert made.parse("a sign<0x00>1, 2, 3, 4<0x01>", Size(10, 10)).regions == [Region("a sign", ((4, 2, 8, 6),))]


def test_two_regions_without_a_space_are_one_in_the_published_demo() -> None:
    text = "<p>a</p>{<0><0><100><100>}<p>b</p>{<1><1><2><2>}"
    assert [r.phrase for r in codec("minigpt_v2").parse(text, Size(1, 1)).regions] == ["a", "b"]
    (one,) = codec("minigpt_v2", {"published": True}).parse(text, Size(1, 1)).regions
    assert (one.phrase, len(one.boxes)) == ("a", 2)


def test_a_long_text_of_the_published_demo_takes_no_longer_than_it_is() -> None:
    start = time.perf_counter()
    assert codec("minigpt_v2", {"published": True}).parse("<p>" * 20_000 + "}", Size(1, 1)).regions == []
    assert time.perf_counter() - start < 5, "half a minute when every <p> looks for its end"


def test_a_space_that_a_tokenizer_writes_after_a_tag_is_read_over() -> None:
    text = "<ref> a dog</ref><box> (100,200),(500,600)</box>"
    (region,) = codec("qwen_vl").parse(text, Size(200, 100)).regions
    assert region == Region("a dog", (pytest.approx((20, 20, 100, 60)),))


SYSTEMS = [  # system, input, its codec: table 6 of the reference sheet
    ("minigpt_v2", "image", {"type": "minigpt_v2"}),
    ("qwen_vl", "image", {"type": "qwen_vl"}),
    ("llava15", "image", {"type": "llava"}),
    ("lamm", "image", {"type": "llava", "frame": "picture"}),
    ("lamm", "cloud", {"type": "space"}),
]


@pytest.mark.parametrize(("system", "key", "boxes"), SYSTEMS)
def test_systems_name_their_codec(system: str, key: str, boxes: dict[str, str]) -> None:
    config = load(Path(__file__).parents[2] / "configs" / "models" / f"{system}.yaml")
    assert config.inputs[key].boxes == boxes


def test_every_codec_says_its_frame_and_what_it_needs() -> None:
    assert {name for name, _, _ in ALL} == set(CODECS)
    for name in CODECS:
        made = codec(name)
        assert made.frame
        assert all(token.startswith("<") for token in made.tokens)
    with pytest.raises(ValueError, match=r"boxes.type: 'owl' is not one of minigpt_v2"):
        codec("owl")
    with pytest.raises(ValueError, match="frame: 'square' is not one of picture, padded_square"):
        codec("llava", {"frame": "square"})
    with pytest.raises(ValueError, match="4 numbers, but 2 were given"):
        codec("minigpt_v2").format([Region("", ((1, 2),))], Size(10, 10))

"""Boxes as text of MiniGPT-v2, Qwen-VL, Kosmos-2 and Shikra: written and read as the published code does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from golden import Case, cases, required
from transformers import CLIPImageProcessorPil, Kosmos2Processor, XLMRobertaTokenizer

from anyx.grounding import Region, Size
from anyx.grounding.boxes import Content, upright
from anyx.grounding.kosmos import Bins, KosmosCodec
from anyx.grounding.minigpt import MiniGPTCodec, substrings
from anyx.grounding.qwen import QwenCodec
from anyx.grounding.shikra import ShikraCodec

UNIT = Size(1, 1)  # of a picture of one pixel, pixels are shares


def near(case: Case, found: Sequence[float], wanted: Sequence[float]) -> bool:
    bound = case.sidecar["tolerance"]
    pairs = zip(found, wanted, strict=True)
    return all(abs(a - b) <= bound["abs"] + bound["rel"] * abs(b) for a, b in pairs)


def corners(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return (x, y, x + width, y + height)


def boxed(parsed: Sequence[Region], length: int = 4) -> list[list[list[float]]]:
    """The boxes of each region that has such of that many numbers."""
    found = [[list(box) for box in region.boxes if len(box) == length] for region in parsed]
    return [boxes for boxes in found if boxes]


@pytest.mark.parametrize("found", cases("15_boxes", "minigpt_v2*"))
def test_minigpt_v2(found: Case | None) -> None:
    case = required(found)
    codec, out = MiniGPTCodec(), case.part("out")
    for row, item in enumerate(case.sidecar["encode"]):
        size = Size(*item["image_wh"])
        assert out["boxes_xywh"][row].tolist() == item["box_xywh_px"]
        assert out["image_wh"][row].tolist() == item["image_wh"]
        assert codec.format([Region("", (corners(*item["box_xywh_px"]),))], size) == item["text"]
    for item in case.sidecar["decode"]:
        parsed = codec.parse(item["text"], Size(*item["image_wh"]))
        assert parsed.malformed == 0
        ((box,),) = (region.boxes for region in parsed.regions)
        assert near(case, box, item["box_px"])
        assert re.fullmatch(case.sidecar["decode_pattern"], item["text"])
    for item in case.sidecar["extract_substrings"]:
        assert substrings(item["text"]) == item["substrings"]
        regions = MiniGPTCodec(published=True).parse(item["text"], UNIT).regions
        wanted = [
            (piece.partition("</p>")[0], len(re.findall(case.sidecar["decode_pattern"], f"{piece}}}")))
            for piece in item["substrings"]
            if "</p>" in piece and re.search(case.sidecar["decode_pattern"], f"{piece}}}")
        ]
        assert [(region.phrase, len(region.boxes)) for region in regions] == wanted
        boxes = [box for region in codec.parse(item["text"], UNIT).regions for box in region.boxes]
        assert len(boxes) == len(re.findall(case.sidecar["decode_pattern"], item["text"]))
    for item in case.sidecar["mask_to_box"]:
        order = dict(zip(item["rect_order"].split(","), item["rect_px"], strict=True))
        mask = np.zeros(item["mask_hw"], dtype=bool)
        mask[order["ymin"] : order["ymax"] + 1, order["xmin"] : order["xmax"] + 1] = True
        size = Size(item["mask_hw"][1], item["mask_hw"][0])
        assert codec.format([Region("", (codec.box_of(mask),))], size) == item["text"]


@pytest.mark.parametrize("found", cases("15_boxes", "qwen_vl*"))
def test_qwen_vl(found: Case | None) -> None:
    case = required(found)
    drawn, evaluated, ints = QwenCodec(), QwenCodec(decode="evaluated"), case.part("out")["ints"]
    for row, item in enumerate(case.sidecar["encode"]):
        size, numbers = Size(*item["image_wh"]), item["ints_0_999"]
        assert ints[row].tolist() == numbers
        made = drawn.format([Region("", (tuple(item["box_px"]),))], size)
        assert [int(n) for n in re.findall(r"\d+", made)] == numbers
        thousandths = Size(1000, 1000)
        text = listed(item["list_format"])
        assert text == item["text"]
        parsed = drawn.parse(text, thousandths)
        fetched = [(region.phrase, list(box)) for region in parsed.regions for box in region.boxes]
        assert fetched == [(other["ref"], [float(n) for n in other["box"]]) for other in item["fetched"]]
        ((_, (box,)),) = drawn.parse(text, size).regions
        assert [int(value) for value in box] == item["draw_box_px"]
        ((_, (box,)),) = evaluated.parse(text, size).regions
        assert near(case, box, item["eval_box_px"])
    multi = drawn.parse(case.sidecar["multi"], Size(1000, 1000))
    places = re.findall(r"\d+", "".join(re.findall(r"<box>.*?</box>", case.sidecar["multi"])))
    assert [n for region in multi.regions for box in region.boxes for n in box] == [float(n) for n in places]
    assert drawn.format(multi.content, Size(1000, 1000)) == case.sidecar["multi"]


def listed(items: Sequence[dict[str, object]]) -> str:
    """Qwen-VL's list of parts as one text, its boxes by the codec."""
    pictures, content = 0, list[str | Region]()
    for item in items:
        if "image" in item:
            pictures += 1
            content.append(f"Picture {pictures}: <img>{item['image']}</img>\n")
        elif "text" in item:
            content.append(str(item["text"]))
        else:
            boxes = np.asarray(item["box"], dtype=float).reshape(-1, 4)
            content.append(Region(str(item["ref"]), tuple(tuple(box) for box in boxes.tolist())))
    return QwenCodec().format(content, Size(1000, 1000))


@pytest.mark.parametrize("found", cases("15_boxes", "kosmos2*"))
def test_kosmos_2(found: Case | None) -> None:
    case = required(found)
    patches = case.part("out")["patch"]
    for row, item in enumerate(case.sidecar["encode"]):
        codec, size = KosmosCodec(grid=item["grid"]), Size(*item["image_wh"])
        text = codec.format([Region("", (tuple(item["box_px"]),))], size)
        assert [int(n) for n in re.findall(r"\d+", text)] == item["patch_indices"] == patches[row].tolist()
        ((_, (box,)),) = codec.parse(text, UNIT).regions
        assert near(case, box, item["decoded_norm"])
    for item in case.sidecar["examples"]:
        assert KosmosCodec(spaced=True, published=True).format(example(item), UNIT) == item["formatted"]
        published = KosmosCodec(published=True).parse(item["formatted"], UNIT)
        assert [region.phrase.strip() for region in published.regions] == [entity[0] for entity in item["entities"]]
        assert published.text.strip() == item["clean_text"]
        here = KosmosCodec().parse(item["formatted"], UNIT)
        every = [boxes for boxes in item["bboxes"] or () if boxes]
        wanted = [boxes for boxes in every if all(upright(shares_of(box)) for box in boxes)]
        assert here.malformed == len(every) - len(wanted)  # the published reader asks of no box that it is one
        assert [len(region.boxes) for region in here.regions] == [len(boxes) for boxes in wanted]
        for region, boxes in zip(here.regions, wanted, strict=True):
            for box, given in zip(region.boxes, boxes, strict=True):
                assert bins_of(box) == (given if len(given) == 2 else bins_of(given))


@pytest.mark.parametrize("found", cases("15_boxes", "kosmos2*"))
def test_kosmos_2_through_transformers(found: Case | None) -> None:
    """Its processor of today writes and reads as that which the case was made with."""
    case = required(found)
    letters = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((c, -1.0) for c in "▁abcdehinot")]
    processor = Kosmos2Processor(CLIPImageProcessorPil(), XLMRobertaTokenizer(vocab=letters))
    for item in case.sidecar["examples"]:
        boxes = [list(map(tuple, given)) if given else None for given in item["bboxes"] or ()] or None
        assert processor.preprocess_examples(item["text"], bboxes=boxes) == item["formatted"]
        text, entities = processor.post_process_generation(item["formatted"])
        assert (text, [list(entity) for entity in entities]) == (item["clean_text"], item["entities"])
    for key, wanted in case.sidecar.items():
        if match := re.fullmatch(r"with_image_(\d+)_tokens", key):
            words = wanted.rpartition("</image> ")[2]
            picture = np.zeros((4, 4, 3), dtype=np.uint8)
            assert processor.preprocess_examples(words, images=picture, num_image_tokens=int(match[1])) == wanted


def example(item: dict[str, object]) -> Content:
    """The words of an example, with a region where one of its phrases has boxes."""
    pieces = re.split(r"(<phrase>.*?</phrase>)", str(item["text"]))
    boxes = iter(item["bboxes"] or ())  # type: ignore[call-overload]
    content: list[str | Region] = []
    for piece in pieces:
        given = next(boxes) if piece.startswith("<phrase>") else None
        if given:
            phrase = piece.removeprefix("<phrase>").removesuffix("</phrase>")
            content.append(Region(phrase, tuple(shares_of(box) for box in given)))
        else:
            content.append(piece)
    return content


def shares_of(box: Sequence[float]) -> tuple[float, ...]:
    """A box of an example: four shares as they are, two bins as the shares that stand for them."""
    return tuple(box) if len(box) == 4 else KosmosCodec().shares(Bins(*map(int, box)))


def bins_of(box: Sequence[float]) -> list[int]:
    return list(KosmosCodec().bins(tuple(box)))


@pytest.mark.parametrize("found", cases("15_boxes", "shikra*"))
def test_shikra(found: Case | None) -> None:
    case = required(found)
    plain, small, token = (ShikraCodec(style=style, frame="picture") for style in ("plain", "small", "token"))
    published = ShikraCodec(style="token", frame="picture", published=True)
    norms = case.part("out")["norm"]
    for row, item in enumerate(case.sidecar["encode"]):
        size = Size(*item["image_wh"])
        box = tuple(item["box_xyxy_px"])
        point = box[:2]
        assert near(case, [value / side for value, side in zip(point, size, strict=True)], item["norm_point"])
        for name, codec in (("plain", plain), ("plain_small", small), ("token", token)):
            text, dot = codec.format([Region("", (box,))], size), codec.format([Region("", (point,))], size)
            assert text == item[name]
            assert dot == item[f"{name}_point"]
            assert boxed(codec.parse(text, UNIT).regions) == item[f"{name}_parsed"]
            reader = published if name == "token" else codec
            assert boxed(reader.parse(dot, UNIT).regions, 2) == item[f"{name}_point_parsed"]
        assert norms[row].tolist() == item["norm"]
        assert boxed(plain.parse(item["plain"], UNIT).regions) == [[item["norm"]]]
        (read,) = token.parse(item["token_point"], UNIT).regions  # what the published reader cannot
        assert torch.allclose(torch.tensor(read.boxes[0]), torch.tensor(item["norm_point"]), atol=0.5e-3 + 1e-6)
    names = {"plain": plain, "plain_small": small, "token": token}
    for item in case.sidecar["sentences"]:
        codec, target, raw = names[item["formatter"]], item["target"], item["raw"]
        size = Size(target["width"], target["height"])
        boxes, points = iter(raw["boxes_seq"]), iter(raw["points_seq"])
        content: list[str | Region] = []
        for piece in re.split(r"(<boxes>|<points>)", raw["value"]):
            kinds = {"<boxes>": (boxes, "boxes"), "<points>": (points, "points")}
            if piece in kinds:
                chosen, kind = kinds[piece]
                content.append(Region("", tuple(tuple(target[kind][place]) for place in next(chosen))))
            else:
                content.append(piece)
        text = codec.format(content, size)
        assert text == item["out"]
        assert boxed(codec.parse(text, UNIT).regions) == item["parsed"]

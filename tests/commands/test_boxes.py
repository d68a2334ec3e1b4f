"""`anyx run` with boxes: a tiny model that has learnt one picture says where a dog is, and it is drawn there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from grounded import taught
from tiny import llama_tokenizer, tokenizer
from tokenizers import AddedToken

from anyx.commands import boxes, main
from anyx.config import load
from anyx.grounding import Region, Size
from anyx.grounding.draw import colours
from anyx.grounding.qwen import QwenCodec
from anyx.media import Image
from anyx.model import AnyX

ANSWERS = {
    "[grounding] look": "<p>a dog</p> {<10><20><50><60>} and <p>it</p> {<70><0><99><50>}<delim>{<9>",
    "[identify] what is this {<10><20><50><60>}": "a dog",
}


QWEN = {"<ref>it</ref>": "<ref>a dog</ref><box>(100,200),(500,600)</box>"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniGPT-v2's parts, each tiny, taught two answers about one picture."""
    return taught(tmp_path_factory.mktemp("grounded"), llama_tokenizer(), "minigpt_v2", ANSWERS)


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code == 0


def test_an_answer_s_boxes_are_written_and_drawn(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = folder / "farm.png"
    run("run", "look", "--task", "grounding", "--image", image, "-m", folder / "model", "-o", tmp_path, "--device=cpu")
    found = json.loads((tmp_path / "boxes.json").read_text())
    assert [region["phrase"] for region in found["regions"]] == ["a dog", "it"]
    assert [region["boxes"] for region in found["regions"]] == [
        [pytest.approx([20, 20, 100, 60])],
        [pytest.approx([140, 0, 198, 50])],
    ]
    assert (found["size"], found["malformed"]) == ([200, 100], 1)
    assert found["text"].startswith("a dog and it")
    drawn, given = Image.read(tmp_path / "boxes.png"), Image.read(image)
    colour_of_dog, colour_of_it = colours(2)
    for x, y in ((20, 60), (100, 60), (60, 60), (20, 40)):
        assert tuple(drawn.pixels[:, y, x].tolist()) == colour_of_dog
    for x, y in ((140, 40), (198, 50), (170, 50)):
        assert tuple(drawn.pixels[:, y, x].tolist()) == colour_of_it
    assert torch.equal(drawn.pixels[:, 30:50, 40:90], given.pixels[:, 30:50, 40:90]), "inside nothing is drawn"
    printed = capsys.readouterr().out
    assert "{<10><20><50><60>}" in printed
    assert "1 boxes of the answer are malformed" in printed
    assert "boxes.png" in printed


def test_a_box_is_asked_about_in_pixels(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "what is this {box}", "--task", "identify", "--box", "20,20,100,60")
    run(*words, "--image", folder / "farm.png", "-m", folder / "model", "-o", tmp_path, "--device=cpu")
    assert capsys.readouterr().out.splitlines()[0] == "a dog"
    assert not (tmp_path / "boxes.json").exists()


def test_qwen_vl_s_tags_are_tokens_that_users_and_answers_say(tmp_path: Path) -> None:
    """Its tokenizer has them as added tokens that are not special, as QwenCodec.tokens asks for."""
    words = tokenizer()  # of bytes, as Qwen's
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<img>", "</img>"]})
    words.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in QwenCodec.tokens])
    folder = taught(tmp_path, words, "qwen_vl", QWEN)
    prompt = AnyX.from_pretrained(folder / "model").processor.prompt
    ids = prompt.encode([{"role": "user", "content": "<ref>it</ref> <|im_end|>"}]).ids
    assert ids.count(words.convert_tokens_to_ids("<ref>")) == 1
    assert ids.count(words.convert_tokens_to_ids("<|im_end|>")) == 2, "the system's and the user's, none of the words"
    out = tmp_path / "out"
    image = ("--image", folder / "farm.png")
    run("run", "it", "--task", "refer", *image, "-m", folder / "model", "-o", out, "--device=cpu")
    (region,) = json.loads((out / "boxes.json").read_text())["regions"]
    assert region == {"phrase": "a dog", "boxes": [pytest.approx([20, 20, 100, 60])]}
    drawn = Image.read(out / "boxes.png")
    assert tuple(drawn.pixels[:, 60, 60].tolist()) == colours(1)[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--task", "identfy"], "task: 'identfy' is not one of vqa, caption, grounding, refer, detection, identify"),
        (["--box", "1,2,x,4"], "--box '1,2,x,4' is not of the form x0,y0,x1,y1"),
        (["--box", "1,2,3"], "boxes: MiniGPT-v2 writes boxes of 4 numbers, but 3 were given"),
        (["{box} {box}", "--box", "1,2,3,4"], "--box: 1 given, but the words have 2 places {box}"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", *words, "--image", str(folder / "farm.png"), "-m", str(folder / "model"), "--device=cpu"])
    assert ended.value.code == 2
    assert line in capsys.readouterr().err


def test_boxes_without_a_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="no input of this request has boxes"):
        boxes.with_boxes("what is this", [(1, 2, 3, 4)], None)
    for words in ("what is this", 'write {"a": {box}}'):  # of a model without boxes, words are words
        assert boxes.with_boxes(words, [], None) == words


def test_marks_are_drawn_on_the_picture_that_is_sent(folder: Path, tmp_path: Path) -> None:
    config = load(folder / "model.yaml", ["inputs.image.boxes.type=set_of_mark"])
    places = boxes.numbers(["20,20,100,60", "120,30,180,90"])
    ground = boxes.ground_of(config.inputs, [("image", folder / "farm.png")], places)
    assert ground is not None
    assert ground.image is not None
    assert boxes.with_boxes("what is in 2?", places, ground) == "what is in 2?"
    assert boxes.with_boxes("what is {box}? and {box}?", places, ground) == "what is [1]? and [2]?"
    assert tuple(ground.image.pixels[:, 60, 60].tolist()) == colours(2)[0]
    assert ground.codec.parse("a cow [2]", Size(200, 100)).regions == [Region("a cow", (places[1],))]
    files, malformed = boxes.save(ground, "a cow [2] or [3]", tmp_path)
    assert ([file.name for file in files], malformed) == (["boxes.json", "boxes.png"], 1)


def test_a_codec_s_options_are_held_against_it(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"inputs.image.boxes.publishd: .*Did you mean: 'published'"):
        load(folder / "model.yaml", ["inputs.image.boxes.publishd=true"])
    with pytest.raises(ValueError, match=r"inputs.image.boxes.type: 'owl' is not one of minigpt_v2, qwen_vl"):
        load(folder / "model.yaml", ["inputs.image.boxes.type=owl"])

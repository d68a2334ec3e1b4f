"""Whole models of transformers behind our calls, and that ours, made of parts with the same weights, says the same.

Both read one file of weights: transformers' class whole, ours through `anyx convert llava`. Logits are compared at
every position, those of the picture's tokens included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llava_models import model, processor, write_bases

from anyx import AnyX
from anyx.backends import WholeModel, is_whole, settings
from anyx.commands import main
from anyx.converters.systems import convert
from anyx.media import Image
from anyx.prompt import PLACEHOLDER
from anyx.splice import splice

TEMPLATE = {
    "user": {"prefix": "USER: ", "tail": " "},
    "assistant": {"prefix": "ASSISTANT: ", "end": "{eos}"},
    "media_end": "\n",
    "joined": {},
}


def write(folder: Path, lines: bool) -> Path:
    model(lines).save_pretrained(folder)
    processor(lines).save_pretrained(folder)
    return folder


def asked(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    torch.manual_seed(3)
    pictures = [Image(torch.randint(0, 255, (3, *size), dtype=torch.uint8)) for size in sizes]
    parts = [{"type": "image", "media": picture} for picture in pictures]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "what is it"}]}]


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [(False, [(28, 28)]), (True, [(28, 56)]), (True, [(60, 31)]), (True, [(90, 80)])],
    ids=["llava", "next wide", "next high", "next square"],
)
def test_both_backends_give_equal_logits(tmp_path: Path, lines: bool, sizes: list[tuple[int, int]]) -> None:
    whole = WholeModel.load(str(write(tmp_path / "in", lines)))
    bases = write_bases(tmp_path)
    out = convert("llava", tmp_path / "in", tmp_path / "out", bases=bases, any_size=True).path
    ours = AnyX.from_pretrained(out)
    messages = asked(*sizes)
    read = whole.batch(messages)
    ids, image = read["input_ids"], len(ours.llm.tokenizer)
    first = (ids == image).float().argmax(1)
    kept = ids != image
    kept[0, first] = True  # theirs has one id a token of the picture, ours one a picture
    short = torch.where(ids == image, PLACEHOLDER, ids)[kept][None]
    tensors = {"pixels": read["pixel_values"]}
    if lines:
        tensors |= {"size": read["image_sizes"], "grid": grid_of(ours, messages)}
        assert tensors["pixels"].shape == ours.processor.transforms["image"](picture(messages))["pixels"][None].shape
    with torch.no_grad():
        tokens = ours.inputs["image"].projector(ours.encode("image", tensors))
        assert int(tokens.mask.sum()) == int((ids == image).sum())
        places = torch.tensor([0]), (short[0] == PLACEHOLDER).nonzero()[0]
        mask = torch.ones_like(short, dtype=torch.bool)
        spliced = splice(ours.llm.embed(short), short, {"image": (*places, tokens)}, mask, short)
        logits = ours.llm.logits(ours.llm.states(spliced.embeddings, spliced.mask))
    torch.testing.assert_close(logits, whole.logits(messages), atol=1e-4, rtol=1e-4)


def picture(messages: list[dict[str, Any]]) -> Image:
    found: Image = messages[0]["content"][0]["media"]
    return found


def grid_of(ours: AnyX, messages: list[dict[str, Any]]) -> torch.Tensor:
    return ours.processor.transforms["image"](picture(messages))["grid"][None]


@pytest.mark.parametrize("lines", [False, True])
def test_ours_says_what_theirs_says(tmp_path: Path, lines: bool) -> None:
    """From the picture's pixels to the words: it has a size that nobody resizes but to squeeze it to one tile."""
    whole = WholeModel.load(str(write(tmp_path / "in", lines)))
    values = ["encoders.vision.fit=crop"]
    bases = write_bases(tmp_path)
    out = convert("llava", tmp_path / "in", tmp_path / "out", bases=bases, any_size=True, overrides=values).path
    ours = AnyX.from_pretrained(out)
    ours.processor.prompt = type(ours.processor.prompt)(ours.llm.tokenizer, TEMPLATE, ["image"])
    messages = asked((28, 28))
    made = ours.processor(messages, generate=True)
    theirs = whole.batch(messages, generate=True)["input_ids"][0].tolist()
    image = len(ours.llm.tokenizer)
    assert [token for token in theirs if token != image] == [token for token in made.ids if token != PLACEHOLDER]
    with torch.no_grad():
        pixels = whole.batch(messages)["pixel_values"].reshape(-1, 3, 28, 28)
    torch.testing.assert_close(made.received[0].tensors["pixels"].reshape(-1, 3, 28, 28)[0], pixels[0])
    said, wanted = (one.chat(messages, max_new_tokens=6).text for one in (ours, whole))
    assert said.strip() == wanted


def test_a_whole_model_answers_from_a_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in", True)
    file = tmp_path / "whole.yaml"
    file.write_text(f"backend: hf\npath: {tmp_path / 'in'}\n")
    assert is_whole(file)
    shown = asked((30, 50))[0]["content"][0]["media"].save(tmp_path / "a.png")
    words = ["run", "--model", str(file), "--image", str(shown), "what is it", "--out", str(tmp_path / "out")]
    for command, printed in ((["check", str(file)], "ok"), ([*words, "--device", "cpu"], "0_text.txt")):
        with pytest.raises(SystemExit) as ended:
            main(command)
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        assert printed in told.out.replace("\n", "")


@pytest.mark.parametrize("name", ["llava15_hf", "llava_next_hf", "kosmos2_hf", "fuyu_hf"])
def test_shipped_backends_pass_check(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(Path(__file__).parent.parent / "configs" / "models" / f"{name}.yaml")])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("ok")


def test_refusals(tmp_path: Path) -> None:
    file = tmp_path / "whole.yaml"
    for text, words in (
        ("backend: vllm\npath: x", "backend: 'vllm' is not one of hf"),
        ("backend: hf\npaths: x", r"paths: Key 'paths' not in .*Did you mean: 'path'"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            settings(file)
    whole = WholeModel.load(str(write(tmp_path / "in", False)))
    sound = [{"role": "user", "content": [{"type": "audio", "path": "a.wav"}]}]
    with pytest.raises(ValueError, match="type: 'audio' is not one of text, image"):
        whole.chat(sound)
    with pytest.raises(ValueError, match=r"decode: .* given; this model answers with words only"):
        whole.chat(asked((28, 28)), decode={"image": {"steps": 2}})
    for name, value in {"temperature": -1.0, "top_p": 0.0, "top_k": -1, "max_new_tokens": 0}.items():
        with pytest.raises(ValueError, match=f"{name}: {value} given; it is"):
            whole.chat(asked((28, 28)), **{name: value})

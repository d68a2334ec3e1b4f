"""The house's tools around random models of transformers' and diffusers' own classes, called as a loop does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from tiny_tools import grounding_dino, picture, sam
from transformers import (
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    TrOCRConfig,
    TrOCRForCausalLM,
    TrOCRProcessor,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.pictures import editing, generating
from anyx.agents.toolbox import FunctionTool, Toolbox
from anyx.agents.tools import cropped, detecting, in_pixels, marking, reading, segmenting
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.media import Image
from anyx.tools.loading import detector, segmenter
from anyx.tools.marks import Marker
from anyx.watching import Cancelled, Watch

VAE = {
    "block_out_channels": [8, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
UNET = {
    "sample_size": 4,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 12,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
LETTERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
IMAGE = picture(120, 90, (10, 10, 50, 60), (70, 20, 110, 80))
ALL = {"threshold": 0.0, "text_threshold": 0.0, "area": 0.0, "overlap": 1.0}
EVERY = {"side": 3, "quality": -1e9, "stability": -1.0, "overlap": 1.0}


def trocr(folder: Path) -> Path:
    torch.manual_seed(0)
    eye = ViTModel(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=8,
        )
    )
    told = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2, "init_std": 1.0}
    size = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
    config = TrOCRConfig(vocab_size=14, max_position_embeddings=64, cross_attention_hidden_size=16, **size, **told)
    tongue = TrOCRForCausalLM(config)
    model = VisionEncoderDecoderModel(encoder=eye, decoder=tongue)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 0, 3
    model.save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={letter: number for number, letter in enumerate(LETTERS)})
    TrOCRProcessor(ViTImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def pix2pix(folder: Path) -> Path:
    """InstructPix2Pix: eight channels in, of noise and of the picture."""
    torch.manual_seed(0)
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"),
    ]
    tokenizer = CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=16)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=12,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(**VAE),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(**UNET, in_channels=8),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def call(function: Callable[..., Any], image: Image | None = IMAGE, seconds: float = 60.0, **arguments: Any) -> Result:
    """One call as a loop makes it."""
    gallery = Gallery()
    if image is not None:
        gallery.add(image, asked=True)
    return Toolbox([FunctionTool(function, "tool")]).run(
        Call("tool", arguments), gallery, seconds=seconds, implied=True
    )


def test_a_detector(tmp_path: Path) -> None:
    folder = str(grounding_dino(tmp_path))
    result = call(detecting(path=folder, options=ALL), caption="dog . traffic light")
    assert result.boxes == tuple(detector(folder, ALL)(IMAGE, ["dog", "traffic light"]))
    assert (len(result.boxes), result.text, result.size) == (12, "12 found", (120, 90))
    assert call(detecting(path=folder, options={"threshold": 1.0}), caption="dog").text == "nothing found"
    assert call(detecting(path=folder), caption=" . ").error == "tool: caption names nothing to look for"


def test_a_segmenter_and_its_marks(tmp_path: Path) -> None:
    folder = str(sam(tmp_path))
    result = call(segmenting(path=folder), boxes=[[0.1, 0.1, 0.4, 0.6]])
    (mask,) = segmenter(folder)(IMAGE, [(12.0, 9.0, 48.0, 54.0)])
    assert len(result.boxes) == int(mask.any())
    assert isinstance(result.media[0], Image)
    assert result.media[0].size == IMAGE.size
    every = call(segmenting(path=folder, options=EVERY))
    assert len(every.boxes) == len(segmenter(folder, EVERY)(IMAGE)) > 0
    marked = call(marking(path=folder, options=EVERY))
    assert marked.text == f"{len(marked.boxes)} regions are marked"
    shown, found = Marker(segmenter(folder, EVERY))(IMAGE)
    assert torch.equal(marked.media[0].pixels, shown.pixels)  # type: ignore[union-attr]
    assert [one.box for one in marked.boxes] == [one.box for one in found]


@pytest.mark.parametrize("box", [[0.1, 0.2, 0.3], [0.5, 0, 0.4, 1], [0, 0, 1.5, 1], [0, 0.5, 1, 0.5]])
def test_boxes_that_are_none(box: list[float]) -> None:
    with pytest.raises(ValueError, match=r"a box is \[x0, y0, x1, y1\] from 0 to 1"):
        in_pixels([box], IMAGE)


def test_text_is_read_of_a_picture_and_of_boxes(tmp_path: Path) -> None:
    """What the tool says is what the model's own processor and `generate` say."""
    folder = trocr(tmp_path)
    tool = reading(path=str(folder), max_new_tokens=8)
    model, processor = VisionEncoderDecoderModel.from_pretrained(folder), TrOCRProcessor.from_pretrained(folder)

    def theirs(image: Image) -> str:
        ids = model.generate(
            processor(images=image.to_pil(), return_tensors="pt").pixel_values, max_new_tokens=8, do_sample=False
        )
        return str(processor.batch_decode(ids, skip_special_tokens=True)[0]).strip()

    assert call(tool).text == (theirs(IMAGE) or "no text")
    part = cropped(IMAGE, (12.0, 9.0, 48.0, 54.0))
    assert part.size == (45, 36)
    result = call(tool, boxes=[[0.1, 0.1, 0.4, 0.6], [0, 0, 1, 1]])
    assert result.data["texts"] == [theirs(part), theirs(IMAGE)]


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    text = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    words = {"words": ["cat", "dog"], "length": 6}
    folder = tmp_path_factory.mktemp("painter")
    StableDiffusionDecoder(vae=VAE, unet=UNET, text=text, tokenizer=words).save(folder)
    return str(folder)


def test_a_generator_draws_other_pictures_from_the_same_seed_on(painter: str) -> None:
    tool = generating(path=painter, steps=2)
    first, second = (call(tool, None, prompt="cat").media[0] for _ in range(2))
    again = call(generating(path=painter, steps=2), None, prompt="cat").media[0]
    assert isinstance(first, Image)
    assert first.size == (32, 32)
    assert torch.equal(first.pixels, again.pixels)  # type: ignore[union-attr]
    assert not torch.equal(first.pixels, second.pixels)  # type: ignore[union-attr]


def test_a_generator_stops_between_two_steps(painter: str) -> None:
    watch = Watch()
    watch.cancel()
    with pytest.raises(Cancelled):
        generating(path=painter, steps=2)(prompt="cat", watch=watch)


def test_an_editor_that_follows_instructions(tmp_path: Path) -> None:
    tool = editing(path=str(pix2pix(tmp_path)), steps=2)
    result = call(tool, prompt="make it red")
    assert isinstance(result.media[0], Image)
    assert result.media[0].size == IMAGE.size
    again = call(editing(path=str(tmp_path), steps=2), prompt="make it red").media[0]
    assert torch.equal(result.media[0].pixels, again.pixels)  # type: ignore[union-attr]
    watch = Watch()
    watch.cancel()
    with pytest.raises(Cancelled):
        tool(image=IMAGE, prompt="make it red", watch=watch)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder of a diffusers pipeline"):
        editing(path=str(tmp_path))
    with pytest.raises(ValueError, match="'nothing' is not one of"):
        generating(path=str(tmp_path), decoder="nothing")

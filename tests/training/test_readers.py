"""Cached features are known by everything their component was built with: its settings as well as its weights."""

from pathlib import Path
from typing import Any

import components
import tiny
import torch

from anyx import config as configs
from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.decoders import StableDiffusionDecoder
from anyx.schema import Stage
from anyx.training.plan import settings_of
from anyx.training.readers import make_reader, teacher_digest
from anyx.training.trainee import Trainee


def settings(**more: Any) -> dict[str, str]:
    eye = {"type": "imagebind", **components.TINY["encoders"]["imagebind"][0], **more}
    decoder = {"type": "stable_diffusion", **components.TINY["decoders"]["stable_diffusion"][0]}
    return settings_of(configs.check({"encoders": {"eye": eye}, "outputs": {"image": {"decoder": decoder}}}))


WORDS = ["fox", "cow", "red"]


def decoder(words: list[str], **more: Any) -> StableDiffusionDecoder:
    torch.manual_seed(0)
    text = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    given = components.TINY["decoders"]["stable_diffusion"][0]
    return StableDiffusionDecoder(**given, text=text, tokenizer={"words": words}, **more)


def test_a_text_encoder_is_known_by_its_weights_words_and_settings() -> None:
    """Two with the same weights and permuted words say something else of every caption."""
    made = decoder(WORDS)
    before = teacher_digest(made, "")
    assert before == teacher_digest(decoder(WORDS), "")
    assert before != teacher_digest(decoder(WORDS[::-1]), "")
    assert before != teacher_digest(made, "other settings")
    with torch.no_grad():
        made.text.load().get_input_embeddings().weight[-1] += 1  # of one word alone
    assert before != teacher_digest(made, "")


def test_a_stage_cuts_what_it_reads(tmp_path: Path) -> None:
    given = {"train": {"outputs.*.projector": 1e-3}, "losses": {"text": 1}, "data": {"d": 1}, "steps": 1}
    for length in (None, 7):
        trainee = Trainee(tiny.anyx(), Stage("s", **given, max_length=length), 1)
        reader = make_reader(trainee, [], FeatureCache(tmp_path), {})
        assert isinstance(reader, DialogueReader)
        assert reader.processor.max_length == length


def test_latents_are_known_by_their_scale(tmp_path: Path) -> None:
    stage = Stage("s", train={"outputs.*.projector": 1e-3}, losses={"denoise": 1}, data={"d": 1}, steps=1)
    model, made, keys = tiny.anyx(), decoder(WORDS), []
    model.outputs["image"].decoder = made
    for scale in (1.0, 1.0, 3.0):
        made.vae.register_to_config(scaling_factor=scale)
        reader = make_reader(Trainee(model, stage, 1), [], FeatureCache(tmp_path), {})
        keys.append(reader.latents["image"])
    assert keys[0] == keys[1] != keys[2]


def test_only_the_keys_of_a_loss_are_taught(tmp_path: Path) -> None:
    """A decoder that cannot encode captions may stand beside one that can."""
    losses = {"caption": {"keys": ["image"]}}
    stage = Stage("s", train={"outputs.*.projector": 1e-3}, losses=losses, data={"d": 1}, steps=1)
    model = tiny.anyx()
    able, unable = decoder(WORDS), StableDiffusionDecoder(**components.TINY["decoders"]["stable_diffusion"][0])
    model.outputs["image"].decoder, model.outputs["audio"].decoder = able, unable
    assert list(make_reader(Trainee(model, stage, 1), [], FeatureCache(tmp_path), {}).teachers) == ["image"]


def test_settings_that_leave_no_weights_make_another_key(tmp_path: Path) -> None:
    assert list(settings()) == ["encoders.eye", "outputs.image.decoder"]
    stage = Stage("s", train={"inputs.*.projector": 1e-3}, losses={"text": 1}, data={"d": 1}, steps=1)
    trainee, keys = Trainee(tiny.anyx(), stage, 1), []
    for given in (settings(), settings(), settings(output="patches")):
        reader = make_reader(trainee, [], FeatureCache(tmp_path), given)
        assert isinstance(reader, DialogueReader)
        keys.append(reader.encoders["image"])
    assert keys[0] == keys[1] != keys[2]


def test_an_encoder_of_which_a_part_learns_is_not_cached(tmp_path: Path) -> None:
    """What it says changes with every step; beside it the frozen rest of the model is what it was."""
    torch.manual_seed(0)
    model = tiny.anyx()
    model.encoders["eye"].parts = ("map",)  # as a class says it
    for train, cached in (("inputs.*.projector", True), ("encoders.eye.map", False), ("encoders.*", False)):
        trainee = Trainee(model, Stage("s", train={train: 1e-3}, losses={"text": 1}, data={"d": 1}, steps=1), 1)
        reader = make_reader(trainee, [], FeatureCache(tmp_path), {})
        assert isinstance(reader, DialogueReader)
        assert ("image" in reader.encoders) is cached
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert ("encoders.eye.map.weight" in learning) is not cached

"""Losses that cannot be of a model say so, also where no YAML was checked."""

import pytest
import tiny
import torch
from torch import nn

from anyx.data.batches import Cached, Dialogues, Pairs
from anyx.media import Image
from anyx.training.backbones import Backbones
from anyx.training.conditions import Step, chosen
from anyx.training.objectives import OBJECTIVES, WANTS_LLM, refusal, terms


def test_a_loss_of_other_models_is_refused() -> None:
    scale = nn.Parameter(torch.zeros(()))
    model = tiny.anyx()
    batch = model.processor.collate([model.processor([{"role": "user", "content": "hi"}])])
    dialogues = Step(model, Dialogues(batch, {}, {}, {}), None, scale, {})
    pairs = Step(Backbones({}, {}, kinds={}), Pairs({}, {}, {}, [], {}, {}), None, scale, {})
    for step, name, options in (
        (dialogues, "contrastive", {"pairs": []}),
        (dialogues, "reconstruct", 1),
        (pairs, "text", 1),
        (pairs, "caption", 1),
        (pairs, "align", 1),
    ):
        (term,) = terms({name: options})
        with pytest.raises(
            ValueError, match=rf"^losses\.{name}: '{name}' is no loss of a model with(out)? an LLM; those"
        ):
            term(step)


def test_keys_count_alike_unless_told_otherwise() -> None:
    """One output's teacher speaks forty times as loud; a `weights` of one fortieth had to make up for it."""
    model, shown = tiny.anyx(), [{"type": "image"}, {"type": "audio"}]
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": shown}]
    batch = model.processor.collate([model.processor(chat)])
    output, teachers = model(batch), {}
    taught = torch.randn(1, 3, 5)
    for key, scale in (("image", 40.0), ("audio", 1.0)):
        silent = output.conditions[key]._replace(values={"prompt_embeds": torch.zeros(1, 3, 5)})
        output.conditions[key] = silent
        masks = torch.tensor([[True, True, False]])
        values = {"values.prompt_embeds": scale * taught, "masks.prompt_embeds": masks}
        teachers[key] = Cached(torch.tensor([0]), values)
    step = Step(model, Dialogues(batch, teachers, {}, {}), output, nn.Parameter(torch.zeros(())), {})
    for options, factor in (({}, 1.0), ({"relative": False}, 40.0), ({"relative": False, "pads": 1}, 40.0)):
        each = {key: terms({"caption": {"keys": [key], **options}})[0](step) for key in teachers}
        assert (each["image"] / each["audio"]).item() == pytest.approx(factor, rel=1e-5)
    both = terms({"caption": {"weights": {"audio": 3}}})[0](step)
    assert both.item() == pytest.approx(1 + 3, rel=1e-5)


def test_only_the_first_group_of_a_conversation_may_count() -> None:
    """What a later group says changes nothing then; by default every group counts."""
    torch.manual_seed(0)
    model = tiny.anyx()
    shown, plain = [{"type": "image"}, {"type": "audio"}, {"type": "image"}], [{"type": "image"}]
    chats = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": part}] for part in (shown, plain)]
    batch = model.processor.collate([model.processor(chat) for chat in chats])
    target = batch.targets["image"]
    assert target.rows.tolist() == [0, 0, 1]
    media = [Image(torch.full((3, 4, 4), level, dtype=torch.uint8)) for level in (0, 90, 250)]
    batch = batch._replace(targets={"image": target._replace(media=media)})
    output = model(batch)
    values = {"values.prompt_embeds": torch.randn(3, 3, 5), "masks.prompt_embeds": torch.ones(3, 3, dtype=torch.bool)}
    data = Dialogues(batch, {"image": Cached(torch.arange(3), values)}, {}, {})

    def losses(groups: str, said: torch.Tensor) -> list[float]:
        output.conditions["image"] = output.conditions["image"]._replace(values={"prompt_embeds": said})
        step = Step(model, data, output, nn.Parameter(torch.zeros(())), {})
        made = [terms({name: {"groups": groups}})[0](step) for name in ("caption", "denoise")]
        return [loss.item() for loss in made if loss is not None]

    said = torch.randn(3, 3, 5)
    other = said.clone()
    other[1] += 1  # the second picture of the first conversation
    assert losses("first", said) == losses("first", other)
    assert all(a != b for a, b in zip(losses("all", said), losses("all", other), strict=True))
    with pytest.raises(ValueError, match="groups: 'last' is not one of all, first"):
        losses("last", said)


def test_cached_latents_of_later_groups_do_not_count() -> None:
    cached = Cached(torch.tensor([0, 2]), {"latents": torch.arange(2.0)})
    assert chosen(cached, torch.tensor([True, True, False])).values["latents"].tolist() == [0.0]
    assert len(chosen(cached, torch.tensor([False, True, False])).rows) == 0


def test_every_loss_is_of_some_model() -> None:
    assert WANTS_LLM.keys() <= OBJECTIVES.keys()
    assert all("" in (refusal(name, True), refusal(name, False)) for name in OBJECTIVES)

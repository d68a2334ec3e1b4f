import pytest
import torch

from anyx.decoders import conditions
from anyx.decoders.conditions import Field
from anyx.interfaces import Condition

SHAPES = {"prompt_embeds": (3, 2), "pooled_prompt_embeds": (1, 4)}


def condition(items: int, fill: float, mask: bool = True) -> Condition:
    values = {name: torch.full((items, *shape), fill) for name, shape in SHAPES.items()}
    return Condition(values, {name: torch.full((items, shape[0]), mask) for name, shape in SHAPES.items()})


def test_drop_replaces_whole_conditions_at_the_rate() -> None:
    given, null = condition(2000, 0.0), condition(1, 1.0, False)
    out = given.dropped(null, 0.1, torch.Generator().manual_seed(0))
    share = torch.cat([value.flatten(1) for value in out.values.values()], 1).mean(1)
    assert set(share.tolist()) == {0.0, 1.0}, "an item is dropped with all its tensors, or kept"
    assert 0.07 < share.mean() < 0.13
    assert all(torch.equal(mask.all(1), share == 0) for mask in out.masks.values())
    assert given.dropped(null, 0.0) is given


def test_conditions_and_generators_are_checked() -> None:
    like = torch.zeros(1)
    with pytest.raises(ValueError, match="reads prompt_embeds"):
        conditions.read_condition(Condition({"pooled": torch.zeros(1, 3, 2)}, {}), SHAPES, like)
    wrong = condition(1, 0.0)
    given = {**wrong.values, "pooled_prompt_embeds": torch.zeros(1, 2, 4)}
    with pytest.raises(ValueError, match=r"reads \(b, 1, 4\)"):
        conditions.read_condition(Condition(given, {}), SHAPES, like)
    with pytest.raises(ValueError, match=r"its mask is \(1, 2\)"):
        conditions.read_condition(Condition(wrong.values, {"prompt_embeds": torch.ones(1, 2)}), SHAPES, like)
    with pytest.raises(ValueError, match="1 generators for 2 conditions"):
        conditions.check_generators([torch.Generator()], 2)


def test_a_condition_is_read_with_all_its_masks() -> None:
    given = condition(2, 1.0)
    read = conditions.read_condition(Condition(given.values, {}), SHAPES, torch.zeros(1, dtype=torch.bfloat16))
    assert all(value.dtype == torch.bfloat16 for value in read.values.values())
    assert {name: tuple(mask.shape) for name, mask in read.masks.items()} == {n: (2, s[0]) for n, s in SHAPES.items()}
    assert all(mask.all() for mask in read.masks.values())


def test_a_pipeline_is_called_with_every_tensor_its_mask_and_its_negative() -> None:
    fields = {"prompt_embeds": Field(mask="prompt_attention_mask"), "pooled_prompt_embeds": Field(vector=True)}
    call = conditions.keywords(fields, condition(2, 1.0), condition(1, 0.0, False))
    assert {name: tuple(value.shape) for name, value in call.items()} == {
        "prompt_embeds": (2, 3, 2),
        "negative_prompt_embeds": (2, 3, 2),
        "prompt_attention_mask": (2, 3),
        "negative_prompt_attention_mask": (2, 3),
        "pooled_prompt_embeds": (2, 4),
        "negative_pooled_prompt_embeds": (2, 4),
    }
    assert all(bool(value.any()) != name.startswith("negative_") for name, value in call.items())

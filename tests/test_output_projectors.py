"""Output projectors: NExT-GPT's parameter counts and keys, several named conditions, masks, every length."""

from __future__ import annotations

import pytest
import torch

from anyx.interfaces import OutputProjector, Tokens
from anyx.output_projectors import LinearOutputProjector, MLPOutputProjector, TransformerOutputProjector

SMALL = {"hidden": 8, "layers": 1, "heads": 2}
ALL = [(TransformerOutputProjector, SMALL), (LinearOutputProjector, {}), (MLPOutputProjector, {"hidden": 8})]


@pytest.mark.parametrize(
    ("length", "dim", "parameters"), [(77, 768, 31_958_784), (77, 1024, 32_090_112), (1, 512, 31_788_544)]
)
def test_transformer_has_next_gpt_s_parameters(length: int, dim: int, parameters: int) -> None:
    with torch.device("meta"):  # counts measured on the published nextgpt_7b_tiva_v0
        projector = TransformerOutputProjector(4096, {"c": (length, dim)})
    assert sum(p.numel() for p in projector.parameters()) == parameters
    keys = projector.conditions["c"].state_dict()
    assert len(keys) == 129
    assert {key.split(".")[0] for key in keys} == {"fc", "query_embs", "tfm", "model"}


@pytest.mark.parametrize(("cls", "sizes"), ALL)
@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_every_named_condition_is_made(cls: type[OutputProjector], sizes: dict[str, int], tokens: int) -> None:
    wanted = {"prompt_embeds": (5, 12), "pooled": (1, 6)}
    projector = cls(10, wanted, **sizes)
    states = torch.randn(2, tokens, 10, requires_grad=True)
    condition = projector(Tokens.full(states), torch.randn(2, tokens, 10))
    for name, (length, dim) in wanted.items():
        assert condition.values[name].shape == (2, length, dim)
        assert condition.masks[name].shape == (2, length)
        assert condition.masks[name].all()
    sum(value.sum() for value in condition.values.values()).backward()
    assert states.grad is not None
    assert states.grad[:, 0].abs().sum() > 0


def test_transformer_adds_the_embeddings_and_leaves_padding_out() -> None:
    projector = TransformerOutputProjector(10, {"c": (3, 4)}, hidden=8, layers=1, decoder_layers=2, heads=2).eval()
    states, embeddings = torch.randn(2, 4, 10), torch.randn(2, 4, 10)
    mask = torch.arange(4) < torch.tensor([[4], [3]])
    y = projector(Tokens(states, mask), embeddings).values["c"]
    torch.testing.assert_close(y, projector(Tokens(states + embeddings, mask)).values["c"])
    torch.testing.assert_close(y[1:], projector(Tokens.full((states + embeddings)[1:, :3])).values["c"])
    assert not torch.allclose(y, projector(Tokens(states, mask)).values["c"])


def test_linear_takes_the_first_states_or_repeats_them() -> None:
    states = torch.randn(1, 4, 10)
    for length, places in ((2, [0, 1]), (4, [0, 1, 2, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3])):
        projector = LinearOutputProjector(10, {"c": (length, 3)})
        wanted = projector.conditions["c"].model(states[:, places])
        torch.testing.assert_close(projector(Tokens.full(states)).values["c"], wanted)


def test_a_feature_that_drowns_the_others_is_taken_out() -> None:
    torch.manual_seed(0)
    states = torch.randn(64, 2, 6) + torch.tensor([400.0, 0, 0, 0, 0, 0])
    projector = MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, norm="data").train()
    projector(Tokens.full(states))
    read: list[torch.Tensor] = []
    projector.conditions["prompt_embeds"].fc.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    projector.eval()(Tokens.full(states))
    assert read[0].shape == (64, 1, 6)
    torch.testing.assert_close(read[0].std((0, 1)), torch.ones(6), atol=1e-3, rtol=1e-3)
    assert read[0].mean((0, 1)).abs().max() < 1e-3


def test_states_are_stacked_and_features_hidden_in_training_only() -> None:
    torch.manual_seed(0)
    states = torch.randn(5, 4, 6)
    projector = MLPOutputProjector(6, {"c": (1, 3)}, stack=2, norm="data", dropout=0.5)
    read: list[torch.Tensor] = []
    projector.conditions["c"].fc.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    projector(Tokens.full(states))
    assert read[0].shape == (5, 1, 12)
    assert 0.2 < (read[0] == 0).float().mean() < 0.8
    projector.eval()(Tokens.full(states))
    norm = projector.conditions["c"].norm
    torch.testing.assert_close(
        read[1][:, 0], (states[:, :2].flatten(1) - norm.running_mean) * (norm.running_var + 1e-5).rsqrt()
    )


def test_states_that_are_padding_are_no_statistics() -> None:
    states, mask = torch.randn(3, 4, 6) + 5, torch.arange(4) < torch.tensor([[4], [2], [1]])
    projector = MLPOutputProjector(6, {"c": (8, 3)}, norm="data")
    projector(Tokens(states, mask))
    torch.testing.assert_close(projector.conditions["c"].norm.running_mean, states[mask].mean(0))


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="norm: True is not one of false, data"):
        MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, norm=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stack must be at least 1, given 0"):
        MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, stack=0)
    with pytest.raises(ValueError, match="condition is empty"):
        LinearOutputProjector(10, {})
    with pytest.raises(ValueError, match="hidden=10, heads=4"):
        TransformerOutputProjector(10, {"c": (1, 4)}, hidden=10)

"""The encode-then-project connector: MetaQuery's published sizes, places and copies, positions, what reads what."""

from __future__ import annotations

import pytest
import torch

from anyx.connector import ConnectorOutputProjector, laid_out, rotated
from anyx.interfaces import Tokens


@pytest.mark.parametrize(("layers", "millions"), [(24, 316), (6, 84)])
def test_metaquery_s_sizes(layers: int, millions: int) -> None:
    """Enc-Proj at width 896 (Qwen2.5-0.5B) before a decoder that reads 2304 (Sana: gemma-2-2b's width)."""
    with torch.device("meta"):
        projector = ConnectorOutputProjector(896, {"prompt_embeds": (64, 2304)}, layers=layers)
    assert round(sum(p.numel() for p in projector.parameters()) / 1e6) == millions


def test_metaquery_s_other_order() -> None:
    """Proj-Enc, which it compares with: the same two maps 896 -> 2304, then 24 of the same layers there: 2046 M."""
    with torch.device("meta"):
        before = ConnectorOutputProjector(896, {"c": (64, 2304)}, layers=1).conditions
        after = ConnectorOutputProjector(2304, {"c": (64, 2304)}, layers=24)
    total = sum(p.numel() for part in (before, after.blocks, after.norm) for p in part.parameters())
    assert round(total / 1e6) == 2046


def test_more_states_than_places_are_read_too() -> None:
    torch.manual_seed(0)
    projector = ConnectorOutputProjector(8, {"c": (1, 4)}, layers=2, heads=2)
    states = torch.randn(1, 5, 8, requires_grad=True)
    projector(Tokens.full(states)).values["c"].sum().backward()
    assert states.grad is not None
    assert states.grad.any(dim=-1).all()


def test_of_fewer_states_each_stands_for_several_places() -> None:
    values = torch.randn(2, 4, 6)
    laid, real = laid_out(values, torch.tensor([[True, False, True, True], [False, False, False, True]]), 6)
    assert real.tolist() == [[True] * 6] * 2
    first = torch.arange(0, 6, 2)
    torch.testing.assert_close(laid[0, first], values[0, [0, 2, 3]])  # places 0, 2, 4: first copies, as they are
    waves = 100.0 ** (-torch.arange(6) / 6)
    torch.testing.assert_close(laid[0, first + 1], values[0, [0, 2, 3]] + waves.sin())
    torch.testing.assert_close(laid[1], values[1, 3] + (torch.arange(6)[:, None] * waves).sin())
    same, real = laid_out(values, torch.ones(2, 4, dtype=torch.bool), 4)
    assert torch.equal(same, values)
    assert real.all()
    empty, real = laid_out(values, torch.zeros(2, 4, dtype=torch.bool), 3)
    assert real[:, :3].all()
    assert torch.equal(empty[:, 0], torch.zeros(2, 6))


def test_places_of_one_state_differ() -> None:
    torch.manual_seed(0)
    projector = ConnectorOutputProjector(8, {"c": (5, 4)}, layers=2, heads=2)
    made = projector(Tokens.full(torch.randn(1, 1, 8))).values["c"][0]
    assert (made[:, None] - made[None]).norm(dim=-1)[~torch.eye(5, dtype=torch.bool)].min() > 1e-4


def test_positions_turn_by_distance_alone() -> None:
    q, k = torch.randn(1, 1, 8).expand(1, 7, 8), torch.randn(1, 1, 8).expand(1, 7, 8)
    scores = (rotated(q, 1) @ rotated(k, 1).mT)[0]
    for distance in range(-3, 4):
        line = scores.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line))
    assert scores[0].unique().numel() == 7
    torch.testing.assert_close(rotated(q, 2).norm(dim=-1), q.norm(dim=-1))


def test_conditions_share_the_encoder() -> None:
    torch.manual_seed(0)
    projector = ConnectorOutputProjector(8, {"prompt_embeds": (5, 12), "pooled": (1, 6)}, layers=1, heads=2, hidden=4)
    made = projector(Tokens.full(torch.randn(2, 3, 8))).values
    alone = ConnectorOutputProjector(8, {"prompt_embeds": (5, 12)}, layers=1, heads=2, hidden=4)
    assert {name: tuple(value.shape) for name, value in made.items()} == {
        "prompt_embeds": (2, 5, 12),
        "pooled": (2, 1, 6),
    }
    assert projector.blocks.state_dict().keys() == alone.blocks.state_dict().keys()
    assert projector.fc.weight.shape == (4, 8)


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="heads=3, width 8"):
        ConnectorOutputProjector(8, {"c": (1, 4)}, heads=3)
    with pytest.raises(ValueError, match="heads=None, width 8"):
        ConnectorOutputProjector(8, {"c": (1, 4)})
    with pytest.raises(ValueError, match="a condition be named"):
        ConnectorOutputProjector(64, {})

"""Weights in a byte each come back within half a step of their scale."""

import pytest
import torch

from anyx.compact import SCALE, restored, shrunk


@pytest.mark.parametrize("shape", [(4, 576), (576, 4), (96, 96), (3, 8, 40)])
def test_matrices_come_back_within_half_a_step(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.rand(shape[0], *[1] * (len(shape) - 1))
    stored = shrunk({"weight": matrix})
    assert stored["weight"].dtype == torch.int8
    assert stored["weight"].shape == matrix.shape
    assert stored["weight" + SCALE].numel() == min(shape[0], matrix.numel() // shape[0])
    again = restored(stored)
    assert again.keys() == {"weight"}
    assert stored["weight"].abs().max() == (127 if min(matrix.flatten(1).shape) <= 64 else 31)
    step = stored["weight" + SCALE].expand(shape[0], -1)
    assert ((again["weight"] - matrix).flatten(1).abs() <= step * 0.501).all()


def test_what_is_no_matrix_keeps_its_kind() -> None:
    state = {
        "bias": torch.randn(7),
        "small": torch.randn(3, 3),
        "count": torch.tensor(5),
        "zeros": torch.zeros(32, 32),
        "gate.scale": torch.ones(2),  # a name like that of scales
    }
    stored = shrunk(state)
    again = restored(stored)
    assert again.keys() == state.keys()
    assert all(torch.equal(stored[name], state[name]) for name in ("bias", "small"))
    assert again["count"] == 5
    assert not again["zeros"].any()


def test_other_states_pass_through() -> None:
    state = {"weight": torch.randn(32, 32), "weight.scale": torch.ones(32, 1)}
    assert restored(state) == state

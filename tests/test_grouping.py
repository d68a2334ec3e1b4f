"""The grouping projector: its size, what joins which group, noise in training, padding. Values: the goldens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyx.grouping import Assignment, GroupingInputProjector
from anyx.interfaces import Tokens

SMALL = {"groups": [4, 2], "depths": [2, 1, 1], "heads": 2, "hidden": 8}


def size(dim_in: int, dim_out: int, d: int, depths: list[int], groups: list[int]) -> int:
    """Parameters by the formula in the golden sidecar: counted layer by layer, independent of the modules."""
    norm, mlp = 2 * d, 8 * d * d + 5 * d
    block = norm + 3 * d * d + (d * d + d) + norm + mlp  # qkv has no bias

    def over_tokens(before: int, after: int) -> int:
        return before * (d // 2) + d // 2 + (d // 2) * after + after

    reading = 4 * (d * d + d)
    total = dim_in * d + d + sum(depths) * block + norm + d * dim_out + dim_out
    for i, count in enumerate(groups):
        total += count * d  # the group tokens, then LN, token MLP, LN, LN, cross-attention block, assignment, LN, MLP
        total += 4 * norm + over_tokens(count, count) + (reading + 2 * norm + mlp) + reading + mlp
        total += norm + over_tokens(groups[i - 1], count) if i else 0
    return total


def test_full_size() -> None:
    with torch.device("meta"):  # 1024 -> 512 -> 4096, stages of 6, 3, 3 blocks, 64 and 8 groups (B1)
        projector = GroupingInputProjector(1024, 4096)
    assert sum(p.numel() for p in projector.parameters()) == size(1024, 4096, 512, [6, 3, 3], [64, 8])
    assert [len(stage.blocks) for stage in projector.layers] == [6, 3, 3]


@pytest.mark.parametrize("patches", [1, 5, 256])
def test_any_number_of_patches_becomes_the_last_groups(patches: int) -> None:
    projector = GroupingInputProjector(6, 10, **SMALL).eval()
    made = projector(Tokens.full(torch.randn(2, patches, 6)))
    assert made.values.shape == (2, 2, 10)
    assert made.mask.all()


def test_every_token_joins_the_nearest_group_alone() -> None:
    torch.manual_seed(0)
    assignment = Assignment(8, noise=True).eval()
    groups, x = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([[True, True, False, True, True]])
    nearest = assignment.scores(groups, x).argmax(1)[0]
    wanted = []
    for group in range(3):
        members = [i for i in range(5) if nearest[i] == group and mask[0, i]]
        wanted.append(assignment.v_proj(x[0, members]).sum(0) / (len(members) + 1))
    torch.testing.assert_close(assignment(groups, x, mask)[0], assignment.proj(torch.stack(wanted)))
    soft = [x.grad for x in gradients(assignment, groups, x, mask)]
    assert all(grad is not None and grad.any() for grad in soft)  # straight through the choice


def gradients(assignment: Assignment, groups: Tensor, x: Tensor, mask: Tensor) -> list[Tensor]:
    assignment(groups, x, mask).square().sum().backward()
    return [assignment.q_proj.weight, assignment.k_proj.weight, assignment.v_proj.weight]


def test_training_draws_the_group() -> None:
    """Over many draws a token joins each group as often as its softmax says (Gumbel-max)."""
    torch.manual_seed(0)
    assignment = Assignment(4, noise=True)
    groups, x = 2 * torch.randn(1, 3, 4), torch.randn(1, 1, 4).expand(1, 4000, 4)
    drawn: list[Tensor] = []
    assignment.proj.register_forward_pre_hook(lambda _, given: drawn.append(given[0]))
    with torch.no_grad():
        assignment(groups, x, torch.ones(1, 4000, dtype=torch.bool))
        value = assignment.v_proj(x[0, 0])
        joined = drawn[0][0] @ value / value.square().sum()  # n / (n + 1) of the n that joined a group
        often = joined / (1 - joined) / 4000
        wanted = assignment.scores(groups, x[:, :1]).softmax(1)[0, :, 0]
    torch.testing.assert_close(often, wanted, atol=0.03, rtol=0)
    assert wanted.max() < 0.9


def test_noise_is_of_training_alone_and_can_be_left_out() -> None:
    torch.manual_seed(0)
    x = Tokens.full(torch.randn(2, 30, 6))
    drawn, plain = GroupingInputProjector(6, 10, **SMALL), GroupingInputProjector(6, 10, **SMALL, gumbel=False)
    plain.load_state_dict(drawn.state_dict())
    torch.testing.assert_close(plain(x).values, drawn.eval()(x).values)
    assert not torch.allclose(plain(x).values, drawn.train()(x).values)


def test_all_that_learns_is_reached() -> None:
    torch.manual_seed(0)
    projector = GroupingInputProjector(6, 10, **SMALL)
    x = torch.randn(2, 9, 6, requires_grad=True)
    projector(Tokens(x, torch.arange(9) < torch.tensor([[9], [4]]))).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in projector.parameters())
    assert x.grad is not None
    assert x.grad[1, :4].any(dim=-1).all()
    assert not x.grad[1, 4:].any()


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"every stage but the last groups; given groups \[64, 8\].*depths \[6, 3\]"):
        GroupingInputProjector(6, 10, depths=[6, 3])
    with pytest.raises(ValueError, match="hidden=10"):
        GroupingInputProjector(6, 10, hidden=10, heads=4)

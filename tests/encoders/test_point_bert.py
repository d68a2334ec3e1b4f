"""PointBERT: which points are a group, what becomes of it, and that neither order nor place of a cloud count.

No published code runs here: what is expected is said by loops over points, groups and heads.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.encoders.point_bert import PointBertEncoder, nearest
from anyx.encoders.points import farthest, gathered
from anyx.media import Image, Series

TINY = {"width": 12, "layers": 2, "heads": 2, "groups": 4, "neighbours": 3, "points": 20, "inner": 8}


def made(**given: Any) -> PointBertEncoder:
    """A random one whose running statistics are no longer those it begins with."""
    torch.manual_seed(0)
    encoder = PointBertEncoder(**{**TINY, **given}).eval()
    nn.init.normal_(encoder.class_embedding)
    for norm in encoder.net.norms:
        assert isinstance(norm, nn.BatchNorm1d)
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return encoder


def mapped(linear: Any, x: Tensor) -> Tensor:
    return linear.weight @ x + linear.bias  # type: ignore[no-any-return]


def scaled(norm: Any, x: Tensor) -> Tensor:
    return ((x - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias).relu()  # type: ignore[no-any-return]


def normal(norm: Any, x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias  # type: ignore[no-any-return]


def block_said(block: Any, rows: list[Tensor]) -> list[Tensor]:
    """A pre-norm block, one row and one head after the other."""
    seen = [normal(block.norm_1, row) for row in rows]
    parts = zip(block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True)
    q, k, v = ([weight @ x + bias for x in seen] for weight, bias in parts)
    width, after = len(rows[0]) // block.attn.heads, []
    for i, row in enumerate(rows):
        heads = []
        for start in range(0, len(row), width):
            mine = slice(start, start + width)
            shares = torch.stack([q[i][mine] @ key[mine] / width**0.5 for key in k]).softmax(0)
            heads.append(sum(share * value[mine] for share, value in zip(shares, v, strict=True)))
        row = row + mapped(block.attn.out_proj, torch.cat(heads))
        after.append(row + mapped(block.mlp.fc2, F.gelu(mapped(block.mlp.fc1, normal(block.norm_2, row)))))
    return after


@torch.no_grad()
def test_the_nearest_points_are_a_group() -> None:
    torch.manual_seed(0)
    xyz = torch.randn(2, 30, 3)
    centres = gathered(xyz, farthest(xyz, 5))
    for cloud, middles, groups in zip(xyz, centres, nearest(xyz, centres, 4).tolist(), strict=True):
        for middle, group in zip(middles, groups, strict=True):
            order = sorted(range(30), key=lambda i: (cloud[i] - middle).norm().item())
            assert group == order[:4]


@torch.no_grad()
@pytest.mark.parametrize("channels", [3, 5])
def test_the_whole_of_it_in_loops(channels: int) -> None:
    encoder = made(channels=channels)
    clouds = torch.randn(2, 20, channels)
    found = encoder({"points": clouds}).values
    assert found.shape == (2, 5, 12)
    for cloud, tokens in zip(clouds, found, strict=True):
        centres = [0]
        while len(centres) < 4:
            away = [min((cloud[i, :3] - cloud[j, :3]).norm().item() for j in centres) for i in range(20)]
            centres.append(away.index(max(away)))
        rows = [encoder.class_embedding[0, 0]]
        places = [encoder.class_position[0, 0]]
        for centre in centres:
            middle = cloud[centre, :3]
            near = sorted(range(20), key=lambda i: (cloud[i, :3] - cloud[centre, :3]).norm().item())[:3]
            points = [torch.cat([cloud[i, :3] - middle, cloud[i, 3:]]) for i in near]
            first, second, norms = encoder.net.first, encoder.net.second, encoder.net.norms
            points = [mapped(first[1], scaled(norms[0], mapped(first[0], point))) for point in points]
            whole = torch.stack(points).max(0).values
            points = [torch.cat([whole, point]) for point in points]
            points = [mapped(second[1], scaled(norms[1], mapped(second[0], point))) for point in points]
            rows.append(mapped(encoder.net.out, torch.stack(points).max(0).values))
            places.append(mapped(encoder.positions[2], F.gelu(mapped(encoder.positions[0], middle))))
        for block in encoder.blocks:
            rows = block_said(block, [row + place for row, place in zip(rows, places, strict=True)])
        wanted = torch.stack([normal(encoder.norm, row) for row in rows])
        torch.testing.assert_close(tokens, wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_neither_order_nor_place_nor_size_count() -> None:
    encoder = made()
    cloud = torch.randn(3, 20)
    shown = encoder({"points": encoder.transform(Series(cloud))["points"][None]}).values
    moved = cloud * 7 + torch.tensor([[5.0], [1], [-2]])
    again = encoder({"points": encoder.transform(Series(moved))["points"][None]}).values
    torch.testing.assert_close(again, shown, atol=1e-4, rtol=1e-4)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(19)])  # the first is the first centre
    again = encoder({"points": encoder.transform(Series(cloud[:, order]))["points"][None]}).values
    torch.testing.assert_close(again, shown, atol=1e-4, rtol=1e-4)


def test_the_transform_puts_clouds_into_a_ball() -> None:
    taken = made(channels=4).transform(Series(torch.rand(6, 50) * 9 + 3))["points"]
    assert taken.shape == (20, 4)
    torch.testing.assert_close(taken[:, :3].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert taken[:, :3].norm(dim=1).max().item() == pytest.approx(1)
    assert taken[:, 3].min() >= 3  # other channels stay
    assert made().transform(Series(torch.ones(3, 1)))["points"].isfinite().all()
    metres = made(normalise=False).transform(Series(torch.full((3, 20), 4.0)))["points"]
    assert metres.unique().tolist() == [4.0]
    with pytest.raises(ValueError, match="this encoder reads Series, given Image"):
        made().transform(Image(torch.zeros(3, 2, 2, dtype=torch.uint8)))


def test_gradients_and_what_is_refused() -> None:
    encoder = PointBertEncoder(**TINY)  # type: ignore[arg-type]
    (encoder({"points": torch.rand(2, 20, 3)}).values * torch.randn(12)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    with pytest.raises(ValueError, match="some of the points: given 3, 30 of 3, and 20"):
        made(groups=30)
    with pytest.raises(ValueError, match="at least x, y and z, groups and neighbours some of the points: given 2"):
        made(channels=2)


def test_the_published_sizes() -> None:
    """Points, groups and width are the reference's; 12 blocks of 6 heads and the small PointNet the paper's."""
    with torch.device("meta"):
        encoder = PointBertEncoder()
    net = (3 + 1) * 128 + 2 * 128 + 129 * 256 + 513 * 512 + 2 * 512 + 513 * 256 + 257 * 384
    around = 2 * 384 + (3 + 1) * 128 + 129 * 384 + 2 * 384
    assert sum(p.numel() for p in encoder.parameters()) == net + around + 12 * (12 * 384**2 + 13 * 384)
    assert encoder.states(torch.zeros(1, 512, 384, device="meta"), torch.zeros(1, 512, 3, device="meta")).shape == (
        1,
        513,
        384,
    )

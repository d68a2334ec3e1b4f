"""Point clouds: which points become tokens, who their neighbours are, and that only the cloud's shape counts.

LAMM's blocks are held in tests/goldens/test_golden_lamm.py; its pre-encoder needs a compiled extension to run, so what
is expected here is said by a loop over points.
"""

from __future__ import annotations

import pytest
import torch

from anyx.encoders.points import PointCloudEncoder, farthest, gathered, neighbours
from anyx.media import Image, Series

TINY = {"width": 16, "layers": 1, "heads": 2, "tokens": 5, "points": 30, "neighbours": 4, "radius": 0.7}


def test_points_far_from_each_other_are_chosen() -> None:
    torch.manual_seed(0)
    xyz = torch.randn(2, 40, 3)
    found = farthest(xyz, 6)
    for cloud, chosen in zip(xyz, found.tolist(), strict=True):
        wanted = [0]
        while len(wanted) < 6:
            nearest = [min((cloud[i] - cloud[j]).norm().item() for j in wanted) for i in range(40)]
            wanted.append(nearest.index(max(nearest)))
        assert chosen == wanted


def test_neighbours_lie_within_the_radius() -> None:
    torch.manual_seed(0)
    xyz = torch.rand(1, 40, 3)
    centres = gathered(xyz, farthest(xyz, 5))
    found = neighbours(xyz, centres, 0.4, 6)
    counts = set()
    for centre, indices in zip(centres[0], found[0].tolist(), strict=True):
        within = [i for i in range(40) if (xyz[0, i] - centre).norm() <= 0.4][:6]
        counts.add(len(within))
        assert indices == within + [within[0]] * (6 - len(within))
    assert len(counts) > 1  # some are full, some are not


@torch.no_grad()
def test_a_cloud_may_stand_anywhere_for_its_tokenizer() -> None:
    torch.manual_seed(0)
    encoder = PointCloudEncoder(**TINY, channels=4).eval()  # type: ignore[arg-type]
    points = torch.rand(2, 30, 4)
    features, places = encoder.tokenizer(points)
    moved, elsewhere = encoder.tokenizer(points + torch.tensor([5.0, 1, -2, 0]))
    torch.testing.assert_close(moved, features, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(elsewhere, places + torch.tensor([5.0, 1, -2]))
    other, _ = encoder.tokenizer(points + torch.tensor([0.0, 0, 0, 3]))
    assert not torch.allclose(other, features, atol=1e-3)
    assert encoder({"points": points}).values.shape == (2, 5, 16)


def test_the_transform_takes_as_many_points_as_are_wanted() -> None:
    transform = PointCloudEncoder(**TINY).transform  # type: ignore[arg-type]
    many = transform(Series(torch.arange(300.0).reshape(3, 100)))["points"]
    assert many.shape == (30, 3)
    assert many[:3, 0].tolist() == [0, 3, 6]
    few = transform(Series(torch.arange(60.0).reshape(3, 20)))["points"]
    assert few[:, 0].tolist() == [*range(20), *range(10)]
    with pytest.raises(ValueError, match=r"a cloud of 3 channels \(x, y, z, ...\) is read, given 2"):
        transform(Series(torch.zeros(2, 5)))
    with pytest.raises(ValueError, match="this encoder reads Series, given Image"):
        transform(Image(torch.zeros(3, 2, 2, dtype=torch.uint8)))


def test_gradients_and_sizes() -> None:
    encoder = PointCloudEncoder(**TINY, tasks=2)  # type: ignore[arg-type]
    encoder({"points": torch.rand(2, 30, 3)}).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    with torch.device("meta"):
        lamm = PointCloudEncoder()
    blocks = sum(p.numel() for p in lamm.blocks.parameters())
    assert blocks == 24 * (12 * 1024**2 + 13 * 1024)  # CLIP-L's 24 blocks
    with pytest.raises(ValueError, match="tokens some of the points: given 3, and 50 of 30"):
        PointCloudEncoder(**TINY | {"tokens": 50})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"radius: 0.0, tasks: 0 given; a radius is above 0 m"):
        PointCloudEncoder(**TINY | {"radius": 0.0})  # type: ignore[arg-type]

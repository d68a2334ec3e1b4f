"""Latents read what is real, wherever it stands; positions lie on grids as they should."""

from __future__ import annotations

import pytest
import torch

from anyx.latents import LatentResampler, grid_waves, stretched, waves


def test_resampler_reads_only_real_tokens_in_any_order() -> None:
    resampler, x = LatentResampler(8, 3, depth=2, heads=2), torch.randn(2, 6, 8)
    assert resampler(x).shape == (2, 3, 8)
    mask = torch.arange(6) < torch.tensor([[6], [4]])
    torch.testing.assert_close(resampler(x, mask)[1], resampler(x[1:, :4])[0])
    torch.testing.assert_close(resampler(x), resampler(x.flip(1)))
    assert not torch.allclose(resampler(x)[:, 0], resampler(x)[:, 1])


def test_frames_and_media_have_vectors_of_their_own() -> None:
    resampler, x = LatentResampler(8, 3, depth=1, heads=2, frames=4, media=3), torch.randn(2, 6, 8)
    plain = resampler(x, frames=2)
    swapped = resampler(x.reshape(2, 2, 3, 8).flip(1).flatten(1, 2), frames=2)
    assert not torch.allclose(plain, swapped)
    first = resampler(x[:1].expand(2, -1, -1), frames=2, order=torch.tensor([0, 2]))
    assert not torch.allclose(first[0], first[1])
    with torch.no_grad():
        assert resampler.frame_embeddings is not None
        resampler.frame_embeddings.zero_()
    torch.testing.assert_close(resampler(x, frames=2), resampler(x.flip(1), frames=2))


def test_waves_are_sines_then_cosines() -> None:
    table = waves(torch.tensor([0, 3]), 4)
    wanted = torch.tensor([3.0, 3 / 100]).double()
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0, 1, 1]))
    torch.testing.assert_close(table[1].double(), torch.cat([wanted.sin(), wanted.cos()]), atol=1e-6, rtol=0)


def test_a_grid_tells_columns_first() -> None:
    table = grid_waves(3, 8, torch.device("cpu"))
    line = waves(torch.arange(3), 4)
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(table[3 * row + column], torch.cat([line[column], line[row]]))
    torch.testing.assert_close(stretched(table, 3), table)
    assert stretched(table, 5).shape == (25, 8)


@pytest.mark.parametrize("kind", ["square", "line"])
def test_positions_break_the_order(kind: str) -> None:
    resampler = LatentResampler(8, 4, depth=1, heads=2, positions=kind)  # type: ignore[arg-type]
    x = torch.randn(1, 9, 8)
    assert not torch.allclose(resampler(x), resampler(x.flip(1)), atol=1e-4)
    own, context = resampler.places(10, torch.device("cpu"))  # type: ignore[misc]
    assert own.shape == (4, 8)
    torch.testing.assert_close(context[0], torch.zeros(8))  # a class token before nine patches
    torch.testing.assert_close(context[1:], resampler.places(9, torch.device("cpu"))[1])  # type: ignore[index]
    with pytest.raises(ValueError, match="7 tokens given, no square number, nor one and a class token"):
        resampler(x[:, :7])


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="a square number, given 5"):
        LatentResampler(8, 5, positions="square")
    with pytest.raises(ValueError, match="a width that 4 divides, given 6"):
        LatentResampler(6, 4, heads=2, positions="line")

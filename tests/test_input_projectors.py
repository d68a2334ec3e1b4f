"""Input projectors: parameter counts of the published systems, expansion into several tokens, masks, grids."""

from __future__ import annotations

import pytest
import torch

from anyx.grouping import GroupingInputProjector
from anyx.input_projectors import (
    LinearInputProjector,
    MLPInputProjector,
    StackInputProjector,
)
from anyx.interfaces import InputProjector, Tokens
from anyx.resampling import ResamplerInputProjector

GROUPS = {"groups": [4, 3], "depths": [1, 1, 1], "heads": 2, "hidden": 8}
ALL = [
    (LinearInputProjector, {}),
    (MLPInputProjector, {}),
    (ResamplerInputProjector, {"tokens": 5, "heads": 2}),
    (GroupingInputProjector, GROUPS),
]


def padded() -> Tokens:
    return Tokens(torch.randn(2, 4, 6), torch.arange(4) < torch.tensor([[4], [2]]), ((2, 2), (1, 2)))


def test_linear_has_next_gpt_s_parameters() -> None:
    with torch.device("meta"):  # llama_proj: 4096 x 1024 + 4096
        assert sum(p.numel() for p in LinearInputProjector(1024, 4096).parameters()) == 4_198_400


def test_linear_is_a_linear_map() -> None:
    projector, x = LinearInputProjector(6, 10), padded()
    y = projector(x)
    torch.testing.assert_close(y.values, x.values @ projector.proj.weight.T + projector.proj.bias)
    assert y.mask is x.mask
    assert y.layout == x.layout


def test_mlp_is_llava_s() -> None:
    projector, x = MLPInputProjector(6, 10), padded()
    first, second = projector.proj[0], projector.proj[2]
    torch.testing.assert_close(projector(x).values, second(torch.nn.functional.gelu(first(x.values))))
    assert len([m for m in MLPInputProjector(6, 10, layers=3, hidden=7).proj if isinstance(m, torch.nn.Linear)]) == 3


@pytest.mark.parametrize("cls", [LinearInputProjector, MLPInputProjector])
def test_one_token_becomes_several_side_by_side(cls: type[InputProjector]) -> None:
    projector, x = cls(6, 10, tokens=3, norm=True), padded()  # type: ignore[call-arg]
    y = projector(x)
    assert y.values.shape == (2, 12, 10)
    assert y.mask.sum(1).tolist() == [12, 6]
    assert y.layout is None
    alone = projector(Tokens.full(x.values[:, 1:2]))
    torch.testing.assert_close(y.values[:, 3:6], alone.values)
    assert not torch.allclose(y.values[:, 0], y.values[:, 1])


def test_neighbours_are_stacked() -> None:
    projector, x = MLPInputProjector(6, 10, stack=3), padded()
    y = projector(x)
    assert y.mask.tolist() == [[True, True], [True, False]]
    ends = torch.cat([x.values[0, 3], torch.zeros(12)])
    torch.testing.assert_close(y.values[0, 1], projector.proj(ends))
    torch.testing.assert_close(y.values[1, 0], projector.proj(torch.cat([x.values[1, :2].flatten(), torch.zeros(6)])))


def test_features_are_standardised_by_all_that_training_saw() -> None:
    torch.manual_seed(0)
    projector = MLPInputProjector(4, 8, norm="data")
    norm, seen = projector.norm, torch.randn(5, 16, 3, 4) * torch.tensor([1.0, 5.0, 0.1, 2.0]) + 7
    for batch in seen:
        projector(Tokens.full(batch))
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 1, 2)))
    standard = norm(seen[-1])
    assert standard.mean((0, 1)).abs().max() < 0.5
    assert 0.8 < standard.std() < 1.2
    projector.eval()
    torch.testing.assert_close(norm(seen[-1]), standard)  # the same afterwards, and for a single item
    torch.testing.assert_close(norm(seen[-1][:1]), standard[:1])
    assert projector.train()(Tokens.full(seen[0][:1, :1])).values.isfinite().all()


def test_padding_is_no_statistic() -> None:
    projector, x = MLPInputProjector(6, 8, norm="data"), padded()
    projector(x)
    torch.testing.assert_close(projector.norm.running_mean, x.values[x.mask].mean(0))


def test_dropout_hides_features_in_training_alone() -> None:
    torch.manual_seed(0)
    projector, x = MLPInputProjector(64, 8, dropout=0.5), Tokens.full(torch.randn(2, 3, 64))
    assert not torch.equal(projector(x).values, projector(x).values)
    projector.eval()
    torch.testing.assert_close(projector(x).values, projector.proj(x.values))


def test_resampler_gives_a_fixed_number() -> None:
    projector, x = ResamplerInputProjector(6, 10, tokens=5, heads=2), padded()
    y = projector(x)
    assert y.values.shape == (2, 5, 10)
    assert y.mask.all()
    torch.testing.assert_close(y.values[1], projector(Tokens.full(x.values[1:, :2])).values[0])


@pytest.mark.parametrize(("cls", "sizes"), ALL)
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_item_alone_or_in_a_padded_batch(cls: type[InputProjector], sizes: dict[str, int], side: str) -> None:
    torch.manual_seed(0)
    projector = cls(6, 10, **sizes).eval()
    counts, places = torch.tensor([[9], [4], [1]]), torch.arange(9)
    mask = places < counts if side == "right" else places >= 9 - counts
    values = torch.randn(3, 9, 6)
    together = projector(Tokens(values, mask))
    for i, real in enumerate(mask):
        alone = projector(Tokens.full(values[i, real][None]))
        assert alone.mask.all()
        torch.testing.assert_close(together.values[i, together.mask[i]], alone.values[0])


@pytest.mark.parametrize(("cls", "sizes"), ALL)
def test_bfloat16_is_near(cls: type[InputProjector], sizes: dict[str, int]) -> None:
    """Under autocast, as training runs, and as a bfloat16 module; rounding may move a patch to another group."""
    torch.manual_seed(0)
    projector, x = cls(6, 10, **sizes).eval(), padded()
    wanted = projector(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = projector(x).values
    low = projector.bfloat16()(x._replace(values=x.values.bfloat16())).values
    assert low.dtype == torch.bfloat16
    for made in (autocast, low):
        apart = (made.float() - wanted.values)[wanted.mask].norm() / wanted.values[wanted.mask].norm()
        assert apart < 0.05


@pytest.mark.parametrize(("cls", "sizes"), [*ALL, (MLPInputProjector, {"norm": "data"})])
def test_on_meta_it_runs(cls: type[InputProjector], sizes: dict[str, int]) -> None:
    """`anyx plan` counts the operations of a training step so."""
    with torch.device("meta"):
        made = cls(6, 10, **sizes)(Tokens.full(torch.zeros(2, 9, 6)))
    assert made.values.is_meta
    made.values.sum().backward()


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="tokens must be at least 1, given 0"):
        LinearInputProjector(6, 10, tokens=0)
    with pytest.raises(ValueError, match="norm: 'batch' is not one of true, false, data"):
        MLPInputProjector(6, 10, norm="batch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers must be at least 1"):
        MLPInputProjector(6, 10, layers=0)


def test_a_stack_along_the_raster_and_along_squares() -> None:
    """Tokens that say where they stand: patch number p of a grid of 4 x 4 has the one feature p."""
    x = Tokens.full(torch.arange(16.0).reshape(1, 16, 1))
    raster, square = (StackInputProjector(1, 4, along=along) for along in ("raster", "square"))  # type: ignore[arg-type]
    for projector in (raster, square):
        projector.proj = torch.nn.Linear(4, 4, bias=False)
        torch.nn.init.eye_(projector.proj.weight)
    assert raster(x).values[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert square(x).values[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    wide = square(x._replace(layout=((2, 8),)))
    assert wide.values[0].tolist() == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]
    assert wide.layout == ((1, 4),)
    ragged = raster(Tokens(torch.ones(1, 6, 1), torch.tensor([[True] * 5 + [False]])))
    assert ragged.values[0].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert ragged.mask.all()


def test_a_stack_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="k: 3 is no square"):
        StackInputProjector(1, 4, k=3, along="square")
    with pytest.raises(ValueError, match="along: 'spiral' is not one of raster, square"):
        StackInputProjector(1, 4, along="spiral")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"that 2 x 2 fits, but got 9 tokens on grids of \[\(3, 3\)\]"):
        StackInputProjector(1, 4, along="square")(Tokens.full(torch.ones(1, 9, 1)))


def test_there_are_no_fewer_blocks_than_none() -> None:
    with pytest.raises(ValueError, match="residual must not be negative, given -1"):
        MLPInputProjector(4, 4, residual=-1)


def test_minigpt_v2_s_stack_has_its_parameters() -> None:
    with torch.device("meta"):  # llama_proj: 4096 x 5632 + 4096
        assert sum(p.numel() for p in StackInputProjector(1408, 4096).parameters()) == 23_072_768

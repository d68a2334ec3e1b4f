"""Integrate-and-fire: the parallel form against a walk over frames, its gradient, and what was wrong there.

Expected numbers are those of `firing_loop.walk`, written from the rule, or worked out beside the test.
"""

import pytest
import torch
from firing_loop import walk
from torch.autograd import gradcheck

from anyx.integrate import IntegrateAndFire, integrate_and_fire

LENGTHS = torch.tensor([23, 9, 17, 1])
MASK = torch.arange(23) < LENGTHS[:, None]


def frames(seed: int = 0, heaviest: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 23, 5, generator=random, dtype=torch.float64)
    weights = heaviest * torch.rand(4, 23, generator=random, dtype=torch.float64)
    return values.requires_grad_(), weights.requires_grad_()


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("threshold", "tail"), [(1.0, 0.5), (0.9, 0.3), (1.0, None)])
@pytest.mark.parametrize("heaviest", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_walk_in_values_and_gradients(
    seed: int, heaviest: float, threshold: float, tail: float | None, published: bool
) -> None:
    """Below weights of 1, and above, where the published walk makes one token a frame and ours several."""
    options = {"threshold": threshold, "tail": tail, "published": published}
    values, weights = frames(seed, heaviest)
    tokens, real = integrate_and_fire(values, weights, MASK, **options)
    wanted, known = walk(values, weights, MASK, **options)
    assert torch.equal(real, known)
    torch.testing.assert_close(tokens, wanted)
    noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(9), dtype=tokens.dtype)
    ours = torch.autograd.grad((tokens * noise).sum(), (values, weights))
    theirs = torch.autograd.grad((wanted * noise).sum(), (values, weights))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_the_gradient_is_that_of_the_function() -> None:
    values, weights = frames(1)
    assert gradcheck(lambda x, w: integrate_and_fire(x, w, MASK)[0], (values, weights))


def test_an_item_as_long_as_its_batch_keeps_its_last_token() -> None:
    """Weights .6 .6 .6: one token at .6 + .4, and .8 is left, above the tail's .5."""
    values, weights = torch.eye(3)[None], torch.full((1, 3), 0.6)
    full = torch.ones(1, 3, dtype=torch.bool)
    tokens, real = integrate_and_fire(values, weights, full)
    assert real.sum() == 2
    torch.testing.assert_close(tokens[0], torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.25, 0.75]]))
    assert integrate_and_fire(values, weights, full, published=True)[1].sum() == 1  # lost there


def test_a_heavy_frame_makes_several_tokens() -> None:
    """Weights 2.5 and .5: the first frame is two tokens and half of the third. There: one, the rest subtracted."""
    values, weights = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[2.5, 0.5]])
    full = torch.ones(1, 2, dtype=torch.bool)
    tokens, real = integrate_and_fire(values, weights, full)
    assert real.tolist() == [[True] * 3]
    torch.testing.assert_close(tokens[0, :, 0], torch.tensor([1.0, 1.0, 2.0]))
    theirs, _ = integrate_and_fire(values, weights, full, published=True)
    torch.testing.assert_close(theirs[0, :, 0], torch.tensor([1.0, 1.5 * 1 - 0.5 * 3]))


def test_silence_is_one_token() -> None:
    tokens, real = integrate_and_fire(torch.ones(1, 4, 2), torch.full((1, 4), 0.01), torch.ones(1, 4).bool())
    assert real.tolist() == [[True]]
    torch.testing.assert_close(tokens, torch.ones(1, 1, 2))


@pytest.mark.parametrize("kind", ["conv", "dense", "sigmoid"])
@pytest.mark.parametrize("count", [torch.tensor([7, 3, 5, 2]), torch.tensor([6.0, 12.0, 17.0, 1.0])])
def test_training_makes_as_many_tokens_as_it_is_told(kind: str, count: torch.Tensor) -> None:
    """Float32, where the scaled weights add up to the count but for rounding; more tokens than frames too."""
    torch.manual_seed(0)
    module = IntegrateAndFire(6, kind=kind, dim_out=4).train()  # type: ignore[arg-type]
    fired = module(torch.randn(4, 23, 6), MASK, count)
    assert fired.mask.sum(1).tolist() == count.tolist()
    assert fired.values.shape == (4, count.max(), 4)
    torch.testing.assert_close(fired.quantity, fired.weights.sum(1))
    free = module.eval()(torch.randn(4, 23, 6), MASK, count)  # afterwards only its own sum counts
    assert ((free.mask.sum(1) - free.quantity).abs() <= 0.5 + 1e-4).logical_or(free.mask.sum(1) == 1).all()


def test_long_transcripts_keep_their_last_token() -> None:
    """Hundreds of float32 weights miss their count by more than a rounding, and with it the last token was lost."""
    torch.manual_seed(0)
    module = IntegrateAndFire(2, kind="sigmoid").train()
    values, full = torch.randn(12, 1200, 2), torch.ones(12, 1200, dtype=torch.bool)
    for count in (150, 400):
        assert module(values, full, torch.full((12,), count)).mask.sum(1).tolist() == [count] * 12


def test_an_unknown_count_is_left_alone() -> None:
    torch.manual_seed(0)
    module, values = IntegrateAndFire(6).train(), torch.randn(4, 23, 6)
    some = module(values, MASK, torch.tensor([7, 0, 5, 0]))
    none = module(values, MASK)
    assert some.mask.sum(1)[[0, 2]].tolist() == [7, 5]
    torch.testing.assert_close(some.mask.sum(1)[[1, 3]], none.mask.sum(1)[[1, 3]])


def test_padding_reaches_nothing() -> None:
    torch.manual_seed(0)
    values = torch.randn(4, 23, 6)
    module = IntegrateAndFire(6).eval()
    noisy = values + 9 * ~MASK[..., None]
    torch.testing.assert_close(module(noisy, MASK).values, module(values, MASK).values)
    loose = IntegrateAndFire(6, published=True).eval()
    loose.load_state_dict(module.state_dict())
    assert not torch.allclose(loose(noisy, MASK).weights, loose(values, MASK).weights)  # read there


def test_wrong_options_are_refused() -> None:
    for given in ({"kind": "gauss"}, {"width": 2}, {"threshold": 1.5}):
        with pytest.raises(ValueError, match=next(iter(given))):
            IntegrateAndFire(4, **given)  # type: ignore[arg-type]

"""Losses against what their definitions give by hand or by torch's own functions."""

import math

import pytest
import torch
from torch.nn import functional as F

from anyx.interfaces import Condition, Tokens
from anyx.training import losses


def condition(values: torch.Tensor, mask: torch.Tensor | None = None) -> Condition:
    return Condition({"prompt_embeds": values}, {} if mask is None else {"prompt_embeds": mask})


def test_l2norm_is_the_mean_norm_of_nextgpt() -> None:
    """NExT-GPT: Euclidean norm over channels, mean over batch and positions (nextgpt_xllm.md, A2.1)."""
    said, taught = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = ((said - taught) ** 2).sum(-1).sqrt().mean()
    assert torch.allclose(losses.caption(condition(said), condition(taught), relative=False), expected)


@pytest.mark.parametrize("kind", ["l2norm", "mse", "cosine"])
def test_caption_does_not_see_padding(kind: losses.CaptionKind) -> None:
    said, taught = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 4, 5)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    loss = losses.caption(condition(said), condition(taught, mask), kind=kind, relative=False)
    each = {
        "l2norm": (said - taught).norm(dim=-1),
        "mse": (said - taught).square().mean(-1),
        "cosine": 1 - F.cosine_similarity(said, taught, dim=-1),
    }[kind]
    assert torch.allclose(loss, each[mask].mean())
    loss.backward()
    assert said.grad is not None
    assert not said.grad[~mask].any()
    assert said.grad[mask].any(-1).all()


@pytest.mark.parametrize("pads", [0.25, 1.0])
def test_caption_weighs_padding_where_the_decoder_reads_it(pads: float) -> None:
    said, taught = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    weights = torch.where(mask, 1.0, pads)
    each = (said - taught).square().mean(-1)
    loss = losses.caption(condition(said), condition(taught, mask), kind="mse", pads=pads, relative=False)
    assert torch.allclose(loss, (each * weights).sum() / weights.sum())
    full = losses.caption(condition(said), condition(taught), kind="mse", pads=pads, relative=False)
    assert torch.allclose(full, each.mean())


@pytest.mark.parametrize("kind", ["l2norm", "mse", "cosine"])
def test_teachers_of_any_scale_count_alike(kind: losses.CaptionKind) -> None:
    """Relative to its teacher, silence costs one, and a teacher that is 33 times longer costs no more."""
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    said, taught = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    silent = losses.caption(condition(torch.zeros(2, 4, 5)), condition(taught, mask), kind=kind)
    assert silent.item() == pytest.approx(1, rel=1e-6)
    one, many = (losses.caption(condition(x * said), condition(x * taught, mask), kind=kind) for x in (1.0, 33.0))
    assert one.item() == pytest.approx(many.item(), rel=1e-5)
    absolute = [
        losses.caption(condition(x * said), condition(x * taught, mask), kind=kind, relative=False) for x in (1.0, 33.0)
    ]
    assert (absolute[0] / absolute[1]).item() == pytest.approx({"l2norm": 1 / 33, "mse": 1 / 33**2, "cosine": 1}[kind])


def test_caption_at_the_target_has_a_finite_gradient() -> None:
    said = torch.ones(1, 2, 3, requires_grad=True)
    losses.caption(condition(said), condition(torch.ones(1, 2, 3))).backward()
    assert said.grad is not None
    assert said.grad.isfinite().all()


def test_caption_refuses_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="'l3' is not one of l2norm, mse, cosine"):
        losses.caption(condition(torch.ones(1, 1, 1)), condition(torch.ones(1, 1, 1)), kind="l3")  # type: ignore[arg-type]


def test_contrastive_is_symmetric_infonce() -> None:
    a, b = torch.randn(4, 6), torch.randn(4, 6)
    logits = 5 * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    expected = -(logits.log_softmax(1).diag().mean() + logits.log_softmax(0).diag().mean()) / 2
    assert torch.allclose(losses.contrastive(a, b, 5.0), expected)
    assert torch.allclose(losses.contrastive(b, a, 5.0), expected)


def test_contrastive_does_not_repel_the_same_caption() -> None:
    a = F.normalize(torch.randn(1, 6), dim=-1).expand(2, -1)
    same = torch.ones(2, 2, dtype=torch.bool)
    assert losses.contrastive(a, a, 10.0, same).item() == pytest.approx(0)
    assert losses.contrastive(a, a, 10.0).item() == pytest.approx(math.log(2))


def test_reconstruct_adds_its_terms() -> None:
    made, target, kl = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor(2.0)
    error = made - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    expected = 2 * error.abs().mean() + 3 * error.square().mean() + 0.5 * edges + 0.1 * 2
    assert torch.allclose(losses.reconstruct(made, target, kl, l1=2, mse=3, edges=0.5, kl_weight=0.1), expected)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_align_is_zero_at_the_words_and_neutral_after(kind: losses.AlignKind) -> None:
    words, neutral = torch.randn(2, 2, 5), torch.randn(5)
    mask = torch.tensor([[True, False], [False, False]])
    tokens = torch.stack([torch.stack([words[0, 0], neutral, neutral]), torch.randn(3, 5)])
    assert losses.align(Tokens.full(tokens), words, mask, neutral, kind=kind).item() == pytest.approx(0, abs=1e-6)
    tokens[0, 2] += 1.0
    assert losses.align(Tokens.full(tokens), words, mask, neutral, kind=kind) > 1e-3


def test_tell_apart_looks_at_what_sets_candidates_apart() -> None:
    torch.manual_seed(0)
    could = torch.randn(4, 2, 5) * 0.1 + 3
    right = torch.tensor([2, 0])
    assert losses.tell_apart(Tokens.full(could[right]), could, right, 30.0) < 0.01
    assert losses.tell_apart(Tokens.full(could[right]), could, right.flip(0), 30.0) > 5
    centre = could.mean(0)
    small = centre + 0.01 * (could[right] - centre)  # shrunken towards the mean, but still nearest to the right one
    assert losses.tell_apart(Tokens.full(small), could, right, 30.0) < 0.01


def test_tell_apart_does_not_look_at_padding() -> None:
    """A C-Former's tokens are as many as each item has: what stands behind them means nothing, and learns nothing."""
    torch.manual_seed(0)
    could, right, mask = torch.randn(4, 5, 6), torch.tensor([1, 3]), torch.arange(5) < torch.tensor([[3], [5]])
    values = torch.randn(2, 5, 6, requires_grad=True)
    loss = losses.tell_apart(Tokens(values, mask), could, right, 15.0)
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient[~mask].abs().max() == 0
    assert gradient[mask].abs().max() > 0
    other = values + 9 * ~mask[..., None]
    assert torch.equal(losses.tell_apart(Tokens(other, mask), could, right, 15.0), loss)
    alone = losses.tell_apart(Tokens.full(values[:1, :3]), could[:, :3], right[:1], 15.0)
    torch.testing.assert_close(losses.tell_apart(Tokens(values[:1], mask[:1]), could, right[:1], 15.0), alone)


def test_align_cuts_long_captions_and_is_relative() -> None:
    words, mask = torch.randn(1, 6, 5) * 1e-3, torch.ones(1, 6, dtype=torch.bool)
    silent = Tokens.full(torch.zeros(1, 2, 5))
    assert losses.align(silent, words, mask, torch.zeros(5)).item() == pytest.approx(1, rel=1e-4)


def test_mean_pool_and_weights() -> None:
    tokens = Tokens(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]]))
    assert losses.mean_pool(tokens).item() == 2
    assert losses.weighted({"a": torch.tensor(2.0), "b": torch.tensor(1.0)}, {"a": 1, "b": 3}).item() == 5

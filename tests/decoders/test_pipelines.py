import pytest
import torch

from anyx.decoders import pipelines


def test_noise_of_an_item_ignores_its_neighbours() -> None:
    like = torch.zeros(1)
    alone = pipelines.starting_noise((2, 3), [torch.Generator().manual_seed(5)], like)
    together = pipelines.starting_noise((2, 3), [torch.Generator().manual_seed(s) for s in (4, 5)], like)
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(together[0], together[1])
    half = pipelines.starting_noise((2, 3), [torch.Generator().manual_seed(5)], like.bfloat16())
    assert torch.equal(half, alone.bfloat16())


def test_noise_may_be_given() -> None:
    given, generators = torch.randn(2, 3, 4), [torch.Generator(), torch.Generator()]
    like = torch.zeros(1, dtype=torch.bfloat16)
    assert torch.equal(pipelines.starting_noise((3, 4), generators, like, given), given.bfloat16())
    with pytest.raises(ValueError, match=r"latents: \(2, 3, 4\) given; they are \(2, 3, 5\), a tensor"):
        pipelines.starting_noise((3, 5), generators, like, given)

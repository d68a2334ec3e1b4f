"""What the ports do to tokens on their way."""

import pytest
import torch

from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Tokens
from anyx.media import Image
from anyx.ports import InputPort


def test_blend_mixes_in_a_neighbour_while_the_projector_learns() -> None:
    torch.manual_seed(0)
    port = InputPort("eye", LinearInputProjector(6, 8), kind=Image, blend=0.5).train()
    values, mask = torch.randn(3, 4, 8), torch.ones(3, 4, dtype=torch.bool)
    mask[0, 2:] = False
    shown = port.shown(Tokens(values, mask)).values
    shares = (shown - values) / (values.roll(1, 0) - values)
    torch.testing.assert_close(shown[1, 2:], values[1, 2:])  # its neighbour has no tokens there
    assert (shares[0] > 0).all()
    assert (shares < 0.5).all()
    torch.testing.assert_close(shares[2], shares[2, :1, :1].expand(4, 8), atol=1e-4, rtol=1e-4)
    assert torch.equal(port.eval().shown(Tokens(values, mask)).values, values)


def test_a_share_is_below_one() -> None:
    with pytest.raises(ValueError, match="blend must be at least 0 and below 1, given 1"):
        InputPort("eye", LinearInputProjector(6, 8), kind=Image, blend=1)

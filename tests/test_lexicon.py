"""Macaw-LLM's connector: lengths, the LLM's words as keys, padding. Its values are held in the goldens."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from anyx.interfaces import Tokens
from anyx.lexicon import LexiconInputProjector
from anyx.media import Image
from anyx.model import AnyX, InputPort


@pytest.mark.parametrize(
    ("tokens", "kernel", "stride", "wanted"),
    [(256, 48, 36, 6), (1500, 240, 220, 6), (1536, 36, 30, 51), (196, 48, 36, 5)],
)
def test_how_many_tokens_are_left(tokens: int, kernel: int, stride: int, wanted: int) -> None:
    with torch.device("meta"):
        projector = LexiconInputProjector(512, 4096, kernel=kernel, stride=stride)
        assert projector(Tokens.full(torch.zeros(1, tokens, 512))).values.shape == (1, wanted, 4096)


@torch.no_grad()
def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    projector = LexiconInputProjector(6, 8, kernel=2, stride=2, heads=2)
    x, table = Tokens.full(torch.randn(3, 6, 6)), torch.randn(11, 8)
    theirs = nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True)
    theirs.load_state_dict(projector.attn.state_dict())
    words = table.expand(3, -1, -1)
    wanted, _ = theirs(projector.queries(x), words, words)
    torch.testing.assert_close(projector(x, table).values, wanted)


@torch.no_grad()
def test_padding_is_not_read_and_the_short_are_one() -> None:
    torch.manual_seed(0)
    projector = LexiconInputProjector(6, 8, kernel=3, stride=2, heads=2, mix=2).eval()
    x, table = torch.randn(2, 7, 6), torch.randn(5, 8)
    mask = torch.arange(7) < torch.tensor([[7], [5]])
    made = projector(Tokens(x, mask), table)
    assert made.mask.sum(1).tolist() == [3, 2]
    torch.testing.assert_close(made.values[1, :2], projector(Tokens.full(x[1:, :5]), table).values[0])
    assert projector(Tokens.full(x[:, :1]), table).values.shape == (2, 1, 8)
    with pytest.raises(ValueError, match="kernel and stride must be at least 1, given 0 and 2"):
        LexiconInputProjector(6, 8, kernel=0, stride=2)


def test_a_model_hands_over_its_words() -> None:
    torch.manual_seed(0)
    words = tiny.tokenizer()
    llm = tiny.LLM(tiny.causal_lm(words), words)
    projector = LexiconInputProjector(6, llm.dim, kernel=2, stride=2, heads=2)
    inputs = {"image": InputPort("eye", projector, kind=Image)}
    model = AnyX(llm, encoders={"eye": tiny.TinyEncoder()}, inputs=inputs)
    picture = {"type": "image", "image": Image(torch.full((3, 4, 4), 90, dtype=torch.uint8))}
    make = model.processor
    chat = [{"role": "user", "content": [picture]}, {"role": "assistant", "content": "Ah."}]
    batch = make.collate([make(chat)])
    with torch.no_grad():
        seen = model.encode("image", batch.inputs["image"].tensors)
        wanted = projector(seen, llm.model.get_input_embeddings().weight)
        torch.testing.assert_close(model.read(batch)[1]["image"].values, wanted.values)
    model.forward(batch).states.sum().backward()
    assert all(p.grad is not None for p in projector.parameters())

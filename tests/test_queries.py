"""The Q-Former as an input projector: pieces, extra queries, the instruction, what it refuses.

Values and gradients of the published Q-Formers are held in tests/goldens/test_golden_blip2.py.
"""

from __future__ import annotations

import pickle

import pytest
import torch
from transformers import BertTokenizer

from anyx.interfaces import TextBatch, Tokens
from anyx.queries import BertWords, QFormerInputProjector

SIZES = {"queries": 3, "width": 8, "layers": 2, "heads": 2}


def made(**given: object) -> QFormerInputProjector:
    torch.manual_seed(0)
    projector = QFormerInputProjector(6, 5, **SIZES, **given).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(projector.query_tokens)  # far enough apart to tell
    return projector


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "cow"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def test_every_piece_is_read_by_itself() -> None:
    one, three = made(), made(pieces=3)
    x = torch.randn(2, 12, 6)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 8:] = False  # the second item has two frames of three
    read = three(Tokens(x, mask))
    assert read.values.shape == (2, 9, 5)
    for frame in range(3):
        alone = one(Tokens.full(x[:, 4 * frame : 4 * frame + 4]))
        torch.testing.assert_close(read.values[0, 3 * frame : 3 * frame + 3], alone.values[0])
    assert read.mask.tolist() == [[True] * 9, [True] * 6 + [False] * 3]
    assert three(Tokens.full(x[:, :2])).mask.sum(1).tolist() == [6, 6]  # fewer tokens than pieces
    with pytest.raises(ValueError, match="pieces: 3 given, but an item of 4 tokens"):
        three(Tokens.full(x[:, :4]))


@torch.no_grad()
def test_extra_queries_begin_at_zero() -> None:
    more = made(extra=2)
    read = more(Tokens.full(torch.randn(1, 4, 6))).values
    assert read.shape == (1, 5, 5)
    torch.testing.assert_close(read[:, 3], read[:, 4])
    assert dict(more.named_parameters())["extra_query_tokens"].requires_grad


@torch.no_grad()
def test_the_instruction_is_read_and_its_padding_is_not() -> None:
    projector = made(reads=True, vocabulary=11, pieces=2)
    x = Tokens.full(torch.randn(2, 4, 6))
    ids = torch.tensor([[2, 5, 6, 3], [2, 3, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    read = projector(x, TextBatch(ids, mask)).values
    other = projector(x, TextBatch(ids + 5 * ~mask, mask)).values
    torch.testing.assert_close(read, other)
    assert not torch.allclose(read, projector(x).values)
    assert not torch.allclose(read[0], projector(x, TextBatch(ids + (ids == 5), mask)).values[0], atol=1e-5)
    with pytest.raises(ValueError, match="of 600 words was given; this Q-Former reads at most 512 words"):
        projector(x, TextBatch(ids[:, :1].expand(-1, 600), mask[:, :1].expand(-1, 600)))
    with pytest.raises(ValueError, match="reads none: it has no vocabulary"):
        made()(Tokens.full(x.values), TextBatch(ids, mask))


def test_words_are_berts_and_travel(bert: str) -> None:
    projector = made(tokenizer=bert, vocabulary=11, length=6)
    words = projector.words
    assert isinstance(words, BertWords)
    assert words("What is this?") == [2, 5, 6, 7, 8, 3]
    assert words("What is this cow, a cow?") == [2, 5, 6, 7, 10, 3]
    assert pickle.loads(pickle.dumps(words))("") == [2, 3]
    with torch.device("meta"):
        assert QFormerInputProjector(6, 5, tokenizer="bert-base-uncased", **SIZES).words is None


def test_the_published_sizes() -> None:
    """Counted from 12 layers of 768 and 3072, 6 of them crossed at 1408; words: BERT's table, places, feed-forward."""
    with torch.device("meta"):
        blip2 = QFormerInputProjector(1408, 2560)
        instruct = QFormerInputProjector(1408, 4096, reads=True)
    width, hidden, context = 768, 3072, 1408
    attention = 4 * (width * width + width) + 2 * width
    feed = 2 * width * hidden + hidden + width + 2 * width
    crossed = attention + 2 * (context - width) * width
    queries = 12 * (attention + feed) + 6 * crossed + 2 * width
    assert sum(p.numel() for p in blip2.qformer.parameters()) == queries == 105_137_664
    assert sum(p.numel() for p in blip2.parameters()) == queries + 32 * width + 2560 * (width + 1)
    words = (30523 + 512) * width + 12 * feed
    assert sum(p.numel() for p in instruct.qformer.parameters()) == queries + words == 185_660_160


def test_errors_name_what_was_given() -> None:
    with pytest.raises(
        ValueError, match="queries and pieces are at least 1 and extra is not negative: given 3, 0 and 0"
    ):
        made(pieces=0)
    with pytest.raises(ValueError, match="vocabulary: null given"):
        made(reads=True, vocabulary=None)
    with pytest.raises(ValueError, match="no weights at nowhere"):
        made(bert="nowhere")

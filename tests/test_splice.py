from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyx.interfaces import Tokens
from anyx.splice import IGNORE, PLACEHOLDER, splice

DIM = 3


def batch(rows: list[list[int]], side: str = "right") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask, labels (= ids) and embeddings (= the id, DIM times) of ragged rows."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for number, row in enumerate(rows):
        here = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        ids[number, here] = torch.tensor(row, dtype=torch.long)
        mask[number, here] = True
    labels = ids.masked_fill(~mask | (ids == PLACEHOLDER), IGNORE)
    return ids, mask, labels, ids[..., None].float().expand(-1, -1, DIM)


def media_of(ids: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, Tokens]:
    """One medium a placeholder, in order; medium number k has the values 1000 + k."""
    rows, positions = (ids == PLACEHOLDER).nonzero(as_tuple=True)
    longest = max(lengths, default=0) + 1
    mask = torch.arange(longest) < torch.tensor(lengths, dtype=torch.long)[:, None]
    values = 1000.0 + torch.arange(len(lengths))[:, None, None].expand(-1, longest, DIM)
    return rows, positions, Tokens(values, mask)


def by_hand(rows: list[list[int]], lengths: list[int]) -> list[list[float]]:
    """What every row should hold, written with lists."""
    left = iter(enumerate(lengths))
    out = []
    for row in rows:
        line: list[float] = []
        for token in row:
            if token == PLACEHOLDER:
                number, length = next(left)
                line += [1000.0 + number] * length
            else:
                line.append(float(token))
        out.append(line)
    return out


ROWS = st.lists(st.lists(st.sampled_from([PLACEHOLDER, 1, 2, 3]), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, data=st.data(), side=st.sampled_from(["right", "left"]))
def test_splice_equals_lists(rows: list[list[int]], data: st.DataObject, side: str) -> None:
    count = sum(row.count(PLACEHOLDER) for row in rows)
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    ids, mask, labels, embeddings = batch(rows, side)
    out = splice(embeddings, ids, {"any": media_of(ids, lengths)}, mask, labels, side=side)
    expected = by_hand(rows, lengths)
    longest = max(map(len, expected))
    for number, line in enumerate(expected):
        begin = longest - len(line) if side == "left" else 0
        assert out.embeddings[number, out.mask[number], 0].tolist() == line
        assert out.mask[number].nonzero()[:, 0].tolist() == list(range(begin, begin + len(line)))
        assert out.labels[number][out.labels[number] != IGNORE].tolist() == [
            token for token in rows[number] if token > 0
        ]
    assert not out.embeddings[~out.mask].any()
    text = mask & (ids != PLACEHOLDER)
    row, _ = text.nonzero(as_tuple=True)
    assert torch.equal(out.embeddings[row, out.index[text]], embeddings[text])
    assert torch.equal(out.labels[row, out.index[text]], labels[text])
    assert (out.index[~mask] == -1).all()


def test_two_keys_in_one_row_keep_their_places() -> None:
    ids, mask, labels, embeddings = batch([[1, PLACEHOLDER, 2, PLACEHOLDER, PLACEHOLDER]])
    first = (
        torch.tensor([0, 0]),
        torch.tensor([4, 1]),
        Tokens.full(torch.tensor([40.0, 41.0, 10.0, 11.0]).view(2, 2, 1).expand(-1, -1, DIM)),
    )
    second = (torch.tensor([0]), torch.tensor([3]), Tokens.full(torch.full((1, 1, DIM), 30.0)))
    out = splice(embeddings, ids, {"a": first, "b": second}, mask, labels)
    assert out.embeddings[0, :, 0].tolist() == [1, 10, 11, 2, 30, 40, 41]
    assert out.index.tolist() == [[0, 1, 3, 4, 5]]


def test_gradients_reach_tokens_and_embeddings() -> None:
    ids, mask, labels, embeddings = batch([[1, PLACEHOLDER], [2]])
    embeddings = embeddings.clone().requires_grad_()
    rows, positions, tokens = media_of(ids, [2])
    values = tokens.values.clone().requires_grad_()
    splice(
        embeddings, ids, {"a": (rows, positions, tokens._replace(values=values))}, mask, labels
    ).embeddings.sum().backward()
    assert values.grad is not None
    assert values.grad[..., 0].tolist() == [[1, 1, 0]]
    assert embeddings.grad is not None
    assert embeddings.grad[..., 0].tolist() == [[1, 0], [1, 0]]


def test_counts_are_named_when_they_differ() -> None:
    ids, mask, labels, embeddings = batch([[PLACEHOLDER, PLACEHOLDER, PLACEHOLDER]])
    rows, positions, tokens = media_of(ids, [1, 1, 1])
    few = {"a": (rows[:2], positions[:2], Tokens(tokens.values[:2], tokens.mask[:2]))}
    with pytest.raises(ValueError, match=r"found 3 placeholders but received 2 media \(2 a\)"):
        splice(embeddings, ids, few, mask, labels)


def test_media_off_their_placeholders_are_refused() -> None:
    ids, mask, labels, embeddings = batch([[1, PLACEHOLDER]])
    rows, positions, tokens = media_of(ids, [1])
    with pytest.raises(ValueError, match=r"\[\(0, 0\)\], where no placeholder stands"):
        splice(embeddings, ids, {"a": (rows, positions - 1, tokens)}, mask, labels)

"""What holds of every adapter in the layers of every family."""

from __future__ import annotations

from pathlib import Path

import hooked
import pytest
import torch
from hooked import PAIRS, batch, causal_lm, context, made, shake
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from anyx.adapters.body import Body
from anyx.context import Context, carry
from anyx.interfaces import Adapter

EACH = pytest.mark.parametrize(("kind", "maker"), PAIRS)
ALL = [0, 1, 2]


def logits(model: PreTrainedModel, read: Context, ids: Tensor, mask: Tensor) -> Tensor:
    with carry(read):
        found: Tensor = model(
            input_ids=ids, attention_mask=mask.long(), position_ids=read.positions(mask, ids.shape[1]), use_cache=False
        ).logits
    return found


@EACH
def test_nothing_changes_at_the_beginning_and_something_later(kind: str, maker: str) -> None:
    model, adapter = made(kind, maker, begun=False)
    ids, mask = batch(ALL)
    with torch.no_grad():
        plain = model(input_ids=ids, attention_mask=mask.long(), position_ids=Context({}).positions(mask, 10)).logits
        first = logits(model, context(model, adapter, ALL), ids, mask)
        if maker != "positions":  # a plan is no weight: it holds from the beginning
            torch.testing.assert_close(first[mask], plain[mask], rtol=1e-5, atol=1e-5)
        shake(adapter)
        later = logits(model, context(model, adapter, ALL), ids, mask)
    assert (later - plain)[mask].abs().max() > 1e-2
    if not adapter.hears:
        return
    if maker not in ("prompts", "gated", "gated_all"):  # a row without media is read as by the plain model
        torch.testing.assert_close(later[2][mask[2]], plain[2][mask[2]], rtol=1e-5, atol=1e-5)


@EACH
def test_padding_and_neighbours_change_nothing(kind: str, maker: str) -> None:
    model, adapter = made(kind, maker)
    with torch.no_grad():
        for side in ("left", "right"):
            ids, mask = batch(ALL, side=side)
            together = logits(model, context(model, adapter, ALL, side=side), ids, mask)
            for row in ALL:
                alone = logits(model, context(model, adapter, [row]), *batch([row]))
                torch.testing.assert_close(together[row][mask[row]], alone[0], rtol=1e-4, atol=1e-4)


@EACH
def test_cached_steps_equal_one_whole_pass(kind: str, maker: str) -> None:
    """The last words of right-padded rows, read one by one after the prompt, against a prompt that holds them."""
    model, adapter = made(kind, maker)
    more = torch.tensor([[41, 42, 43], [44, 45, 46]])
    ids, mask = batch([0, 1])
    read = context(model, adapter, [0, 1])
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    said = []
    with torch.no_grad(), carry(read):
        seen = mask
        for block in (ids, *more.split([1, 2], 1)):
            seen = seen if block is ids else torch.cat([seen, torch.ones_like(block, dtype=torch.bool)], 1)
            places = read.positions(seen, block.shape[1])
            out = model(
                input_ids=block,
                attention_mask=seen.long(),
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
            )
            said.append(out.logits)
    rows, hooked.ROWS = (
        hooked.ROWS,
        [(ids + extra.tolist(), media) for (ids, media), extra in zip(hooked.ROWS, more, strict=False)],
    )
    try:
        whole, all_real = batch([0, 1])
        wide = context(model, adapter, [0, 1])
        with torch.no_grad():
            expected = logits(model, wide, whole, all_real)
    finally:
        hooked.ROWS = rows
    torch.testing.assert_close(torch.cat(said, 1)[all_real], expected[all_real], rtol=1e-4, atol=1e-4)


def losses(model: PreTrainedModel, adapter: Adapter) -> list[Tensor]:
    """Two forward passes of other batches, before any backward pass."""
    found = []
    for rows in ([0, 2], [1]):
        ids, mask = batch(rows)
        found.append(logits(model, context(model, adapter, rows), ids, mask)[mask].square().mean())
    return found


@pytest.mark.parametrize(("kind", "maker"), [pair for pair in PAIRS if pair[1] != "positions"])  # these have no weights
def test_checkpointing_gives_the_same_gradients(kind: str, maker: str) -> None:
    model, adapter = made(kind, maker)
    found = []
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.eval()
        adapter.zero_grad()
        sum(losses(model, adapter), torch.zeros(())).backward()
        found.append({name: p.grad.clone() for name, p in adapter.named_parameters() if p.grad is not None})
    plain, recomputed = found
    assert plain
    assert plain.keys() == recomputed.keys()
    assert any(grad.abs().max() > 1e-4 for grad in plain.values())
    for name, grad in plain.items():
        torch.testing.assert_close(recomputed[name], grad, rtol=1e-4, atol=1e-6)


@EACH
def test_beams_of_a_batch_are_those_of_its_rows(kind: str, maker: str) -> None:
    """Transformers' own `generate`, prompts padded on the left, three beams; and it ends as greedy full passes do."""
    model, adapter = made(kind, maker)

    def say(rows: list[int], beams: int) -> list[list[int]]:
        ids, mask = batch(rows)
        read = context(model, adapter, rows)
        given = {"position_ids": read.positions(mask, ids.shape[1])} if maker == "positions" else {}
        with carry(read):
            out = model.generate(
                input_ids=ids, attention_mask=mask.long(), num_beams=beams, do_sample=False, max_new_tokens=4, **given
            )
        return [row[ids.shape[1] :].tolist() for row in out]

    cut = [text[: text.index(2)] if 2 in text else text for text in say([0, 1], 3)]
    alone = [text[: text.index(2)] if 2 in text else text for row in (0, 1) for text in say([row], 3)]
    assert cut == alone
    greedy = say([0], 1)[0]
    ids, mask = batch([0])
    read = context(model, adapter, [0])
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    for token in greedy:
        with torch.no_grad(), carry(read):
            block = ids if cache.get_seq_length() == 0 else ids[:, -1:]
            places = read.positions(mask, block.shape[1])
            out = model(
                input_ids=block, attention_mask=mask.long(), position_ids=places, past_key_values=cache, use_cache=True
            )
        assert int(out.logits[0, -1].argmax()) == token
        ids, mask = torch.cat([ids, torch.tensor([[token]])], 1), torch.cat([mask, mask[:, -1:]], 1)


@EACH
def test_lora_on_top_changes_nothing_at_its_beginning(kind: str, maker: str) -> None:
    model, adapter = made(kind, maker)
    ids, mask = batch(ALL)
    with torch.no_grad():
        before = logits(model, context(model, adapter, ALL), ids, mask)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=[hooked.LORA[kind]]))
    with torch.no_grad():
        after = logits(tuned, context(model, adapter, ALL), ids, mask)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    loss = logits(tuned, context(model, adapter, ALL), ids, mask)[mask].square().mean()
    loss.backward()
    learnt = [p.grad for name, p in tuned.named_parameters() if "lora_B" in name]
    assert all(grad is not None and grad.abs().max() > 0 for grad in learnt)


@EACH
def test_the_plain_weights_load_strictly(kind: str, maker: str) -> None:
    plain = causal_lm(kind)
    model, _ = made(kind, maker)
    assert model.state_dict().keys() == plain.state_dict().keys()
    model.load_state_dict(plain.state_dict(), strict=True)
    layers = [type(layer) for layer in Body(plain).layers]
    assert [cls.__name__ for cls in layers] == [type(layer).__name__ for layer in Body(causal_lm(kind)).layers]


@EACH
def test_weights_are_saved_and_loaded_apart(kind: str, maker: str, tmp_path: Path) -> None:
    model, adapter = made(kind, maker)
    save_file(adapter.state_dict(), tmp_path / "it.safetensors")
    again = causal_lm(kind)
    again.load_state_dict(model.state_dict())
    other = hooked.MAKERS[maker](Body(again), kind)
    other.load_state_dict(load_file(tmp_path / "it.safetensors"), strict=True)
    ids, mask = batch(ALL)
    with torch.no_grad():
        expected = logits(model, context(model, adapter, ALL), ids, mask)
        torch.testing.assert_close(logits(again, context(again, other, ALL), ids, mask), expected)

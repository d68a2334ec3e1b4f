"""C-Former as an input projector: how many tokens it makes, in a model, in training, from a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from transformers import BertConfig, BertModel

from anyx.cformer import CFormerInputProjector
from anyx.data.batches import Dialogues
from anyx.interfaces import Tokens
from anyx.media import Audio
from anyx.model import AnyX, InputPort
from anyx.training import losses
from anyx.training.alignment import quantity
from anyx.training.conditions import Step

SMALL: dict[str, Any] = {"hidden": 8, "layers": 1, "heads": 2, "positions": 16, "dropout": 0.0}


def frames(lengths: tuple[int, ...] = (9, 4)) -> Tokens:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Tokens(torch.randn(len(lengths), max(lengths), 6), mask)


@pytest.mark.parametrize("adapter", ["bert", "fc"])
def test_it_makes_as_many_tokens_as_it_counts(adapter: str) -> None:
    projector = CFormerInputProjector(6, 10, adapter=adapter, tokens_dim=4, **SMALL).eval()  # type: ignore[arg-type]
    made = projector(frames())
    assert made.number is not None
    assert made.values.shape == (2, made.mask.shape[1], 10)
    assert ((made.mask.sum(1) - made.number).abs() <= 0.5 + 1e-4).all()
    assert (made.values >= 0).all()  # the published maps end in a ReLU
    told = projector.train()(frames()._replace(number=torch.tensor([5, 2])))
    assert told.mask.sum(1).tolist() == [5, 2]


def test_an_item_alone_is_as_in_a_batch() -> None:
    projector, given = CFormerInputProjector(6, 10, **SMALL).eval(), frames()
    made = projector(given)
    alone = projector(Tokens(given.values[1:, :4], given.mask[1:, :4]))
    torch.testing.assert_close(alone.values[0], made.values[1, made.mask[1]])


def test_it_begins_with_a_bert(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    bert = BertModel(config)
    bert.save_pretrained(tmp_path)
    projector = CFormerInputProjector(6, 10, init=str(tmp_path), **SMALL)
    mine, theirs = projector.bert.state_dict(), bert.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(x, theirs[name]) for name, x in mine.items())
    assert {name.split(".")[0] for name in theirs.keys() - mine.keys()} == {"embeddings", "pooler"}
    with pytest.raises(ValueError, match=r"init: .* does not fit"):
        CFormerInputProjector(6, 10, init=str(tmp_path), **(SMALL | {"layers": 2}))


def test_wrong_options_are_refused() -> None:
    for given, key in (({"adapter": "mlp"}, "adapter"), ({"norm": True}, "norm"), ({"heads": 3}, "heads")):
        with pytest.raises(ValueError, match=key):
            CFormerInputProjector(6, 10, **(SMALL | given))  # type: ignore[arg-type]
    for given, told in (
        ({"layers": 0}, "layers must be at least 1, given 0"),
        ({"tokens_dim": 0}, "tokens_dim must be at least 1, given 0"),
        ({"tail": 1.5}, "tail must be 0 or more and under 1, or null, given 1.5"),
        ({"tail": -1}, "tail must be 0 or more"),
        ({"adapter": "fc", "init": "bert"}, "init: 'bert' given, the weights of a BERT, but adapter is 'fc'"),
        ({"init": "/nowhere"}, "init: /nowhere is not there or does not fit"),
    ):
        with pytest.raises(ValueError, match=told):
            CFormerInputProjector(6, 10, **(SMALL | given))  # type: ignore[arg-type]
    short, count = CFormerInputProjector(6, 10, **(SMALL | {"positions": 2})).train(), torch.tensor([5, 2])
    with pytest.raises(ValueError, match="positions: 2, but a medium has 5"):
        short(frames()._replace(number=count))


def model(**projector: Any) -> AnyX:
    words = tiny.tokenizer()
    llm = tiny.LLM(tiny.causal_lm(words), words)
    made = CFormerInputProjector(6, llm.dim, **(SMALL | projector))
    return AnyX(llm, encoders={"ear": tiny.TinyEncoder()}, inputs={"voice": InputPort("ear", made, kind=Audio)})


def step(made: AnyX, captions: tuple[str, ...]) -> Step:
    """A step on sounds with these captions, as the reader of dialogues hands them over."""
    heard = [{"type": "voice", "media": Audio(torch.rand(1, 400), 16000)} for _ in captions]
    turns = [
        [{"role": "user", "content": [part]}, {"role": "assistant", "content": "ok"}] for part in heard
    ]  # fmt: skip
    batch = made.processor.collate([made.processor(turn) for turn in turns])
    ids = nn.utils.rnn.pad_sequence(
        [torch.tensor(made.processor.prompt.tokenizer(text)["input_ids"], dtype=torch.long) for text in captions],
        batch_first=True,
        padding_value=-1,
    )
    counts = (ids >= 0).sum(1)
    batch = batch._replace(inputs={"voice": batch.inputs["voice"]._replace(counts=counts)})
    value = Dialogues(batch, {}, {}, {"voice": ids})
    return Step(made, value, None, nn.Parameter(torch.zeros(())), {}, {})


def test_the_number_of_a_caption_is_learnt() -> None:
    """The loss is the mean distance of sums of weights from numbers of ids; items without a caption do not count."""
    made = model().train()
    given = step(made, ("fox", "red fox", ""))
    found = quantity(given)
    assert found is not None
    loss = found.joined()
    number = made.project("voice", given.batch.batch.inputs["voice"]).number  # type: ignore[union-attr]
    assert number is not None
    ids = given.batch.captions["voice"]  # type: ignore[union-attr]
    wanted = (ids >= 0).sum(1)
    torch.testing.assert_close(loss, (number - wanted).abs()[:2].mean())
    torch.testing.assert_close(losses.quantity(number, wanted, relative=True), ((number / wanted - 1).abs()[:2]).mean())
    loss.backward()
    projector = made.inputs["voice"].projector
    assert projector.cif.weight_proj.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert given.projected is not None
    assert list(given.projected) == ["voice"]  # other losses of the step read the same tokens


def test_what_counts_nothing_is_refused() -> None:
    bare = tiny.anyx()
    heard = [{"role": "user", "content": [{"type": "audio", "media": Audio(torch.rand(1, 400), 16000)}]}]
    batch = bare.processor.collate([bare.processor(heard, generate=True)])
    given = Step(bare, Dialogues(batch, {}, {}, {}), None, nn.Parameter(torch.zeros(())), {})
    with pytest.raises(ValueError, match=r"losses\.quantity: inputs\.image\.projector counts no tokens; none does"):
        quantity(given)


def test_the_model_answers_what_it_hears() -> None:
    made = model().eval()
    asked = [{"role": "user", "content": [{"type": "voice", "media": Audio(torch.rand(1, 400), 16000)}]}]
    assert isinstance(made.chat(asked, max_new_tokens=2).text, str)

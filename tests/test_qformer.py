"""Q-Former: transformers' BERT layer for layer, where it looks, what it takes over from a BERT and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from anyx.qformer import QFormer

SIZES = {"layers": 2, "heads": 2, "hidden": 20}


@pytest.fixture(scope="module")
def bert() -> BertModel:
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=6,
    )
    model = BertModel(sizes).eval()
    for parameter in model.parameters():  # its biases and norms too, so that all must be taken over
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def stored(bert: BertModel, folder: Path, form: str) -> Path:
    if form == "folder":
        bert.save_pretrained(folder)
        return folder
    state = dict(BertForMaskedLM(bert.config).state_dict())  # the keys of the published file: `bert.` and `gamma`
    state |= {f"bert.{key}": tensor for key, tensor in bert.state_dict().items()}
    for new, old in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
        state = {key.replace(new, old): tensor for key, tensor in state.items()}
    torch.save(state, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("form", ["folder", "file"])
def test_started_from_a_bert_it_is_that_bert(bert: BertModel, tmp_path: Path, form: str) -> None:
    qformer = QFormer(8, 5, **SIZES).eval()
    fresh = {key: tensor.clone() for key, tensor in qformer.state_dict().items() if "crossattention" in key}
    qformer.start_from(stored(bert, tmp_path, form))
    assert all(torch.equal(qformer.state_dict()[key], tensor) for key, tensor in fresh.items())
    queries = torch.randn(2, 4, 8)
    read = qformer(queries, torch.randn(2, 3, 5))
    for layer in qformer.bert["encoder"]["layer"]:
        layer.crossattention = None
    wanted = bert.embeddings.LayerNorm(queries)
    for layer in bert.encoder.layer[:2]:
        made = layer(wanted)
        wanted = made if isinstance(made, torch.Tensor) else made[0]
    torch.testing.assert_close(qformer(queries, torch.zeros(2, 3, 5)), wanted)
    assert not torch.allclose(read, wanted)


def test_what_a_bert_cannot_give_is_refused(bert: BertModel, tmp_path: Path) -> None:
    bert.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 16 of the 66 BERT weights wanted, first 'encoder.layer.3"):
        QFormer(8, 5, layers=4, heads=2, hidden=20).start_from(tmp_path)
    with pytest.raises(
        ValueError, match=r"weights misfit, first 'encoder.layer.0.intermediate.*\(20, 8\), not \(32, 8\)"
    ):
        QFormer(8, 5, layers=1, heads=2).start_from(tmp_path)
    with pytest.raises(ValueError, match="no weights at"):
        QFormer(8, 5, layers=1, heads=2).start_from(tmp_path / "absent")
    torch.save({"bert.embeddings.LayerNorm.gamma": torch.nn.Linear(1, 1)}, tmp_path / "code.bin")
    with pytest.raises(ValueError, match=r"holds more than weights: .* nothing in it was run"):
        QFormer(8, 5, layers=1, heads=2).start_from(tmp_path / "code.bin")
    with torch.device("meta"):
        QFormer(8, 5, layers=4, heads=2).start_from(tmp_path / "absent")  # nothing is read


@pytest.mark.parametrize(("every", "cross"), [(1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3])])
def test_every_nth_layer_reads_the_context(every: int, cross: list[int]) -> None:
    qformer = QFormer(8, 5, layers=4, heads=2, cross_every=every)
    keys = [key for key in qformer.state_dict() if ".crossattention.self.key.weight" in key]
    assert [int(key.split(".")[3]) for key in keys] == cross
    assert qformer.state_dict()[keys[0]].shape == (8, 5)


def test_only_real_tokens_are_read() -> None:
    torch.manual_seed(0)
    qformer, queries = QFormer(8, 5, **SIZES).eval(), torch.randn(1, 4, 8)
    context = torch.randn(1, 6, 5)
    mask = torch.tensor([[False, True, True, False, True, False]])
    torch.testing.assert_close(qformer(queries, context, mask), qformer(queries, context[mask][None]))
    torch.testing.assert_close(qformer(queries, context, torch.ones(1, 6, dtype=torch.bool)), qformer(queries, context))


def test_dropout_is_of_training_alone() -> None:
    torch.manual_seed(0)
    qformer, queries, context = QFormer(8, 5, **SIZES), torch.randn(2, 4, 8), torch.randn(2, 3, 5)
    assert not torch.equal(qformer(queries, context), qformer(queries, context))
    qformer.eval()
    assert torch.equal(qformer(queries, context), qformer(queries, context))


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="heads=3, width 8"):
        QFormer(8, 5, layers=1, heads=3)
    with pytest.raises(ValueError, match="at least 1, given 0 and 1"):
        QFormer(8, 5, layers=0, heads=2)

"""Output projectors: NExT-GPT's parameter counts and keys, several named conditions, masks, every length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from anyx.connector import ConnectorOutputProjector
from anyx.interfaces import OutputProjector, Tokens
from anyx.output_projectors import (
    LinearOutputProjector,
    MLPOutputProjector,
    QFormerOutputProjector,
    TransformerOutputProjector,
)

SMALL = {"hidden": 8, "layers": 1, "heads": 2}
READERS = [(TransformerOutputProjector, SMALL), (QFormerOutputProjector, SMALL), (ConnectorOutputProjector, SMALL)]
ALL = [*READERS, (LinearOutputProjector, {}), (MLPOutputProjector, {"hidden": 8})]
SIZES = [(77, 768), (77, 1024), (1, 512)]  # image, video, audio


@pytest.mark.parametrize(
    ("length", "dim", "parameters"), [(77, 768, 31_958_784), (77, 1024, 32_090_112), (1, 512, 31_788_544)]
)
def test_transformer_has_next_gpt_s_parameters(length: int, dim: int, parameters: int) -> None:
    with torch.device("meta"):  # counts measured on the published nextgpt_7b_tiva_v0
        projector = TransformerOutputProjector(4096, {"c": (length, dim)})
    assert sum(p.numel() for p in projector.parameters()) == parameters
    keys = projector.conditions["c"].state_dict()
    assert len(keys) == 129
    assert {key.split(".")[0] for key in keys} == {"fc", "query_embs", "tfm", "model"}


@pytest.mark.parametrize(("length", "dim"), SIZES)
def test_qformer_s_size(length: int, dim: int) -> None:
    """Counted from the sheet: maps at both ends, queries, and 2 BERT layers with cross-attention in each."""
    with torch.device("meta"):
        first = QFormerOutputProjector(4096, {"c": (length, dim)})
    h = 768
    attention, norm, feed_forward = 4 * (h * h + h), 2 * h, 8 * h * h + 5 * h
    bert = norm + 2 * (attention + norm + attention + norm + feed_forward + norm)
    wanted = (4096 * h + h) + length * h + bert + (h * dim + dim)
    assert sum(p.numel() for p in first.parameters()) == wanted
    assert {key.split(".")[0] for key in first.conditions["c"].state_dict()} == {
        "fc",
        "query_tokens",
        "Qformer",
        "model",
    }


def test_qformer_of_the_condition_s_width() -> None:
    """Version 2: straight to the condition's width, both maps and the BERT between."""
    with torch.device("meta"):
        second = QFormerOutputProjector(4096, {"c": (77, 768)}, hidden=None)
        wider = QFormerOutputProjector(4096, {"c": (77, 1024)}, hidden=None, heads=16)
    assert second.conditions["c"].fc.weight.shape == (768, 4096)
    assert second.conditions["c"].model.weight.shape == (768, 768)
    assert wider.conditions["c"].query_tokens.shape == (1, 77, 1024)
    with pytest.raises(ValueError, match="heads=12, width 1024"):
        QFormerOutputProjector(4096, {"c": (77, 1024)}, hidden=None)


def test_qformer_begins_with_a_bert(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 5, "max_position_embeddings": 4}
    bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, **sizes))
    bert.save_pretrained(tmp_path)
    projector = QFormerOutputProjector(10, {"a": (3, 4), "b": (1, 2)}, **SMALL, init=str(tmp_path))
    for part in projector.conditions.values():
        mapped = part.Qformer.bert["encoder"]["layer"][0].output_query.dense
        torch.testing.assert_close(mapped.weight, bert.encoder.layer[0].output.dense.weight)


def test_queries_start_as_deviant_as_said() -> None:
    def made(**given: float) -> torch.Tensor:
        torch.manual_seed(0)
        return TransformerOutputProjector(10, {"c": (50, 4)}, hidden=64, layers=1, **given).conditions["c"].query_embs

    assert made().std().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(made(query_std=0.02), 0.02 * made())
    assert not made(query_std=0).any()  # NExT-GPT v2
    with torch.device("meta"):
        second = TransformerOutputProjector(4096, {"c": (77, 1024)}, query_std=0)
    assert sum(p.numel() for p in second.parameters()) == 32_090_112  # video as in version 1


@pytest.mark.parametrize(("cls", "sizes"), READERS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_item_alone_or_in_a_padded_batch(cls: type[OutputProjector], sizes: dict[str, int], side: str) -> None:
    torch.manual_seed(0)
    projector = cls(10, {"prompt_embeds": (5, 12), "pooled": (1, 6)}, **sizes).eval()
    counts, places = torch.tensor([[6], [3], [1]]), torch.arange(6)
    mask = places < counts if side == "right" else places >= 6 - counts
    states, embeddings = torch.randn(3, 6, 10), torch.randn(3, 6, 10)
    together = projector(Tokens(states, mask), embeddings)
    for i, real in enumerate(mask):
        alone = projector(Tokens.full(states[i, real][None]), embeddings[i, real][None])
        for name, values in alone.values.items():
            torch.testing.assert_close(together.values[name][i], values[0])


@pytest.mark.parametrize(("cls", "sizes"), ALL)
def test_bfloat16_is_near(cls: type[OutputProjector], sizes: dict[str, int]) -> None:
    """Under autocast, as training runs, and as a bfloat16 module."""
    torch.manual_seed(0)
    projector = cls(10, {"c": (5, 12)}, **sizes).eval()
    states = Tokens(torch.randn(2, 4, 10), torch.arange(4) < torch.tensor([[4], [3]]))
    wanted = projector(states).values["c"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = projector(states).values["c"]
    low = projector.bfloat16()(states._replace(values=states.values.bfloat16())).values["c"]
    assert low.dtype == torch.bfloat16
    for made in (autocast, low):
        torch.testing.assert_close(made.float(), wanted, atol=0.05 * wanted.abs().max().item(), rtol=0.05)


@pytest.mark.parametrize(("cls", "sizes"), ALL)
@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_every_named_condition_is_made(cls: type[OutputProjector], sizes: dict[str, int], tokens: int) -> None:
    wanted = {"prompt_embeds": (5, 12), "pooled": (1, 6)}
    projector = cls(10, wanted, **sizes)
    states = torch.randn(2, tokens, 10, requires_grad=True)
    condition = projector(Tokens.full(states), torch.randn(2, tokens, 10))
    for name, (length, dim) in wanted.items():
        assert condition.values[name].shape == (2, length, dim)
        assert condition.masks[name].shape == (2, length)
        assert condition.masks[name].all()
    sum(value.sum() for value in condition.values.values()).backward()
    assert states.grad is not None
    assert states.grad[:, 0].abs().sum() > 0


def test_transformer_adds_the_embeddings_and_leaves_padding_out() -> None:
    projector = TransformerOutputProjector(10, {"c": (3, 4)}, hidden=8, layers=1, decoder_layers=2, heads=2).eval()
    states, embeddings = torch.randn(2, 4, 10), torch.randn(2, 4, 10)
    mask = torch.arange(4) < torch.tensor([[4], [3]])
    y = projector(Tokens(states, mask), embeddings).values["c"]
    torch.testing.assert_close(y, projector(Tokens(states + embeddings, mask)).values["c"])
    torch.testing.assert_close(y[1:], projector(Tokens.full((states + embeddings)[1:, :3])).values["c"])
    assert not torch.allclose(y, projector(Tokens(states, mask)).values["c"])


def test_linear_takes_the_first_states_or_repeats_them() -> None:
    states = torch.randn(1, 4, 10)
    for length, places in ((2, [0, 1]), (4, [0, 1, 2, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3])):
        projector = LinearOutputProjector(10, {"c": (length, 3)})
        wanted = projector.conditions["c"].model(states[:, places])
        torch.testing.assert_close(projector(Tokens.full(states)).values["c"], wanted)


def test_a_feature_that_drowns_the_others_is_taken_out() -> None:
    torch.manual_seed(0)
    states = torch.randn(64, 2, 6) + torch.tensor([400.0, 0, 0, 0, 0, 0])
    projector = MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, norm="data").train()
    projector(Tokens.full(states))
    read: list[torch.Tensor] = []
    projector.conditions["prompt_embeds"].fc.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    projector.eval()(Tokens.full(states))
    assert read[0].shape == (64, 1, 6)
    torch.testing.assert_close(read[0].std((0, 1)), torch.ones(6), atol=1e-3, rtol=1e-3)
    assert read[0].mean((0, 1)).abs().max() < 1e-3


def test_states_are_stacked_and_features_hidden_in_training_only() -> None:
    torch.manual_seed(0)
    states = torch.randn(5, 4, 6)
    projector = MLPOutputProjector(6, {"c": (1, 3)}, stack=2, norm="data", dropout=0.5)
    read: list[torch.Tensor] = []
    projector.conditions["c"].fc.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    projector(Tokens.full(states))
    assert read[0].shape == (5, 1, 12)
    assert 0.2 < (read[0] == 0).float().mean() < 0.8
    projector.eval()(Tokens.full(states))
    norm = projector.conditions["c"].norm
    torch.testing.assert_close(
        read[1][:, 0], (states[:, :2].flatten(1) - norm.running_mean) * (norm.running_var + 1e-5).rsqrt()
    )


def test_states_that_are_padding_are_no_statistics() -> None:
    states, mask = torch.randn(3, 4, 6) + 5, torch.arange(4) < torch.tensor([[4], [2], [1]])
    projector = MLPOutputProjector(6, {"c": (8, 3)}, norm="data")
    projector(Tokens(states, mask))
    torch.testing.assert_close(projector.conditions["c"].norm.running_mean, states[mask].mean(0))


@pytest.mark.parametrize(("cls", "sizes"), [*ALL, (MLPOutputProjector, {"norm": "data"})])
def test_on_meta_it_runs(cls: type[OutputProjector], sizes: dict[str, int]) -> None:
    """`anyx plan` counts the operations of a training step so."""
    with torch.device("meta"):
        made = cls(10, {"c": (5, 12)}, **sizes)(Tokens.full(torch.zeros(2, 4, 10))).values["c"]
    assert made.is_meta
    made.sum().backward()


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="norm: True is not one of false, data"):
        MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, norm=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stack must be at least 1, given 0"):
        MLPOutputProjector(6, {"prompt_embeds": (1, 4)}, stack=0)
    with pytest.raises(ValueError, match="condition is empty"):
        LinearOutputProjector(10, {})
    with pytest.raises(ValueError, match="hidden=10, heads=4"):
        TransformerOutputProjector(10, {"c": (1, 4)}, hidden=10)

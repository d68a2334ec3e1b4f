"""The model card lists the licences of parts, wherever they are said; the Hub's own library reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from test_build import configure, raw_model

from anyx import cards
from anyx.compact import restored
from anyx.config import Config, ConfigError, load

STATE = {"inputs.image.projector.weight": torch.zeros(1000)}
CELL = {"top1": 0.934, "ci95": [0.86, 0.97], "n": 100, "valid": 1.0}


def config_of(place: Path, llm: str, **card: Any) -> Config:
    raw = raw_model(llm)
    return configure(place / "model.yaml", {**raw, "card": card} if card else raw)


def meta(text: str) -> dict[str, Any]:
    """The front matter as the Hub's library reads it."""
    return ModelCard(text).data.to_dict()


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("README.md", "---\nlicense: mit\n---\nHello", "mit"),
        ("README.md", "---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("README.md", "---\nlicense: [a: b\n---\n", None),
        (
            "LICENSE",
            "                                 Apache License\n                           Version 2.0",
            "apache-2.0",
        ),
        ("COPYING", "GNU GENERAL PUBLIC LICENSE\nVersion 3", "gpl-3.0"),
        ("LICENSE.txt", "Attribution-NonCommercial-ShareAlike 4.0 International", "cc-by-nc-sa-4.0"),
        ("LICENSE", "You may look at it.", "see LICENSE"),
        ("notes.md", "license: mit", None),
    ],
)
def test_a_folder_states_its_licence(file: str, text: str, found: str | None, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    assert cards.licence_in(tmp_path) == found
    assert cards.licence_of(str(tmp_path)) == (found or "not stated")


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("openai/whisper-tiny.en", "mit"),
        ("weights/imagebind_huge.pth", "cc-by-nc-4.0"),
        ("cvssp/audioldm-l-full", "cc-by-nc-sa-4.0"),
        ("somebody/something", "not stated"),
    ],
)
def test_published_ids_are_known(path: str, licence: str) -> None:
    assert cards.licence_of(path) == licence


def test_parts_of_one_licence_give_theirs(tmp_path: Path, tiny_llm_folder: str) -> None:
    config = config_of(tmp_path, tiny_llm_folder, licences={"llm": "apache-2.0", "data.pairs": "apache-2.0"})
    text = cards.card(config, STATE)
    assert meta(text)["license"] == "apache-2.0"
    assert f"| `llm` | `{Path(tiny_llm_folder).name}` | apache-2.0 |\n| `data.pairs` |  | apache-2.0 |" in text
    assert "base_model" not in meta(text)
    assert str(Path(tiny_llm_folder).parent) not in text


def test_parts_of_several_licences_are_listed(tmp_path: Path, tiny_llm_folder: str) -> None:
    said = {"licences": {"llm": "apache-2.0", "encoders.vision": "cc-by-nc-4.0"}, "tags": ["foxes"], "language": "en"}
    config = config_of(tmp_path, tiny_llm_folder, **said, examples=["Draw a fox."], notes="It knows one fox.")
    results = {"seen": {"text -> image": CELL}, "cycles": {}, "labels": 12}
    text = cards.card(config, STATE, results=results, name="me/foxes")
    found = meta(text)
    assert (found["license"], found["license_name"]) == ("other", "the-licences-of-its-parts")
    assert found["tags"] == ["anyx", "any-to-any", "multimodal", "image", "photo", "sketch", "foxes"]
    assert found["widget"] == [{"text": "Draw a fox."}]
    assert found["language"] == "en"
    assert found["pipeline_tag"] == "any-to-any"
    (result,) = ModelCard(text).data.eval_results
    assert (result.dataset_split, result.metric_value, result.task_name) == ("seen", 0.934, "text -> image")
    assert "| seen | text -> image | 93 (86-97) | 100 |" in text
    assert 'AnyX.from_pretrained("me/foxes")' in text
    assert text.rstrip().endswith("It knows one fox.")
    alone = config_of(tmp_path, tiny_llm_folder, licence="mit")
    assert meta(cards.card(alone, STATE))["license"] == "mit"


@pytest.mark.parametrize("world", ["emoji", "anyworld"])
def test_the_cards_of_the_models_here_are_what_would_be_written(world: str) -> None:
    """Every licence is stated, as NOTICE has them, and what the card asks for is of the model's world."""
    here = Path(__file__).resolve().parents[1] / "experiments" / world
    config = load(here / "model" / "config.yaml")
    text = cards.card(config, restored(load_file(here / "model" / "model.safetensors")))
    assert (here / "model" / "README.md").read_text() == text
    assert "not stated" not in text
    assert meta(text)["license"] == "apache-2.0"
    assert set(f"outputs.{key}.decoder" for key in config.outputs) <= config.card["licences"].keys()
    assert meta(text)["widget"] == [{"text": said} for said in config.card["examples"]]
    assert load(here / "experiment.yaml").card == config.card, "a model that is trained again says the same"


def test_what_is_wrong_is_said(tmp_path: Path, tiny_llm_folder: str) -> None:
    config = config_of(tmp_path, tiny_llm_folder)
    with pytest.raises(ValueError, match=r"results: no cell with top1, ci95 and n is there; give the matrix.json"):
        cards.card(config, STATE, results={"seen": {}})
    with pytest.raises(ConfigError, match=r"card.license: Key 'license' not in 'card'. Did you mean: 'licence'?"):
        config_of(tmp_path, tiny_llm_folder, license="mit")

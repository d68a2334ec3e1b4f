"""Sizes of published components hold what their cards say, and stand only where nothing else does.

Totals: the cards of cvssp/audioldm* (421 M, 975 M), stable-diffusion-v1-5 (unet 859,520,964), the figure of NExT-GPT
(1.3 B, 1.8 B, 975 M; ImageBind 1.2 B), and the counts of A1.2 in its reference sheet.
"""

from pathlib import Path

import pytest
import torch

from anyx import published
from anyx.registry import resolve

DECODERS = {  # name: type, in M: built by anyx (all its parts), and as published
    "stable-diffusion-v1-5": ("stable_diffusion", 1066, 1370),
    "stable-diffusion-2": ("stable_diffusion", 1290, 1290),
    "zeroscope_v2_576w": ("video", 1835, 1835),
    "zeroscope_v2_XL": ("video", 1835, 1835),
    "audioldm": ("audioldm", 421, 421),
    "audioldm-l-full": ("audioldm", 975, 975),
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_weigh_what_their_cards_say(name: str) -> None:
    kind, built, whole = DECODERS[name]
    path = f"somebody/{name}"
    with torch.device("meta"):
        decoder = resolve("decoders", kind)(**published.keywords({"path": path, "steps": 3}))
    assert decoder.steps == 3
    count = sum(parameter.numel() for part in decoder.parts().values() for parameter in part)
    assert round(count / 1e6) == built
    assert round(published.beside(path, count) / 1e6) == whole


def test_imagebind_is_one_file_of_six_towers() -> None:
    """1.2 B in the figure; `n_params` of the golden `imagebind_huge_keys.json`."""
    assert published.beside("weights/imagebind_huge.pth", 5) == 1_200_781_057


def test_what_is_here_is_never_replaced(tmp_path: Path) -> None:
    here = tmp_path / "vicuna-7b-v0"
    here.mkdir()
    assert published.find(str(here)) is None
    assert published.language_model(str(here), None) == (str(here), None)
    assert published.keywords({"path": "mine/other", "steps": 2}) == {"path": "mine/other", "steps": 2}
    assert published.beside("mine/other", 7) == 7


def test_what_is_given_wins() -> None:
    given = published.keywords({"path": "a/stable-diffusion-v1-5", "vae": "my/vae"})
    assert given["vae"] == "my/vae"
    assert given["unet"]["cross_attention_dim"] == 768
    assert "path" not in given


def test_a_random_system_names_no_absent_path() -> None:
    raw = {
        "llm": {"path": "no/vicuna-7b-v0", "dtype": "bfloat16"},
        "encoders": {"eye": {"type": "imagebind", "path": "no/imagebind_huge.pth", "clips": 2}},
        "outputs": {"image": {"tokens": 4, "decoder": {"type": "stable_diffusion", "path": "no/stable-diffusion-2"}}},
    }
    made = published.random(raw)
    assert made["llm"]["path"]["hidden_size"] == 4096
    assert Path(made["llm"]["tokenizer"], "tokenizer.json").is_file()
    assert made["encoders"]["eye"] == {"type": "imagebind", "clips": 2}
    assert made["outputs"]["image"]["tokens"] == 4
    assert "path" not in made["outputs"]["image"]["decoder"]
    assert raw["llm"]["path"] == "no/vicuna-7b-v0"

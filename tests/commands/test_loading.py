"""`--dtype`, `--offload` and `--quantize` say what a YAML says; what cannot be is one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from anyx.commands.loading import Loading, load_answering, load_model
from anyx.config import ConfigError, load

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "experiments/anyworld/model"
PRESENT = importlib.util.find_spec("bitsandbytes") is not None


def test_flags_are_overrides() -> None:
    config = load(MODEL / "config.yaml")
    assert Loading("cpu").overrides(config) == []
    assert Loading(dtype="bfloat16", offload="model", quantize=8).overrides(config) == [
        "llm.quantize=int8",
        "llm.dtype=bfloat16",
        *(f"outputs.{key}.decoder.dtype=bfloat16" for key in ("image", "audio", "video")),
        *(f"outputs.{key}.decoder.offload=model" for key in ("image", "audio", "video")),
    ]
    load(MODEL / "config.yaml", Loading(dtype="float16", offload="model", quantize=4).overrides(config))  # all checked


def test_a_model_in_bfloat16_with_decoders_that_wait() -> None:
    model = load_model(MODEL, Loading("cpu", "bfloat16", "model"), ["outputs.audio.decoder.offload=never"])
    assert model.llm.model.dtype == torch.bfloat16
    decoders = {key: port.decoder for key, port in model.outputs.items()}
    assert {key: decoder.offload for key, decoder in decoders.items()} == {
        "image": "model",
        "audio": "never",  # an override comes before a flag
        "video": "model",
    }
    assert {p.dtype for p in decoders["image"].models()["unet"].parameters()} == {torch.bfloat16}
    reply = model.chat([{"role": "user", "content": "draw two red squares on the left."}], max_new_tokens=40)
    assert reply.keys[-1] == "image"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Loading(dtype="int8"), "--dtype: 'int8' is not one of float32, bfloat16, float16"),
        (Loading(offload="disk"), "--offload: 'disk' is not one of never, model"),
        (Loading(quantize=2), "--quantize: 2 is not one of 4, 8"),
        (Loading("tpu"), "--device: 'tpu' is not one of "),
        (Loading("cpu", quantize=4), "llm.quantize: 'nf4' given, but llm.path is a configuration"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(how: Loading, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_model(MODEL, how, None)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.skipif(PRESENT, reason="bitsandbytes is installed")
def test_few_bits_name_the_extra(bits: int, tiny_llm_folder: str) -> None:
    said = [f"llm.path={tiny_llm_folder}", "llm.tokenizer=null"]
    with pytest.raises(ValueError, match=r"needs bitsandbytes; install the extra: pip install -e '.\[qlora\]'"):
        load_model(MODEL, Loading("cpu", quantize=bits), said)


def test_a_model_without_such_decoders_says_so(tiny_llm_folder: str, tmp_path: Path) -> None:
    from anyx.build import build
    from anyx.config import check

    folder = build(check({"llm": {"path": tiny_llm_folder}})).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--offload model: this model has no decoder that can wait elsewhere"):
        load_model(folder, Loading("cpu", offload="model"), None)


def test_a_whole_model_takes_what_its_yaml_takes(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text("{backend: hf, path: none, sampling: {temperature: -1}}")
    with pytest.raises(ConfigError, match=r"sampling\.temperature: -1 given"):
        load_answering(path, Loading("cpu"), None)
    with pytest.raises(ValueError, match="--offload, --quantize: a whole model of transformers is loaded as its YAML"):
        load_answering(path, Loading("cpu", offload="model"), None)
    with pytest.raises(ValueError, match="--dtype: 'half' is not one of"):
        load_answering(path, Loading("cpu", dtype="half"), None)

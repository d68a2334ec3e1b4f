"""File in -> tiny model -> file out: a YAML is built, saved, read again and asked through the command line.

The LLM is random, so its signal tokens are taught by hand: the first row of an output's group is laid along the state
where the reply begins, which makes the model open that output.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from safetensors.torch import save_file

from anyx import AnyX, Audio, Image, Video
from anyx.build import build
from anyx.commands import main
from anyx.config import check
from anyx.encoders import ImageBindEncoder
from anyx.media import MEDIA, read
from anyx.registry import resolve

KEYS = ("image", "audio", "video")
SUFFIX = {"image": "png", "audio": "wav", "video": "mp4"}


def configuration(llm: str, folder: Path) -> dict[str, Any]:
    """A YAML of tiny parts, whose encoders and decoders lie in files as published ones do."""
    eye, _, ear, *_ = TINY["encoders"]["imagebind"]
    for name, sizes in (("eye", eye), ("ear", ear)):
        save_file(ImageBindEncoder(**sizes).state_dict(), folder / f"{name}.safetensors")
    write = {"type": "transformer"} | TINY["output_projectors"]["transformer"][0]
    decoders = {"image": "stable_diffusion", "audio": "audioldm", "video": "video"}
    for name in decoders.values():
        resolve("decoders", name)(**TINY["decoders"][name][0]).save(folder / name)
    return {
        "llm": {"path": llm, "template": "chatml", "dtype": "float32", "lora": {"r": 2, "targets": ["q_proj"]}},
        "encoders": {
            "eye": {"type": "imagebind", "path": str(folder / "eye.safetensors")} | eye,
            "ear": {"type": "imagebind", "path": str(folder / "ear.safetensors")} | ear,
        },
        "inputs": {
            key: {"encoder": "ear" if key == "audio" else "eye", "projector": {"type": "linear"}} for key in KEYS
        },
        "outputs": {
            key: {"tokens": 2, "projector": write, "decoder": {"type": name, "path": str(folder / name), "steps": 2}}
            for key, name in decoders.items()
        },
    }


def request(folder: Path, key: str) -> tuple[Path, list[dict[str, Any]]]:
    """A file of some kind, and a question about it."""
    torch.manual_seed(1)
    frames = torch.randint(0, 256, (6, 3, 24, 32), dtype=torch.uint8)
    sound = Audio(torch.rand(1, 8000) - 0.5, 16000)
    media = {"image": Image(frames[0]), "audio": sound, "video": Video(frames, 8.0)}[key]
    path = media.save(folder / f"in.{SUFFIX[key]}")
    return path, [{"role": "user", "content": [{"type": key, "path": str(path)}, {"type": "text", "text": "And?"}]}]


@torch.no_grad()
def teach(model: AnyX, messages: list[dict[str, Any]], key: str) -> None:
    """Make the reply to these messages open `key`."""
    batch = model.processor.collate([model.processor(messages, generate=True)], generate=True)
    spliced, _ = model.read(batch, side="left")
    state = model.llm.states(spliced.embeddings, spliced.mask)[0, -1]
    rows = model.llm.signal_tokens.said
    rows.zero_()
    rows[model.outputs[key].ids[0] - model.llm.vocabulary] = 20 * state / state.norm()


@pytest.fixture(scope="module")
def model(tiny_llm_folder: str, tmp_path_factory: pytest.TempPathFactory) -> AnyX:
    torch.manual_seed(0)
    return build(check(configuration(tiny_llm_folder, tmp_path_factory.mktemp("parts"))))


@pytest.mark.parametrize("target", KEYS)
@pytest.mark.parametrize("source", KEYS)
def test_file_to_file(model: AnyX, source: str, target: str, tmp_path: Path) -> None:
    path, messages = request(tmp_path, source)
    teach(model, messages, target)
    reply = model.chat(messages, max_new_tokens=2)
    (media,) = reply.media(target)
    assert isinstance(media, MEDIA[target])
    files = reply.save(tmp_path / "out")
    (file,) = [file for file in files if file.suffix == f".{SUFFIX[target]}"]
    again = read(target, file)
    if target == "image":
        assert torch.equal(again.pixels, media.pixels)
    elif target == "audio":
        assert again.rate == media.rate
        torch.testing.assert_close(again.samples, media.samples, rtol=0, atol=1e-4)
    else:
        assert again.frames.shape == media.frames.shape
    assert path.is_file()


def test_saved_read_and_asked_through_the_command_line(
    model: AnyX, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, messages = request(tmp_path, "image")
    teach(model, messages, "audio")
    model.save_pretrained(tmp_path / "model")
    words = ["run", "And?", "--image", str(path), "--model", str(tmp_path / "model"), "--max-new-tokens", "2"]
    seeds = {}
    for name, seed in (("one", "3"), ("same", "3"), ("other", "4")):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--seed", seed, "--out", str(tmp_path / name), "--device", "cpu"])
        assert ended.value.code == 0, capsys.readouterr().err
        (file,) = (tmp_path / name).glob("*.wav")
        seeds[name] = Audio.read(file).samples
    assert torch.equal(seeds["one"], seeds["same"])
    assert not torch.equal(seeds["one"], seeds["other"])


def test_the_saved_model_answers_alike(model: AnyX, tmp_path: Path) -> None:
    _, messages = request(tmp_path, "video")
    teach(model, messages, "image")
    model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 2_000_000, "only our own parts are saved"
    again = AnyX.from_pretrained(tmp_path / "model")
    one, two = (one.chat(messages, max_new_tokens=2, seeds=5).media("image")[0] for one in (model, again))
    assert torch.equal(one.pixels, two.pixels)
    assert all(torch.equal(tensor, again.own_state()[name]) for name, tensor in model.own_state().items())

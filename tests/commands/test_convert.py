"""`anyx convert` there and back through the command line; what is asked wrongly is one line and code 2."""

from __future__ import annotations

import json
from pathlib import Path

import checkpoints
import pytest
import torch
from small import Bases, bases

from anyx.commands import main
from anyx.commands.convert import named_bases
from anyx.converters import SYSTEMS
from anyx.converters.nextgpt import ADDED


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return bases(tmp_path_factory.mktemp("bases"))


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", *words])
    return ended.value.code


def test_there_and_back(small: Bases, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = checkpoints.random(checkpoints.nextgpt(checkpoints.SMALL))
    torch.save(state, tmp_path / "pytorch_model.pt")
    tokens = tmp_path / "added_tokens.json"
    tokens.write_text(json.dumps({token: 330 + place for place, token in enumerate(ADDED)}))
    named = [word for name, path in small.paths.items() for word in ("--base", f"{name}={path}")]
    words = [str(tmp_path / "out"), *small.inputs, *small.outputs, *named, "--any-size", "--delimiters", "token"]
    assert run("nextgpt", str(tmp_path / "pytorch_model.pt"), *words, "--added-tokens", str(tokens)) == 0
    count = sum(tensor.numel() for tensor in state.values())
    assert f"{tmp_path / 'out'}: {len(state)} tensors, {count:,} parameters" in capsys.readouterr().out
    assert "added_tokens:\n  - <Img>\n  - </Img>\n" in (tmp_path / "out" / "config.yaml").read_text()
    assert run("nextgpt", str(tmp_path / "out"), str(tmp_path / "back.pt"), "--export") == 0
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert run("nextgpt", str(tmp_path / "out"), str(tmp_path / "wide.pt"), "--export", "--dtype", "float32") == 0
    assert torch.load(tmp_path / "wide.pt", weights_only=True)["llama_proj.bias"].dtype == torch.float32
    assert run("nextgpt", str(tmp_path / "none.pt"), str(tmp_path / "new"), *named) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gill", "a", "b"], f"system: 'gill' is not one of {', '.join(SYSTEMS)}"),
        (["nextgpt", "a", "b"], "base: llm and imagebind missing"),
        (
            ["instructblip", "a", "b", "--base", "llm=x"],
            "base: eva and bert missing; instructblip stands on llm: Vicuna",
        ),
        (["nextgpt", "a", "b", "--base", "llm"], "--base 'llm' is not of the form name=path"),
        (["nextgpt", "a", "b", "--dtype", "float16"], "--dtype is for --export"),
        (["nextgpt", "a", "b", "--export", "--base", "llm=x"], "--base, --any-size and a.b=c are for making a folder"),
        (["nextgpt", "a", "b", "--export", "--dtype", "int8"], "'int8' is not one of float16, bfloat16, float32"),
        (["nextgpt", "a", "b", "--export"], "a is no model folder: it has no config.yaml and no model.safetensors"),
        (["pandagpt", "a", "b", "--delimiters", "text"], "delimiters: Key 'delimiters' not in 'PandaGPT'"),
    ],
)
def test_what_is_asked_wrongly_is_a_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_bases_are_read() -> None:
    assert named_bases(["llm=a=b", "imagebind=c.pth"]) == {"llm": "a=b", "imagebind": "c.pth"}

"""One small NExT-GPT checkpoint and the folder made of it, for all tests here."""

from __future__ import annotations

import checkpoints
import pytest
import torch
from small import Converted, bases

from anyx.converters.systems import convert

SIZES = checkpoints.SMALL


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("nextgpt")
    state = checkpoints.random(checkpoints.nextgpt(SIZES))
    torch.save(state, folder / "pytorch_model.pt")
    small = bases(folder)
    convert(
        "nextgpt",
        folder / "pytorch_model.pt",
        folder / "out",
        bases=small.paths,
        overrides=[*small.inputs, *small.outputs],
        any_size=True,
    )
    return Converted({n: t.detach() for n, t in state.items()}, folder / "pytorch_model.pt", folder / "out", small)

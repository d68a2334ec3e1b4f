"""The plug-in of `experiments/plugin`, installed by pip into a folder of its own, is known by name in a YAML."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from components import TINY

from anyx.config import ConfigError, check

PLUGIN = Path(__file__).parents[2] / "experiments" / "plugin"
USE = """
import sys, torch
from anyx import AnyX, Image
from anyx.build import build
from anyx.config import load
torch.manual_seed(0)
model = build(load(sys.argv[1]))
picture = Image(torch.randint(256, (3, 20, 20), dtype=torch.uint8))
asked = [{"role": "user", "content": [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]}]
said = model.chat(asked, max_new_tokens=6).text
model.save_pretrained(sys.argv[2])
again = AnyX.from_pretrained(sys.argv[2])
assert again.chat(asked, max_new_tokens=6).text == said
made = model.condition("image", torch.randn(1, 2, model.llm.dim))
print(type(model.encoders["eye"]).__module__, type(model.outputs["image"].projector).__name__, *made.values)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is: pip writes beside what it builds, so it builds a copy."""
    place = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, place / "source")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(place / "site"), str(place / "source")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return place / "site"


@pytest.fixture
def config(tmp_path: Path, tiny_llm_folder: str) -> Path:
    decoder = {"type": "stable_diffusion", **TINY["decoders"]["stable_diffusion"][0]}
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "sketch", "size": 4}},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "outputs": {"image": {"tokens": 2, "projector": {"type": "mean"}, "decoder": decoder}},
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "model.yaml"


def test_an_installed_plugin_is_used_by_name(installed: Path, config: Path, tmp_path: Path) -> None:
    known = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", USE, str(config), str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True, env=known)
    assert not done.returncode, done.stderr
    assert done.stdout.split() == ["anyx_sketch", "MeanOutputProjector", "prompt_embeds"]


def test_without_it_the_names_are_unknown(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check(yaml.safe_load(config.read_text()))
    assert [error.split(" is not one of")[0] for error in caught.value.errors] == [
        "encoders.eye.type: 'sketch'",
        "outputs.image.projector.type: 'mean'",
    ]

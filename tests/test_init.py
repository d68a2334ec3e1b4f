"""`import anyx` is light and quick, and its names come when asked for."""

import json
import subprocess
import sys

import pytest

import anyx

CODE = """
import json, sys, time
start = time.perf_counter(); import torch; torch_seconds = time.perf_counter() - start
start = time.perf_counter(); import anyx; from anyx import Tokens, Image; seconds = time.perf_counter() - start
print(json.dumps([seconds, [name for name in sys.argv[1:] if name in sys.modules]]))
"""
HEAVY = ("diffusers", "lightning", "gradio", "transformers", "peft", "omegaconf", "av", "soundfile", "torchaudio")


def test_importing_costs_little_and_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", CODE, *HEAVY], capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(done.stdout)
    assert not loaded
    assert seconds <= 1


def test_every_name_of_the_face_is_there():
    for name in anyx.__all__:
        assert getattr(anyx, name).__name__ == name
    assert set(anyx.__all__) <= set(dir(anyx))
    with pytest.raises(AttributeError, match="Anyy"):
        anyx.Anyy  # noqa: B018


def test_python_m_anyx_prints_help():
    done = subprocess.run([sys.executable, "-m", "anyx", "--help"], capture_output=True, text=True, check=True)
    assert "train" in done.stdout

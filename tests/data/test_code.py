"""What a cache knows code by: the source within reach, without what is only said about it."""

import importlib
import sys
from functools import partial
from pathlib import Path

import pytest

from anyx.data import code
from anyx.encoders import WhisperEncoder
from anyx.imports import find

PACKAGE = {
    "__init__": "from house.far import x\n",
    "encoder": '"""Docs."""\nfrom . import near\n\nclass Encoder:\n    def work(self):\n        return near.n  # so\n',
    "near": "import house.deep\n\nn = 1\n",
    "deep": "d = 1\n",
    "far": "x = 1\n",
}


def test_an_augmentation_is_known_by_the_code_it_can_reach(tmp_path: Path) -> None:
    """A change of what it imports, or loads by name, is a change; one of what merely lies beside it is none."""
    files = {"top": "import middle\n", "middle": "load('low.py')\n", "low": "x = 1\n", "other": '"""About top."""\n'}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert [path.stem for path in code.within_reach(tmp_path / "top.py")] == ["low", "middle", "top"]
    assert [path.stem for path in code.within_reach(tmp_path / "other.py")] == ["other"]


@pytest.mark.parametrize(
    ("file", "text", "another"),
    [
        ("encoder", PACKAGE["encoder"].replace("Docs.", "Better docs.").replace("  # so", ""), False),
        ("encoder", PACKAGE["encoder"].replace("near.n", "near.n + 1"), True),
        ("near", PACKAGE["near"].replace("1", "2"), True),
        ("deep", "d = 2\n", True),
        ("far", "x = 2\n", False),
    ],
)
def test_a_component_is_known_by_the_code_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, another: bool
) -> None:
    (tmp_path / "house").mkdir()
    for name, source in PACKAGE.items():
        (tmp_path / "house" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.split(".")[0] == "house"]:
        del sys.modules[name]
    encoder = importlib.import_module("house.encoder").Encoder
    before = digest(encoder)
    (tmp_path / "house" / f"{file}.py").write_text(text)
    assert (digest(encoder) != before) == another


def test_a_component_of_a_lone_file_is_known_by_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text("SIZES = 'sizes.py'\n\n\nclass Encoder:\n    pass\n")
    (tmp_path / "sizes.py").write_text("n = 1\n")
    encoder = find(f"{tmp_path / 'alone.py'}:Encoder", "encoders.x.type")
    before = digest(encoder)
    (tmp_path / "sizes.py").write_text("n = 2\n")
    assert digest(encoder) != before


def test_ours_reach_what_reads_media_and_not_the_whole_house() -> None:
    found = code.imported(WhisperEncoder.__module__)
    assert {"anyx.encoders.whisper", "anyx.media", "anyx.codecs"} <= found.keys()
    assert code.code_of(partial(WhisperEncoder, seconds=1.0)) == code.code_of(WhisperEncoder)
    assert not {"anyx.model", "anyx.hub", "anyx.training.run"} & found.keys()


def digest(component: object) -> str:
    code._digest_of_module.cache_clear()
    return code.code_of(component)

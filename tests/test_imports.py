"""What a YAML names is found, or the error says which key named it."""

from pathlib import Path

import pytest

from anyx.imports import find, import_file


def test_a_file_beside_the_yaml_is_one_module(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Thing: pass\nmade = Thing()\n")
    assert find("mine.py:Thing", "corpus", tmp_path) is type(import_file(tmp_path / "mine.py").made)
    assert find("pathlib:Path", "corpus", tmp_path) is Path


def test_a_file_that_fails_is_no_module(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_file(broken)
    broken.write_text("fixed = True\n")
    assert import_file(broken).fixed


@pytest.mark.parametrize("name", ["nowhere.py:Thing", "mine.py:Other", "no_such_package:Thing", "Thing"])
def test_errors_name_the_key(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Thing: pass\n")
    with pytest.raises(ValueError, match=f"^judges: '{name}' cannot be imported"):
        find(name, "judges", tmp_path)

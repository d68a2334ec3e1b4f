"""The agent of the documentation runs with what is in the tree: its tools, and the command that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyx import yamls
from anyx.agents import setup
from anyx.agents.interfaces import Call, Gallery
from anyx.commands import main
from anyx.evaluation.classifiers import PictureJudge
from anyx.imports import import_file
from anyx.media import Image

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "docs/examples/agent.yaml"
EMOJI = ROOT / "experiments/emoji"


def test_its_tools_reckon_and_draw() -> None:
    raw = setup.check(yamls.read(AGENT))
    assert (Path(raw["model"]["path"]) / "model.safetensors").is_file()
    box = setup.toolbox(setup.checked_tools(raw["tools"]))
    assert box.run(Call("calculator", {"expression": "12 * (3 + 4)"}), Gallery()).text == "84"
    labels = import_file(EMOJI / "corpus.py").EmojiCorpus().labels
    judge, drawn = PictureJudge(labels, path=EMOJI / "judges" / "picture.safetensors"), []
    for name in ("penguin", "rocket", "rainbow"):
        (picture,) = box.run(Call("draw", {"prompt": name}), Gallery()).media
        assert isinstance(picture, Image)
        drawn.append(labels[int(judge([picture]).argmax())])
    assert drawn == ["penguin", "rocket", "rainbow"], "by a judge that knows 233 things"


def test_the_command_answers_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With AnyWorld's model in the place of emoji world's, which takes longer to read."""
    model = f"model={ROOT / 'experiments/anyworld/model'}"
    words = ["draw two red squares on the left.", model, "teach=false", "--out", str(tmp_path), "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main(["agent", str(AGENT), *words])
    assert ended.value.code == 0
    steps = json.loads((tmp_path / "trace.json").read_text())["steps"]
    assert [steps[0]["kind"], steps[-1]["kind"]] == ["asked", "value"]
    assert "two red squares" in steps[-1]["text"]
    assert "value" in capsys.readouterr().out


def test_the_page_of_agents_shows_this_file() -> None:
    assert 'docs/examples/agent.yaml "' in (ROOT / "docs/agents.md").read_text()

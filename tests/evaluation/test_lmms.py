"""The adapter inside lmms-eval itself: a tiny model, tasks and media in a folder, both contracts, no network.

lmms-eval is in no lock of ours: `experiments/lmms_eval/README.md` says how to make its environment and run this there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from PIL import Image as PILImage

from anyx.build import build
from anyx.config import check

lmms_eval = pytest.importorskip(
    "lmms_eval", reason="lmms-eval is not installed; it lives in an environment of its own (experiments/lmms_eval)"
)
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # both libraries read them when they are imported

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: {kind}
doc_to_visual: !function toy.picture
doc_to_text: {text}
doc_to_target: {target}
{more}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""
CODE = """
from PIL import Image

def picture(row):
    return [Image.open(row["image"])]

def again(row, lmms_eval_specific_kwargs=None, previous_output=None, round_idx=None, previous_round_info=None):
    if round_idx is None:
        return "Which?"
    if round_idx == 1:
        return picture(row), "Sure?", False, previous_output, None
    return None, None, True, previous_output, None

def said(row, results):
    return {"acc": float(isinstance(results[0], str))}

def both(row, results):
    return {"acc": float(len(results[0]) == 2)}
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three flat pictures, and a task of each kind about them."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = []
    for place, colour in enumerate(("red", "green", "blue")):
        PILImage.new("RGB", (8, 8), colour).save(folder / f"{colour}.png")
        choices = ["red", "green", "blue"]
        rows.append({"image": str(folder / f"{colour}.png"), "choices": choices, "answer": place, "label": colour})
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "toy.py").write_text(CODE)
    settings = "generation_kwargs: {max_new_tokens: 4}\nprocess_results: !function toy."
    for name, kind, text, target, more in (
        ("toy_words", "generate_until", "Which?", "label", f"{settings}said"),
        ("toy_rounds", "generate_until_multi_round", "!function toy.again", "label", f"{settings}both"),
        ("toy_choice", "multiple_choice", "Which?", "answer", "doc_to_choice: choices"),
    ):
        words = TASK.format(name=name, kind=kind, text=text, target=target, more=more, rows=folder / "rows.json")
        (folder / f"{name}.yaml").write_text(words)
    return folder


@pytest.fixture(scope="module")
def model(tiny_llm_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "clip"} | TINY["encoders"]["clip"][0]},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
    }
    return build(check(raw)).save_pretrained(tmp_path_factory.mktemp("model"))


def run(model: Path, tasks: Path, *names: str, simple: bool, **settings: Any) -> dict[str, Any]:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False, include_path=str(tasks))
    found: dict[str, Any] = simple_evaluate(
        model="anyx",
        model_args=f"pretrained={model}",
        device="cpu",
        tasks=list(names),
        task_manager=manager,
        force_simple=simple,
        bootstrap_iters=0,
        **settings,
    )
    return found


def answers(found: dict[str, Any], task: str) -> list[Any]:
    return [sample["filtered_resps"][0] for sample in found["samples"][task]]


def test_both_contracts_say_the_same(model: Path, tasks: Path) -> None:
    simple, chat = (run(model, tasks, "toy_words", "toy_rounds", simple=how, batch_size=2) for how in (True, False))
    assert simple["config"]["model_backend"] == "anyx.evaluation.lmms.AnyXSimple (simple)"
    assert chat["config"]["model_backend"] == "anyx.evaluation.lmms.AnyXChat (chat)"
    for task in ("toy_words", "toy_rounds"):
        assert simple["results"][task]["acc,none"] == chat["results"][task]["acc,none"] == 1
        assert answers(simple, task) == answers(chat, task)
    assert [rounds[0] for rounds in answers(chat, "toy_rounds")] == answers(chat, "toy_words")
    assert any(first != second for first, second in answers(chat, "toy_rounds"))


def test_the_choice_with_the_least_loss_wins(model: Path, tasks: Path) -> None:
    """Counted from the losses that were logged: lmms-eval picks the argmin, so that it is right where we say it is."""
    found = run(model, tasks, "toy_choice", simple=True)
    losses = [[float(loss) for loss, _ in sample["filtered_resps"]] for sample in found["samples"]["toy_choice"]]
    assert all(loss > 0 for row in losses for loss in row)
    right = [row.index(min(row)) == place for place, row in enumerate(losses)]
    assert found["results"]["toy_choice"]["acc,none"] == pytest.approx(sum(right) / 3)


def test_what_it_can_not_do_is_one_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmms_eval.api.instance import Instance

    from anyx.evaluation.lmms import AnyXSimple, rounded

    bare = Instance("loglikelihood", ("", "red"), 0, {"task": "toy", "doc_id": 0, "repeats": 1})
    with pytest.raises(ValueError, match="acc_mutual_info: lmms-eval takes the largest of what is best when small"):
        AnyXSimple(str(model), device="cpu").loglikelihood([bare])
    with pytest.raises(ValueError, match="batch_size: 'auto' was given, but a whole number"):
        AnyXSimple(str(model), batch_size="auto")
    with pytest.raises(ValueError, match="what it asks next is a tuple of 5, but 'again' was found"):
        rounded("toy", "again", 5)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE: anyx answers lmms-eval in one process"):
        AnyXSimple(str(model))


def test_cleaning_leaves_the_network(model: Path) -> None:
    from anyx.evaluation.lmms import AnyXSimple

    adapter = AnyXSimple(str(model), device="cpu")
    adapter.clean()
    assert adapter.answering([]) == []
    assert adapter.answering.held[0].llm.dim

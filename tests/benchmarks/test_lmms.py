"""Results of lmms-eval, written out by hand as it writes them, become ours and compare sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyx.benchmarks import compare, imported, rank
from anyx.commands import main
from anyx.evaluation.records import Records

RIGHT = (1.0, 0.0, 1.0, 1.0)


def export(folder: Path, scores: Any = RIGHT, metric: str = "acc", date: str = "20261122_1", **config: Any) -> Path:
    """Four samples of a task `toy` with a score each; the figure is their mean unless it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = config.pop("figure") if "figure" in config else sum(scores) / 4
    lines = [
        {
            "doc_id": place,
            "target": "B",
            "filtered_resps": f"said {place}",
            "doc_hash": "x",
            metric: score,
            "input": "?",
        }
        for place, score in enumerate(scores)
    ]
    told = {
        "results": {"toy": {"alias": "toy", f"{metric},none": figure, f"{metric}_stderr,none": 0.25}}
        | {"elsewhere": {"acc,none": 0.5}},
        "configs": {"toy": {"generation_kwargs": {"max_new_tokens": 8}, "score_key": "score", **config}},
        "versions": {"toy": 1.0},
        "n-shot": {"toy": 0},
        "config": {"model": "anyx", "model_args": "pretrained=a", "model_backend": "x.AnyXChat (chat)"},
        "lmms_eval_version": "0.7.3@abc",
    }
    told["results"]["toy"] |= {f"{metric}_stderr_clt,none": 0.3, f"{metric}_stderr_clustered,none": "N/A"}
    (folder / f"{date}_results.json").write_text(json.dumps(told))
    (folder / f"{date}_samples_toy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def bring(folder: Path, out: Path) -> dict[str, Any]:
    return imported("toy", folder, out, show=False)


def test_a_run_is_brought_in(tmp_path: Path) -> None:
    """3 of 4 right: 0.75, and Wilson's interval of 3 of 4, (0.3006, 0.9544).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z 1.96: (1.2302 -+ 0.6408) / 1.9604.
    """
    export(tmp_path / "lmms/a__model")
    found = bring(tmp_path / "lmms", tmp_path / "out")
    assert found["figures"] == {"acc": 0.75}
    assert found["stderr"] == {"acc": {"stderr": 0.25, "clt": 0.3}}
    assert (found["benchmark"], found["n"], found["scale"]) == ("toy", 4, 1.0)
    assert found["by"] == {"harness": "lmms-eval@0.7.3@abc", "task": "toy@1.0, 0 shots"}
    assert (found["interval"]["low"], found["interval"]["high"]) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert json.loads((tmp_path / "out/result.json").read_text()) == found
    first = next(iter(Records(tmp_path / "out/records.jsonl")))
    assert (first.text, first.request, first.model) == ("said 0", "?", "pretrained=a")
    assert first.config == {"max_new_tokens": 8}
    kept = (tmp_path / "out/records.jsonl").read_bytes()
    assert bring(tmp_path / "lmms", tmp_path / "out") == found
    assert (tmp_path / "out/records.jsonl").read_bytes() == kept


def test_two_runs_compare_sample_by_sample(tmp_path: Path) -> None:
    """0.75 less 0.25: two samples got better, none worse; of 4 signs two are free, so that p is 2 in 4."""
    bring(export(tmp_path / "a"), tmp_path / "x")
    bring(export(tmp_path / "b", (0.0, 0.0, 0.0, 1.0)), tmp_path / "y")
    found = compare("toy", [tmp_path / "x", tmp_path / "y"])
    assert (found["figure"], found["n"], found["a"], found["b"]) == ("acc", 4, 0.75, 0.25)
    assert (found["difference"], found["low"]) == (0.5, 0.0)
    assert found["p"] == pytest.approx(0.5, abs=0.05)


def test_scores_of_clusters_and_points_in_a_hundred(tmp_path: Path) -> None:
    """Two videos, right throughout and wrong throughout, in points: 50, by the bootstrap over two from 0 to 100."""
    values = [{"score": float(place < 2), "video": "ab"[place // 2]} for place in range(4)]
    folder = export(tmp_path / "a", values, "points", figure=50.0, cluster_key="video")
    found = bring(folder, tmp_path / "x")
    assert (found["figures"], found["clusters"], found["scale"]) == ({"points": 50.0}, 2, 100.0)
    assert (found["interval"]["low"], found["interval"]["high"]) == (0, 100)
    other = export(tmp_path / "b", [{**value, "score": 1.0} for value in values], "points", figure=100.0)
    (file,) = other.glob("*results.json")
    told = json.loads(file.read_text())
    told["configs"]["toy"]["cluster_key"] = "video"
    file.write_text(json.dumps(told))
    bring(other, tmp_path / "y")
    assert compare("toy", [tmp_path / "x", tmp_path / "y"])["difference"] == -50


def test_a_figure_that_is_no_mean_has_no_interval(tmp_path: Path) -> None:
    """As MME's sum over subtasks; its samples' scores compare all the same, and the name says what they are."""
    for name, scores in (("a", RIGHT), ("b", (1.0, 0.0, 0.0, 1.0))):
        found = bring(export(tmp_path / name, scores, figure=1234.5), tmp_path / f"out_{name}")
        assert (found["figures"], found["interval"], found["scale"]) == ({"acc": 1234.5}, None, None)
    told = compare("toy", [tmp_path / "out_a", tmp_path / "out_b"])
    assert (told["figure"], told["a"], told["b"]) == ("mean score a sample of acc", 0.75, 0.5)


def test_scores_that_are_all_alike_show_no_mean(tmp_path: Path) -> None:
    """A sum of four zeros is their mean by chance alone; that of a task which says "mean" is one."""
    zeros = (0.0,) * 4
    assert bring(export(tmp_path / "a", zeros), tmp_path / "x")["interval"] is None
    listed = [{"metric": "acc", "aggregation": "mean"}]
    found = bring(export(tmp_path / "b", zeros, metric_list=listed), tmp_path / "y")
    assert (found["interval"]["low"], found["scale"]) == (0, 1)
    assert compare("toy", [tmp_path / "x", tmp_path / "y"])["figure"] == "acc"


def test_scores_that_were_written_as_text(tmp_path: Path) -> None:
    """lmms-eval writes float32 and truth values of NumPy as text; a list is no score."""
    found = bring(export(tmp_path / "a", ("1.0", "False", "True", 1), figure=0.75), tmp_path / "x")
    assert found["interval"] is not None
    found = bring(export(tmp_path / "b", ([1], [2], [3], [4]), figure=0.75), tmp_path / "y")
    assert found["interval"] is None
    with pytest.raises(ValueError, match="have no sample of toy in common with a score of acc"):
        compare("toy", [tmp_path / "x", tmp_path / "y"])


def test_a_reply_may_hold_other_ends_of_lines(tmp_path: Path) -> None:
    """lmms-eval writes letters as they are; U+2028 ends a line for `str.splitlines`, not in JSONL."""
    folder = export(tmp_path / "a")
    (file,) = folder.glob("*samples*")
    file.write_text(file.read_text().replace("said 1", "said\u2028\x85"), encoding="utf-8")
    assert bring(folder, tmp_path / "x")["n"] == 4
    assert [record.text for record in Records(tmp_path / "x/records.jsonl")][1] == "said\u2028\x85"


def test_filters_are_told_apart(tmp_path: Path) -> None:
    """A sample is logged once a filter, without its name, in the order of the filters."""
    folder = export(tmp_path / "a")
    (file,) = folder.glob("*samples*")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines += [{**line, "acc": 0.0} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (file,) = folder.glob("*results.json")
    told = json.loads(file.read_text())
    told["results"]["toy"] |= {"acc,strict": 0.0, "acc_stderr,strict": 0.0}
    file.write_text(json.dumps(told))
    found = bring(folder, tmp_path / "x")
    assert (found["figures"], found["n"]) == ({"acc": 0.75, "acc,strict": 0.0}, 4)
    assert found["stderr"]["acc,strict"] == {"stderr": 0.0}
    first = json.loads((tmp_path / "x/scores.jsonl").read_text().splitlines()[0])
    assert first["scores"] == {"acc": 1.0, "acc,strict": 0.0}


def test_the_newest_run_counts(tmp_path: Path) -> None:
    export(tmp_path / "a")
    export(tmp_path / "a", (0.0,) * 4, date="20261123_1")
    assert bring(tmp_path / "a", tmp_path / "x")["figures"] == {"acc": 0.0}


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no results of lmms-eval \(\*_results.json\)"):
        bring(tmp_path, tmp_path / "x")
    export(tmp_path / "lmms/a")
    with pytest.raises(ValueError, match="no results of 'elsewhere' with its samples; samples are there of toy"):
        imported("elsewhere", tmp_path / "lmms", tmp_path / "x")
    export(tmp_path / "lmms/b", (0.0,) * 4, date="20261123_1")
    (file,) = export(tmp_path / "bare").glob("*results.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"results": {"toy": {"alias": "toy"}}}))
    with pytest.raises(ValueError, match="has no figure of toy: alias"):
        bring(tmp_path / "bare", tmp_path / "x")
    with pytest.raises(ValueError, match="has toy of several models; name one folder"):
        bring(tmp_path / "lmms", tmp_path / "x")
    bring(tmp_path / "lmms/a", tmp_path / "x")
    with pytest.raises(ValueError, match="holds records of another run"):
        bring(tmp_path / "lmms/b", tmp_path / "x")
    (tmp_path / "y").mkdir()
    with pytest.raises(ValueError, match="holds no imported run; two of one kind compare"):
        compare("toy", [tmp_path / "x", tmp_path / "y"])
    with pytest.raises(ValueError, match="holds a run of 'toy', not of 'mme'"):
        compare("mme", [tmp_path / "x", tmp_path / "x"])
    other = export(tmp_path / "other")
    (file,) = other.glob("*samples*")
    file.write_text(file.read_text().replace('"B"', '"C"'))
    bring(other, tmp_path / "z")
    with pytest.raises(ValueError, match="are not of the same data"):
        compare("toy", [tmp_path / "x", tmp_path / "z"])


def test_imported_runs_are_not_ranked(tmp_path: Path) -> None:
    """They have no rows: no right answers, no places. Of one name with a benchmark of ours they would be looked for."""
    for name in "ab":
        bring(export(tmp_path / name), tmp_path / f"out_{name}")
    with pytest.raises(ValueError, match="imported are compared by --compare, not ranked"):
        rank("toy", [tmp_path / "out_a", tmp_path / "out_b"], Nobody(), tmp_path / "kept.jsonl")


class Nobody:
    name = "nobody"

    def __call__(self, prompts: Any) -> list[str]:
        raise AssertionError("it is asked nothing")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path / "lmms")
    for words in (
        ("toy", "--import", tmp_path / "lmms", "--out", tmp_path / "x"),
        ("toy", "--compare", tmp_path / "x", tmp_path / "x", "--out", tmp_path / "c"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["benchmark", *map(str, words)])
        assert ended.value.code == 0
    assert "toy@1.0" in capsys.readouterr().out
    assert json.loads((tmp_path / "c/comparison.json").read_text())["difference"] == 0

"""Keys of a stage that say how its batches are laid out."""

from pathlib import Path

from test_config import MODEL, errors, write

from anyx.config import load


def test_a_stage_s_budget_and_packing(tmp_path: Path):
    assert errors(tmp_path, "stages.encode.pack=maybe") == [
        "stages.encode.pack: 'maybe' is not one of auto, True, False"
    ]
    assert errors(tmp_path, "stages.encode.tokens=0") == [
        "stages.encode.tokens: must be int >= 1 or null, but 0 was given"
    ]
    mute = {
        "train": {"encoders.vision": 1e-3},
        "losses": {"contrastive": {"pairs": [["image", "caption"]]}},
        "tokens": 9,
    }
    stages = {"encode": {**mute, "data": {"captions": 1}, "steps": 3}}
    given = errors(tmp_path, llm=None, inputs={}, outputs={}, stages=stages)
    assert "stages.encode.tokens: these are an LLM's positions, and there is none; give batch_size alone" in given
    config = load(write(tmp_path / "a.yaml", MODEL), ["stages.encode.pack=false", "stages.encode.tokens=4096"])
    assert (config.stages["encode"].pack, config.stages["encode"].tokens) == (False, 4096)
    assert [config.stages["encode"].rows(length) for length in (100, 1000, 9000)] == [8, 4, 1]

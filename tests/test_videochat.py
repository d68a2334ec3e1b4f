"""VideoChat and VideoChat2: times of frames are said by the user, before the words."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch

from anyx import yamls
from anyx.media import Video
from anyx.prompt import Prompt

ROOT = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("name", ["videochat", "videochat2"])
def test_the_prompt(name: str) -> None:
    """Template T2 of the reference with the tags of VideoChat's media; times are said by the user."""
    film = Video(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), 2.0)
    times = ", ".join(f"{moment:.1f}" for moment in film.moments(8))
    note = f"The video contains 8 frames sampled at {times} seconds. "
    content = [{"type": "video", "media": film}, {"type": "text", "text": f"{note}What is this?"}]
    told = [{"role": "user", "content": content}, {"role": "assistant", "content": "a cow"}]
    template = yamls.read(ROOT / "models" / f"{name}.yaml")["llm"]["template"]
    tokenizer = tiny.tokenizer()
    encoded = Prompt(tokenizer, template, ["video"]).encode(
        [*told, {"role": "user", "content": "Sure?"}], generate=True
    )
    assert [slot.key for slot in encoded.media] == ["video"]
    written = tokenizer.decode([token for token in encoded.ids if token >= 0], skip_special_tokens=True)
    said = (
        "###Human: <Video></Video> The video contains 8 frames sampled at "
        "0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5 seconds. What is this?###Assistant: a cow###Human: Sure?###Assistant: "
    )
    assert written == said
    taught = tokenizer.decode([label for label in encoded.labels if label >= 0])
    assert taught == "a cow###"

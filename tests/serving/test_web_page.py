"""Of the whole page: no component opens what was uploaded before the intake reads it, and every stop is wired."""

from __future__ import annotations

import gradio as gr
import pytest
from live import FOLDER
from scripted import invert

from anyx import hub
from anyx.agents.llava_plus import LlavaPlus
from anyx.agents.loop import Agent
from anyx.agents.talkers import AnyXTalker
from anyx.agents.toolbox import Toolbox
from anyx.media import Image
from anyx.serving.intake import Intake
from anyx.serving.web_agents import Acting
from anyx.serving.web_guests import Guests
from anyx.serving.web_page import page
from anyx.serving.web_settings import Most
from anyx.serving.web_uploads import Uploads, kinds_of, unopened
from anyx.speaking.making import Studio

OPENS = (
    gr.Image, gr.Video, gr.Audio, gr.File, gr.UploadButton, gr.DownloadButton, gr.ImageEditor, gr.Gallery, gr.Model3D
)  # fmt: skip


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    model = hub.load(FOLDER / "model", overrides=("inputs.image.boxes.type=minigpt_v2",))
    folder = tmp_path_factory.mktemp("page")
    guests = Guests(model, Studio(model), folder)
    uploads = Uploads(kinds_of(model) | {"depth": Image}, Intake(), folder)
    agent = Agent(AnyXTalker(model), Toolbox([invert]), LlavaPlus())
    acting = Acting(agent, guests, uploads, most=4)
    return page(guests, uploads, [], Most(), title="all of it", acting=acting)


def test_no_component_opens_what_was_uploaded(blocks: gr.Blocks) -> None:
    """Gradio's own pictures are opened by PIL without bounds, its clips by ffmpeg, its files copied."""
    found = [one for one in blocks.blocks.values() if isinstance(one, OPENS)]
    assert {type(one) for one in found} >= {gr.Image, gr.Video, gr.File}
    own = [f"{type(one).__name__} {one.elem_id or one.label}" for one in found if one.preprocess is not unopened]
    assert own == []


@pytest.mark.parametrize("name", ["anyx-stop", "anyx-ground-stop", "anyx-agent-stop"])
def test_every_stop_is_wired(blocks: gr.Blocks, name: str) -> None:
    (button,) = [number for number, one in blocks.blocks.items() if isinstance(one, gr.Button) and one.elem_id == name]
    calls = [one.fn for one in blocks.fns.values() if (button, "click") in one.targets]
    assert [call.__name__ for call in calls if call is not None] == ["stop"]

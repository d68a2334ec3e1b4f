"""The page of the web demo: where everything stands, and which handler each part calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from anyx.media import Audio, Image, Video
from anyx.model import AnyX
from anyx.serving import web_agents, web_grounding, web_trace
from anyx.serving.web_agents import Acting
from anyx.serving.web_chat import Chat, filled
from anyx.serving.web_examples import Example
from anyx.serving.web_ground import ground_of
from anyx.serving.web_guests import Guests
from anyx.serving.web_settings import Most, Settings
from anyx.serving.web_style import TOGGLE
from anyx.serving.web_uploads import Uploads, unopened

NOTES = 600  # letters of a card, at most, that a visitor is greeted with
FETCH = "() => { const link = document.querySelector('#anyx-file a, #anyx-file'); if (link) link.click(); }"
SEEN = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}  # of a camera: models look at less


def page(
    guests: Guests,
    uploads: Uploads,
    examples: Sequence[Example],
    most: Most,
    *,
    title: str,
    acting: Acting | None = None,
) -> gr.Blocks:
    """The app; nothing is listened to before it is mounted."""
    model = guests.model
    blocks: gr.Blocks = gr.Blocks(title=f"anyx · {title}", analytics_enabled=False, fill_width=True)
    with blocks:
        with gr.Row(elem_id="anyx-head"):
            reads, makes = ", ".join(("text", *model.inputs)), ", ".join(("text", *model.outputs))
            gr.Markdown(f"# anyx\n{escaped(title)}: reads {escaped(reads)}; makes {escaped(makes)}.")
            gr.Button("◐", elem_id="anyx-light", size="sm").click(None, js=TOGGLE)
        with gr.Tab("Chat"):
            chat = chat_tab(guests, uploads, examples, most)
        if (ground := ground_of(model)) is not None:
            with gr.Tab("Grounding"):
                web_grounding.tab(guests, uploads, ground)
        if acting is not None:
            with gr.Tab("Agent"):
                web_agents.tab(acting)
        blocks.unload(chat.leave)
    return blocks


def chat_tab(guests: Guests, uploads: Uploads, examples: Sequence[Example], most: Most) -> Chat:
    """The talk with its box on the left; settings, examples and what happened on the right."""
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            talk = gr.Chatbot(
                elem_id="anyx-talk",
                show_label=False,
                render_markdown=False,
                allow_tags=False,
                editable="user",
                buttons=["copy"],
                layout="bubble",
                group_consecutive_messages=True,
                placeholder=welcome(guests.model),
            )
            box = gr.MultimodalTextbox(
                elem_id="anyx-box",
                show_label=False,
                placeholder="Words, files, or both",
                file_count="multiple",
                file_types=uploads.suffixes,
                sources=["upload", "microphone"] if Audio in uploads.dropped else ["upload"],
                max_plain_text_length=20000,
            )
            slots: list[gr.components.Component] = [
                gr.File(label=key, file_count="single", elem_id=f"anyx-slot-{key}") for key in uploads.slots
            ]
            for slot in slots:
                slot.preprocess = unopened  # type: ignore[method-assign]
            with gr.Row(elem_id="anyx-do"):
                again = gr.Button("↻ Regenerate", size="sm", elem_id="anyx-again")
                stop = gr.Button("■ Stop", size="sm", elem_id="anyx-stop")
                clear = gr.Button("✕ Clear", size="sm", elem_id="anyx-clear")
                take = gr.Button("↓ Download", size="sm", elem_id="anyx-take")
            file = gr.DownloadButton("file", elem_id="anyx-file")
            file.preprocess = unopened  # type: ignore[method-assign]
            camera(uploads, box)
        with gr.Column(scale=2, min_width=300):
            with gr.Accordion("Examples", open=True):
                buttons = routes(examples)
            with gr.Accordion("What happened", open=True):
                panel = gr.HTML(web_trace.panel(guests.model, []))
            with gr.Accordion("Settings", open=False, elem_id="anyx-settings"):
                settings = Settings(guests.model, most)
    chat = Chat(guests, uploads, settings)
    changed, fields = [talk, box, panel], settings.fields
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
    box.submit(chat.send, [box, *slots, *fields], changed, **quiet)
    for event in (again.click, talk.retry):
        event(chat.again, fields, changed, **quiet)
    talk.edit(chat.edit, fields, changed, **quiet)
    for event in (stop.click, box.stop):
        event(chat.stop, None, None, **quiet)
    for event in (clear.click, talk.clear):
        event(chat.clear, None, changed, **quiet)
    take.click(chat.file, None, file, **quiet).success(None, js=FETCH)
    for button, example in zip(buttons, examples, strict=True):
        button.click(partial(filled, example, uploads), None, [box, *slots], **quiet)
    return chat


def routes(examples: Sequence[Example]) -> list[gr.Button]:
    """A button an example."""
    with gr.Row(elem_id="anyx-routes"):
        return [gr.Button(one.name, size="sm", elem_classes="anyx-route") for one in examples]


def camera(uploads: Uploads, box: gr.MultimodalTextbox) -> None:
    """A picture or a clip of the reader's own camera, put into the box; clips are without sound.

    Gradio turns pictures around, and would hand a clip to a program of its own: here both pass the intake alone.
    """
    both: dict[str, Any] = {"sources": ["webcam"], "webcam_options": gr.WebcamOptions(mirror=False, constraints=SEEN)}
    with gr.Accordion("Camera", open=False, visible=Image in uploads.dropped or Video in uploads.dropped), gr.Row():
        if Image in uploads.dropped:
            picture = gr.Image(**both, type="filepath", label="a picture", elem_id="anyx-picture")
            picture.preprocess = unopened  # type: ignore[method-assign]
            picture.input(attached, [box, picture], [box, picture], show_progress="hidden")
        if Video in uploads.dropped:
            clip = gr.Video(**both, include_audio=False, label="a clip", elem_id="anyx-clip")
            clip.preprocess = unopened
            clip.stop_recording(attached, [box, clip], [box, clip], show_progress="hidden")


def attached(given: dict[str, Any] | None, path: str | None) -> tuple[Any, None]:
    """What is in the box, with one file more; the camera is ready for the next."""
    given = given or {"text": "", "files": []}
    return {**given, "files": [*given["files"], *([path] if path else [])]}, None


def welcome(model: AnyX) -> str:
    """What stands where nothing was said yet: what to do, and what the model's card says of it."""
    notes = str(model.config.card.get("notes") or "") if model.config is not None else ""
    known = " ".join(notes.split())[:NOTES]
    return f"Say something, drop a file, or pick a route.\n\n{escaped(known)}".rstrip()


def escaped(words: str) -> str:
    """Words that Markdown leaves as they are."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>()#+-.!|&$~" else letter for letter in words)

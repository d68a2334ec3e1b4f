"""The agent tab: a question with files, and each step of the model and its tools as it happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from anyx.agents.loop import Agent
from anyx.agents.marked import MarksAgent
from anyx.agents.steps import Step
from anyx.reply import Media
from anyx.serving.intake import Intake, Refused
from anyx.serving.web_answer import PAUSE
from anyx.serving.web_chat import WARNING, name_of
from anyx.serving.web_guests import Guest, Guests
from anyx.serving.web_steps import Steps, text
from anyx.serving.web_uploads import Uploads
from anyx.watching import Watch

log = logging.getLogger("anyx")
AT_ONCE = 4  # runs of all visitors; others wait
LONGEST = 8000  # letters of a question
Made = Agent | MarksAgent
Making = Callable[[Intake], Made]
Page = tuple[str, Any]


class Acting:
    """The handlers of the tab. A question stands alone: what was asked before is not told again."""

    def __init__(self, agent: Made, guests: Guests, uploads: Uploads, *, most: int) -> None:
        self.agent, self.guests, self.uploads, self.most = agent, guests, uploads, most
        self._begin, self._free = threading.Lock(), threading.Semaphore(AT_ONCE)

    def ask(self, request: gr.Request, given: dict[str, Any] | None) -> Iterator[Page]:
        """The steps to a question, as they come."""
        guest = self.guests.of(name_of(request))
        try:
            question, media = self.read(given)
        except ValueError as refused:
            yield told(str(refused)), free()
            return
        watch = Watch()
        with self._begin:
            guest.acting, before = guest.acting or watch, guest.acting
        if before is not None:
            yield told("the last question is still being answered; stop it first"), gr.skip()
            return
        steps = Steps(guest.shelf)
        try:
            yield steps.html(running=True), busy()
            while not self._free.acquire(timeout=PAUSE):
                if watch.cancelled:
                    yield told("stopped before it began"), free()
                    return
            try:
                yield from self._run(steps, question, media, watch)
            finally:
                self._free.release()
            yield steps.html(running=False), free()
        except ValueError as error:  # marks: not one picture
            yield told(str(error)), free()
        except Exception:
            log.exception("an agent failed")
            yield steps.html(running=False) + told("this run failed on the server; try again"), free()
        finally:  # also where the page was closed
            watch.cancel()
            guest.acting = None

    def read(self, given: dict[str, Any] | None) -> tuple[str, list[Media]]:
        """A question and its media; ValueError that says what is wrong."""
        question, files = ((given or {}).get("text") or "").strip(), (given or {}).get("files") or []
        if not question:
            raise Refused("nothing was asked: type a question")
        if len(question) > LONGEST or len(files) > self.most:
            raise Refused(
                f"{len(question)} letters and {len(files)} files given; {LONGEST} and {self.most} at most", 413
            )
        return question, [part["media"] for part in self.uploads.parts(files, {})]

    def _run(self, steps: Steps, question: str, media: list[Media], watch: Watch) -> Iterator[Page]:
        """What changes on the page: pieces of words not more often than one can see."""
        due = 0.0
        run: Iterator[Step] = iter(self.agent.run(question, media, watch=watch))
        for step in run:
            steps.hear(step)
            if step.kind != "words" or time.monotonic() > due:
                yield steps.html(running=step.kind not in ("value", "stop")), gr.skip()
                due = time.monotonic() + PAUSE

    def stop(self, request: gr.Request) -> None:
        """End the run."""
        stop(self.guests.of(name_of(request)))


def tab(acting: Acting) -> None:
    """The tab, laid out where it is called."""
    gr.Markdown(f"Tools: {', '.join(f'`{name}`' for name in names(acting.agent))}", elem_id="anyx-agent-tools")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            box = gr.MultimodalTextbox(
                elem_id="anyx-agent-box",
                show_label=False,
                placeholder="A question, and files that it is about",
                file_count="multiple",
                file_types=acting.uploads.suffixes,
                sources=["upload"],
                max_plain_text_length=LONGEST,
            )
            stopping = gr.Button("■ Stop", size="sm", elem_id="anyx-agent-stop")
        with gr.Column(scale=3, min_width=320):
            shown = gr.HTML('<ol class="anyx-steps" id="anyx-steps"></ol>')
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
    box.submit(acting.ask, box, [shown, box], **quiet)
    for event in (stopping.click, box.stop):
        event(acting.stop, None, None, **quiet)


def names(agent: Made) -> list[str]:
    """The tools that an agent has."""
    return list(agent.tools) if isinstance(agent, Agent) else ["mark"]


def stop(guest: Guest) -> None:
    """End what an agent does for a visitor."""
    if (watch := guest.acting) is not None:
        watch.cancel()


def told(line: str) -> str:
    """One line of what is wrong."""
    item = f'<li data-kind="error">{WARNING}{text(line)}</li>'
    return f'<ol class="anyx-steps" id="anyx-steps" data-state="done">{item}</ol>'


def busy() -> Any:
    """The box while a run goes on."""
    return gr.update(submit_btn=False, stop_btn=True)


def free() -> Any:
    """The box for the next question."""
    return gr.update(value=None, submit_btn=True, stop_btn=False)

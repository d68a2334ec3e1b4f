"""The agent tab in the browser: a trained model, the calculator, a tiny detector; the steps are read off the page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from taught_agent import trained
from tiny_tools import grounding_dino, picture
from web_browser import FETCH, ROOT, TRIES, Visitor, demo, file, opened

from anyx.grounding.draw import colours
from anyx.media import Image

OWN = '''
import time
from anyx import Image
from anyx.agents.calculator import calculator
from anyx.agents.interfaces import Result
from anyx.agents.tools import detecting
detect = detecting(path={path!r}, options={{"threshold": 0.0, "text_threshold": 0.0, "area": 0.0, "overlap": 0.0}})


def look(image: Image, caption: str) -> Result:
    """Find things."""
    found = detect(image, caption)
    return found._replace(text="1 found", boxes=found.boxes[:1])


def compute(expression: str) -> str:
    """Compute; one sum takes a minute."""
    time.sleep(60 if expression == "5 * 5" else 0)
    return calculator(expression)
'''
TOOLS = {"calculator": "compute", "grounding_dino": "look"}
KINDS = ["asked", "thought", "action", "result", "thought", "value"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("agent")
    talker = trained()
    talker.model.save_pretrained(place / "llm")
    talker.tokenizer.save_pretrained(place / "llm")
    (place / "own.py").write_text(OWN.format(path=str(grounding_dino(place))))
    picture(120, 90, (10, 10, 50, 60)).save(place / "street.png")
    tools = {name: {"type": f"{place}/own.py:{own}"} for name, own in TOOLS.items()}
    model = {"type": "causal", "path": str(place / "llm"), "max_new_tokens": 120}
    (place / "agent.yaml").write_text(json.dumps({"style": "llava_plus", "model": model, "tools": tools}))
    return place


@pytest.fixture(scope="module")
def visitor(folder: Path) -> Iterator[Visitor]:
    place = demo(ROOT / "experiments/anyworld/model", "--agent", folder / "agent.yaml")
    with opened() as browser, place as address, Visitor(browser, address) as one:
        one.page.click("button[role=tab]:has-text('Agent')")
        one.page.wait_for_selector("#anyx-agent-box textarea", state="visible")
        yield one
        assert (one.strayed, one.errors) == ([], [])


def ask(visitor: Visitor, words: str, *files: dict[str, Any] | Path) -> Locator:
    if files:
        visitor.page.set_input_files("#anyx-agent-box input[type=file]", list(files))  # type: ignore[arg-type]
        expect(visitor.page.locator("#anyx-agent-box .thumbnail-item")).to_have_count(len(files), timeout=TRIES)
    visitor.page.fill("#anyx-agent-box textarea", words)
    visitor.page.focus("#anyx-agent-box textarea")
    visitor.page.keyboard.press("Enter")
    return visitor.page.locator("#anyx-steps > li")


def kinds(visitor: Visitor) -> list[str]:
    """The steps that are shown, when there are no more to come."""
    expect(visitor.page.locator('#anyx-steps[data-state="done"]')).to_have_count(1, timeout=TRIES)
    told: list[str] = visitor.page.locator("#anyx-steps > li").evaluate_all("all => all.map(one => one.dataset.kind)")
    return told


def shown(visitor: Visitor, place: Locator) -> Image:
    source = place.evaluate("one => one.src")
    return Image.read(base64.b64decode(visitor.page.evaluate(FETCH, source)))


def test_a_sum_is_computed_in_steps_that_are_seen(visitor: Visitor) -> None:
    assert visitor.page.inner_text("#anyx-agent-tools") == "Tools: calculator, grounding_dino"
    steps = ask(visitor, "What is 7 * 8?")
    expect(steps.last).to_contain_text("It is 56.", timeout=TRIES)
    assert kinds(visitor) == KINDS
    assert json.loads(steps.nth(2).locator("pre").inner_text()) == {"expression": "7 * 8"}
    assert steps.nth(2).locator("code").inner_text() == "calculator"
    assert "56" in steps.nth(3).inner_text()
    assert re.search(r"\d\.\d\d s", steps.nth(3).locator(".took").inner_text())
    at = [float(one.removesuffix(" s")) for one in visitor.page.locator("#anyx-steps .at").all_inner_texts()]
    assert at == sorted(at)


def test_a_picture_is_looked_at_and_boxes_are_drawn(visitor: Visitor, folder: Path) -> None:
    given = Image.read(folder / "street.png")
    steps = ask(visitor, "Is there a dog?", folder / "street.png")
    expect(steps.last).to_contain_text("Yes, there is a dog.", timeout=TRIES)
    assert kinds(visitor) == KINDS
    assert shown(visitor, steps.nth(0).locator("img")).pixels.equal(given.pixels)
    boxes = shown(visitor, steps.nth(3).locator("img.boxes"))
    assert boxes.size == given.size
    changed = (boxes.pixels != given.pixels).any(0)
    line = (boxes.pixels == boxes.pixels.new_tensor(colours(1)[0])[:, None, None]).all(0)
    assert 20 < int((changed & line).sum()) < changed.numel() / 2
    visitor.shot("agent")


def test_hostile_words_are_words_and_mistakes_are_a_line(visitor: Visitor) -> None:
    steps = ask(visitor, "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>")
    expect(steps.first).to_contain_text("<img src=x onerror='window.pwned = 1'>", timeout=TRIES)
    assert kinds(visitor)[-1] in ("value", "stop")
    assert visitor.page.evaluate("window.pwned") is None
    steps = ask(visitor, "Is there a dog?", file("broken.png", b"no picture", "image/png"))
    expect(steps.first).to_contain_text("⚠ broken.png is not read as image", timeout=TRIES)
    steps = ask(visitor, " ")
    expect(steps.first).to_contain_text("⚠ nothing was asked", timeout=TRIES)


def test_a_run_is_stopped_while_a_tool_works(visitor: Visitor) -> None:
    steps = ask(visitor, "What is 5 * 5?")
    expect(steps.nth(2)).to_have_attribute("data-kind", "action", timeout=TRIES)
    visitor.page.click("#anyx-agent-stop")
    expect(steps.nth(3)).to_contain_text("cancelled", timeout=TRIES)
    assert kinds(visitor) == [*KINDS[:3], "stop"]

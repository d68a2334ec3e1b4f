"""The grounding tab in the browser, with a tiny MiniGPT-v2 that has learnt two answers about one picture."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from grounded import taught
from playwright.sync_api import expect
from tiny import llama_tokenizer
from web_browser import FETCH, TRIES, Visitor, demo, opened

from anyx.grounding.draw import colours
from anyx.media import Image

ANSWERS = {
    "[grounding] look": "<p>a <b>dog</b></p> {<10><20><50><60>} and <p>it</p> {<70><0><99><50>}",
    "[identify] what is this {<10><20><50><60>}": "a dog",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tmp_path_factory.mktemp("grounded"), llama_tokenizer(), "minigpt_v2", ANSWERS)


@pytest.fixture(scope="module")
def visitor(folder: Path) -> Iterator[Visitor]:
    with opened() as browser, demo(folder / "model") as address, Visitor(browser, address) as one:
        one.page.click("button[role=tab]:has-text('Grounding')")
        one.page.wait_for_selector("#anyx-ground", state="visible")
        one.page.set_input_files("#anyx-ground input[type=file]", folder / "farm.png")
        one.page.wait_for_selector("#anyx-ground-shown img[src*='/file=']")
        yield one
        assert (one.strayed, one.errors) == ([], [])


def ask(visitor: Visitor, task: str, words: str) -> str:
    visitor.page.check(f"#anyx-task input[value={task}]")
    visitor.page.fill("#anyx-ground-words textarea, #anyx-ground-words input", words)
    visitor.page.click("#anyx-ground-ask")
    return "#anyx-ground-told"


def shown(visitor: Visitor, place: str) -> Image:
    source = visitor.page.locator(f"{place} img").evaluate("one => one.src")
    return Image.read(base64.b64decode(visitor.page.evaluate(FETCH, source)))


def test_the_six_tasks_are_offered(visitor: Visitor) -> None:
    names = visitor.page.locator("#anyx-task input").evaluate_all("all => all.map(one => one.value)")
    assert names == ["vqa", "caption", "grounding", "refer", "detection", "identify"]


def test_boxes_of_an_answer_are_drawn(visitor: Visitor) -> None:
    given = visitor.page.locator("#anyx-ground-shown img").get_attribute("src")
    told = ask(visitor, "grounding", "look")
    expect(visitor.page.locator(told)).to_contain_text("140, 0, 198, 50", timeout=TRIES)
    assert "a <b>dog</b> and it" in visitor.page.inner_text(told)
    assert visitor.page.locator(f"{told} td b").count() == 0
    expect(visitor.page.locator("#anyx-ground-shown img")).not_to_have_attribute("src", given or "", timeout=TRIES)
    drawn = shown(visitor, "#anyx-ground-shown")
    of_dog, of_it = colours(2)
    assert tuple(drawn.pixels[:, 40, 20].tolist()) == of_dog
    assert tuple(drawn.pixels[:, 50, 170].tolist()) == of_it
    visitor.shot("grounding")


def test_two_clicks_are_a_box_that_is_asked_about(visitor: Visitor, folder: Path) -> None:
    picture = visitor.page.locator("#anyx-ground-shown img")
    size = picture.bounding_box()
    assert size is not None
    height, width = Image.read(folder / "farm.png").size
    scale = min(size["width"] / width, size["height"] / height)
    left, top = (size["width"] - width * scale) / 2, (size["height"] - height * scale) / 2
    field = visitor.page.locator("#anyx-ground-box textarea, #anyx-ground-box input")
    before = picture.get_attribute("src")
    picture.click(position={"x": left + 20.5 * scale, "y": top + 20.5 * scale})
    expect(picture).not_to_have_attribute("src", before or "", timeout=TRIES)
    picture.click(position={"x": left + 100.5 * scale, "y": top + 60.5 * scale})
    expect(field).not_to_have_value("", timeout=TRIES)
    corners = [float(number) for number in field.input_value().split(",")]
    assert corners == pytest.approx([20, 20, 100, 60], abs=1.5)
    visitor.shot("grounding_box")
    field.fill("20, 20, 100, 60")
    told = ask(visitor, "identify", "what is this {box}")
    expect(visitor.page.locator(told)).to_have_text("a dog", timeout=TRIES)


def test_mistakes_are_one_line(visitor: Visitor) -> None:
    visitor.page.fill("#anyx-ground-box textarea, #anyx-ground-box input", "20, 20, 5, 5")
    told = ask(visitor, "identify", "what is this {box}")
    expect(visitor.page.locator(told)).to_contain_text("⚠ box: '20, 20, 5, 5' given", timeout=TRIES)

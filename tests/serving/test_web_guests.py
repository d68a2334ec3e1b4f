"""Visitors: each a session and files of their own, a bounded number, shared features; stopping; what they take away."""

from __future__ import annotations

import json
import os
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import tiny
import torch
from live import until

from anyx.commands.conversation import Conversation
from anyx.grounding import codec
from anyx.interfaces import Media
from anyx.media import Audio, Image, Video
from anyx.model import AnyX
from anyx.sampling import Sampling
from anyx.serving import web_export, web_trace
from anyx.serving.intake import Intake, Refused
from anyx.serving.web_answer import Answer
from anyx.serving.web_chat import BUSY, name_of
from anyx.serving.web_examples import sample
from anyx.serving.web_ground import Ground
from anyx.serving.web_grounding import Grounding
from anyx.serving.web_guests import Guests, Turn
from anyx.serving.web_settings import Chosen
from anyx.serving.web_shelf import MOST, Shelf
from anyx.serving.web_uploads import KEPT, Uploads, kinds_of
from anyx.speaking.making import Asked, Studio
from anyx.watching import Cancelled

ROOT = Path(__file__).resolve().parents[2]


class Slow(Studio):
    """Decoders that take their time until they are stopped."""

    free = threading.Event()

    def make(self, asked: Sequence[Asked]) -> list[Media]:
        until(lambda: self.free.is_set() or all(one.watch is not None and one.watch.cancelled for one in asked))
        return super().make(asked)


@pytest.fixture(scope="module")
def model() -> AnyX:
    torch.manual_seed(0)
    made = tiny.anyx()
    with torch.no_grad():
        made.llm.signal_tokens.said.mul_(50)  # the first signal token is said almost at once
    return made


@pytest.fixture
def guests(model: AnyX, tmp_path: Path) -> Guests:
    return Guests(model, Studio(model), tmp_path, most=2)


def asked(words: str, *media: Image) -> Turn:
    content = [*({"type": "image", "media": one} for one in media), {"type": "text", "text": words}]
    return Turn({"role": "user", "content": content})


def answered(guests: Guests, name: str, turn: Turn) -> Turn:
    guest = guests.of(name)
    answer = Answer(guest.session, [*guest.conversation(len(guest.turns)), turn.message], 0)
    drafts = list(answer)
    turn.reply, turn.watch = drafts[-1].reply, answer.watch
    guest.turns.append(turn)
    return turn


def test_visitors_are_apart_and_the_longest_away_is_forgotten(guests: Guests) -> None:
    one, other = guests.of("one"), guests.of("other")
    assert one is guests.of("one")
    assert one.session is not other.session
    assert one.session.features is other.session.features
    place = other.shelf.place(sample(Image))  # type: ignore[arg-type]
    assert place.is_file()
    assert place.parent != one.shelf.folder
    guests.of("third")
    assert not place.exists()
    assert guests.of("other") is not other
    assert len(guests) == 2
    guests.leave("other")
    guests.leave("nobody")
    assert len(guests) == 1
    with pytest.raises(ValueError, match=r"^--max-sessions: 0 given"):
        Guests(guests.model, guests.maker, guests.root, most=0)


def test_an_answer_comes_in_drafts_that_grow(guests: Guests) -> None:
    turn = answered(guests, "one", asked("Draw.", Image(torch.full((3, 8, 8), 200, dtype=torch.uint8))))
    assert turn.reply is not None
    whole = guests.model.chat([turn.message])
    assert turn.reply.keys[:1] == whole.keys[:1]
    panel = web_trace.panel(guests.model, [turn])
    assert 'data-turns="1"' in panel
    assert "image + text →" in panel
    assert "read image" in panel
    assert "<svg" in panel


def test_a_cancelled_answer_ends(guests: Guests) -> None:
    guest = guests.of("one")
    answer = Answer(guest.session, [asked("Draw.").message], 0)
    answer.watch.cancel()
    with pytest.raises(Cancelled):
        list(answer)
    assert answer.reply.parts == []
    assert guest.session.messages == []


def test_an_answer_that_nobody_waits_for_is_cancelled(guests: Guests) -> None:
    answer = Answer(guests.of("one").session, [asked("Draw.").message], 0)
    drafts = iter(answer)
    next(drafts)
    drafts.close()  # type: ignore[attr-defined]
    assert answer.watch.cancelled


def test_what_is_taken_away_is_read_again(guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image(torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8))
    settings = Chosen(7, Sampling(9, 0.5, 0.9, 3, 1.1), {"image": {"steps": 2}}).told()
    first, last = (answered(guests, "one", asked(words, picture)) for words in ("<b>Draw.</b>", "Again."))
    first.settings, last.settings, last.seed, last.stopped = settings | {"seed": 3}, settings, 7, True
    failed = Turn(asked("x", picture).message, error="it failed")
    path = web_export.write([first, failed, last, Turn(asked("y").message, error="so did it")], tmp_path / "talk.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "talk")
        assert len(set(file.namelist())) == len(file.namelist())
    told = json.loads((tmp_path / "talk" / "conversation.json").read_text())
    assert [one["role"] for one in told["messages"]] == ["user", "assistant"] * 2
    assert [one["settings"]["seed"] for one in told["replies"]] == [3, 7]
    assert [one.get("stopped", False) for one in told["replies"]] == [False, True]
    assert [(one["after"], one["error"]) for one in told["failed"]] == [(2, "it failed"), (4, "so did it")]
    assert Image.read(tmp_path / "talk" / told["failed"][0]["content"][0]["path"]).pixels.equal(picture.pixels)
    talk = Conversation(guests.model, tmp_path / "out", 0, {})
    talk.command(f"/load '{tmp_path / 'talk'}'")
    assert talk.session.messages[0]["content"][0]["media"].pixels.equal(picture.pixels)
    assert talk.session.messages[0]["content"][1]["text"] == "<b>Draw.</b>"
    assert (talk.seed, talk.session.sampling, talk.session.decode) == (
        7,
        Sampling(9, 0.5, 0.9, 3, 1.1),
        {"image": {"steps": 2}},
    )
    assert last.reply is not None
    assert [part["type"] for part in talk.session.messages[3]["content"]] == last.reply.keys
    monkeypatch.chdir(tmp_path / "talk")
    more = [*told["messages"], {"role": "user", "content": "And now?"}]
    known = [*first.messages, *last.messages, {"role": "user", "content": "And now?"}]
    assert guests.model.chat(more).text == guests.model.chat(known).text


def test_a_talk_that_failed_at_once_is_taken_away(guests: Guests, tmp_path: Path) -> None:
    path = web_export.write([Turn(asked("x").message, error="it failed")], tmp_path / "talk.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "talk")
    talk = Conversation(guests.model, tmp_path / "out", 0, {})
    talk.command(f"/load {tmp_path / 'talk'}")
    assert talk.session.messages == []
    with pytest.raises(ValueError, match="no conversation yet"):
        web_export.write([], tmp_path / "none.zip")


def test_a_second_question_about_a_picture_waits_its_turn(guests: Guests, tmp_path: Path) -> None:
    slow = guests.maker = Slow(guests.model)
    uploads = Uploads(kinds_of(guests.model), Intake(), tmp_path)
    handlers = Grounding(guests, uploads, Ground("image", codec("minigpt_v2", {}), {}))
    request: Any = gr.Request(cookies={}, session_hash="one")
    guest = guests.of(name_of(request))
    guest.ground = sample(Image)
    made = threading.active_count()
    first = handlers.ask(request, None, "look", "")
    next(first)
    watch = guest.watch
    assert watch is not None
    for _ in range(3):
        ((told, _),) = handlers.ask(request, None, "look", "")
        assert BUSY in told
    assert guest.watch is watch
    assert threading.active_count() <= made + 1, "nothing else is being made"
    handlers.stop(request)
    assert watch.cancelled
    assert list(first)[-1][0] == "■ stopped"
    assert guest.watch is None
    slow.free.set()
    *_, (told, _) = handlers.ask(request, None, "look", "")
    assert told.startswith("<p>")
    assert BUSY not in told
    slow.free.clear()
    again = handlers.ask(request, None, "look", "")
    next(again)
    guests.leave(name_of(request))
    assert list(again)[-1][0] == "■ stopped"
    assert not guest.busy.locked()


def test_a_shelf_is_bounded_and_its_names_cannot_be_guessed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    pictures = [Image(torch.zeros(3, 1, 1, dtype=torch.uint8)) for _ in range(MOST + 3)]
    places = [shelf.place(one) for one in pictures]
    assert [place.exists() for place in places[:4]] == [False, False, False, True]
    assert shelf.place(pictures[-1]) == places[-1]
    assert len(shelf.folder.name) >= 32
    assert shelf.folder.stat().st_mode & 0o077 == 0
    shelf.clear()
    assert not shelf.folder.exists()


def test_only_uploads_are_read_and_by_their_kind(model: AnyX, tmp_path: Path) -> None:
    uploads = Uploads(kinds_of(model), Intake(), tmp_path / "in")
    uploads.folder.mkdir()
    own = sample(Image).save(uploads.folder / "own.png")
    outside = sample(Image).save(tmp_path / "outside.png")
    (uploads.folder / "link.png").symlink_to(outside)
    assert [part["type"] for part in uploads.parts([str(own)], {})] == ["image"]
    for wrong in (
        outside,
        uploads.folder / "link.png",
        uploads.folder / ".." / "outside.png",
        uploads.folder / "no.png",
    ):
        with pytest.raises(Refused, match="was not uploaded here") as refused:
            uploads.parts([str(wrong)], {})
        assert refused.value.status == 404
    for name in ("a.avi", "a.txt", "a", "a.gif"):
        (uploads.folder / name).write_bytes(b"x")
    with pytest.raises(Refused, match=r"this model reads .png.*, not .avi"):
        uploads.parts([str(uploads.folder / "a.avi")], {})
    with pytest.raises(Refused, match="not a file without suffix"):
        uploads.parts([str(uploads.folder / "a")], {})


def test_pictures_that_move_are_clips(tmp_path: Path) -> None:
    uploads = Uploads(kinds_of(AnyX.from_pretrained(ROOT / "experiments/anyworld/model")), Intake(), tmp_path)
    clip, still = sample(Video), sample(Image)
    for name, key in (("a.png", "image"), ("a.webp", "image"), ("a.mp4", "video"), ("a.wav", "audio")):
        media = {"image": still, "video": clip, "audio": sample(Audio)}[key]
        assert uploads.key_of(media.save(tmp_path / name)) == key
    (tmp_path / "moving.png").write_bytes(clip.to_bytes("apng"))
    assert uploads.key_of(tmp_path / "moving.png") == "video"
    assert uploads.key_of(clip.save(tmp_path / "moving.gif")) == "video"
    assert uploads.key_of(ROOT / "experiments/emoji/data/video/owl.webp") == "video"


def test_old_uploads_go(model: AnyX, tmp_path: Path) -> None:
    uploads = Uploads(kinds_of(model), Intake(), tmp_path)
    old, new, examples = tmp_path / ("a" * 64), tmp_path / ("b" * 64), tmp_path / "examples"
    for folder in (old, new, examples):
        folder.mkdir()
    for folder in (old, examples):
        os.utime(folder, (time.time() - KEPT - 5,) * 2)
    uploads.sweep()
    assert [folder.exists() for folder in (old, new, examples)] == [False, True, True]


def test_old_uploads_go_though_nobody_comes(model: AnyX, tmp_path: Path) -> None:
    uploads = Uploads(kinds_of(model), Intake(), tmp_path)
    old, new = tmp_path / ("a" * 64), tmp_path / ("b" * 64)
    with uploads.swept(0.01):
        for folder in (old, new):
            folder.mkdir()
        os.utime(old, (time.time() - KEPT - 5,) * 2)
        until(lambda: not old.exists())
        assert new.exists()


def test_small_pictures_are_known_by_their_names(tmp_path: Path) -> None:
    shelf, small, large = Shelf(tmp_path), (3, 128, 128), (3, 1, 129)
    for size, name in ((small, "small_0"), (large, "1")):
        assert shelf.place(Image(torch.zeros(size, dtype=torch.uint8))).stem == name
    for size, name in ((small, "small_2"), (large, "3")):
        assert shelf.place(Video(torch.zeros((2, *size), dtype=torch.uint8), 8)).stem == name
    assert shelf.place(sample(Audio)).stem == "4"  # type: ignore[arg-type]


def test_a_hostile_key_is_escaped_in_the_panel(guests: Guests) -> None:
    turn = answered(guests, "one", asked("Draw."))
    turn.message = {"role": "user", "content": [{"type": "<img src=x>", "media": None}]}
    assert "&lt;img src=x&gt;" in web_trace.panel(guests.model, [turn])
    assert "<img" not in web_trace.panel(guests.model, [turn])

"""Visitors: each a session and files of their own, a bounded number, shared features; stopping; what they take away."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest
import tiny
import torch

from anyx.media import Audio, Image, Video
from anyx.model import AnyX
from anyx.serving import web_export, web_trace
from anyx.serving.intake import Intake, Refused
from anyx.serving.web_answer import Answer
from anyx.serving.web_examples import sample
from anyx.serving.web_guests import Guests, Turn
from anyx.serving.web_shelf import MOST, Shelf
from anyx.serving.web_uploads import KEPT, Uploads, kinds_of
from anyx.speaking.making import Studio
from anyx.watching import Cancelled

ROOT = Path(__file__).resolve().parents[2]


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


def test_what_is_taken_away_can_be_asked_again(guests: Guests, tmp_path: Path) -> None:
    picture = Image(torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8))
    turns = [answered(guests, "one", asked("<b>Draw.</b>", picture)), Turn(asked("x").message, error="it failed")]
    path = web_export.write(turns, tmp_path / "talk.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "talk")
    messages = json.loads((tmp_path / "talk" / "conversation.json").read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "error"]
    first = messages[0]["content"]
    assert Image.read(tmp_path / "talk" / first[0]["path"]).pixels.equal(picture.pixels)
    assert first[1]["text"] == "<b>Draw.</b>"
    with pytest.raises(ValueError, match="no conversation yet"):
        web_export.write([], tmp_path / "none.zip")


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
    for name in ("a.mp4", "a.txt", "a", "a.gif"):
        (uploads.folder / name).write_bytes(b"x")
    with pytest.raises(Refused, match=r"this model reads .png.*, not .mp4"):
        uploads.parts([str(uploads.folder / "a.mp4")], {})
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


def test_a_hostile_key_is_escaped_in_the_panel(guests: Guests) -> None:
    turn = answered(guests, "one", asked("Draw."))
    turn.message = {"role": "user", "content": [{"type": "<img src=x>", "media": None}]}
    assert "&lt;img src=x&gt;" in web_trace.panel(guests.model, [turn])
    assert "<img" not in web_trace.panel(guests.model, [turn])

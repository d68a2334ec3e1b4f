"""Recordings of browsers without a browser: through the intake, as uploads of the demo, and over the server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from corpus import tone
from live import FOLDER, anyworld, data_url, live
from recorded import HEIGHT, WIDTH, recording, shades

from anyx.data.sources import JSONLSource
from anyx.faults import Limits
from anyx.media import Audio, Image, Kind, Video
from anyx.serving.intake import Bounds, Intake, Refused
from anyx.serving.web_uploads import Uploads

SOUND = tone(1.5, 16000)
TYPES = {"audio": "audio/webm;codecs=opus", "video": "video/webm;codecs=vp8,opus"}  # of a recorder's data URL
FORMS = ("webm", "mp4")
BOTH: dict[str, Kind] = {"image": Image, "audio": Audio, "video": Video}


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    with Intake(Bounds(workers=1)) as made:
        yield made


def uploads(kinds: dict[str, Kind], intake: Intake, folder: Path, name: str, data: bytes) -> tuple[Uploads, str]:
    (folder / name).write_bytes(data)
    return Uploads(kinds, intake, folder), str(folder / name)


def test_these_are_recordings_without_a_length() -> None:
    with av.open(io.BytesIO(recording(SOUND, shades()))) as container:
        assert container.duration is None
        assert [stream.codec_context.name for stream in container.streams] == ["vp8", "opus"]
        assert all(stream.duration is None for stream in container.streams)


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_is_read(intake: Intake, form: str) -> None:
    heard = intake.read(Audio, recording(SOUND, form=form))
    assert isinstance(heard, Audio)
    assert heard.rate == 48000
    assert heard.seconds == pytest.approx(1.5, abs=0.1)
    assert abs(float(heard.samples.square().mean().sqrt() / SOUND.samples.square().mean().sqrt()) - 1) < 0.1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sound", [None, SOUND])
def test_a_clip_is_read(intake: Intake, form: str, sound: Audio | None) -> None:
    seen = intake.read(Video, recording(sound, shades(), form))
    assert isinstance(seen, Video)
    assert seen.frames.shape == (15, 3, HEIGHT, WIDTH)
    assert seen.seconds == pytest.approx(1.5, abs=0.2)
    found = seen.frames.float().mean((1, 2, 3))
    torch.testing.assert_close(found, shades().float().mean((1, 2, 3)), atol=12, rtol=0)
    assert (seen.audio is None) == (sound is None)


def test_of_a_clip_that_memory_does_not_hold_fewer_frames_are_kept() -> None:
    room = 4 * HEIGHT * WIDTH * 3
    with Intake(Bounds(Limits(memory=room, frames=8), workers=0)) as small:
        seen = small.read(Video, recording(None, shades()))
    assert isinstance(seen, Video)
    assert len(seen.frames) == 4
    assert seen.seconds == pytest.approx(1.5, abs=0.2)
    assert seen.frames.float().mean((1, 2, 3)).diff().min() > 20, "from all of it"


def test_a_recording_of_sound_alone_is_sound_whatever_it_is_called(intake: Intake, tmp_path: Path) -> None:
    reader, path = uploads(BOTH, intake, tmp_path, "recording.webm", recording(SOUND))
    (part,) = reader.parts([path], {})
    assert part["type"] == "audio"
    assert part["media"].seconds == pytest.approx(1.5, abs=0.1)
    reader, path = uploads(BOTH, intake, tmp_path, "voice.mp4", recording(SOUND, form="mp4"))
    assert [part["type"] for part in reader.parts([path], {})] == ["audio"]
    reader, path = uploads({"ear": Audio}, intake, tmp_path, "voice.webm", recording(SOUND))
    assert [part["type"] for part in reader.parts([path], {})] == ["ear"]
    reader, path = uploads(BOTH, intake, tmp_path, "sample.webm", recording(SOUND, shades()))
    assert [part["type"] for part in reader.parts([path], {})] == ["video"]
    reader, path = uploads({"eye": Video}, intake, tmp_path, "deaf.webm", recording(SOUND))
    with pytest.raises(Refused, match=r"deaf.webm is not read as video: .*no moving pictures"):
        reader.parts([path], {})


def test_recordings_are_heard_and_seen_over_the_server() -> None:
    """AnyWorld's own examples, recorded by a browser, are named as they are in its files."""
    given = {key: part for row in JSONLSource(str(FOLDER / "demo.jsonl")) if (key := row["id"].partition("->")[0])
             for part in row["messages"][0]["content"] if "data" in part}  # fmt: skip
    sound, clip = (
        kind.read(base64.b64decode(given[key]["data"])) for key, kind in (("audio", Audio), ("video", Video))
    )
    sent = {"audio": recording(sound), "video": recording(sound, clip.frames)}
    with live(anyworld()) as here:
        for key, words in (("audio", "describe what you hear."), ("video", "describe what you watch.")):
            url = data_url(sent[key], TYPES[key])
            content: Any = [{"type": f"{key}_url", f"{key}_url": {"url": url}}, {"type": "text", "text": words}]
            turns: Any = [{"role": "user", "content": content}]
            reply = here.client().chat.completions.create(model="anyworld", messages=turns)
            named = given[key]["name"].partition(".")[0].replace("_", " ")
            assert reply.choices[0].message.content == f"{named}."

"""Records: what was said comes back as it was, media to the last bit."""

from pathlib import Path

import pytest
import torch

from anyx.evaluation.records import FORMS, Job, Record, Records, answered, kept, read, write
from anyx.media import Audio, Image, Series, Video
from anyx.reply import Reply

JOB = Job("seen", "text->image", "a", 0)


def record(sample: str) -> Record:
    asked = [{"role": "user", "content": [{"type": "audio", "path": "x.flac"}, {"type": "text", "text": "Draw it."}]}]
    said = [{"type": "text", "text": "A: "}, {"type": "image", "path": "y.png"}, {"type": "text", "text": "!"}]
    return Record(Job("seen", "audio->image", sample, 0), asked, said, 7, {"max_new_tokens": 3}, "m")


def test_a_record_tells_what_was_asked_and_said() -> None:
    found = record("a")
    assert (found.request, found.text, found.keys) == ("Draw it.", "A: !", ["text", "image", "text"])
    assert (found.given, found.shown("image"), found.shown("video")) == ("x.flac", "y.png", None)


def test_jobs_know_their_ends() -> None:
    assert (JOB.source, JOB.target) == ("text", "image")
    cycle = Job("seen", "text->image->audio", "a", 0)
    assert (cycle.source, cycle.target) == ("text", "audio")
    assert Job("plain", "plain", "0", 0).target == "text"


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = Records(tmp_path / "deep" / "records.jsonl")
    for name in "abc":
        records.add(record(name))
    again = Records(records.path)
    assert list(again) == [record(name) for name in "abc"]
    assert record("b").job in again
    assert Job("unseen", "audio->image", "b", 0) not in again


def test_a_half_written_line_is_done_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.jsonl")
    records.add(record("a"))
    records.add(record("b"))
    whole = records.path.read_bytes()
    records.path.write_bytes(whole[:-20])
    again = Records(records.path)
    assert len(again) == 1
    again.add(record("b"))
    assert records.path.read_bytes() == whole


def test_records_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"job": 1}\n')
    with pytest.raises(ValueError, match="records: keys"):
        Records(path)


OLD = (  # as the first version wrote it
    '{"job": {"split": "seen", "route": "image->text", "sample": "cow", "seed": 0}, "inputs": [{"role": "user", '
    '"content": [{"type": "image", "path": "media/seen/image-to-text/cow-0-in0.0.png"}, {"type": "text", "text": '
    '"What is this?"}]}], "outputs": [{"type": "text", "text": "A cow."}], "noise": 7, "config": {"max_new_tokens": '
    '24}, "model": "1f2e"}'
)


def test_an_old_line_and_one_of_a_later_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(OLD + "\n" + OLD.replace('"noise": 7', '"seconds": 0.5, "noise": 7').replace("cow", "hen") + "\n")
    old, later = Records(path)
    assert old.job == Job("seen", "image->text", "cow", 0)
    assert (old.request, old.text, old.given) == ("What is this?", "A cow.", "media/seen/image-to-text/cow-0-in0.0.png")
    assert (old.noise, old.config, old.model) == (7, {"max_new_tokens": 24}, "1f2e")
    assert (later.job.sample, later.noise) == ("hen", 7)
    assert '"seconds": 0.5' in path.read_text()


@pytest.mark.parametrize(
    ("was", "now"), [('"noise": 7, ', ""), ('"seed": 0', '"seed": 0, "turn": 1'), ('"seed": 0', "")]
)
def test_a_line_without_what_is_needed_is_refused(tmp_path: Path, was: str, now: str) -> None:
    """And one whose job has a further key: what tells jobs apart cannot be left out."""
    path = tmp_path / "records.jsonl"
    path.write_text(OLD.replace(was, now).replace(", }", "}") + "\n")
    with pytest.raises(
        ValueError, match=r"records: keys .* where \['config', 'inputs', 'job', 'model', 'noise', 'outputs'\]"
    ):
        Records(path)


def test_media_lose_nothing_on_disk(tmp_path: Path) -> None:
    dice = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 255, (5, 3, 9, 7), generator=dice, dtype=torch.uint8)
    steps = torch.randint(-(2**15), 2**15, (1, 4000), generator=dice) / 2**15
    media = [Image(frames[0]), Audio(steps, 16000), Video(frames, 8.0), Series(torch.randn(6, 3, generator=dice), 5.0)]
    assert [type(one) for one in media] == list(FORMS)
    picture, sound, clip, series = (
        read(tmp_path / write(one, tmp_path, JOB, str(place))) for place, one in enumerate(media)
    )
    assert isinstance(picture, Image)
    assert isinstance(sound, Audio)
    assert isinstance(clip, Video)
    assert isinstance(series, Series)
    assert torch.equal(picture.pixels, frames[0])
    assert torch.equal(sound.samples, steps)
    assert torch.equal(clip.frames, frames)
    assert (sound.rate, clip.fps) == (16000, 8.0)
    assert torch.equal(series.values, media[3].values)  # type: ignore[union-attr]


def test_paths_stand_where_media_stood(tmp_path: Path) -> None:
    picture = Image(torch.zeros(3, 2, 2, dtype=torch.uint8))
    turns = [
        {"role": "user", "content": "Hi."},
        {"role": "user", "content": [{"type": "image", "media": picture}, {"type": "text", "text": "?"}]},
    ]
    first, second = kept(turns, tmp_path, JOB)
    assert first == turns[0]
    assert second["content"][1] == {"type": "text", "text": "?"}
    assert (tmp_path / second["content"][0]["path"]).is_file()
    assert turns[1]["content"][0]["media"] is picture
    text, shown = answered(Reply(["It:", picture]), tmp_path, JOB)
    assert text == {"type": "text", "text": "It:"}
    assert shown["type"] == "image"
    assert (tmp_path / shown["path"]).is_file()

"""Native JSON lines: everything a conversation has survives, what is missing is counted, bytes repeat."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from anyx.data.native import MissingMedia, Tally, open_source, portable, records_of, route_of, write
from anyx.data.sources import JSONLSource, Record
from anyx.processor import source_of
from anyx.prompt import parts_of


def converted(kind: str, given: Path, out: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    write(records_of(open_source(kind, given, options), tally or Tally()), out)
    return list(JSONLSource(out))


def content(record: Record) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Roles, texts, and files with their captions."""
    return [
        (
            message["role"],
            [(p["type"], p.get("text"), Path(source_of(p) or "-"), p.get("caption")) for p in parts_of(message)],
        )
        for message in record["messages"]
    ]


@pytest.mark.parametrize(
    ("kind", "file", "count"),
    [("mosit", "mosit.json", 1), ("nextgpt_v2", "nextgpt_v2.json", 2), ("llava", "llava.json", 2)],
)
def test_what_is_converted_reads_as_its_source(samples: Path, kind: str, file: str, count: int) -> None:
    """Several media in and out, anywhere, with captions: read back they are the same."""
    tally = Tally()
    records = converted(kind, samples / file, samples / "out" / f"{kind}.jsonl", tally)
    source = open_source(kind, samples / file, {})
    assert len(records) == count
    assert [content(record) for record in records] == [content(source[index]) for index in range(count)]
    assert tally.skipped == len(source) - count


def test_system_turns_and_captions_survive(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "image", "path": "a.png", "caption": "in"}, {"type": "text", "text": "?"}],
        },
        {"role": "assistant", "content": [{"type": "image", "caption": "a"}, {"type": "audio", "caption": "ü"}]},
    ]
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "x", "messages": messages}))
    (record,) = converted("jsonl", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    messages[1]["content"][0]["path"] = str(tmp_path / "a.png")  # type: ignore[index]
    assert record == {"id": "x", "messages": messages}


def test_paths_are_relative_below_the_file_and_absolute_elsewhere(samples: Path, tmp_path: Path) -> None:
    source = open_source("nextgpt_pairs", samples / "cc3m.json", {})

    def path(folder: Path) -> str:
        return str(portable(source[0], folder)["messages"][0]["content"][0]["path"])

    assert path(samples) == "fox.png"
    assert path(tmp_path) == str(samples / "fox.png")
    pair = {"id": "p", "media": {"image": ["/a/b.png", "/c.png"]}, "caption": "x"}
    assert portable(pair, Path("/a"))["media"] == {"image": ["b.png", "/c.png"]}


def test_missing_media_cost_their_record_or_only_their_path(samples: Path) -> None:
    """What a user sends must be there; what the assistant shows is taught by its caption."""
    tally = Tally()
    described = list(records_of(open_source("nextgpt_pairs", samples / "cc3m.json", {}), tally))
    assert [record["id"] for record in described] == ["11", "12"]
    assert (tally.read, tally.skipped, tally.pathless) == (6, 4, 0)
    assert sum(count for kind, count in tally.kinds.items() if "a medium is missing" in kind) == 1
    tally = Tally()
    asked = list(records_of(open_source("nextgpt_pairs", samples / "cc3m.json", {"direction": "out"}), tally))
    assert [record["id"] for record in asked] == ["11", "12", "16"]
    assert asked[2]["messages"][1]["content"][1] == {"type": "image", "caption": "a picture that was never downloaded"}
    assert (tally.skipped, tally.pathless) == (3, 1)
    unchecked = records_of(open_source("nextgpt_pairs", samples / "cc3m.json", {}), Tally(), check=False)
    assert len(list(unchecked)) == 3
    nothing = [{"id": "n", "messages": [{"role": "user", "content": [{"type": "image"}]}]}]
    with pytest.raises(MissingMedia, match="n: a medium of a user's names no file"):
        list(records_of(nothing, Tally(), strict=True))


def test_strict_stops_at_the_first_bad_record_and_leaves_no_file(samples: Path, tmp_path: Path) -> None:
    records = records_of(open_source("nextgpt_pairs", samples / "cc3m.json", {}), Tally(), strict=True)
    with pytest.raises(ValueError, match=r"cc3m\.json: row 2: its caption is empty"):
        write(records, tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())
    assert len(list(records_of(open_source("mosit", samples / "mosit.json", {}), Tally(), strict=True, limit=1))) == 1


def test_packed_or_not_the_bytes_are_the_same_each_time(samples: Path, tmp_path: Path) -> None:
    made = []
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        converted("alpaca", samples / "alpaca.json", tmp_path / name)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert made[0][4:8] == bytes(4), "no date (RFC 1952: MTIME)"
    assert gzip.decompress(made[0]) == made[2]
    assert made[2].count(b"\n") == 2
    with pytest.raises(ValueError, match=r"out\.json: native records are written to a \.jsonl or \.jsonl\.gz"):
        converted("alpaca", samples / "alpaca.json", tmp_path / "out.json")


def test_options_are_checked_as_those_of_a_yaml(samples: Path) -> None:
    with pytest.raises(ValueError, match="format: 'lava' is not one of jsonl, llava"):
        open_source("lava", samples / "llava.json", {})
    with pytest.raises(ValueError, match=r"llava: rot: Key 'rot' not in 'LlavaSource'\. Did you mean: 'root'\?"):
        open_source("llava", samples / "llava.json", {"rot": "images"})
    with pytest.raises(ValueError, match="videochat: flat: must be bool, but 'yes' was given"):
        open_source("videochat", samples / "videochat.json", {"flat": "yes"})


def test_routes_say_what_goes_in_and_out(samples: Path) -> None:
    routes = [
        route_of(next(records_of(open_source(kind, samples / file, {}), Tally(), check=False)))
        for kind, file in (("mosit", "mosit.json"), ("t2m", "t2m.json"), ("alpaca", "alpaca.json"))
    ]
    assert routes == ["audio+text+video -> audio+image+text", "text -> audio+text", "text -> text"]
    assert route_of({"media": {"image": "a"}, "caption": "x"}) == "image+text"
    assert route_of({"messages": [{"role": "user", "content": "hi"}]}) == "text -> nothing"

"""A weighted mixture of every kind of source, stopped at any batch, goes on as if it had not been, in any workers."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelves import picture, shards

from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.skipped import READ
from anyx.data.sources import UNREADABLE, Feed, Record, feed
from anyx.media import Image


class Looks:
    """Reads a pair down to its pixels: what it was, and which variant of it."""

    def read(self, record: Record, feed: Feed, variant: int) -> tuple[str, str, int, int]:
        pixels = Image.read(record["media"]["image"]).pixels
        return feed.name, record["caption"], variant, int(pixels.long().sum())

    def collate(self, samples: Sequence[tuple[str, str, int, int]]) -> list[tuple[str, str, int, int]]:
        return list(samples)


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> list[Feed]:
    folder = tmp_path_factory.mktemp("sources")
    for index in range(9):
        (folder / f"{index}.png").write_bytes(picture(index))
    lines = [{"media": {"image": f"{i}.png"}, "caption": f"line {i}"} for i in range(12)]  # three are missing
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    cut = shards(folder / "shards", [3, 5, 1, 4, 2]) / "003.tar"
    cut.write_bytes(cut.read_bytes()[:-8192])  # within its last samples
    rows = {
        "image": [{"bytes": picture(i), "path": None} for i in range(6)],
        "text": [f"row {i}" * (i % 4) for i in range(6)],  # two of no characters
    }
    datasets.Dataset.from_dict(rows).save_to_disk(folder / "table")
    nodes: dict[str, dict[str, Any]] = {
        "lines": {"path": str(folder / "pairs.jsonl")},
        "shards": {"type": "webdataset", "path": str(folder / "shards"), "window": 2, "index": str(folder / "i")},
        "table": {"type": "huggingface", "path": str(folder / "table"), "variants": 0},
    }
    nodes["shards"]["variants"] = 3
    return [feed(name, node) for name, node in nodes.items()]


def length_of(source: Sequence[Record], index: int) -> int:
    """Some length that a record has; 0 of one that cannot be read."""
    try:
        return len(str(source[index]))
    except UNREADABLE:
        return 0


def loader(feeds: list[Feed], workers: int, seed: int, bucket: bool) -> Loader:
    mixture = Mixture([f.source for f in feeds], [1, 3, 1], seed=seed, variants=[f.variants for f in feeds])
    length = (lambda draw: length_of(feeds[draw.source].source, draw.record)) if bucket else None
    return Loader(feeds, Looks(), Batches(mixture, 3, length=length, window=3), workers=workers)


def check(feeds: list[Feed], workers: int, done: int, seed: int, bucket: bool) -> None:
    whole = list(itertools.islice(loader(feeds, 0, seed, bucket), done + 6))
    rest = loader(feeds, workers, seed, bucket)
    if done:
        state = json.loads(json.dumps(whole[done - 1][1]))  # as a checkpoint keeps it
        rest.batches.load_state_dict(state)
        rest.report.load_state_dict(state[READ])
    assert list(itertools.islice(rest, 6)) == whole[done:]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 25), st.integers(0, 9), st.booleans())
def test_any_batch_resumes(feeds: list[Feed], done: int, seed: int, bucket: bool) -> None:
    check(feeds, 0, done, seed, bucket)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 25), st.integers(0, 9), st.booleans())
def test_any_batch_resumes_in_workers(feeds: list[Feed], done: int, seed: int, bucket: bool) -> None:
    check(feeds, 2, done, seed, bucket)


def test_every_source_gives_and_loses_what_it_should(feeds: list[Feed]) -> None:
    given = loader(feeds, 0, 0, False)
    seen = {(name, said) for batch, _ in itertools.islice(given, 150) for name, said, _, _ in batch}
    assert {said for name, said in seen if name == "lines"} == {f"line {i}" for i in range(9)}
    assert {said for name, said in seen if name == "table"} == {f"row {i}" * (i % 4) for i in range(6) if i % 4}
    faults = {(feeds[source].name, fault) for source, fault in given.report.faults}
    assert faults == {("lines", "missing"), ("shards", "truncated"), ("table", "zero-length")}
    lost = {source: sum(number == source for number, _ in given.report.reasons) for source in range(3)}
    assert lost == {0: 3, 1: 1, 2: 2}

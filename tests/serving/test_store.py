"""Media by id: they expire, their bytes are bounded, and a server that kept them says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tiny
import torch
from live import live

from anyx.media import Image
from anyx.serving.settings import Settings
from anyx.serving.store import Store


def picture(seed: int) -> Image:
    noise = torch.Generator().manual_seed(seed)
    return Image(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=noise))


def test_media_expire() -> None:
    now = [1000.0]
    store = Store(seconds=10, clock=lambda: now[0])
    kept = store.keep(picture(0))
    now[0] = 1009.0
    found = store.get(kept.name)
    assert found is not None
    assert (Image.read(found.data).pixels == picture(0).pixels).all()
    now[0] = 1010.0
    assert store.get(kept.name) is None
    assert (len(store), store.size) == (0, 0)


def test_the_oldest_go_where_there_is_no_room() -> None:
    size = len(picture(0).to_bytes("png"))
    store = Store(bound=2 * size + size // 2)
    names = [store.keep(picture(seed)).name for seed in range(3)]
    assert [store.get(name) is not None for name in names] == [False, True, True]
    assert store.size <= store.bound
    assert len({*names}) == 3
    assert min(map(len, names)) >= 32
    tight = Store(bound=10)
    assert tight.get(tight.keep(picture(0)).name) is None
    assert tight.size == 0
    with pytest.raises(ValueError, match="more than 0"):
        Store(seconds=0)


def test_servers_that_share_a_folder_find_each_other_s_files(tmp_path: Path) -> None:
    now = [1000.0]
    one, other = (Store(seconds=10, clock=lambda: now[0], folder=tmp_path / "media") for _ in range(2))
    kept = one.keep(picture(3))
    assert other.get(kept.name) == kept
    assert len(other) == 0
    assert other.get("../" + kept.name) is None
    assert other.get("*" * 32) is None
    now[0] = 1010.0
    assert other.get(kept.name) is None  # expired, though its file is there
    assert len(list((tmp_path / "media").iterdir())) == 1
    assert one.get(kept.name) is None
    assert list((tmp_path / "media").iterdir()) == []


def test_a_server_forgets_them() -> None:
    with live(tiny.anyx(), Settings(name="tiny", expiry=1.0)) as here:
        name = here.server.front.store.keep(picture(0)).name
        reply = here.http().get(f"/media/{name}")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in reply.headers["content-security-policy"]
        time.sleep(1.1)
        assert here.http().get(f"/media/{name}").status_code == 404

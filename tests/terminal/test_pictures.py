"""Escape sequences decoded back to the pixels they were made of, by readers written here from the protocols' texts."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from terminal_readers import read_kitty

from anyx.media import Audio, Image, Series, Video
from anyx.terminal import pictures
from anyx.terminal.pictures import Pixels
from anyx.terminal.sketches import Sketcher, bars, cells, strip


@pytest.fixture
def pixels() -> Pixels:
    """Noise, which no compression and no palette forgives."""
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def read_sixel(text: str) -> Pixels:
    found = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert found
    width, height, body = int(found[1]), int(found[2]), found[3]
    made = np.full((-(-height // 6) * 6, width, 3), -1)
    palette: dict[int, list[float]] = {}
    colour, x, top = 0, 0, 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", body):
        if token[1]:
            palette[int(token[1])] = [int(token[place]) * 2.55 for place in (2, 3, 4)]
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, top = 0, top + 6
        else:
            count, bits = int(token[6] or 1), ord(token[7] or token[8]) - 63
            for row in range(6):
                if bits >> row & 1:
                    made[top + row, x : x + count] = np.round(palette[colour])
            x += count
            assert x <= width
    assert (made[:height] >= 0).all(), "every pixel is painted"
    assert (made[height:] < 0).all(), "and none below"
    return made[:height].astype(np.uint8)


def read_blocks(text: str) -> Pixels:
    rows = []
    for line in text.split("\n"):
        over, under, fore, back = [], [], [0, 0, 0], [0, 0, 0]
        for colours, letter in re.findall(r"(?:\x1b\[([\d;]+)m)?(▀)", line):
            if colours:
                numbers = [int(one) for one in colours.split(";")]
                assert (numbers[:2], numbers[5:7]) == ([38, 2], [48, 2])
                fore, back = numbers[2:5], numbers[7:10]
            assert letter
            over.append(fore)
            under.append(back)
        assert line.endswith("\x1b[0m"), "the next line is not coloured"
        rows += [over, under]
    return np.array(rows, np.uint8)


def test_kitty_holds_every_pixel(pixels: Pixels) -> None:
    found, keys = read_kitty(pictures.kitty(pixels, 30, 10))
    assert (found == pixels).all()
    assert (keys["a"], keys["q"], keys["c"], keys["r"]) == ("T", "2", "30", "10")
    assert pictures.kitty(pixels, 30, 10).count("\x1b_G") > 1, "it is long enough to be cut"
    small, _ = read_kitty(pictures.kitty(pixels[:1, :1], 1, 1))
    assert (small == pixels[:1, :1]).all()


def test_iterm_holds_a_png(pixels: Pixels) -> None:
    found = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=(\d+);width=30;height=10;preserveAspectRatio=1:(.*)\x07",
        pictures.iterm(pixels, 30, 10),
    )
    assert found
    data = base64.standard_b64decode(found[2])
    assert len(data) == int(found[1])
    with PILImage.open(io.BytesIO(data)) as picture:
        assert (np.asarray(picture) == pixels).all()


@pytest.mark.parametrize("cell", [(10, 20), (7, 13)])
def test_sixel_paints_every_pixel(cell: tuple[int, int]) -> None:
    """Of few colours: each is kept to the nearest percent, and nothing is resized where the sizes agree."""
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 51], [51, 102, 204]], np.uint8)
    given = colours[np.random.default_rng(0).integers(0, 4, (2 * cell[1], 3 * cell[0]))]
    given[:6, :20] = colours[2]  # a run
    text = pictures.sixel(given, 3, 2, cell=cell)
    assert "!" in text
    assert np.abs(read_sixel(text).astype(int) - given).max() <= 2


def test_sixel_comes_near_a_photograph(pixels: Pixels) -> None:
    smooth = np.asarray(PILImage.fromarray(pixels[:4, :4]).resize((100, 80), PILImage.Resampling.BICUBIC))
    assert np.abs(read_sixel(pictures.sixel(smooth, 10, 4)).astype(int) - smooth).mean() < 8


def test_blocks_are_two_pixels_a_letter(pixels: Pixels) -> None:
    given = pixels[:12, :20].copy()
    given[4:8] = 7  # colours are said again only where they change
    text = pictures.blocks(given, 20, 6)
    assert (read_blocks(text) == given).all()
    assert text.split("\n")[2].count("\x1b[38") == 1
    nearest = pictures.blocks(np.array([[[255, 0, 90]], [[0, 138, 255]]], np.uint8), 1, 1, true_colour=False)
    assert nearest == f"\x1b[38;5;{16 + 36 * 5 + 1};48;5;{16 + 6 * 2 + 5}m▀\x1b[0m"


def test_a_clip_is_a_strip_and_a_sound_a_line() -> None:
    frames = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 5, 6).contiguous()
    assert strip(Video(frames, 8.0)).pixels[0, 0, ::6].tolist() == [1, 3, 5, 7]
    found, _ = read_kitty(Sketcher("kitty").draw(Video(frames[:2], 8.0)))
    assert found.shape == (5, 12, 3)
    sound = torch.cat([torch.zeros(800), torch.full((800,), -0.5), torch.ones(800)])[None]
    line = Sketcher("blocks").draw(Audio(sound, 1600))
    assert line.endswith(" 1.5 s")
    assert [line[place] for place in (0, 24, 47)] == [" ", "▄", "█"]
    assert bars(torch.zeros(5), 48) == "     "
    assert Sketcher("sixel").draw(Series(torch.arange(4.0)[None])) == " ▃▅█"
    picture = Image(frames[0])
    assert [Sketcher("none").draw(one) for one in (picture, Audio(sound, 1600), Video(frames, 1.0))] == [""] * 3
    for graphics in ("iterm", "sixel", "blocks"):
        assert Sketcher(graphics).draw(picture)


@pytest.mark.parametrize("size", [(24, 24), (2000, 10), (10, 2000), (64, 256), (1, 1)])
def test_pictures_keep_their_proportions_in_their_room(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    columns, rows = cells(*size, (10, 20))
    assert 1 <= columns <= 48
    assert 1 <= rows <= 16
    if min(columns, rows) > 1:
        assert columns * 10 / (rows * 20) == pytest.approx(size[1] / size[0], rel=0.2)
    monkeypatch.setenv("COLUMNS", "20")
    assert cells(*size, (10, 20))[0] <= 19

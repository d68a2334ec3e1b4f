"""CLIP's tokenizer over a few merges, where every id follows by hand from the vocabulary's order."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pytest
import torch

from anyx.encoders.imagebind import ImageBindEncoder
from anyx.encoders.imagebind_text import TextTransform, byte_pieces, clip_tokenizer, read_merges
from anyx.packaged import FetchError, locate

MERGES = ["c a", "ca t</w>", "c o", "co w</w>", "d o"]
BYTE = {letter: number for number, letter in enumerate(map(chr, range(33, 127)))}  # "!" is the first byte that prints


@pytest.fixture
def merges(tmp_path: Path) -> Path:
    file = tmp_path / "merges.txt.gz"
    file.write_bytes(gzip.compress("\n".join(["#version: 0.2", *MERGES, ""]).encode()))
    return file


def ids(transform: TextTransform, text: str) -> list[int]:
    found = transform(text)["ids"].tolist()
    start, end = transform.ends
    assert found[0] == start
    assert set(found[found.index(end) + 1 :]) <= {0}
    return found[1 : found.index(end)]


def last(letter: str) -> int:
    """The id of a letter that ends a word."""
    return 256 + BYTE[letter]


def test_ids_follow_the_vocabulary(merges: Path) -> None:
    transform = TextTransform(str(merges), 12)
    assert transform.ends == (512 + len(MERGES), 512 + len(MERGES) + 1)
    merged = {piece: 512 + number for number, piece in enumerate(["ca", "cat", "co", "cow", "do"])}
    assert ids(transform, "A  Cat,") == [last("a"), merged["cat"], last(",")]
    assert ids(transform, "cats") == [merged["ca"], BYTE["t"], last("s")]
    assert ids(transform, "cow's 12") == [merged["cow"], BYTE["'"], last("s"), last("1"), last("2")]
    assert ids(transform, "do dog") == [BYTE["d"], last("o"), merged["do"], last("g")]
    assert len(transform("cat")["ids"]) == 12


def test_texts_are_repaired_unescaped_and_lowered(merges: Path) -> None:
    transform = TextTransform(str(merges))
    plain = ids(transform, "<b>it's a cow</b>")
    for text in (
        "&lt;B&gt;It's  a\tcow&lt;/b&gt; ",
        "&amp;lt;b&amp;gt;it's a cow&amp;lt;/b&amp;gt;",
        "<b>it\u2019s a cow</b>",
    ):
        assert ids(transform, text) == plain


def test_a_long_text_is_cut_before_its_end(merges: Path) -> None:
    transform = TextTransform(str(merges), 5)
    start, end = transform.ends
    assert transform("cat cat cat cat cat cat")["ids"].tolist() == [start, 513, 513, 513, end]
    assert len(set(byte_pieces())) == 256


def test_it_travels_the_same_before_and_after_its_first_text(merges: Path) -> None:
    transform = TextTransform(str(merges))
    before = pickle.dumps(transform)
    first = transform("a cow")["ids"]
    assert pickle.dumps(transform) == before
    assert torch.equal(pickle.loads(before)("a cow")["ids"], first)


def test_plain_text_and_folders_of_merges(merges: Path) -> None:
    plain = merges.with_name("plain.txt")
    plain.write_bytes(gzip.decompress(merges.read_bytes()))
    for place in (plain, merges.parent):
        assert torch.equal(TextTransform(str(place))("cat")["ids"], TextTransform(str(merges))("cat")["ids"])
    assert read_merges(plain)[1] == ("ca", "t</w>")


def test_what_is_no_tokenizer_says_so(tmp_path: Path, merges: Path) -> None:
    (tmp_path / "wrong.txt").write_text("#version\na b\na b c\n")
    (tmp_path / "wrong.json").write_text("{}")
    for name, said in (("wrong.txt", "line 3 does not hold"), ("wrong.json", "Model missing"), ("gone.json", "")):
        with pytest.raises(
            ValueError, match=rf"tokenizer: '.*{name}' is neither CLIP's merges .* nor the JSON.*{said}"
        ):
            ImageBindEncoder(
                trunk="text", dim=8, depth=1, heads=2, out_dim=6, vocab=9, tokenizer=str(tmp_path / name)
            ).transform("a cow")
    with pytest.raises(ValueError, match="two merges make the same piece"):
        clip_tokenizer([("a", "bc"), ("ab", "c")])


def test_the_end_token_has_the_highest_id(tmp_path: Path, merges: Path) -> None:
    """The trunk reads the state of the highest id: a token after the end would be read in its place."""
    tokenizer = clip_tokenizer(read_merges(merges))
    tokenizer.save(str(tmp_path / "clip.json"))
    assert TextTransform(str(tmp_path / "clip.json"), vocab=519).ends == (517, 518)
    tokenizer.add_tokens(["<later>"])
    tokenizer.save(str(tmp_path / "clip.json"))
    with pytest.raises(ValueError, match="has ids above 518, that of its end token"):
        TextTransform(str(tmp_path / "clip.json"), vocab=520)


def test_published_merges_make_the_published_vocabulary() -> None:
    try:
        folder = locate("clip-merges")
    except FetchError as error:
        pytest.skip(f"CLIP's merges are not in the cache and could not be fetched: {error}")
    transform = TextTransform(folder)
    assert transform.ends == (49406, 49407)
    assert ids(transform, "a photo of a cat") == [320, 1125, 539, 320, 2368]  # the golden case's own

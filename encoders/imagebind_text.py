"""Text to ImageBind's ids: CLIP's byte-pair encoding (arXiv 2103.00020), from its merges file or a `tokenizers` JSON.

CLIP's vocabulary has no file of its own: 256 bytes, the same bytes at a word's end, a piece for every merge in order,
start, end. So its merges (`bpe_simple_vocab_16e6.txt.gz`, github.com/openai/CLIP, MIT) are all that is needed; the id
`PUBLISHED` fetches them once from the package open_clip_torch. Texts are repaired (ftfy), unescaped, cut to one space,
lowered, and laid out as [start, ..., end, 0, ...].
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anyx.packaged import locate

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PUBLISHED = "clip-merges"  # in `anyx.packaged`
START, END = "<|startoftext|>", "<|endoftext|>"
MOST_MERGES = 49152 - 256 - 2  # the published file goes on
ENTRIES = 2 * 256 + MOST_MERGES + 2
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def read_merges(file: Path) -> list[tuple[str, str]]:
    """The merges of a text file, gzipped or not: after a line that tells the version, two pieces a line, best first."""
    data = file.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    pairs = [tuple(line.split()) for line in text.splitlines()[1 : MOST_MERGES + 1]]
    wrong = [number for number, pair in enumerate(pairs, 2) if len(pair) != 2]
    if wrong:
        raise ValueError(f"{file}: line {wrong[0]} does not hold the two pieces of a merge")
    return [(pair[0], pair[1]) for pair in pairs]


def byte_pieces() -> Iterator[str]:
    """The character that stands for each byte, in the vocabulary's order: those that print first, as themselves."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printing)
    yield from (chr(256 + number) for number in range(256 - len(printing)))


def clip_tokenizer(merges: list[tuple[str, str]]) -> Tokenizer:
    """CLIP's tokenizer over some merges; END has the highest id."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    letters = list(byte_pieces())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    if len(vocabulary) != len(pieces):
        raise ValueError("two merges make the same piece")
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.add_special_tokens([AddedToken(START), AddedToken(END)])
    return tokenizer


@dataclass(frozen=True)
class TextTransform:
    """Text to ids (context,): `tokenizer` is CLIP's merges (.txt, .txt.gz), a folder of them, or a JSON.

    A JSON without CLIP's start and end tokens gets two ids above its own, so that the end token is always the highest.
    `vocab` is how many ids the trunk knows: a tokenizer of more is refused, at once where its file is at hand, else
    with the first text.
    """

    tokenizer: str = PUBLISHED
    context: int = 77
    vocab: int | None = None

    def __post_init__(self) -> None:
        """Hold the tokenizer against the vocabulary, without fetching it."""
        if self.tokenizer == PUBLISHED:
            self._check(ENTRIES)
        elif self.vocab is not None and Path(self.tokenizer).exists():
            self._check(self.ends[1] + 1)

    def _check(self, entries: int) -> None:
        if self.vocab is not None and entries > self.vocab:
            told = f"makes {entries} ids, more than the text trunk's vocab of {self.vocab}"
            raise ValueError(f"tokenizer: {self.tokenizer!r} {told}; give vocab={entries} or another tokenizer")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        file = Path(locate(self.tokenizer))
        if file.is_dir():
            file = next(iter(sorted(file.glob("*.txt.gz"))), file / "tokenizer.json")
        try:
            if file.suffix in (".gz", ".txt"):
                return clip_tokenizer(read_merges(file))
            return Tokenizer.from_file(str(file))
        except Exception as error:  # `tokenizers` raises nothing more particular
            wanted = (
                "CLIP's merges (.txt or .txt.gz) nor the JSON of a `tokenizers` tokenizer, which the text trunk reads"
            )
            raise ValueError(f"tokenizer: {self.tokenizer!r} is neither {wanted}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone, whether the tokenizer was read or not: what is pickled says what the transform is."""
        return {"tokenizer": self.tokenizer, "context": self.context, "vocab": self.vocab}

    @cached_property
    def ends(self) -> tuple[int, int]:
        """Ids of the start and the end token; the vocabulary has end + 1 entries."""
        highest = max(self._tokenizer.get_vocab().values(), default=-1)
        start, end = map(self._tokenizer.token_to_id, (START, END))
        if start is None or end is None:
            start, end = highest + 1, highest + 2
        if end < highest:  # the trunk reads the state of the highest id
            raise ValueError(f"tokenizer: {self.tokenizer!r} has ids above {end}, that of its end token {END}")
        self._check(end + 1)
        return start, end

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The ids of a string."""
        import ftfy

        if not isinstance(media, str):
            raise ValueError(f"the text trunk reads str, given {type(media).__name__}")
        text = " ".join(html.unescape(html.unescape(ftfy.fix_text(media))).split()).lower()
        start, end = self.ends
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[: self.context - 2]
        return {"ids": F.pad(torch.tensor([start, *ids, end]), (0, self.context - len(ids) - 2))}

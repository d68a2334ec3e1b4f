"""Write the LLM's tokenizer: `python experiments/anyworld/make_tokenizer.py [--out FOLDER]`.

Whole lower-case words, every one that training says, and the plural's "s" apart from its noun, so that "circle" is one
token however many there are. A word that no training record has is `<unk>`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from anyx.imports import import_file

HERE = Path(__file__).parent
SPECIAL = ("<unk>", "<s>", "</s>", "<user>", "<model>")
PLURAL = "##s"


def texts() -> Iterator[str]:
    """All that training says, once or more."""
    dialogues = import_file(HERE / "dialogues.py")
    for record in dialogues.World(part="converse", copies=6).records:
        for turn in record["messages"]:
            content = turn["content"]
            yield from [content] if isinstance(content, str) else [part.get("text", "") for part in content]


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer."""
    words = {word for text in texts() for word in re.findall(r"\w+|[^\w\s]", text)}
    kept = sorted(word for word in words if not (len(word) > 3 and word.endswith("s") and word[:-1] in words))
    core = Tokenizer(models.WordPiece({word: i for i, word in enumerate((*SPECIAL, PLURAL, *kept))}, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        additional_special_tokens=["<user>", "<model>"],
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=HERE / "tokenizer", help="where to write")
    out = options.parse_args().out
    made = tokenizer()
    made.save_pretrained(out)
    print(f"{out}: {len(made)} tokens")


if __name__ == "__main__":
    main()

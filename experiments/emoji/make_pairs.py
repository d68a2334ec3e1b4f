"""Write what the backbones are trained on: `python experiments/emoji/make_pairs.py`.

`backbones/pairs.jsonl.gz` has one record a core concept: its training media, paths relative to `data/`, and its label
as caption; `words.json` is the word-level tokenizer of all labels that the tiny text encoders read.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from anyx.decoders.words import word_tokenizer
from anyx.imports import import_file

HERE = Path(__file__).parent
VOICE = "slt"  # the model speaks with one voice


def main() -> None:
    corpus = import_file(HERE / "corpus.py")
    records = []
    for concept in corpus.core():
        media = {
            "image": [concept.image[style] for style in corpus.STYLES["train"]],
            "audio": concept.speech[VOICE],
            "video": concept.video,
        }
        records.append({"id": concept.id, "media": media, "caption": concept.label})
    (HERE / "backbones").mkdir(exist_ok=True)
    lines = [f"{json.dumps(record, ensure_ascii=False)}\n" for record in records]
    (HERE / "backbones" / "pairs.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    words = sorted({word for concept in corpus.concepts() for word in concept.label.split()})
    word_tokenizer(8, words=words).backend_tokenizer.save(str(HERE / "words.json"))
    print(f"{len(records)} records, {len(words)} words")


if __name__ == "__main__":
    main()

"""Six concepts of emoji world as files: a picture, a word that is spoken, a clip of each, and `test.json`, a row each.

python experiments/lmms_eval/make.py [runs/lmms_eval]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from anyx.imports import import_file

EMOJI = Path(__file__).parents[1] / "emoji"
SUFFIXES = {"image": "png", "audio": "wav", "video": "mp4"}


def main(out: Path = Path("runs/lmms_eval"), count: int = 6) -> Path:
    """Write media that training never saw; returns the JSON."""
    world = import_file(EMOJI / "corpus.py").EmojiCorpus()
    concepts = world.chosen("seen", count)
    labels = [world.label(concept) for concept in concepts]
    rows = []
    for number, concept in enumerate(concepts):
        row = {"label": labels[number], "choices": [labels[(number + step) % count] for step in (1, 3, 0, 2)]}
        for key, suffix in SUFFIXES.items():
            row[key] = str(world.media("seen", key, concept, 0).save(out / f"{concept}.{suffix}").resolve())
        rows.append({**row, "answer": 2})
    file = out / "test.json"
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    print(main(*map(Path, sys.argv[1:2])))

"""Write the training dialogues: `python experiments/emoji/make_dialogues.py [--copies 2] [--seed 0]`.

Four files in `experiments/emoji/dialogues/`: captions, captions_out, recall and instruct, each `.jsonl.gz`. The same
seed writes the same bytes. Media paths are relative to `experiments/emoji/data/`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from anyx.imports import import_file

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=HERE / "dialogues", help="where to write")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--copies", type=int, default=2, help="samples per concept and route in the last stage")
    given = options.parse_args()
    dialogues = import_file(HERE / "dialogues.py")
    for name, records in dialogues.files(given.seed, given.copies).items():
        path = given.out / f"{name}.jsonl.gz"
        count = dialogues.write(path, records)
        print(f"{path.name}: {count} records, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

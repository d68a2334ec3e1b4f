"""Finding a benchmark's files in a folder, and reading JSON, JSONL, TSV and Parquet; one line for whatever is amiss.

Pictures are only named here. One that is in none of the usual places is named where it was expected first, so that it
is reported as missing when it is opened, and the rest of the benchmark goes on.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.samples import Benchmark
from anyx.evaluation.records import json_lines

CELL = 2**31 - 1  # characters that a cell of a TSV may have: a picture in base64


def found(benchmark: Benchmark, folder: Path, split: str) -> list[Path]:
    """The files that a benchmark is read from; ValueError where the folder is not what it `holds`."""
    if not folder.is_dir():
        raise ValueError(f"--data: there is no folder '{folder}'; expected {benchmark.holds}")
    for patterns in benchmark.files:
        groups = [matching(folder, pattern, "" if pattern in benchmark.split_inside else split) for pattern in patterns]
        if all(groups):
            once = [group for pattern, group in zip(patterns, groups, strict=True) if pattern not in benchmark.many]
            if several := next((group for group in once if len(group) > 1), None):
                names = ", ".join(str(file.relative_to(folder)) for file in several[:4])
                raise ValueError(
                    f"--data: {folder} holds several of what is read once: {names}; name a folder with one of them, or "
                    "choose by --split"
                )
            return [file for group in groups for file in group]
    apart = {pattern for patterns in benchmark.files for pattern in patterns} - {*benchmark.split_inside}
    with_split = f" with '{split}' in the name" if split and apart else ""
    raise ValueError(
        f"--data: no {' or '.join(' + '.join(one) for one in benchmark.files)}{with_split} in {folder}; expected "
        f"{benchmark.holds}"
    )


def matching(folder: Path, pattern: str, split: str) -> list[Path]:
    """Files of a pattern at any depth whose name has `split` in it, hidden ones left out; sorted.

    Those that have it as a word, where there are such: `test` is not `testA`, but may be `test2015`.
    """
    files = (file for file in folder.glob(f"**/{pattern}") if file.is_file() and not file.name.startswith("."))
    having = sorted(file for file in files if split.lower() in file.name.lower())
    if not split:
        return having
    word = re.compile(rf"(?<![a-z]){re.escape(split)}(?![a-z])", re.IGNORECASE)
    return [file for file in having if word.search(file.name)] or having


def located(folder: Path, name: str, *places: str, endings: Sequence[str] = ("",)) -> Path:
    """Where a picture lies: the first of `folder/place/name` that is there, else the first of them."""
    paths = [folder / place / f"{name}{ending}" for place in places or ("",) for ending in endings]
    return next((path for path in paths if path.is_file()), paths[0])


def read_json(file: Path) -> Any:
    """The content of a JSON file; ValueError where it is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSONL file, empty ones left out; ValueError names one that is no JSON."""
    with file.open("rb") as lines:
        yield from json_lines(file, lines)


def read_tsv(file: Path) -> Iterator[dict[str, str | None]]:
    """The rows of a TSV by its first line, quoted as CSV is; empty cells are None."""
    csv.field_size_limit(CELL)
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            yield {key: cell or None for key, cell in row.items() if key is not None}


def read_parquet(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The rows of Parquet files, a few in memory at a time; ValueError without pyarrow, or for a broken file."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError("Parquet files are read by pyarrow: `pip install anyx[datasets]`") from None
    for file in files:
        try:
            for batch in ParquetFile(file).iter_batches(batch_size=16):
                yield from batch.to_pylist()
        except ArrowException as error:
            raise ValueError(f"{file} cannot be read as Parquet: {error}") from error


def cell(value: Any) -> bytes | Path | None:
    """The picture in a cell of a table, as `datasets` stores it: encoded, or else its file; None of an empty one."""
    if isinstance(value, Mapping):
        path = value.get("path")
        value = Path(path) if value.get("bytes") is None and path else value.get("bytes")
    return value if value is None or isinstance(value, Path) else bytes(value)

"""What a person looks at: the table on the terminal, `report.html` (one file, pictures and players inside), the sheet.

Colours of cells run from red to green with top-1. Nothing here measures.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyx.evaluation import lines, sheet
from anyx.evaluation.corpus import Corpus
from anyx.evaluation.plots import bars
from anyx.evaluation.records import Record
from anyx.evaluation.routes import PLAIN, cells
from anyx.evaluation.scores import Verdict, Verdicts

EXAMPLES = 4  # pairs shown of a cell
PICTURE = '<img alt="" src="{0}">'
TAGS = {
    ".png": ("image/png", PICTURE),
    ".apng": ("image/apng", PICTURE),  # which moves in every browser
    ".flac": ("audio/flac", '<audio controls src="{0}"></audio>'),
}

STYLE = """
:root{color-scheme:light dark} body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem}
table{border-collapse:collapse;margin:.6rem 0} td,th{padding:.45rem .8rem;border:1px solid #8884;text-align:center}
td b{font-size:1.15rem} small{opacity:.75} .pair{display:inline-flex;gap:.5rem;align-items:center;margin:.25rem;
padding:.4rem;border:1px solid #8884;border-radius:8px;vertical-align:top} .bad{border-color:#c33}
.pair img{width:72px;height:72px;image-rendering:pixelated;background:#fff} audio{width:150px;height:32px}
.side{max-width:190px;font-size:.85rem;text-align:left} .arrow{opacity:.5}
"""


@contextmanager
def progress(what: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar; yields what moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def show(found: Mapping[str, Any], corpus: Corpus) -> None:
    """Print the matrices."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for split in corpus.splits:
        title = f"{split}: {lines.sizes(found[split])}, in the closed list of {found['labels']}"
        table = Table(title=title, show_lines=True)
        table.add_column("in \\ out")
        for key in corpus.keys:
            table.add_column(key)
        for source in corpus.keys:
            row = [found[split].get(f"{source}->{target}") for target in corpus.keys]
            table.add_row(Text(source, no_wrap=True), *("-" if not cell else lines.cell(cell, "\n") for cell in row))
        console.print(table)
        for told in (*lines.cycles(found, split), *lines.decisions(found, split)):
            console.print(f"{split}: {told}", markup=False, highlight=False)
    for split in corpus.apart:
        for name, cell in found[split].items():
            console.print(f"{split}, apart: {name} {lines.cell(cell)} (n {cell['n']})", markup=False, highlight=False)
    if told := lines.plain(found):
        console.print(told)
    console.print(lines.FOOT, style="dim")


def write(found: Mapping[str, Any], corpus: Corpus, records: Sequence[Record], verdicts: Verdicts, out: Path) -> None:
    """Write `report.html` and one contact sheet a split."""
    told = "; ".join(part for part in (f"{found['labels']} labels in the closed list", lines.plain(found)) if part)
    parts = [f"<h1>What goes in, what comes out</h1><p>{told}.</p>"]
    for split in (*corpus.splits, *corpus.apart):
        shown = [record for record in records if record.job.split == split]
        if not shown:
            continue
        parts.append(f"<h2>{html.escape(split)}</h2>{_table(found[split], corpus)}{bars(found[split])}")
        parts += [
            _list("cycles", lines.cycles(found, split)),
            _list("whether media came", lines.decisions(found, split)),
        ]
        groups = {name: [record for record in shown if record.job.route == name] for name in cells(corpus.keys)}
        for name, group in groups.items():
            if group:
                pairs = "".join(_pair(record, verdicts[record.job], corpus, out) for record in group[:EXAMPLES])
                parts.append(f"<h3>{html.escape(name)}</h3><div>{pairs}</div>")
        if split in corpus.splits:
            sheet.draw(groups, verdicts, corpus, out).save(out / f"contact_sheet_{split}.png")
    parts.append(_plain_chat([record for record in records if record.job.split == PLAIN]))
    page = f"<!doctype html><meta charset=utf-8><title>anyx: the matrix</title><style>{STYLE}</style>{''.join(parts)}"
    (out / "report.html").write_text(page, encoding="utf-8")


def _list(title: str, told: Sequence[str]) -> str:
    if not told:
        return ""
    return f"<h3>{title}</h3><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in told)}</ul>"


def _table(figures: Mapping[str, Any], corpus: Corpus) -> str:
    heads = "".join(f"<th>{html.escape(key)}</th>" for key in corpus.keys)
    rows = "".join(
        f"<tr><th>{html.escape(source)}</th>"
        + "".join(_cell(figures.get(f"{source}->{target}")) for target in corpus.keys)
        + "</tr>"
        for source in corpus.keys
    )
    return f"<table><tr><th>in \\ out</th>{heads}</tr>{rows}</table>"


def _cell(cell: Mapping[str, Any] | None) -> str:
    if not cell:
        return "<td>-</td>"
    low, high = cell["ci95"]
    others = "".join(f"<br>{html.escape(name)}: {other['top1']:.0%}" for name, other in cell.get("others", {}).items())
    marks = "<br>synthetic input" if cell.get("synthetic_input") else ""
    mark = "".join(f"<br>{told}" for told in (lines.likeness(cell), lines.word_errors(cell)) if told) + marks
    return (
        f'<td style="background:hsl({120 * cell["top1"]:.0f} 60% 50% / .35)"><b>{cell["top1"]:.0%}</b> '
        f"<small>({low:.0%}-{high:.0%})<br>top-5 {cell['top5']:.0%}, valid {cell['valid']:.0%}, n {cell['n']}<br>"
        f"ceiling {cell['ceiling']:.0%}, chance {cell['chance']:.1%}{others}{mark}</small></td>"
    )


def _pair(record: Record, verdict: Verdict, corpus: Corpus, out: Path) -> str:
    right = sheet.named_right(record, verdict, corpus)
    request = f"{_media(record.given, out)}<div class=side>{html.escape(record.request)}</div>"
    reply = f"<div class=side>{html.escape(record.text)}</div>{_media(record.shown(record.job.target), out)}"
    title = html.escape(f"{corpus.label(record.job.sample)}; judged {'right' if right else 'wrong'}", quote=True)
    kind = "pair" if right else "pair bad"
    return f'<div class="{kind}" title="{title}">{request}<span class=arrow>&rarr;</span>{reply}</div>'


def _media(place: str | None, out: Path) -> str:
    if place is None:
        return ""
    path = out / place
    kind, tag = TAGS.get(path.suffix, ("application/octet-stream", '<a download href="{0}">values</a>'))
    return tag.format(f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}")


def _plain_chat(records: Sequence[Record]) -> str:
    if not records:
        return ""
    said = "".join(f"<li>{html.escape(r.request)} <b>{html.escape(r.text)}</b></li>" for r in records[:20])
    return f"<h2>plain chat</h2><ul>{said}</ul>"

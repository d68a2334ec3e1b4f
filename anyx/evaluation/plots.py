"""Plots of figures as inline SVG: shares with their intervals, beside what chance and the ceiling give."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

LEFT, WIDE, HIGH = 130, 420, 20  # pixels: names, the scale from 0 to 1, a line


def bars(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a cell: a dot at top1, its 95% interval, a tick at chance and one at the ceiling."""
    lines = []
    for row, (name, cell) in enumerate(cells.items()):
        y = HIGH * row + HIGH // 2
        low, high = (LEFT + WIDE * edge for edge in cell["ci95"])
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{html.escape(name)}</text>')
        lines.append(f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y}" y2="{y}" stroke="#8883"/>')
        for kind, colour in (("chance", "#c33"), ("ceiling", "#2a2")):
            x = LEFT + WIDE * cell[kind]
            lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 6}" y2="{y + 6}" stroke="{colour}"/>')
        lines.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="currentColor" stroke-width="3"/>')
        lines.append(f'<circle cx="{LEFT + WIDE * cell["top1"]:.1f}" cy="{y}" r="4" fill="currentColor"/>')
    foot = HIGH * len(cells)
    marks = "".join(
        f'<text x="{LEFT + WIDE * share}" y="{foot + 14}" text-anchor="middle">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    return (
        f'<svg width="{LEFT + WIDE + 30}" height="{foot + 20}" font-size="12" fill="currentColor" role="img" '
        f'aria-label="top-1 with 95% intervals; red: chance, green: ceiling">{"".join(lines)}{marks}</svg>'
    )

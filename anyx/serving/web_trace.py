"""What happened in a reply: the route, the signal groups that were said, and where the time went; all of it escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from anyx.model import AnyX
from anyx.serving.web_guests import Turn
from anyx.watching import Took

WORDS = {
    "encode": ("read {key}", "media"),
    "read": ("read the prompt", "positions"),
    "say": ("said", "tokens"),
    "signal": ("asked for {key}", "signal tokens"),
    "make": ("made {key}", "steps"),
}
COLOURS = {"encode": "#0ea5e9", "read": "#6366f1", "say": "#22c55e", "signal": "#eab308", "make": "#f97316"}
WIDE, HIGH = 320, 12  # of the picture and of a bar in it
NOTHING = "<p>Nothing yet: say something.</p>"


def panel(model: AnyX, turns: Sequence[Turn]) -> str:
    """The panel of the last turn, as HTML."""
    body = happened(model, turns[-1]) if turns else NOTHING
    return f'<div class="anyx-trace" id="anyx-happened" data-turns="{len(turns)}">{body}</div>'


def happened(model: AnyX, turn: Turn) -> str:
    """What happened in a turn."""
    if turn.watch is None:
        return "<p>Nothing was asked of the model.</p>"
    took = turn.watch.took()
    heading = f"<p><b>{escape(route(turn))}</b> · seed {turn.seed}{' · stopped' if turn.stopped else ''}</p>"
    return heading + signals(model, took) + table(took) + bars(took)


def route(turn: Turn) -> str:
    """Inputs and outputs: `image + text → text + audio`."""
    given = list(dict.fromkeys(part["type"] for part in turn.message["content"]))
    said = list(dict.fromkeys(turn.reply.keys)) if turn.reply is not None else []
    return f"{' + '.join(given)} → {' + '.join(said) or 'nothing'}"


def signals(model: AnyX, took: list[Took]) -> str:
    """The signal groups that were said, with their ids."""
    said = [one for one in took if one.part == "signal"]
    if not said:
        return "<p>No signal tokens: the reply is words alone.</p>"
    groups = []
    for one in said:
        ids = model.outputs[str(one.key)].ids
        groups.append(f'<span class="said">&lt;{escape(str(one.key))}&gt; {ids[0]}…{ids[-1]}</span>')
    return f"<p>Signal tokens: {' '.join(groups)}</p>"


def table(took: list[Took]) -> str:
    """A row a part: what, how much of it, how long."""
    rows = []
    for one in took:
        what, unit = WORDS[one.part]
        cells = f"<td>{escape(what.format(key=one.key))}</td>"
        cells += f'<td class="number">{one.amount} {unit}</td><td class="number">{one.seconds:.2f} s</td>'
        rows.append(f"<tr>{cells}</tr>")
    return f"<table><tr><th>part</th><th>amount</th><th>time</th></tr>{''.join(rows)}</table>"


def bars(took: list[Took]) -> str:
    """When each part was, as a small picture."""
    whole = max((one.start + one.seconds for one in took), default=0.0)
    if not whole:
        return ""
    pieces = []
    for row, one in enumerate(took):
        place = f'x="{WIDE * one.start / whole:.1f}" y="{row * HIGH + 2}"'
        size = f'width="{max(1.0, WIDE * one.seconds / whole):.1f}" height="{HIGH - 4}" rx="2"'
        name = escape(WORDS[one.part][0].format(key=one.key))
        pieces.append(f'<rect {place} {size} fill="{COLOURS[one.part]}"><title>{name}</title></rect>')
    high = len(took) * HIGH
    return f'<svg viewBox="0 0 {WIDE} {high}" role="img" aria-label="time per part">{"".join(pieces)}</svg>'

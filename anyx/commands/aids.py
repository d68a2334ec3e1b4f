"""Options of the form `key=value[,key=value]`; the tools that `--correct`, `--marks` and `--chair` of a benchmark name.

The first value may stand without its key. What is not the option's own goes to the tool: `threshold=0.3` to a detector.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyx.commands import loading, options

if TYPE_CHECKING:
    from anyx.benchmarks.aids import Aids
    from anyx.benchmarks.chairs import Chair
    from anyx.tools.correction import Corrector, Language
    from anyx.tools.interfaces import Answerer
    from anyx.tools.marks import Marker

PARTED = re.compile(r",(?=\w+=)")
KEYS = {
    "--correct": ("detector", "words", "language", "model", "key", "answerer"),
    "--marks": ("segmenter", "mode", "alpha", "most"),
    "--chair": ("synonyms", "objects", "detector", "references"),
    "--embedder": ("type", "path"),
    "--lpips": ("path", "heads", "net"),
}


def aids(name: str, correct: str | None, marks: str | None, chair: str | None, device: str | None, out: Path) -> Aids:
    """What the options name; nothing where they are not given. Tools are loaded here, before a model is asked."""
    from anyx.benchmarks.aids import Aids
    from anyx.benchmarks.chairs import of_captions

    if chair is not None:
        of_captions(name)
    place = options.pick_device(device) if correct or marks or chair else "cpu"
    return Aids(
        marker=None if marks is None else _marker(*parted("--marks", marks), place),
        corrector=None if correct is None else _corrector(*parted("--correct", correct), place, out),
        chair=None if chair is None else _chair(*parted("--chair", chair), place),
    )


def parted(option: str, text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The option's own settings as text, and those of its tool: numbers and truths as JSON writes them, else text."""
    first = KEYS[option][0]
    pairs = [one.partition("=") for one in PARTED.split(text if re.match(r"\w+=", text) else f"{first}={text}")]
    if empty := [key for key, _, value in pairs if not value]:
        raise ValueError(f"{option}: {empty[0]} is without a value")
    given = {key: value for key, _, value in pairs}
    if len(given) < len(pairs):
        raise ValueError(f"{option}: a key is given twice in {text!r}")
    if first not in given:
        raise ValueError(
            f"{option}: {first}= is missing; its keys are {', '.join(KEYS[option])}, and those of its tool"
        )
    own = {key: value for key, value in given.items() if key in KEYS[option]}
    return own, {key: _value(value) for key, value in given.items() if key not in own}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _marker(own: Mapping[str, str], tool: Mapping[str, Any], device: str) -> Marker:
    from anyx.signatures import require
    from anyx.tools.loading import segmenter
    from anyx.tools.marks import Marker

    settings: dict[str, Any] = {key: _value(value) for key, value in own.items() if key != "segmenter"}
    require("--marks", settings, Marker)
    return Marker(segmenter(own["segmenter"], tool, device=device), **settings)


def _corrector(own: Mapping[str, str], tool: Mapping[str, Any], device: str, out: Path) -> Corrector:
    from anyx.tools.correction import Corrector
    from anyx.tools.loading import detector

    language = _language(own, out)
    answerer = _answerer(own["answerer"], device) if "answerer" in own else None
    return Corrector(detector(own["detector"], tool, device=device), language, answerer)


def _language(own: Mapping[str, str], out: Path) -> Language:
    """Rules over a file of words; or a language model: a server, or a file of what one said. One of the two."""
    from anyx.benchmarks.chairs import table
    from anyx.benchmarks.http_judge import HttpJudge
    from anyx.benchmarks.judges import Kept, Replay
    from anyx.tools.correction import Rules
    from anyx.tools.prompted import Prompted

    if ("words" in own) == ("language" in own):
        raise ValueError(
            "--correct: one of two is wanted: words=FILE (names, for rules), or language=URL or FILE.jsonl (a "
            "language model's server, or what it said)"
        )
    if "words" in own:
        return Rules(table(options.there("--correct words", Path(own["words"]))))
    if not own["language"].startswith(("http://", "https://")):
        return Prompted(Replay(options.there("--correct language", Path(own["language"])), own.get("model")))
    if "model" not in own:
        raise ValueError("--correct: model=NAME, the language model's name on the server, is missing")
    return Prompted(Kept(HttpJudge(own["language"], own["model"], key=own.get("key")), out / "language.jsonl"))


def _answerer(path: str, device: str) -> Answerer:
    from anyx.benchmarks.aids import Chatting
    from anyx.evaluation.run import told_by
    from anyx.imports import find
    from anyx.tools.loading import is_own

    if is_own(path):
        own: Answerer = find(path, "--correct answerer")()
        return own
    place = Path(path)
    name = f"{place.name}#{told_by(place)[:8]}" if place.exists() else path
    return Chatting(loading.load_answering(place, loading.Loading(device), None), name)


def _chair(own: Mapping[str, str], tool: Mapping[str, Any], device: str) -> Chair:
    from anyx.benchmarks.chairs import Chair, objects_of, table
    from anyx.tools.loading import detector

    truths = {"true": True, "false": False}
    if own.get("references", "true") not in truths:
        raise ValueError(f"--chair: references={own['references']} given; true and false are allowed")
    if tool and "detector" not in own:
        raise ValueError(f"--chair: {', '.join(tool)} given; its keys are {', '.join(KEYS['--chair'])}")
    file = Path(own["objects"]) if "objects" in own else None
    return Chair(
        table(options.there("--chair synonyms", Path(own["synonyms"]))),
        objects_of(options.there("--chair objects", file)) if file is not None else None,
        detector(own["detector"], tool, device=device) if "detector" in own else None,
        references=truths[own.get("references", "true")],
        source=file.name if file is not None else "",
    )

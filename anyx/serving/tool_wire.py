"""A tool's call and result as JSON, the same for the worker that runs it and the client that asks.

Media are data URLs both ways, and are read by the gate for what strangers send (`intake`), on both sides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from anyx.agents.interfaces import Result
from anyx.agents.specs import Spec
from anyx.grounding.boxes import Size
from anyx.media import MEDIA
from anyx.reply import Media, kind_of, suffix_of
from anyx.serving.intake import Intake, Refused
from anyx.tools.interfaces import Found

MOST = 64  # media, and boxes a hundred times as many, of one result


def url_of(medium: Media) -> str:
    """A medium as a data URL, in the format that loses least."""
    suffix = suffix_of(medium)
    data = base64.b64encode(medium.to_bytes(suffix)).decode()
    return f"data:{kind_of(medium)}/{suffix};base64,{data}"


def written(spec: Spec, arguments: Mapping[str, Any]) -> bytes:
    """A call as JSON."""
    media = {one.name for one in spec.parameters if one.medium}
    made = {name: url_of(value) if name in media else value for name, value in arguments.items()}
    return json.dumps({"arguments": made}).encode()


def read(spec: Spec, body: bytes, intake: Intake) -> dict[str, Any]:
    """The arguments of a call, checked, with media; ValueError (`Refused` for media) with what is wrong."""
    given = loaded(body)
    if not isinstance(given, dict) or not isinstance(given.get("arguments"), dict):
        raise ValueError('a call is {"arguments": {...}}')
    made = spec.check(given["arguments"])
    for one in spec.parameters:
        if one.medium and one.name in made:
            url = made[one.name]
            if not (isinstance(url, str) and url.startswith("data:")):
                raise Refused(f"{one.name!r} is a data URL of {one.medium}, but {str(url)[:80]!r} was given")
            made[one.name] = intake.read(MEDIA[one.medium], intake.fetch(url))
    return made


def answered(result: Result) -> bytes:
    """A result as JSON; one that cannot be written becomes an error."""
    boxes = [{"word": one.word, "box": list(one.box), "score": one.score} for one in result.boxes]
    media = [{"kind": kind_of(one), "url": url_of(one)} for one in result.media]
    size = list(result.size) if result.size else None
    made = {"text": result.text, "media": media, "boxes": boxes, "size": size, "data": dict(result.data)}
    try:
        return json.dumps({**made, "error": result.error}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        return json.dumps({"text": "", "error": f"the tool's result is no JSON: {error}"}).encode()


def result_of(body: bytes, intake: Intake) -> Result:
    """The result that `answered` wrote; ValueError where it is none, for it comes from another machine."""
    given = loaded(body)
    try:
        text, error, size = given.get("text", ""), given.get("error"), given.get("size")
        media, boxes = given.get("media") or [], given.get("boxes") or []
        if len(media) > MOST or len(boxes) > 100 * MOST:
            raise ValueError(f"it has {len(media)} media and {len(boxes)} boxes")
        if not isinstance(text, str) or not isinstance(error, str | None):
            raise ValueError("text and error are words")
        found = tuple(intake.read(MEDIA[one["kind"]], intake.fetch(one["url"])) for one in media)
        regions = tuple(Found(str(one["word"]), tuple(map(float, one["box"])), float(one["score"])) for one in boxes)
        sides = Size(*map(float, size)) if size else None
        data = dict(given.get("data") or {})
    except (KeyError, TypeError, AttributeError, ValueError) as wrong:
        raise ValueError(f"the worker's result cannot be read: {wrong}") from wrong
    if not all(len(one.box) == 4 and all(map(isfinite, (*one.box, one.score))) for one in regions):
        raise ValueError("the worker's result cannot be read: a box has four finite numbers")
    if regions and (sides is None or not all(side > 0 for side in sides)):
        raise ValueError("the worker's result cannot be read: boxes need the size of their picture")
    return Result(text, found, regions, sides, data, error)


def loaded(body: bytes) -> Any:
    """JSON; ValueError for all else."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None

"""Set-of-mark prompting as a run: cut the picture, number its regions, ask, and find the regions that the reply names.

One turn of a model that reads pictures (Yang et al. 2023, arXiv:2310.11441). The steps are those of `loop`: an action
and its result with the marked picture, the words, and the answer, whose `data` has the regions that it names.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from anyx.agents.forms import Observed, plain
from anyx.agents.interfaces import Call, Gallery, Result, Talker
from anyx.agents.loop import Bounds, Until
from anyx.agents.steps import Clock, Step, Trace
from anyx.agents.toolbox import FunctionTool, Toolbox
from anyx.grounding.boxes import Size, shares
from anyx.media import Image
from anyx.reply import Media
from anyx.tools.interfaces import Found
from anyx.tools.marks import Mark, Marker, prompt, spoken
from anyx.watching import Cancelled, Watch


class MarksAgent:
    """A model that is asked about marked pictures."""

    def __init__(self, talker: Talker, marker: Marker, bounds: Bounds | None = None) -> None:
        if "image" not in talker.reads:
            raise ValueError(f"style: marks needs a model that reads pictures; {talker.name} reads words alone")
        self.talker, self.marker, self.bounds = talker, marker, bounds or Bounds()

    def run(self, question: str, media: Sequence[Media] = (), *, watch: Watch | None = None) -> Iterator[Step]:
        """The steps as they happen, the last `value` or `stop`. ValueError unless one picture is given."""
        if len(media) != 1 or not isinstance(media[0], Image):
            raise ValueError(f"style: marks asks about one picture, but {len(media)} media were given")
        image, outer, clock = media[0], watch or Watch(), Clock()
        gallery, made = Gallery(), list[Mark]()
        handle = gallery.add(image, asked=True)

        def mark(image: Image) -> Result:
            """Number the regions of a picture."""
            marked, found = self.marker(image)
            made.extend(found)
            text = f"{len(found)} regions are marked"
            return Result(text, (marked,), tuple(Found(str(one.number), one.box, 1.0) for one in found), Size.of(image))

        yield clock.step("asked", question, media={handle: image})
        call, since = Call("mark", {"image": handle}), time.monotonic()
        yield clock.step("action", f"mark {handle}", tool="mark", arguments=call.arguments)
        try:
            seconds = min(self.bounds.seconds, self.bounds.call_seconds)
            result = Toolbox([FunctionTool(mark)]).run(call, gallery, seconds=seconds, watch=outer)
            handles = tuple(map(gallery.add, result.media))
            seen = Observed(call, result, handles)
            if result.error:
                yield clock.step("error", result.error, since=since, tool="mark", arguments=call.arguments)
                yield clock.step("stop", f"the picture could not be marked: {result.error}")
                return
            yield clock.step(
                "result",
                result.text,
                since=since,
                tool="mark",
                arguments=call.arguments,
                media=dict(zip(handles, result.media, strict=True)),
                data=plain(seen),
            )
            yield from self._asked(question, result, made, clock, Until(outer, clock.began + self.bounds.seconds))
        except Cancelled:
            yield clock.step("stop", "cancelled" if outer.cancelled else f"the {self.bounds.seconds:g} s are over")
        except (ValueError, OSError) as error:
            yield clock.step("stop", f"{self.talker.name}: {error}")

    def answer(self, question: str, media: Sequence[Media] = (), *, watch: Watch | None = None) -> Trace:
        """All steps at once."""
        return Trace(self.run(question, media, watch=watch))

    def _asked(self, question: str, result: Result, made: list[Mark], clock: Clock, watch: Watch) -> Iterator[Step]:
        content = [{"type": "image", "media": result.media[0]}, {"type": "text", "text": prompt(made) + question}]
        clock.turn, text, since = 1, "", time.monotonic()
        stream = self.talker.stream([{"role": "user", "content": content}], watch)
        try:
            for piece in stream:
                if isinstance(piece, str):
                    text += piece
                    yield clock.step("words", piece, since=since)
                if len(text) >= self.bounds.letters:
                    break
        finally:
            stream.close()
        named = spoken(text, made)
        assert result.size is not None
        size = result.size
        regions = [
            {
                "mark": one.number,
                "box": [round(value, 4) for value in shares(one.box, size)],
                "pixels": int(one.mask.sum()),
            }
            for one in named.marks
        ]
        yield clock.step("value", text, since=since, data={"regions": regions, "unknown": named.unknown})

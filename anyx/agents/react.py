"""A loop for a model that reads words alone: it thinks, acts, and is told what was seen, until it answers.

The form is ReAct's (Yao et al. 2022, arXiv:2210.03629), which InternGPT uses; the idea, that pictures are handles in
the text and tools answer in words with places in them, is MM-REACT's (Yang et al. 2023, arXiv:2303.11381).

    Thought: I should look for dogs.
    Action: detect
    Action Input: {"image": "<image 1>", "words": "dog"}
    Observation: 1 found; dog at [0.10, 0.20, 0.50, 0.90] (0.83)
    Thought: I know enough.
    Final Answer: There is one dog, on the left.

A reply ends before `Observation:`, which only tools say. One that is of no such form is the answer where it names no
action.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from anyx.agents.forms import Observed, Said, loads, plain, shown
from anyx.agents.interfaces import Call, Gallery
from anyx.agents.specs import Spec

STOP = "Observation:"
LABEL = re.compile(
    r"^[ \t*]*(Thought|Action Input|Action|Final Answer|Observation)[ \t*]*:[ \t*]*", re.MULTILINE | re.I
)
SYSTEM = """\
You answer questions about files that you cannot see yourself. A file has a name, such as <image 1>; tools look at it \
for you, and may make new files.
Tools:
{tools}

Write in this form, and nothing else:
Thought: what you think
Action: the name of one tool
Action Input: its parameters as JSON, such as {{"image": "<image 1>"}}
Then stop. You are told the Observation, and go on. When you know the answer, write:
Thought: what you think
Final Answer: the answer, with the names of files that belong to it"""


class React:
    """Thought, Action, Action Input, Observation, Final Answer."""

    name = "react"
    stops: Sequence[str] = (STOP,)
    implied = False

    def system(self, specs: Sequence[Spec]) -> str:
        """The tools and the form."""
        return SYSTEM.format(tools="\n".join(map(described, specs)) or "none")

    def read(self, text: str) -> Said:
        """The first action of a reply, or its answer; nothing raises."""
        marks = list(LABEL.finditer(text))
        if not marks:
            return Said(value=text.strip())
        found: dict[str, str] = {}
        for place, mark in enumerate(marks):
            name = mark[1].lower()
            if name == "observation" or (name in found and name != "thought"):
                break
            end = marks[place + 1].start() if place + 1 < len(marks) else len(text)
            found.setdefault(name, text[mark.end() : end].strip())
        before = text[: marks[0].start()].strip()
        thought = found.get("thought", before)
        if "action" in found:
            name = found["action"].splitlines()[0].strip(" `'\"*.") if found["action"] else ""
            return self._acted(thought, name, found.get("action input", ""))
        if "final answer" in found:
            return Said(thought, (), found["final answer"])
        return Said(thought, (), None, 'write "Action:" with "Action Input:", or "Final Answer:"')

    def told(self, question: str, observed: Sequence[Observed], gallery: Gallery) -> str:
        """The observations."""
        return "\n".join(f"{STOP} {sentence(one)}" for one in observed)

    def complained(self, question: str, problem: str) -> str:
        """The problem as an observation."""
        return f"{STOP} error: {problem}"

    def _acted(self, thought: str, name: str, given: str) -> Said:
        if name.lower() in ("", "none"):
            return Said(thought, (), None, '"Action:" names no tool; write "Final Answer:" when you need none')
        bare = re.sub(r"^```\w*\s*|\s*```$", "", given.strip()).strip()
        try:
            arguments = loads(bare) if bare else {}
        except ValueError as error:
            return Said(thought, (), None, f'"Action Input:" cannot be read: {error}')
        if not isinstance(arguments, Mapping):
            return Said(thought, (), None, f'"Action Input:" is a JSON object, but {str(arguments)[:80]!r} was given')
        return Said(thought, (Call(name, {str(key): value for key, value in arguments.items()}),))


def described(spec: Spec) -> str:
    """A tool in a line: name(parameter: type, ...): what it does."""
    parts = []
    for one in spec.parameters:
        kind = one.medium or " or ".join(map(str, one.schema.get("enum", ()))) or one.schema.get("type")
        words = f" ({one.schema['description']})" if "description" in one.schema else ""
        parts.append(f"{one.name}{'' if one.required else '?'}: {kind}{words}")
    return f"- {spec.name}({', '.join(parts)}): {spec.description}"


def sentence(observed: Observed) -> str:
    """A result in words: places of boxes as shares of the picture's sides, new media by their handles."""
    result, numbers = observed.result, plain(observed)
    if result.error:
        return f"error: {result.error}"
    parts = [result.text] if result.text else []
    if result.boxes and "boxes" in numbers:
        places = zip(result.boxes, numbers["boxes"], strict=True)
        listed = "; ".join(f"{one.word} at {box} ({one.score:.2f})" for one, box in places)
        parts.append(listed)
    if result.data:
        parts.append(shown(result.data))
    if observed.handles:
        parts.append(f"new: {', '.join(observed.handles)}")
    return "; ".join(parts) or "nothing"

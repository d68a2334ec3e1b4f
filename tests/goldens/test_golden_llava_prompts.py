"""LLaVA's training: ids and labels of its five conversation styles, and pictures laid where `<image>` stood.

Where the reference is wrong, this says what is right: `mpt` counts a text otherwise than it is written and leaves the
whole sample out; `v0` counts every turn with a {bos} of its own, so that its labels drift; a sample without a picture
uses up one of the batch's pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from golden import Case, cases, required
from stand_ins import Spoken, said
from torch import Tensor

from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Tokens
from anyx.prompt import IGNORE, PLACEHOLDER, Message, Prompt
from anyx.splice import Side, splice
from anyx.templates import Template

IMAGE = -200  # the reference's number for <image>


class Heard(Spoken):
    """A tokenizer of a case in one of its ways of writing spaces, which knows what follows a <s> in the text too."""

    def __init__(self, sidecar: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(SimpleNamespace(sidecar={**sidecar, "tokenizer_calls": calls}))  # type: ignore[arg-type]
        for text, ids in list(self.known.items()):
            if text.startswith(self.bos_token):
                rest = text.removeprefix(self.bos_token)
                alone = next(found for other, found in self.known.items() if other[:6] == rest[:6])
                self.known[rest] = ids[1:] if ids[1] == alone[0] else [alone[0], *ids[1:]]
        for style in sidecar["conversation_templates"].values():
            self._end(style["sep"])

    def _end(self, mark: str) -> None:
        """What ends turns, after texts that the reference asked for without it: as it ends those it asked for."""
        ended = [text for text in self.known if text + mark in self.known]
        tails = {tuple(self.known[text + mark][len(self.known[text]) :]) for text in ended}
        if len(tails) == 1 and len(mark.strip()) > 1:
            (tail,) = tails
            self.known = {text + mark: [*ids, *tail] for text, ids in self.known.items()} | self.known

    def heard(self, text: str) -> list[int] | None:
        return self.known[text] if text in self.known else self._beginning(text)

    def _beginning(self, text: str) -> list[int] | None:
        """What a text that the reference asked for begins with: two that are known, the second without its space."""
        whole = next((ids for other, ids in self.known.items() if other.startswith(text)), None)
        if whole is None:
            return None
        pairs = [(self.known[text[:i]], self.known.get(text[i:])) for i in range(len(text)) if text[:i] in self.known]
        made = [[*left, *right[1:]] for left, right in pairs if right]
        return next((ids for ids in made if whole[: len(ids)] == ids), None)

    def reply(self, prefix: str, text: str) -> list[int]:
        """The ids of a reply after a prefix: what it adds to a text that the reference has asked for too."""
        pairs = [(known, known.removesuffix(text)) for known in self.known if known.endswith(prefix + text)]
        whole, before = next(pair for pair in pairs if pair[1] in self.known)
        return self.known[whole][len(self.known[before]) - before.endswith(" ") :]


def template(style: Mapping[str, Any], *, drift: bool = False) -> Template:
    """A conversation style of the reference as ours."""
    (human, assistant), sep = style["roles"], style["sep"]
    given: dict[str, Any] = {"begin": "{bos}", "system_default": style["system"], "joined": {}}
    if style["style"] == "PLAIN":
        return Template.of(given | {"user": {}, "assistant": {"end": sep}})
    given["media_end"] = "\n"
    if style["style"] == "TWO":
        given |= {"system": {"tail": sep}, "user": {"prefix": f"{human}: ", "tail": sep}}
        return Template.of(given | {"assistant": {"prefix": f"{assistant}: ", "end": "{eos}"}})
    if style["style"] == "MPT":
        given |= {"system": {"tail": sep}, "user": {"prefix": human, "tail": sep}}
        return Template.of(given | {"assistant": {"prefix": assistant, "end": sep}})
    if style["style"] == "LLAMA_2":
        del given["system_default"]
        first = {"prefix": f"[INST] <<SYS>>\n{style['system']}\n<</SYS>>\n\n", "tail": " [/INST] "}
        given |= {"first": first, "user": {"prefix": "{bos}[INST] ", "tail": " [/INST] "}}
        return Template.of(given | {"assistant": {"end": " {eos}"}})
    assert style["style"] == "SINGLE", style
    mark = f"{sep} "
    given |= {"system": {"tail": "\n\n"}, "user": {"prefix": f"{mark}{human}: ", "tail": "\n"}}
    given["joined"] = {"close": mark, "labels": "turns"} if drift else {"close": mark}
    return Template.of(given | {"assistant": {"prefix": f"{mark}{assistant}: ", "end": "\n"}})


def chat(sources: Sequence[Mapping[str, str]], written: Template, style: str) -> list[Message]:
    """A case's conversation as messages: the picture first, as the reference moves it."""
    plain = style == "PLAIN"
    messages: list[Message] = []
    for turn in sources:
        voice = written.user if turn["from"] == "human" else written.assistant
        words = turn["value"]
        if style == "SINGLE" and words.startswith(voice.prefix):  # the reference writes into its own data
            words = words.removeprefix(voice.prefix).removesuffix("\n")
        parts = [{"type": "image"}] if "<image>" in words else []
        words = words.replace("<image>", "").strip() if parts else words
        content = parts if plain and parts else [*parts, said(words)]
        messages.append({"role": "user" if turn["from"] == "human" else "assistant", "content": content})
    if style != "SINGLE" and messages[0]["role"] == "assistant":  # all but v0 leave it out
        del messages[0]
    return messages


@pytest.mark.parametrize("found", cases("07_llava", "preprocess*"))
def test_ids_and_labels(found: Case | None) -> None:
    case = required(found)
    outputs = {}
    for entry in case.sidecar["cases"]:
        name, _, spaces = entry["case"].split(".")
        style = case.sidecar["conversation_templates"][name]
        written = template(style, drift=True)
        heard: Any = Heard(case.sidecar, case.sidecar["tokenizer_calls"][spaces])
        messages = chat(entry["sources"], written, style["style"])
        encoded = Prompt(heard, written, ["image"]).encode(messages)
        ids = [IMAGE if token == PLACEHOLDER else token for token in encoded.ids]
        labels = torch.tensor(encoded.labels)
        if entry["printed"]:  # the reference found its counts at odds, and silently left the whole sample out
            replies = [turn["content"][-1]["text"] for turn in messages if turn["role"] == "assistant"]
            for run, reply in zip(runs(encoded.labels), replies, strict=True):
                spoken = heard.reply(written.assistant.prefix, reply)
                assert run[: len(spoken)] == spoken  # ours learns what it says, and how it ends
                assert len(run) > len(spoken)
            labels = torch.full_like(labels, IGNORE)
        outputs |= {f"{entry['case']}.input_ids": torch.tensor(ids), f"{entry['case']}.labels": labels}
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)


def runs(labels: Sequence[int]) -> list[list[int]]:
    """The stretches that are learnt."""
    found: list[list[int]] = []
    for before, label in pairwise([IGNORE, *labels]):
        if label != IGNORE:
            found += [[]] if before == IGNORE else []
            found[-1].append(label)
    return found


SPLICED = {"inputs_embeds": "embeddings", "attention_mask": "mask", "labels": "labels"}


@pytest.mark.parametrize("found", cases("07_llava", "splice*"))
def test_pictures_stand_where_their_placeholders_stood(found: Case | None) -> None:
    """A sample without a picture uses one up in the reference: shown by leaving it out by hand, as it does."""
    case = required(found)
    given, sizes = case.part("in"), case.sizes
    table = case.tensors["w.embed_tokens.weight"]
    projector = LinearInputProjector(*case.shapes["mm_projector.weight"][::-1])
    projector.proj.load_state_dict(case.part("w.mm_projector"))
    tokens = projector(Tokens.full(given["image_feats"]))
    outputs: dict[str, Tensor] = {}
    for name in sorted({name.split(".")[1] for name in case.tensors if name.startswith("out.")}):
        ids, mask = given["input_ids"], given["attention_mask"]
        mask = torch.ones_like(mask) if name == "nomask" else mask
        marks = ids == sizes["image_token_index"]
        counts = (marks & mask).sum(1).tolist()
        used = [max(count, 1) for count in counts]  # the reference's slots: a sample without a picture has one too
        starts = [sum(used[:row]) for row in range(len(used))]
        taken = [start + i for start, count in zip(starts, counts, strict=True) for i in range(count)]
        assert sum(used) == len(tokens.values) > sum(counts)
        media = {"image": (*marks.nonzero(as_tuple=True), tokens.chosen(taken))}
        here = torch.where(marks, PLACEHOLDER, ids)
        rows, positions = media["image"][:2]
        spare = torch.zeros(len(tokens.values) - len(rows), dtype=torch.long)
        more = torch.cat([rows, spare]), torch.cat([positions, spare]), tokens  # no placeholder asks for those
        told = f"found {len(taken)} placeholders but received {len(tokens.values)} media"
        with pytest.raises(ValueError, match=told):
            splice(table[ids.clamp(min=0)], here, {"image": more}, mask, given["labels"])
        side: Side = "left" if name == "left" else "right"
        spliced = splice(table[ids.clamp(min=0)], here, media, mask, given["labels"], side=side)
        length = sizes["maxlen"] if name == "maxlen" else spliced.mask.shape[1]
        made = {theirs: getattr(spliced, ours) for theirs, ours in SPLICED.items()}
        made["position_ids"] = (spliced.mask.cumsum(1) - 1).masked_fill(~spliced.mask, 0)
        stored = {what for what in made if f"out.{name}.{what}" in case.tensors}
        outputs |= {f"{name}.{what}": made[what][:, :length].detach() for what in stored}
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)

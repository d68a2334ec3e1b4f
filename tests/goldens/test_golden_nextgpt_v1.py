"""NExT-GPT v1's training and the states its decoders read: ids and labels, losses of all stages, the signal path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from golden import Case, cases, required
from stand_ins import Spoken, pair_messages, said, signal_groups, turns

from anyx.processor import Processor, Sample
from anyx.prompt import PLACEHOLDER, Encoded, Message, Prompt
from anyx.templates import TEMPLATES, Turn

V1 = TEMPLATES["vicuna_v0"]


def rows(prompt: Prompt, chats: Sequence[Sequence[Message]], length: int, *, whole: bool) -> list[Encoded]:
    """Conversations cut to a length; a medium at the beginning, which the reference lays before them, not counted."""
    found = []
    for chat in chats:
        encoded = prompt.encode(chat)
        start = int(encoded.ids[0] == PLACEHOLDER)
        cut = prompt.cut(encoded, length + start, whole=whole)
        found.append(Encoded(cut.ids[start:], cut.labels[start:], [], cut.groups))
    return found


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_process_batches*"))
def test_ids_and_labels(found: Case | None) -> None:
    """The text behind what the reference lays before it by itself: "{bos}### Human: <Img>" and the medium."""
    case = required(found)
    sidecar, groups = case.sidecar, signal_groups(case)
    opening = replace(V1, begin="", media_start="", first=Turn("", "", V1.user.tail, apart=True))
    prompt = Prompt(Spoken(case), opening, list(groups), groups)  # type: ignore[arg-type]
    captions = sidecar["captions"]
    chats: dict[str, list[list[dict[str, Any]]]] = {
        "s1": [pair_messages([{"type": "image"}, said(sidecar["prompt"])], [said(x)]) for x in captions],
        "s3": [turns(conversation) for conversation in sidecar["conversations"]],
    }
    for key in groups:
        chats[f"s2_{key}"] = [pair_messages([said(x)], [said(x), {"type": key, "caption": x}]) for x in captions]
    outputs = {}
    for stage, conversations in chats.items():
        for kind in ("full", "cut"):
            length = case.sizes[f"max_len_{kind}"]
            name = f"{stage}.{kind}"
            encoded = rows(prompt, conversations, length, whole=False)
            batch = Processor(prompt, transforms={}, kinds={}).collate([Sample(row.ids, row.labels, [], []) for row in encoded])
            wanted = case.tensors[f"out.{name}.attention_mask"]
            pad = case.tensors[f"out.{name}.input_ids"][wanted == 0]
            ids = batch.ids.masked_fill(~batch.mask, int(pad[0]) if len(pad) else 0)
            outputs |= {f"{name}.input_ids": ids, f"{name}.target_ids": batch.labels, f"{name}.attention_mask": batch.mask}
            for ours, theirs in zip(rows(prompt, conversations, length, whole=True), encoded, strict=True):
                assert ours.ids == theirs.ids[: len(ours.ids)]
                assert ours.groups == theirs.groups
                whole = sum(len(groups[slot.key]) for slot in ours.groups)
                assert sum(token >= min(groups.values())[0] for token in ours.ids) == whole, "a group is broken"
    case.compare(outputs)

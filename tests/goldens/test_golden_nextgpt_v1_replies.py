"""NExT-GPT v1's reply with three media: which states its decoders are conditioned on, and the conditions of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from golden import Case, cases, required
from stand_ins import KEYS, Spoken, signal_groups, text_projectors
from torch import Tensor

from anyx.decoding import Group, Sampling, Words, speak
from anyx.interfaces import Tokens


class Replay:
    """An LLM that says the case's reply: the states at what is appended to it are the case's own."""

    def __init__(self, case: Case) -> None:
        self.tokenizer: Any = Spoken(case)
        self.groups = signal_groups(case)
        self.ids = case.tensors["in.generated_ids"][0].tolist()  # the first stands for the prompt
        self.states = case.tensors["in.hidden_last"][0]  # at the ids after it
        self.said = 0
        self.vocabulary = len(case.tensors["w.llama_model.model.embed_tokens.weight"])

    def prefill(self, embeddings: Tensor, mask: Tensor, context: object = None) -> tuple[Any, Tensor]:
        return None, embeddings[:, -1]

    def step(self, ids: Sequence[Sequence[int]], cache: Any) -> list[Tensor]:
        (row,) = ids
        assert list(row) == self.ids[1 + self.said : 1 + self.said + len(row)]
        self.said += len(row)
        return [self.states[self.said - len(row) : self.said]]

    def logits(self, states: Tensor) -> Tensor:
        scores = torch.zeros(1, self.vocabulary)
        scores[0, self.ids[1 + self.said]] = 1
        return scores


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_inference_signal_path*"))
def test_conditions_of_a_reply(found: Case | None) -> None:
    """Ours are of the states at a group's own ids; with several layers, theirs are of whatever stands at that index."""
    case = required(found)
    replay, layers = Replay(case), case.sizes["layers_used"]
    prompt = torch.zeros(1, 1, case.sizes["H"])
    mask = torch.ones(1, 1, dtype=torch.bool)
    steps = speak(
        replay, prompt, mask, sampling=Sampling(len(replay.ids) - 1), seeds=[0], stop=[replay.tokenizer.ids["</s>"]]
    )
    said = [item for step in steps for item in step]
    groups = [item for item in said if isinstance(item, Group)]
    streams = {-1: case.tensors["in.hidden_last"], -2: case.tensors["in.hidden_prev"]}
    stream = torch.stack([streams[layer] for layer in layers], 2).flatten(1, 2)  # layers side by side at every step
    table = case.tensors["w.llama_model.model.embed_tokens.weight"]
    outputs, numbers = {"stream_image": stream}, dict.fromkeys(replay.groups, 0)
    for group in groups:
        ids = replay.groups[group.key]
        letter = next(name[0] for name, key in KEYS.items() if key == group.key)
        place = case.sidecar["first_signal_index"][letter][numbers[group.key]]
        assert tuple(replay.ids[place : place + len(ids)]) == ids
        states = stream[:, place - 1 : place - 1 + len(ids)]
        if layers == [-1]:
            torch.testing.assert_close(group.states[None], states, rtol=0, atol=0)
            states = group.states[None]
        projector = text_projectors(case, group.key)[-1]  # the reference decodes by the last one only
        with torch.no_grad():
            condition = projector(Tokens.full(states), table[torch.tensor([ids])]).values["c"]
        name = f"{group.key}{numbers[group.key]}.prompt_embeds"
        outputs[name] = condition.reshape(
            case.tensors[f"out.{name}"].shape
        )  # one position for a sound: theirs has none
        numbers[group.key] += 1
    assert outputs.keys() == {name.removeprefix("out.") for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)
    words = [item.text for item in said if isinstance(item, Words)]
    told = replay.tokenizer.decode(replay.ids[:1]) + "".join(words)
    for key, number in numbers.items():  # the reference's words end where a medium is shown, and spell all before it
        for text in case.sidecar["texts"].get(key, [])[:number]:
            assert told.replace(" ", "").startswith(re.sub(r"\[(IMG|VID|AUD)\d+\]| ", "", text))

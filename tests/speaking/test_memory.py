"""Reuse against a fresh reading: adapters inside the LLM, windows, bodies without positions."""

from __future__ import annotations

from pathlib import Path

import hooked
import pytest
import tiny
import torch
from test_inside import SYSTEMS, raw_of, shaken, user
from transformers import MistralConfig, MistralForCausalLM

from anyx import config as configs
from anyx.build import build
from anyx.decoding import Sampling, Words, speak
from anyx.llm import LLM
from anyx.media import Image
from anyx.speaking.memory import Memory

PROMPTS = [[5, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10, 11], [5, 6, 20], [5, 6, 20, 21, 22, 23, 24, 25], [30, 31]]


def agree(llm: LLM, prompts: list[list[int]]) -> list[int]:
    """How many positions of each prompt were known; what is said and read must be as from the beginning."""
    memory, reused = Memory(llm), []
    for ids in prompts:
        embeddings, mask = llm.embed(torch.tensor([ids])), torch.ones(1, len(ids), dtype=torch.bool)
        (_, remembered), (_, fresh) = memory.prefill(embeddings, mask), llm.prefill(embeddings, mask)
        torch.testing.assert_close(remembered, fresh, atol=1e-5, rtol=1e-4)
        reused.append(memory.reused)
        memory.prefill(embeddings, mask)  # the last position again
        replies = [
            "".join(
                item.text
                for step in speak(speaker, embeddings, mask, sampling=Sampling(5), seeds=[0])
                for item in step
                if isinstance(item, Words)
            )
            for speaker in (memory, llm)
        ]
        assert replies[0] == replies[1]
    return reused


@pytest.mark.parametrize("kind", list(hooked.FAMILIES))
def test_every_family_reads_on(kind: str) -> None:
    torch.manual_seed(0)
    words = tiny.tokenizer()
    assert agree(LLM(hooked.causal_lm(kind, len(words)), words), PROMPTS) == [0, 5, 2, 3, 0]


@pytest.mark.parametrize("window", [4, 64])
def test_a_window_can_be_gone_back_behind(window: int) -> None:
    """Layers with a window keep what is behind it, so that the beginning of longer prompts is there to go back to."""
    torch.manual_seed(0)
    words = tiny.tokenizer()
    config = MistralConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=window, initializer_range=0.2,
    )  # fmt: skip
    assert agree(LLM(MistralForCausalLM(config).eval(), words), PROMPTS) == [0, 5, 2, 3, 0]


def fails(*_: object) -> None:
    """Somebody pressed Ctrl-C."""
    raise KeyboardInterrupt


def test_weights_elsewhere_or_failures_are_not_built_upon() -> None:
    torch.manual_seed(0)
    words = tiny.tokenizer()
    llm = LLM(tiny.causal_lm(words), words)
    memory = Memory(llm)
    embeddings = llm.embed(torch.tensor([PROMPTS[1]]))
    mask = torch.ones(1, 7, dtype=torch.bool)
    cache, _ = memory.prefill(embeddings, mask)
    last = llm.model.model.layers[-1].register_forward_pre_hook(fails)  # the layer before has read the ids then
    with pytest.raises(KeyboardInterrupt):
        memory.step([[5]], cache)
    last.remove()
    _, states = memory.prefill(embeddings, mask)
    assert memory.reused == 0
    torch.testing.assert_close(states, llm.prefill(embeddings, mask)[1], atol=0, rtol=0)
    llm.to(torch.float64)
    memory.prefill(embeddings.double(), mask)
    assert memory.reused == 0
    with pytest.raises(AssertionError, match="of one conversation, not of 2"):
        memory.prefill(embeddings.expand(2, -1, -1), mask.expand(2, -1))


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    torch.manual_seed(1)
    images = [Image(torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)) for _ in range(3)]
    return [str(image.save(tmp_path / f"{number}.png")) for number, image in enumerate(images)]


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_adapters_read_what_a_whole_prompt_has_them_read(name: str, pictures: list[str], tiny_llm_folder: str) -> None:
    """Where all positions read a medium that comes later, nothing is reused; elsewhere the beginning is."""
    model = shaken(build(configs.check(raw_of(name, tiny_llm_folder))))
    session, reused = model.session(max_new_tokens=6), []
    for turn in (user("What is it?", pictures[0]), user("Really?"), user("And these?", *pictures[1:]), user("So?")):
        history = [*session.messages, *turn]
        assert session.say(history).text == model.chat(history, max_new_tokens=6).text
        reused.append(session.memory.reused > 0)
    late = name in ("cogvlm", "octavius")
    assert reused == [False, True, late, True]

"""SmolLM2 itself, where `make setup` has fetched it: our prompt and our loop against transformers' own."""

from __future__ import annotations

import pytest

from anyx.llm import LLM
from anyx.model import AnyX
from anyx.packaged import folder

SMOLLM2 = folder("HuggingFaceTB/SmolLM2-135M-Instruct")
pytestmark = pytest.mark.skipif(not SMOLLM2.is_dir(), reason="SmolLM2 is not in the cache; run `make setup`")

CHAT = [
    {"role": "system", "content": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {"role": "user", "content": "What is the capital of France?"},
]


@pytest.fixture(scope="module")
def model() -> AnyX:
    return AnyX(LLM.load(str(SMOLLM2)))


def test_the_prompt_is_smollm2s_own(model: AnyX) -> None:
    tokenizer = model.llm.tokenizer
    theirs = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert model.processor.prompt.encode(CHAT, generate=True).ids == theirs


def test_greedy_chat_equals_transformers(model: AnyX) -> None:
    ids = model.llm.tokenizer.apply_chat_template(
        CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    theirs = model.llm.model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :]
    text = model.llm.tokenizer.decode(theirs, skip_special_tokens=True)
    replies = model.generate([CHAT, [{"role": "user", "content": "Hi."}], CHAT], max_new_tokens=24)
    assert replies[0].text == replies[2].text == text
    assert "Paris" in text

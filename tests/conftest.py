"""Tiny real parts for every test: a byte-level tokenizer, a random Llama, an AnyX of both with small components."""

from __future__ import annotations

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test may need the Hub

import pytest
import tiny
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

torch.set_num_threads(1)
# Where tests run in the background a shell has it ignored, in them and in the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["COLUMNS"] = "200"  # rich asks once, when it is first imported: tables and paths stay on their lines


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return tiny.tokenizer()


@pytest.fixture
def tiny_causal_lm(tiny_tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return tiny.causal_lm(tiny_tokenizer)


@pytest.fixture(scope="session")
def tiny_llm_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Hugging Face folder: a random Llama and its tokenizer, readable by `LLM.load`."""
    folder = tmp_path_factory.mktemp("tiny_llm")
    torch.manual_seed(0)
    tokenizer = tiny.tokenizer()
    tiny.causal_lm(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)

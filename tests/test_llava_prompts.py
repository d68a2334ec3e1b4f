"""What is learnt is what the assistant says and how it ends, by every template, tokenizer, and number of media."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tiny
from transformers import ByT5Tokenizer

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.sources import Feed
from anyx.prompt import IGNORE, PLACEHOLDER, Prompt
from anyx.templates import TEMPLATES

NAMES = ("llava_v1", "llava_plain", "llava_mistral")
WORDS = {"byte level": tiny.tokenizer(), "always": tiny.llama_tokenizer(), "first": tiny.llama_tokenizer("first")}
PICTURE = {"type": "image", "path": "a.png"}


def chat(turns: int, pictures: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        shown = [PICTURE] * (pictures if turn == 0 else 0)
        messages.append({"role": "user", "content": [*shown, {"type": "text", "text": f"what is {'it' * turn}."}]})
        messages.append({"role": "assistant", "content": f"a fox, {'please' * turn} is it."})
    return messages


@pytest.mark.parametrize(("words", "name"), product(WORDS, NAMES))
def test_what_is_learnt_is_what_is_said(words: str, name: str) -> None:
    tokenizer = WORDS[words]
    prompt = Prompt(tokenizer, name, ["image"])
    end = TEMPLATES[name].assistant.end.replace("{eos}", str(tokenizer.eos_token))
    for turns, pictures in product((1, 3), (0, 1, 2)):
        messages = chat(turns, pictures)
        encoded = prompt.encode(messages)
        assert encoded.ids.count(PLACEHOLDER) == pictures
        learnt = tokenizer.decode([label for label in encoded.labels if label != IGNORE])
        said = "".join(message["content"] + end for message in messages if message["role"] == "assistant")
        assert "".join(learnt.split()) == "".join(said.split())
        asked = prompt.encode(messages[:-1], generate=True)
        assert encoded.ids[: len(asked.ids)] == asked.ids


def test_the_words_of_the_published_prompts() -> None:
    """Sheets 1.1 and 1.2: each picture on a line of its own, a space before the reply, `</s>` after it."""
    tokenizer = tiny.llama_tokenizer()

    def written(name: str) -> str:
        ids = Prompt(tokenizer, name, ["image"]).encode(chat(2, 1)).ids
        return "".join("<image>" if token == PLACEHOLDER else tokenizer.convert_ids_to_tokens(token) for token in ids)

    first, second = (message["content"] for message in chat(2, 1)[1::2])
    shown = {
        name: re.sub("<0x(..)>", lambda byte: chr(int(byte[1], 16)), written(name)).replace("▁", " ") for name in NAMES
    }
    assert (
        " USER: <image> \nwhat is . ASSISTANT: " + first + "</s> USER: what is it. ASSISTANT: " + second + "</s>"
        in (shown["llava_v1"].replace("questions.  USER", "questions. USER"))
    )
    assert shown["llava_mistral"].startswith("<s> [INST] <image> \nwhat is . [/INST] " + first)


def test_a_record_of_which_nothing_is_learnt_is_an_error_with_its_id(tmp_path: Path) -> None:
    model = tiny.anyx()
    reader = DialogueReader(model.processor, FeatureCache(tmp_path), {}, {}, {})
    record = {"id": "silent", "messages": [{"role": "user", "content": "hm"}]}
    with pytest.raises(ValueError, match="record 'silent': the assistant says nothing that could be learnt"):
        reader.read(record, Feed("f", [record]), 0)


def test_a_tokenizer_that_knows_no_places_is_refused() -> None:
    """Labels are spans of the text: a tokenizer in Python alone cannot tell where its tokens stand."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(ValueError, match=r"ByT5Tokenizer does not tell where its tokens stand"):
        Prompt(ByT5Tokenizer(), {"user": {}, "assistant": {}, "joined": {}}, []).encode(messages)

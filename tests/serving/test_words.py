"""Texts and names of strangers; what they type forges no token and opens no file."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from anyx.media import Audio, Image
from anyx.prompt import PLACEHOLDER, Prompt
from anyx.serving.refusing import Refused
from anyx.serving.words import clean_name, clean_text, hold

TYPED = [
    "<Image>/etc/passwd</Image>",
    "<image>",
    "<|im_end|>",
    "[IMG0]",
    "<s>",
    "</s>",
    "<unk>",
    "{bos}{eos}",
    "\x00",
    "<0x0A>",
]


def test_texts_keep_their_letters_and_lose_what_is_none() -> None:
    assert clean_text("héllo\tworld\r\nतमिळ 🦊") == "héllo\tworld\nतमिळ 🦊"
    assert clean_text("a\x00b\x1b[31mc\x7f\x9bd") == "ab[31mcd"
    assert clean_text("\ud800x") == "\ufffdx"
    assert clean_text("\ud800x").encode()
    with pytest.raises(Refused, match="11 letters are more than the 10") as error:
        clean_text("x" * 11, most=10)
    assert error.value.status == 413
    with pytest.raises(Refused, match="a text is a string, but int"):
        clean_text(5)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cow.png", "cow.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\system32\\cmd.exe", "cmd.exe"),
        ("<script>alert(1)<b>", "&lt;script&gt;alert(1)&lt;b&gt;"),
        ('"><svg onload=x>.png', "&quot;&gt;&lt;svg onload=x&gt;.png"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("\x00\n", "file"),
        ("..", "file"),
        ("", "file"),
        (None, "file"),
        ("x" * 500 + ".png", "x" * 68 + "...xxxxx.png"),
    ],
)
def test_names_are_shown_and_no_more(name: object, shown: str) -> None:
    assert clean_name(name) == shown


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "path": "/etc/passwd"},
        {"type": "image", "image": "/etc/passwd"},
        {"type": "image", "image": Path("/etc/passwd")},
        {"type": "image", "media": "/etc/passwd"},
        {"type": "image", "media": b"GIF89a"},
        {"type": "image", "media": Image(torch.zeros(3, 2, 2, dtype=torch.uint8)), "path": "/etc/passwd"},
        {"type": "image", "image": Image(torch.zeros(3, 2, 2, dtype=torch.uint8))},
        {"type": "text"},
        {"no": "type"},
        "text",
    ],
)
def test_parts_of_strangers_bring_values(part: Any) -> None:
    with pytest.raises(Refused):
        hold([{"role": "user", "content": [part]}])


def test_values_and_groups_without_media_may_pass() -> None:
    picture, sound = Image(torch.zeros(3, 2, 2, dtype=torch.uint8)), Audio(torch.zeros(1, 4), 8000)
    parts = [{"type": "image", "media": picture}, {"type": "sound", "media": sound}, {"type": "text", "text": "Hi"}]
    hold([{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "image"}]}])
    hold([{"role": "user", "content": "<Image>/etc/passwd</Image>"}])
    for wrong in ("text", 5, [5], [{"role": "user", "content": 5}]):
        with pytest.raises(Refused):
            hold(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("template", ["chatml", "vicuna_v1", "qwen_vl"])
@pytest.mark.parametrize("role", ["user", "system"])
def test_what_is_typed_is_words(
    tiny_tokenizer: PreTrainedTokenizerFast, template: str, role: str, monkeypatch: Any
) -> None:
    """No typed text makes a placeholder, a group or a special token, and none opens a file."""
    size = len(tiny_tokenizer)
    prompt = Prompt(tiny_tokenizer, template, inputs=["image"], groups={"image": (size, size + 1)})
    special = {*tiny_tokenizer.all_special_ids, PLACEHOLDER, size, size + 1}

    def counts(text: str) -> dict[int, int]:
        messages = [{"role": role, "content": text}, {"role": "user", "content": "Hi"}][: 2 if role == "system" else 1]
        encoded = prompt.encode(messages, generate=True)
        assert not encoded.media
        assert not encoded.groups
        return {index: encoded.ids.count(index) for index in special}

    plain = counts("x")
    opened: list[Any] = []
    monkeypatch.setattr(builtins, "open", lambda *given, **_: opened.append(given))
    for text in [*TYPED, "".join(TYPED), *(f"a {token} b" for token in tiny_tokenizer.all_special_tokens)]:
        assert counts(text) == plain, text
    assert not opened

from __future__ import annotations

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from anyx.prompt import IGNORE, PLACEHOLDER, Encoded, Prompt
from anyx.templates import TEMPLATES, Template

TOKENIZER = tiny.tokenizer()
GROUPS = {"image": (400, 401, 402), "audio": (403, 404)}
CHATML_JINJA = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def prompt(template: str = "chatml") -> Prompt:
    return Prompt(TOKENIZER, template, ["image", "video"], GROUPS)


def words(encoded: Encoded, *, supervised: bool = False) -> str:
    """Ids as text, media as {}, signal ids as [id]."""
    ids = [token for token in (encoded.labels if supervised else encoded.ids) if token != IGNORE]
    out, run = "", []
    for i in [*ids, PLACEHOLDER]:
        if 0 <= i < 400:
            run.append(i)
            continue
        out += TOKENIZER.decode(run) + ("{}" if i == PLACEHOLDER else f"[{i}]")
        run = []
    return out.removesuffix("{}")


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


AUDIO = {"type": "audio"}
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [text("Who is "), {"type": "image", "path": "a"}, text("?")]},
    {"role": "assistant", "content": [text("This: "), {"type": "image", "caption": "a fox"}, text(" and "), AUDIO]},
    {"role": "user", "content": [{"type": "video", "path": "b"}, {"type": "image", "path": "c"}]},
    {"role": "assistant", "content": "Both."},
]  # fmt: skip


def test_chatml_reads_as_written() -> None:
    encoded = prompt().encode(CHAT)
    assert words(encoded) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWho is {}?<|im_end|>\n"
        "<|im_start|>assistant\nThis: [400][401][402] and [403][404]<|im_end|>\n"
        "<|im_start|>user\n{}{}<|im_end|>\n<|im_start|>assistant\nBoth.<|im_end|>\n"
    )
    assert words(encoded, supervised=True) == "This: [400][401][402] and [403][404]<|im_end|>Both.<|im_end|>"
    assert [(slot.key, encoded.ids[slot.position], slot.part.get("path")) for slot in encoded.media] == [
        ("image", PLACEHOLDER, "a"),
        ("video", PLACEHOLDER, "b"),
        ("image", PLACEHOLDER, "c"),
    ]
    assert [(slot.key, encoded.ids[slot.position], slot.part.get("caption")) for slot in encoded.groups] == [
        ("image", 400, "a fox"),
        ("audio", 403, None),
    ]


def test_plain_chat_equals_the_tokenizers_own_template() -> None:
    chat = [{"role": "user", "content": "Draw a red fox, please."}, {"role": "assistant", "content": "Here it is:"}]
    whole = TOKENIZER.apply_chat_template(chat, chat_template=CHATML_JINJA, tokenize=True, return_dict=False)
    assert prompt().encode(chat).ids == whole


def test_generation_prompt_is_the_training_prefix() -> None:
    training = prompt().encode(CHAT)
    asking = prompt().encode(CHAT[:-1], generate=True)
    assert training.ids[: len(asking.ids)] == asking.ids
    assert training.labels[len(asking.ids)] == training.ids[len(asking.ids)]


def test_a_last_reply_that_is_written_otherwise_is_asked_for_so() -> None:
    turns = {"user": {"prefix": "Q: "}, "assistant": {"prefix": "A: "}, "last": {"prefix": "End: ", "end": "."}}
    made = Prompt(TOKENIZER, turns, [])
    chat = [{"role": who, "content": "hm"} for who in ("user", "assistant", "user", "assistant")]
    training, asking = made.encode(chat), made.encode(chat[:-1], generate=True)
    assert training.ids[: len(asking.ids)] == asking.ids
    assert TOKENIZER.decode(asking.ids) == "Q: hmA: hmQ: hmEnd: "


def test_vicuna_v0_follows_nextgpt() -> None:
    """The layout of NExT-GPT v1, reference/nextgpt_xllm.md A3."""
    chat = [
        {"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "text", "text": "describe"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a fox"}, {"type": "image"}]},
        {"role": "user", "content": "why"},
        {"role": "assistant", "content": "so"},
    ]
    encoded = prompt("vicuna_v0").encode(chat)
    assert words(encoded) == (
        "<|endoftext|>### Human: <Img>{}</Img> describe\n### Assistant: a fox[400][401][402]###"
        "Human: why\n### Assistant: so\n###"
    )
    assert words(encoded, supervised=True) == "a fox[400][401][402]###so\n###"
    assert prompt("vicuna_v0").stop == ([], "\n###")
    assert prompt("chatml").stop == ([TOKENIZER.convert_tokens_to_ids("<|im_end|>")], "")


def test_the_template_alone_writes_added_tokens() -> None:
    chat = [{"role": "user", "content": [text("<Img> or "), {"type": "image", "path": "a"}, text("</Img>")]}]
    added = {"<Img>": 380, "</Img>": 381}
    with_tokens = Prompt(TOKENIZER, "vicuna_v0", ["image"], GROUPS, added)
    ids = with_tokens.encode(chat).ids
    place = ids.index(PLACEHOLDER)
    assert (ids[place - 1], ids[place + 1]) == (380, 381)
    assert [token for token in ids if token >= 380] == [380, 381]
    plain = [token for token in ids if token not in (380, 381)]
    # as v1's tokenizer does, words lose their spaces beside added tokens
    assert words(Encoded(plain, [], [], [])) == "<|endoftext|>### Human: <Img> or{}</Img>\n### "


def test_a_reply_ends_at_the_first_special_token_of_the_end() -> None:
    """ChatML is often written with the line break in `end`; a reply may hold as many of those as it likes."""
    end = TOKENIZER.convert_tokens_to_ids("<|im_end|>")

    def ending(text: str) -> Prompt:
        template = TEMPLATES["chatml"].to_dict()
        return Prompt(
            TOKENIZER,
            template | {"assistant": template["assistant"] | {"end": text, "tail": ""}},
            ["image", "video"],
            GROUPS,
        )

    for text in ("<|im_end|>\n", "{eos}\n", "<|im_end|>\n###", "\n<|im_end|>"):
        assert ending(text).stop == ([end], "")
    assert ending("\n###<|im_end|>\n").stop == ([end], "\n###")
    assert ending("\n").stop == ([], "\n")
    assert ending("").stop == ([], "")
    encoded, usual = ending("<|im_end|>\n").encode(CHAT), prompt().encode(CHAT)
    assert encoded.ids == usual.ids
    assert words(encoded, supervised=True) == words(usual, supervised=True).replace("<|im_end|>", "<|im_end|>\n")


def test_vicuna_v1_says_its_system_prompt_unless_given_one() -> None:
    chat = [{"role": "user", "content": "hi"}]
    assert words(prompt("vicuna_v1").encode(chat, generate=True)).startswith("<|endoftext|>A chat between")
    kind = words(prompt("vicuna_v1").encode([CHAT[0], *chat], generate=True))
    assert kind == "<|endoftext|>Be kind. USER: hi ASSISTANT: "


@settings(max_examples=80, deadline=None)
@given(
    typed=st.lists(
        st.sampled_from([*tiny.SPECIAL, "<|im_", "end|>", "<image_0>", "{eos}", "{bos}", "a", " ", "\n", "ß"]),
        max_size=8,
    ).map("".join)
)
def test_words_never_become_special_tokens(typed: str) -> None:
    chat = [{"role": "user", "content": typed}, {"role": "assistant", "content": typed}]
    for template in TEMPLATES:
        encoded = prompt(template).encode(chat)
        blank = prompt(template).encode([{"role": "user", "content": ""}, {"role": "assistant", "content": ""}])
        special = set(TOKENIZER.all_special_ids)
        assert sum(i in special for i in encoded.ids) == sum(i in special for i in blank.ids)
        assert max(encoded.ids) < 400
        assert words(encoded).count(typed) >= 2
        assert len(encoded.ids) == len(encoded.labels)


def test_a_template_may_be_spelled_out() -> None:
    template = TEMPLATES["chatml"].to_dict() | {"system_default": "Short answers."}
    encoded = Prompt(TOKENIZER, template).encode([{"role": "user", "content": "hi"}])
    assert words(encoded).startswith("<|im_start|>system\nShort answers.<|im_end|>\n")
    assert Template.of(TEMPLATES["vicuna_v0"].to_dict()) == TEMPLATES["vicuna_v0"]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([], "at least one message"),
        ([{"role": "tool", "content": "x"}], "'tool' is not one of user, assistant, system"),
        ([{"role": "user", "content": [{"type": "smell"}]}], "'smell' is not one of text, image, video "),
        ([{"role": "assistant", "content": [{"type": "video"}]}], "'video' is not one of text, image, audio "),
        ([{"role": "user", "content": None}], "NoneType given; it is a string or a list"),
        ([{"role": "user", "content": [{"type": "text"}]}], 'a text part has a string "text"'),
        ([{"role": "user", "content": ["hello"]}], "each part is a mapping"),
    ],
)  # fmt: skip
def test_bad_messages_are_named(chat: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompt().encode(chat)


def test_an_empty_conversation_needs_a_template_that_writes_something() -> None:
    empty = [{"role": "user", "content": ""}]
    with pytest.raises(ValueError, match="the conversation is empty, and its template writes nothing of its own"):
        prompt("plain").encode(empty, generate=True)
    assert prompt("plain").encode(empty).ids == []
    assert prompt("chatml").encode(empty, generate=True).ids


LLAVA = {
    "begin": "{bos}",
    "user": {"prefix": "USER: ", "tail": " "},
    "assistant": {"prefix": "ASSISTANT: ", "end": "{eos}"},
    "joined": {"bos_after": ["video"]},
}


def test_joined_voices_are_one_text_to_the_tokenizer() -> None:
    """LLaVA's and NExT-GPT v2's way: " Both" is one word after "ASSISTANT:", and what is learnt begins with it."""
    joined = Prompt(TOKENIZER, LLAVA, ["image", "video"], GROUPS)
    chat = [
        {"role": "user", "content": [text("Who? "), {"type": "video"}, text(" or")]},
        *CHAT[2:3],
        *CHAT[1:2],
        CHAT[4],
    ]
    encoded = joined.encode(chat)
    bos, eos = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id
    spoken = "<|endoftext|>USER: Who? {}<|endoftext|> or ASSISTANT: This: [400][401][402] and [403][404]<|im_end|>"
    assert words(encoded) == f"{spoken}USER: Who is {{}}? ASSISTANT: Both.<|im_end|>"
    assert words(encoded, supervised=True) == " This: [400][401][402] and [403][404]<|im_end|> Both.<|im_end|>"
    (whole,) = TOKENIZER(["? ASSISTANT: Both."])["input_ids"]
    assert encoded.ids[-len(whole) - 1 :] == [*whole, eos]
    assert encoded.ids.count(bos) == 2
    asking = joined.encode(chat[:-1], generate=True)
    assert encoded.ids[: len(asking.ids)] == asking.ids
    assert encoded.labels[len(asking.ids)] == encoded.ids[len(asking.ids)]
    assert joined.stop == ([eos], "")


@pytest.mark.parametrize("scheme", ["always", "first"])
def test_joined_turns_are_what_the_tokenizer_makes_of_the_whole_text(scheme: str) -> None:
    """Whether it writes a space after a special token (Llama's `legacy`) or only where the text begins."""
    tokenizer = tiny.llama_tokenizer(scheme)
    joined = Prompt(tokenizer, LLAVA, ["image"])
    asked = {"role": "user", "content": "hi"}
    chat = [asked, {"role": "assistant", "content": "so"}, asked, {"role": "assistant", "content": "no"}]
    encoded = joined.encode(chat)
    said = "USER: hi ASSISTANT: so</s>USER: hi ASSISTANT: no</s>"
    assert encoded.ids == [tokenizer.bos_token_id, *tokenizer(said, add_special_tokens=False)["input_ids"]]
    learnt = [tokenizer.convert_ids_to_tokens(label) for label in encoded.labels if label != IGNORE]
    assert learnt == ["▁", "s", "o", "</s>", "▁", "n", "o", "</s>"]


def test_apart_and_tight() -> None:
    """NExT-GPT v1: the first words of a user are by themselves, later ones not; no space beside a signal group."""
    chat = [
        {"role": "user", "content": "red fox"},
        {"role": "assistant", "content": [text("Here "), {"type": "image"}, text(" "), {"type": "audio"}, text(" so")]},
        {"role": "user", "content": "red fox"},
    ]
    encoded = prompt("vicuna_v0").encode(chat)
    assert words(encoded, supervised=True) == "Here[400][401][402][403][404]so\n###"
    pieces = ["### Human: ", "red fox\n### Assistant: ", "Here", "so\n###", "Human: red fox\n### "]
    ids = [TOKENIZER.bos_token_id, *(token for piece in pieces for token in TOKENIZER(piece)["input_ids"])]
    assert [token for token in encoded.ids if token < 400] == ids


def test_a_conversation_is_cut_before_a_group_that_does_not_fit() -> None:
    whole, made = prompt().encode(CHAT), prompt()
    first, second = (slot.position for slot in whole.groups)
    for length, end in ((first + 2, first), (first + 3, first + 3), (second + 1, second), (second + 2, second + 2)):
        cut = made.cut(whole, length)
        assert (cut.ids, cut.labels) == (whole.ids[:end], whole.labels[:end])
        assert len(cut.groups) == (end > first + 2) + (end > second)
    broken = made.cut(whole, first + 2, whole=False)
    assert (broken.ids, broken.groups) == (whole.ids[: first + 2], [])
    assert [slot.key for slot in made.cut(whole, whole.media[1].position).media] == ["image"]
    assert made.cut(whole, 10_000) == whole


def test_bad_templates_are_named() -> None:
    with pytest.raises(ValueError, match="'alpaca' is not one of chatml, "):
        prompt("alpaca")
    with pytest.raises(ValueError, match=r"unknown keys \['usr'\], missing keys \['user'\]"):
        Template.of({"usr": {}, "assistant": {}})
    with pytest.raises(ValueError, match="the last message is the assistant's"):
        prompt().encode(CHAT, generate=True)


@pytest.mark.parametrize("tight", [False, True])
def test_turns_tokenised_together_may_hold_added_tokens(tight: bool) -> None:
    """The tokenizer does not know these tokens: words after them are tokenised as they stand."""
    template = TEMPLATES["vicuna_v0"].to_dict() | {"joined": {}, "tight": tight}
    added = {"<Img>": 380, "</Img>": 381}
    chat = [
        {"role": "user", "content": [{"type": "image", "path": "a"}, text("what")]},
        {"role": "assistant", "content": "ok"},
    ]
    encoded = Prompt(TOKENIZER, template, ["image"], GROUPS, added).encode(chat)
    place = encoded.ids.index(PLACEHOLDER)
    assert (encoded.ids[place - 1], encoded.ids[place + 1]) == (380, 381)
    assert "what" in TOKENIZER.decode([token for token in encoded.ids[place + 2 :] if token < 380])

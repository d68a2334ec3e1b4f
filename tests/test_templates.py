"""Templates are named or spelt out; a typo in either is one line."""

import pytest
import tiny

from anyx.prompt import IGNORE, PLACEHOLDER, Prompt
from anyx.templates import TEMPLATES, Joined, Template, Turn


def test_a_template_reads_back() -> None:
    for name, template in TEMPLATES.items():
        assert Template.of(name) == Template.of(template.to_dict()) == Template.of(template) == template


def test_ways_of_tokenising_read_back() -> None:
    given = {"user": {"apart": True}, "assistant": {}, "first": {"prefix": "Q"}, "joined": {"bos_after": ["video"]}}
    template = Template.of(given)
    assert (template.user.apart, template.first, template.tight) == (True, Turn("Q"), False)
    assert template.joined == Joined(("video",))
    assert Template.of(template.to_dict()) == template


def test_places_of_media_and_the_last_reply_read_back() -> None:
    given = {"user": {}, "assistant": {}, "last": {"end": "{eos}"}, "front": "turn", "media_start": {"cloud": "<Pcl>"}}
    template = Template.of(given)
    assert (template.last, template.front, template.around("cloud", 1)) == (Turn("", "{eos}"), "turn", ("<Pcl>", ""))
    assert Template.of(template.to_dict()) == template
    with pytest.raises(ValueError, match=r"template.media_start: 'image' is not one of cloud"):
        template.around("image", 1)


def test_the_system_s_turn_may_be_left_out() -> None:
    assert Template.of({"user": {"prefix": "Q: "}, "assistant": {}}).system == Turn()


def test_a_task_is_asked_in_the_model_s_own_form() -> None:
    template = Template.of("minigpt_v2")
    tags = ["vqa", "caption", "grounding", "refer", "detection", "identify"]
    assert [template.asked(task, "a dog") for task in tags] == [f"[{task}] a dog" for task in tags]
    assert template.asked("grounding", "") == "[grounding]"
    assert Template.of("qwen_vl").asked("refer", "a dog") == "<ref>a dog</ref>"
    with pytest.raises(ValueError, match="task: 'vqa' is not one of none: this template has none"):
        Template.of("chatml").asked("vqa", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("chatmal", "template: 'chatmal' is not one of chatml"),
        ({"user": {}}, r"missing keys \['assistant'\]"),
        (
            {"user": {"prefx": "a"}, "assistant": {}},
            r"template.user: {'prefx': 'a'} was given; its keys are prefix, end",
        ),
        ({"user": "a", "assistant": {}}, "template.user: 'a' was given"),
        ({"user": {}, "assistant": {}, "first": {"tale": ""}}, r"template.first: {'tale': ''} was given; its keys"),
        ({"user": {}, "assistant": {}, "joined": {"bos": 1}}, r"template.joined: {'bos': 1} was given; its keys"),
        (
            {"user": {}, "assistant": {}, "tasks": {"vqa": "[vqa]"}},
            r"template.tasks.vqa: '\[vqa\]' given; it says once",
        ),
        ({"user": {}, "assistant": {}, "front": "top"}, "template.front: 'top' is not one of '', 'turn', 'page'"),
        (
            {"user": {}, "assistant": {}, "joined": {"labels": "all"}},
            "template.joined.labels: 'all' is not one of rounds",
        ),
    ],
)
def test_a_typo_is_named(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Template.of(value)  # type: ignore[arg-type]


TOKENIZER = tiny.tokenizer()


def asked(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def words(ids: list[int]) -> str:
    """Ids as text, media as {}."""
    told, run = "", list[int]()
    for token in [*(token for token in ids if token != IGNORE), PLACEHOLDER]:
        if token != PLACEHOLDER:
            run.append(token)
            continue
        told, run = told + TOKENIZER.decode(run) + "{}", []
    return told.removesuffix("{}")


PICTURES = [
    {"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "image", "path": "b"}, asked("[vqa] Who?")]},
    {"role": "assistant", "content": "He."},
    {"role": "user", "content": [asked("Sure?"), {"type": "image", "path": "c"}]},
    {"role": "assistant", "content": "Yes."},
]  # fmt: skip
FORMS = {  # as understanding_systems.md 1.4, 1.5, 1.8 say; here {bos} is <|endoftext|>, {eos} <|im_end|>
    "minigpt4": (
        "<|endoftext|>Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I "
        "provide it to you. Please answer my questions.###Human: <Img>{}</Img> <Img>{}</Img> [vqa] Who?"
        "###Assistant: He.###Human: Sure?<Img>{}</Img> ###Assistant: Yes.###",
        "He.###Yes.###",
        ([], "###"),
    ),
    "minigpt_v2": (
        "<|endoftext|>[INST] <Img>{}</Img> <Img>{}</Img> [vqa] Who? [/INST] He.<|im_end|>"
        "<|endoftext|>[INST] Sure?<Img>{}</Img>  [/INST] Yes.<|im_end|>",
        "He.<|im_end|>Yes.<|im_end|>",
        ([TOKENIZER.eos_token_id], ""),
    ),
    "qwen_vl": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nPicture 1: <img>{}</img>\n"
        "Picture 2: <img>{}</img>\n[vqa] Who?<|im_end|>\n<|im_start|>assistant\nHe.<|im_end|>\n<|im_start|>user\n"
        "Sure?Picture 3: <img>{}</img>\n<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n",
        "He.<|im_end|>Yes.<|im_end|>",
        ([TOKENIZER.eos_token_id], ""),
    ),
}


@pytest.mark.parametrize("template", FORMS)
def test_grounding_templates_read_as_published(template: str) -> None:
    form, supervised, stop = FORMS[template]
    made = Prompt(TOKENIZER, template, ["image"])
    encoded = made.encode(PICTURES)
    assert words(encoded.ids) == form
    assert words(encoded.labels) == supervised
    assert made.stop == stop
    begun = words(made.encode(PICTURES[:1], generate=True).ids)
    assert form.startswith(begun)
    assert form[len(begun) :].startswith("He.")

"""Every system's template writes the published text, letter for letter; what is learnt are the replies and their ends.

Where forms come from: understanding_systems.md, each system's sheet and section 6 (T0 to T12); X-LLM's and NExT-GPT's
from theirs. `<image>` is where a picture's tokens stand; of systems that hear pictures inside their layers, where it is
known from. Of most a form is published for one turn only; here the second follows by the same rule. Whole models of
transformers (`*_hf.yaml`) bring templates of their own.
"""

# ruff: noqa: RUF001 - Chinese has marks of its own

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
from transformers import PreTrainedTokenizerFast

from anyx import yamls
from anyx.config import load
from anyx.prompt import IGNORE, PLACEHOLDER, Encoded, Prompt
from anyx.templates import VICUNA

MODELS = Path(__file__).parent.parent / "configs" / "models"
NAMES = [path.stem for path in sorted(MODELS.glob("*.yaml")) if yamls.read(path).get("backend") != "hf"]
TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=tiny.tokenizer().backend_tokenizer,
    bos_token="<s>",
    eos_token="</s>",
    additional_special_tokens=["<|im_start|>", "<|im_end|>", "[gMASK]", "<sop>"],
)
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
OWL = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
GIVEN = (
    "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide it to you. "
    "Please answer my questions."
)


class Form(NamedTuple):
    """What stands before the first reply, between its end and the second, how replies end, what a picture brings."""

    first: str
    second: str
    end: str
    lead: str = ""  # a space that belongs to the reply's first word
    between: str | None = None  # how the first of two replies ends, if otherwise
    medium: str = "<image>"


V1 = Form(
    f"<s>{VICUNA} USER: <image>\nWhat? ASSISTANT:", "USER: Sure? ASSISTANT:", "</s>", " ", medium="<image>\n"
)  # T1
TAGS = "<Img><image></Img> "
SEEN = "<Image><image></Image> "
FILMED = Form(f"<s>###Human: {SEEN}What?###Assistant: ", "Human: Sure?###Assistant: ", "###", medium=SEEN)  # T2
V0 = Form(f"<s>### Human: {TAGS}What?\n### Assistant: ", "Human: Sure?\n### Assistant: ", "\n###", medium=TAGS)  # T2
LLAMA_2 = Form(
    f"<s>[INST] {TAGS}What? [/INST] ", "<s>[INST] Sure? [/INST] ", "</s>", medium=TAGS
)  # T5, {bos} each turn
INSIDE = Form(  # T8
    f"<s>{ALPACA}\n\n### Instruction:\n<image>What?\n\n### Response:",
    f"{ALPACA}\n\n### Instruction:\nSure?\n\n### Response:",
    "</s>",
)
FORMS = {
    "bakllava": V1,
    "blip2": Form("<image><s>What?", "Sure?", "\n", " "),  # T4's question is the task `vqa`, held below
    "cogvlm": Form("<s><image>[INST] What? [/INST] ", " [INST] Sure? [/INST] ", "</s>", between=""),  # T5'
    "imagebind_llm": INSIDE,
    "instructblip": Form("<image></s>What?", "Sure?", "</s>", " "),  # T0; LAVIS takes "</s>" for {bos} too
    "lamm": V0,
    "llama_adapter_v2": INSIDE,
    "llava15": V1,
    "llava_next": V1,
    "macaw": Form(
        f"<s><image><image></image>{ALPACA}\n\n### Instruction:\nWhat?\n\n### Response:",
        "\n\n### Instruction:\nSure?\n\n### Response:",
        "</s>",
        medium="<image><image></image>",
    ),
    "minigpt4": Form(  # T2, no space after the first ###
        f"<s>{GIVEN}###Human: {TAGS}What?###Assistant: ", "Human: Sure?###Assistant: ", "###", medium=TAGS
    ),
    "minigpt4_llama2": LLAMA_2,
    "minigpt_v2": LLAMA_2,
    "mplug_owl": Form(  # T3
        f"<s>{OWL}\nHuman: <image>\nHuman: What?\nAI: ", "\nHuman: Sure?\nAI: ", "</s>", medium="\nHuman: <image>"
    ),
    "mplug_owl2": Form("<s>USER: <image>What? ASSISTANT: ", "USER: Sure? ASSISTANT: ", "</s>"),  # T1''
    "nextgpt": V0,
    "nextgpt_v15": Form(f"<s>{VICUNA} USER: <image>What? ASSISTANT: ", "USER: Sure? ASSISTANT: ", "</s>"),
    "octavius": V0,
    "openflamingo": Form(
        "<image><image>What?", "Sure?", "<|endofchunk|>", medium=2 * "<image>"
    ),  # T9: `<image>` is a token too
    "otter": Form(  # T10
        "<image><image>User: What? GPT:<answer>",
        "User: Sure? GPT:<answer>",
        "<|endofchunk|>",
        " ",
        medium=2 * "<image>",
    ),
    "pandagpt": V0,
    "qwen_vl": Form(  # T7
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nPicture 1: <img><image></img>\n"
        "What?<|im_end|>\n<|im_start|>assistant\n",
        "\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
        medium="Picture 1: <img><image></img>\n",
    ),
    "videochat": FILMED,
    "videochat2": FILMED,
    "xinstructblip": Form(
        "<s>USER:  image: <image>What?\nASSISTANT:", "USER: Sure?\nASSISTANT:", "</s>", " ", medium=" image: <image>"
    ),
    "xllm": Form(
        "[gMASK]<sop>问：<Image><image></Image>What?\n答：",
        "\n问：Sure?\n答：",
        "</s>",
        medium="<Image><image></Image>",
    ),
}
TAILS = {"qwen_vl": "\n", "xllm": "\n"}  # written after the last reply and not learnt


@cache
def prompt(name: str) -> Prompt:
    config = load(MODELS / f"{name}.yaml")
    llm = config.llm
    assert llm is not None
    added = {token: len(TOKENIZER) + i for i, token in enumerate(llm.added_tokens)}
    return Prompt(TOKENIZER, llm.template, list(config.inputs), None, added)


def asked(key: str = "image", words: str = "What?") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": key, "path": "a"}, {"type": "text", "text": words}]}


CHAT = [
    asked(),
    {"role": "assistant", "content": "A cow."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


def text(ids: Sequence[int], made: Prompt, key: str = "image") -> str:
    """Ids as they are spelt."""
    spelt = {PLACEHOLDER: f"<{key}>"} | {index: token for token, index in made._added.items()}
    told, run = "", list[int]()
    for token in [*ids, PLACEHOLDER]:
        if token in spelt:
            told, run = told + TOKENIZER.decode(run) + spelt[token], []
        else:
            run.append(token)
    return told.removesuffix(spelt[PLACEHOLDER])


def learnt(encoded: Encoded, made: Prompt) -> list[str]:
    """The stretches that are learnt."""
    runs: list[list[int]] = [[]]
    for label in encoded.labels:
        runs = [*runs, []] if label == IGNORE else [*runs[:-1], [*runs[-1], label]]
    return [text(run, made) for run in runs if run]


def test_every_system_has_its_form() -> None:
    assert sorted(FORMS) == NAMES


@pytest.mark.parametrize("name", FORMS)
def test_the_published_text(name: str) -> None:
    form, made, tail = FORMS[name], prompt(name), TAILS.get(name, "")
    one, two = f"{form.lead}A cow.{form.end}", f"{form.lead}Yes.{form.end}"
    between = one if form.between is None else f"{form.lead}A cow.{form.between}"
    short, whole = made.encode(CHAT[:2]), made.encode(CHAT)
    assert text(short.ids, made) == form.first + one + tail
    assert learnt(short, made) == [one]
    assert text(whole.ids, made) == form.first + between + form.second + two + tail
    assert learnt(whole, made) == [between, two]
    for messages, before in ((CHAT[:1], form.first), (CHAT[:3], form.first + between + form.second)):
        assert text(made.encode(messages, generate=True).ids, made) == before
    ids, words = made.stop
    assert text(ids, made) + words == form.end


@pytest.mark.parametrize("name", FORMS)
def test_words_alone(name: str) -> None:
    """A conversation without a picture is the same without what comes with pictures."""
    made = prompt(name)
    form, chat = FORMS[name], [{"role": "user", "content": "What?"}, CHAT[1]]
    assert text(made.encode(chat).ids, made).startswith(form.first.replace(form.medium, "", 1) + form.lead + "A cow.")


def test_a_cloud_has_tags_of_its_own() -> None:
    """Sheet 1.18: a system turn of the task, `<Pcl></Pcl>`."""
    made = prompt("lamm")
    chat = [{"role": "system", "content": "Look."}, asked("cloud"), CHAT[1]]
    form = "<s>Look.\n\n### Human: <Pcl><cloud></Pcl> What?\n### Assistant: A cow.\n###"
    assert text(made.encode(chat).ids, made, "cloud") == form


def test_cues_and_tokens_of_other_media() -> None:
    """Sheets 1.11 and 1.19: every kind has its own, and Macaw's stand before the words."""
    film = [asked("video"), CHAT[1]]
    made = prompt("xinstructblip")
    assert text(made.encode(film).ids, made, "video").startswith("<s>USER:  video: <video>What?\nASSISTANT: A")
    made = prompt("macaw")
    content = [{"type": "text", "text": "What?"}, {"type": "video", "path": "a"}, {"type": "audio", "path": "b"}]
    said = text(made.encode([{"role": "user", "content": content}, CHAT[1]]).ids, made, "here")
    assert said.startswith(f"<s><video><here></video><audio><here></audio>{ALPACA}")


def test_tasks_are_asked_as_published() -> None:
    """T4, T9, CogVLM's single turn, MiniGPT-v2's tags, Qwen-VL's grounding."""
    forms = {
        ("blip2", "vqa"): "Question: What? Answer:",
        ("openflamingo", "vqa"): "Question:What? Short answer:",
        ("cogvlm", "vqa"): "Question: What? Short answer:",
        ("qwen_vl", "refer"): "<ref>What?</ref>",
        **{("minigpt_v2", tag): f"[{tag}] What?" for tag in
           ("vqa", "caption", "grounding", "refer", "detection", "identify")},
    }  # fmt: skip
    assert {key: prompt(key[0]).template.asked(key[1], "What?") for key in forms} == forms
    assert prompt("blip2").template.asked("caption", "") == "a photo of"
    assert prompt("openflamingo").template.asked("caption", "") == "Output:"
    made = prompt("openflamingo")
    shots = [asked(words=made.template.asked("vqa", "What?")), CHAT[1]] * 2
    shown = "<image><image>Question:What? Short answer:A cow.<|endofchunk|>"
    assert text(made.encode(shots).ids, made) == 2 * shown


CAPTIONS = {  # T0: a picture and its caption, no request
    ("llava15", "align"): "<s><image>A cow.\n",
    ("minigpt4", "captions"): "<s><image>A cow.</s>",
    ("cogvlm", "pretrain"): "<s><image>A cow.</s>",
    ("openflamingo", "pretrain"): "<image><image>A cow.<|endofchunk|>",
}


@pytest.mark.parametrize(("name", "stage"), CAPTIONS)
def test_captions_without_a_request(name: str, stage: str) -> None:
    template = load(MODELS / f"{name}.yaml").stages[stage].template
    made = prompt(name) if template is None else prompt(name).by(template)
    form = CAPTIONS[name, stage]
    encoded = made.encode([{"role": "user", "content": [{"type": "image", "path": "a"}]}, CHAT[1]])
    assert text(encoded.ids, made) == form
    assert learnt(encoded, made) == [form[form.index("A cow") :]]

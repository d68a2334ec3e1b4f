"""A language model that learns in seconds which tool to use, with what, and what to say of what it said.

Its dialogues have tools that say numbers drawn at random, so that an answer can only be read off what the tool said.
"""

from __future__ import annotations

import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from anyx.agents.forms import Observed
from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.llava_plus import LlavaPlus, written
from anyx.agents.talkers import CausalTalker
from anyx.grounding.boxes import Size
from anyx.tools.interfaces import Found

FORM, THINGS = LlavaPlus(), ["dog", "cat", "bus"]
SPECIAL = ["<pad>", "<user>", "<model>", "<end>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<user>' if m.role == 'user' else '<model>' }}{{ m.content }}"
    "{% if m.role != 'user' %}<end>{% endif %}{% endfor %}<model>"
)
HELD_OUT = [(7, 8), (9, 6), (4, 9), (8, 3), (5, 5)]

Dialogue = list[dict[str, str]]


def dialogue(question: str, call: Call, result: Result, thought: str, answer: str) -> Dialogue:
    """Both replies, and what the loop says between them."""
    told = FORM.told(question.removeprefix("<image 1>\n"), [Observed(call, result)], Gallery())
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": written(thought, [call], "Let me see.")},
        {"role": "user", "content": told},
        {"role": "assistant", "content": written("I know it now.", [], answer)},
    ]


def sums(draw: random.Random) -> Dialogue:
    while (pair := (draw.randint(2, 9), draw.randint(2, 9))) in HELD_OUT:
        pass
    said = str(draw.randint(10, 99))
    text = f"{pair[0]} * {pair[1]}"
    call = Call("calculator", {"expression": text})
    return dialogue(f"What is {text}?", call, Result(said), "I compute it.", f"It is {said}.")


def looks(draw: random.Random) -> Dialogue:
    thing, size = draw.choice(THINGS), Size(120, 90)
    box = sorted(draw.sample(range(0, 121, 6), 2)), sorted(draw.sample(range(0, 91, 5), 2))
    found = (Found(thing, (box[0][0], box[1][0], box[0][1], box[1][1]), draw.random()),) if draw.random() < 0.5 else ()
    result = Result("1 found" if found else "nothing found", (), found, size)
    answer = f"Yes, there is a {thing}." if found else f"No {thing} is there."
    call = Call("grounding_dino", {"caption": thing})
    return dialogue(f"<image 1>\nIs there a {thing}?", call, result, "I look for it.", answer)


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Digits are tokens by themselves, all that is always the same is few."""
    core = Tokenizer(models.BPE())
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=640, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<end>", pad_token="<pad>", additional_special_tokens=SPECIAL[1:3]
    )
    made.chat_template = TEMPLATE
    return made


def trained() -> CausalTalker:
    """123 thousand parameters, 350 steps."""
    torch.manual_seed(0)
    draw = random.Random(0)
    words = tokenizer([turn["content"] for _ in range(300) for turn in (*sums(draw), *looks(draw))])
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"eos_token_id": 3, "pad_token_id": 0, "bos_token_id": None}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(words), max_position_embeddings=512, tie_word_embeddings=True, **size, **ends)
    )
    made = CausalTalker(model, words, max_new_tokens=120)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    steps = 350
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        rows = [learnt(made, sums(draw) if draw.random() < 0.6 else looks(draw)) for _ in range(12)]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in rows])
        labels = torch.tensor([row + [-100] * (longest - len(row)) for _, row in rows])
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    model.eval()
    return made


def learnt(talker: CausalTalker, turns: Dialogue) -> tuple[list[int], list[int]]:
    """The ids of a dialogue, and as labels those of its replies."""
    ids = talker.ids(turns)[:-1]
    labels, speaks = [], False
    for one in ids:
        labels.append(one if speaks else -100)
        speaks = one == 2 or (speaks and one != 3)
    return ids, labels

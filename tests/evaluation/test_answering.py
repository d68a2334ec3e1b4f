"""Requests of a harness are answered as it reads replies; losses are the cross-entropy that is computed by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image as PILImage
from torch import nn

from anyx.evaluation.answering import ROUNDS, Answering, Asked, loss_of, sampling
from anyx.media import Audio, Image, Video
from anyx.model import AnyX
from anyx.reply import Reply

FLAT = PILImage.new("RGB", (8, 8), (200, 10, 10))


@pytest.fixture
def model() -> AnyX:
    return tiny.anyx().eval()


@pytest.fixture
def answering(model: AnyX, tmp_path: Path) -> Answering:
    return Answering(model, tmp_path, tokens=4, batch=3)


def asked(answering: Answering, text: str, number: int = 0, **settings: Any) -> Asked:
    return Asked(answering.user(text, [FLAT]), settings, "task", number)


def test_the_loss_of_a_model_that_knows_nothing(model: AnyX) -> None:
    """All logits 0: each token of "fox", and the end, costs ln V; V are the tokens of words and the 5 of signals."""
    with torch.no_grad():
        model.llm.model.get_output_embeddings().weight.zero_()
        for part in model.llm.signal_tokens.parameters():
            part.zero_()
    words = model.llm.tokenizer("fox", add_special_tokens=False)["input_ids"]
    loss, greedy = loss_of(model, [{"role": "user", "content": "What is it?"}], " fox")
    assert loss == pytest.approx((len(words) + 1) * math.log(len(model.llm.tokenizer) + 5), rel=1e-5)
    assert not greedy


def test_the_loss_is_that_of_the_answer_alone(model: AnyX, answering: Answering) -> None:
    """By hand: the whole conversation through the LLM, and -log softmax at each label, one position before it."""
    turns = answering.user("What is it?", [FLAT])
    batch = model.processor.collate([model.processor([*turns, {"role": "assistant", "content": "a fox"}])])
    with torch.no_grad():
        laid, _ = model.read(batch)
        body = model.llm.model.get_decoder()
        states = body(inputs_embeds=laid.embeddings, attention_mask=laid.mask).last_hidden_state
        told = model.llm.logits(states)[0].log_softmax(-1)
    places = (laid.labels[0] >= 0).nonzero().flatten().tolist()
    by_hand = -sum(told[place - 1, laid.labels[0, place]].item() for place in places)
    assert loss_of(model, turns, "a fox")[0] == pytest.approx(by_hand, rel=1e-4)
    answer = model.llm.tokenizer.decode([laid.labels[0, place] for place in places], skip_special_tokens=True)
    assert answer.strip() == "a fox"


def test_what_is_said_greedily_is_greedy() -> None:
    """A body of no layers, and a head that finds each token of one answer most like the token before it."""
    model = tiny.anyx(tied=False).eval()
    turns = [{"role": "user", "content": "Say it."}]
    sample = model.processor([*turns, {"role": "assistant", "content": "ox"}])
    pairs = [(sample.ids[place - 1], label) for place, label in enumerate(sample.labels) if label >= 0]
    assert len(dict(pairs)) == len(pairs), "each is told by the one before it"
    with torch.no_grad():
        for name, part in model.llm.model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                part.zero_()
        embeddings = model.llm.model.get_input_embeddings().weight
        head = model.llm.model.get_output_embeddings().weight.zero_()
        for before, after in pairs:
            head[after] = 10 * torch.nn.functional.normalize(embeddings[before], dim=0)
    loss, greedy = loss_of(model, turns, "ox")
    assert greedy
    assert loss < loss_of(model, turns, "xo")[0]
    assert not loss_of(model, turns, "xo")[1]


def test_replies_come_in_order_whatever_stands_beside_them(answering: Answering) -> None:
    texts = ["one", "two", "three", "four", "five"]
    requests = [asked(answering, text, place, max_new_tokens=3 + place % 2) for place, text in enumerate(texts)]
    together = answering(requests)
    apart = [answering([request])[0] for request in requests]
    assert together == apart
    alike = [request._replace(settings={"max_new_tokens": 4}) for request in requests]
    assert answering(alike) == [answering([request])[0] for request in alike]


def test_media_are_read_a_batch_at_a_time(model: AnyX, answering: Answering) -> None:
    """Of seven requests in batches of three: when the LLM first runs, three are read and at most one is looked at."""
    taken: list[int] = []
    seen: list[int] = []

    def requests() -> Iterator[Asked]:
        for place in range(7):
            taken.append(place)
            yield asked(answering, "?", place, max_new_tokens=1)

    model.llm.model.get_decoder().register_forward_pre_hook(lambda *_: seen.append(len(taken)))
    assert len(answering(requests())) == 7
    assert (seen[0] in (3, 4), seen[-1], len(taken)) == (True, 7, 7)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (64, 0, 1, 0)),
        ({"max_new_tokens": 16, "temperature": 0, "do_sample": False, "top_p": None, "num_beams": 1}, (16, 0, 1, 0)),
        ({"temperature": 0.7, "do_sample": False}, (64, 0, 1, 0)),
        ({"temperature": 0.2}, (64, 0.2, 1, 0)),
        ({"do_sample": True, "top_p": 0.9, "top_k": 5}, (64, 1, 0.9, 5)),
        ({"do_sample": True, "temperature": 0}, (64, 0, 1, 0)),
    ],
)
def test_settings_of_lmms_eval(settings: dict[str, Any], wanted: tuple[float, ...]) -> None:
    assert sampling(settings, 64) == wanted


def test_beams_are_refused() -> None:
    with pytest.raises(ValueError, match="num_beams: 5 was asked for, but anyx searches no beams"):
        sampling({"num_beams": 5}, 64)


def test_words_are_cut_where_the_task_says(answering: Answering) -> None:
    request = asked(answering, "?", until=["\n\n", "!", ""])
    assert answering.told(Reply([" Yes! No\n\nnever"]), request, 0) == "Yes"
    assert answering.told(Reply(["Yes! No"]), asked(answering, "?", until=" No"), 0) == "Yes!"
    assert answering.told(Reply([]), request, 0) == ""


def test_media_are_told_by_their_files(answering: Answering, tmp_path: Path) -> None:
    picture, sound = Image.read(FLAT), Audio(torch.zeros(1, 80), 8000)
    said = answering.told(Reply(["Here: ", picture, sound]), asked(answering, "?", 7, until="."), 1)
    found = json.loads(said)
    assert list(found) == ["text", "images", "audios"]
    assert found["text"] == "Here:"
    (file,) = found["images"]
    assert Path(file).parent == tmp_path / "task" / "7-1"
    assert torch.equal(Image.read(file).pixels, picture.pixels)
    assert json.loads(answering.told(Reply([sound]), asked(answering, "?", 8), 0))["images"] == []


def test_a_repeated_request_begins_from_other_noise(answering: Answering) -> None:
    requests = [asked(answering, "?", number) for number in (0, 1, 0, 0)]
    assert [answering.repeated(request)[1] for request in requests] == [0, 0, 1, 2]


def test_rounds_go_on_until_the_task_has_no_more_to_ask(answering: Answering) -> None:
    """Two rounds, each its own conversation; the task may put other words in the place of what was said."""
    seen = []

    def step(said: list[str], told: Any) -> Any:
        seen.append((list(said), told))
        return (answering.user("And now?", None), [said[0] + "."], "kept") if len(said) == 1 else (None, said, None)

    first = asked(answering, "What?", max_new_tokens=3)
    alone = answering([first, first._replace(turns=answering.user("And now?", None))])
    assert answering.rounds(first, step) == [alone[0] + ".", alone[1]]
    assert seen == [([alone[0]], None), ([alone[0] + ".", alone[1]], "kept")]


def test_rounds_without_end_are_an_error(answering: Answering) -> None:
    first = asked(answering, "What?", 3, max_new_tokens=1)
    with pytest.raises(ValueError, match=f"task task: sample 3 asks again after {ROUNDS} rounds"):
        answering.rounds(first, lambda said, told: (first.turns, said, told))


def test_messages_are_read_by_what_they_hold(answering: Answering) -> None:
    """lmms-eval calls samples with a rate a video, since they come as a mapping."""
    sound = {"array": [0.0, 0.1], "sampling_rate": 8000}
    content = [{"type": "video", "url": sound}, {"type": "image", "url": FLAT}, {"type": "text", "text": "Hm?"}]
    turns = answering.messages([{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}])
    assert turns[0] == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert [part["type"] for part in turns[1]["content"]] == ["audio", "image", "text"]


def test_a_medium_that_the_model_does_not_read(answering: Answering, tmp_path: Path) -> None:
    file = Video(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 2.0).save(tmp_path / "a.apng")
    with pytest.raises(ValueError, match="the model reads Audio, Image, but the task has Video"):
        answering.user("?", [str(file)])


def test_nothing_of_it_is_a_module_to_delete(answering: Answering) -> None:
    assert not [name for name, value in vars(answering).items() if isinstance(value, nn.Module)]

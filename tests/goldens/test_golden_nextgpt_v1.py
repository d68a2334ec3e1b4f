"""NExT-GPT v1's training and the states its decoders read: ids and labels, losses of all stages, the signal path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Case, absent, cases, required
from stand_ins import Spoken, pair_messages, said, signal_groups, text_projectors, turns
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from anyx.data.batches import Cached, Dialogues
from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Condition, Tokens
from anyx.llm import LLM
from anyx.media import MEDIA
from anyx.model import AnyX, InputPort, Output, OutputPort
from anyx.processor import Batch, Processor, Sample
from anyx.prompt import PLACEHOLDER, Encoded, Message, Prompt
from anyx.templates import TEMPLATES, Turn
from anyx.training import losses, objectives
from anyx.training.conditions import Step

V1 = TEMPLATES["vicuna_v0"]


def rows(prompt: Prompt, chats: Sequence[Sequence[Message]], length: int, *, whole: bool) -> list[Encoded]:
    """Conversations cut to a length; a medium at the beginning, which the reference lays before them, not counted."""
    found = []
    for chat in chats:
        encoded = prompt.encode(chat)
        start = int(encoded.ids[0] == PLACEHOLDER)
        cut = prompt.cut(encoded, length + start, whole=whole)
        found.append(Encoded(cut.ids[start:], cut.labels[start:], [], cut.groups))
    return found


def from_file(case: Case, folder: Path) -> PreTrainedTokenizerBase | None:
    """The sentencepiece model that the reference tokenised with, as transformers reads it today."""
    file = case.path.parent / case.sidecar.get("tokenizer_file", "")
    if not file.is_file():
        return absent("tokenizer's file")
    shutil.copy(file, folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "legacy": True}))
    return AutoTokenizer.from_pretrained(folder)  # type: ignore[no-any-return]


@pytest.mark.parametrize("told", ["with delimiters as text", "with delimiters as tokens", "by the tokenizer's file"])
@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_process_batches*"))
def test_ids_and_labels(found: Case | None, told: str, tmp_path: Path) -> None:
    """The text behind what the reference lays before it by itself: "{bos}### Human: <Img>" and the medium."""
    case = required(found)
    sidecar, groups = case.sidecar, signal_groups(case)
    opening = replace(V1, begin="", media_start="", first=Turn("", "", V1.user.tail, apart=True))
    words: Any = from_file(case, tmp_path) if "file" in told else Spoken(case)
    added = {} if "text" in told else Spoken(case).delimiters
    prompt = Prompt(words, opening, list(groups), groups, added)
    captions = sidecar["captions"]
    chats: dict[str, list[list[dict[str, Any]]]] = {
        "s1": [pair_messages([{"type": "image"}, said(sidecar["prompt"])], [said(x)]) for x in captions],
        "s3": [turns(conversation) for conversation in sidecar["conversations"]],
    }
    for key in groups:
        chats[f"s2_{key}"] = [pair_messages([said(x)], [said(x), {"type": key, "caption": x}]) for x in captions]
    outputs = {}
    for stage, conversations in chats.items():
        for kind in ("full", "cut"):
            length = case.sizes[f"max_len_{kind}"]
            name = f"{stage}.{kind}"
            encoded = rows(prompt, conversations, length, whole=False)
            batch = Processor(prompt, transforms={}, kinds={}).collate(
                [Sample(row.ids, row.labels, [], []) for row in encoded]
            )
            wanted = case.tensors[f"out.{name}.attention_mask"]
            pad = case.tensors[f"out.{name}.input_ids"][wanted == 0]
            ids = batch.ids.masked_fill(~batch.mask, int(pad[0]) if len(pad) else 0)
            outputs |= {
                f"{name}.input_ids": ids,
                f"{name}.target_ids": batch.labels,
                f"{name}.attention_mask": batch.mask,
            }
            for ours, theirs in zip(rows(prompt, conversations, length, whole=True), encoded, strict=True):
                assert ours.ids == theirs.ids[: len(ours.ids)]
                assert ours.groups == theirs.groups
                whole = sum(len(groups[slot.key]) for slot in ours.groups)
                assert sum(token >= min(groups.values())[0] for token in ours.ids) == whole, "a group is broken"
    case.compare(outputs)


def model_of(case: Case) -> AnyX:
    """The case's LLM, input projection and last output projections: signal tokens are the table's last rows."""
    groups, size, words = signal_groups(case), case.sizes, Spoken(case)
    table, head = (case.tensors[f"w.llama_model.{name}.weight"] for name in ("model.embed_tokens", "lm_head"))
    start = min(ids[0] for ids in groups.values())
    config = LlamaConfig(
        vocab_size=start,
        hidden_size=size["H"],
        intermediate_size=size["ffn"],
        num_hidden_layers=size["llama_layers"],
        num_attention_heads=size["heads"],
        rms_norm_eps=size["rms_eps"],
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    body = LlamaForCausalLM(config).eval()
    state = {name: x for name, x in case.part("w.llama_model").items() if not name.endswith("rotary_emb.inv_freq")}
    body.load_state_dict(state | {"model.embed_tokens.weight": table[:start], "lm_head.weight": head[:start]})
    llm = LLM(body, words, tokens={key: len(ids) for key, ids in groups.items()})  # type: ignore[arg-type]
    assert llm.groups == groups
    llm.load_own_state({"llm.signal_tokens.embedding": table[start:], "llm.signal_tokens.head": head[start:]})
    dim, width = case.shapes["llama_proj.weight"]
    reader = LinearInputProjector(width, dim)
    reader.proj.load_state_dict(case.part("w.llama_proj"))
    projectors = {key: text_projectors(case, key)[-1] for key in groups}
    kinds = {key: MEDIA[key] for key in groups}
    return AnyX(
        llm,
        template=V1,
        inputs={key: InputPort("imagebind", reader, kind=kind) for key, kind in kinds.items()},
        outputs={key: OutputPort(projectors[key], ids=groups[key], kind=kind) for key, kind in kinds.items()},
    )


def dialogues(case: Case, model: AnyX, chats: Sequence[Sequence[Message]]) -> Dialogues:
    """Conversations as a training step has them; a part's `row` says which of the case's media and captions it is."""
    encoded = case.tensors["in.mm_embeds_enc"]
    given = model.processor
    processor = Processor(
        given.prompt,
        transforms={},
        kinds=given.kinds,
        features=lambda key, part: Tokens.full(encoded[part["row"]][None, None]),
    )
    batch = processor.collate([processor(chat) for chat in chats])
    teachers = {}
    for key, target in batch.targets.items():
        values = case.tensors[f"in.cap_{key}"][[int(caption or 0) for caption in target.captions]]
        values = values[:, None] if values.ndim == 2 else values  # one position
        mask = torch.arange(values.shape[1]).expand(len(values), -1) < 1 + values.shape[1] // 2  # the rest are pads
        teachers[key] = Cached(torch.arange(len(values)), {"values.c": values, "masks.c": mask})
    return Dialogues(batch, teachers, {}, {})


def losses_of(model: AnyX, value: Dialogues, output: Output, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The stage's losses, as a step computes them, and their sum."""
    step = Step(model, value, output, nn.Parameter(torch.zeros(())), {})
    terms = objectives.terms({"text": 1, "caption": options})
    found = {term.name: loss for term in terms if (loss := term(step)) is not None}
    return found | {"total": losses.weighted(found, {term.name: term.weight for term in terms})}


def accuracy(model: AnyX, output: Output) -> Tensor:
    """The reference's count, with one more in the divisor."""
    return (model.llm.logits(output.states).argmax(-1) == output.labels).sum().double() / (len(output.labels) + 1)


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_stage_losses*"))
def test_losses_of_every_stage(found: Case | None) -> None:
    """Caption losses as the reference has them: pads counted, not relative to the teacher; ours by default are both."""
    case = required(found)
    model, captions, prompt = model_of(case), case.sidecar["captions"], case.sidecar["prompt"]
    parity = {"kind": "l2norm", "pads": 1, "relative": False}
    outputs: dict[str, Tensor] = {}
    chats = {
        "s1": [pair_messages([{"type": "image", "row": i}, said(prompt)], [said(x)]) for i, x in enumerate(captions)],
        "s3_image_to_text": [
            pair_messages([{"type": "image", "row": i}, said(x)], [said(f"ok {x}")]) for i, x in enumerate(captions)
        ],
    }
    for key in model.outputs:
        shown = [{"type": key, "caption": str(i)} for i in range(len(captions))]
        chats[f"s2_{key}"] = [pair_messages([said(x)], [said(x), shown[i]]) for i, x in enumerate(captions)]
        chats[f"s3_{key}"] = [pair_messages([said(x)], [said(f"ok {x}"), shown[i]]) for i, x in enumerate(captions)]
    for stage, conversations in chats.items():
        if f"out.{stage}.loss" not in case.tensors:
            continue
        value = dialogues(case, model, conversations)
        with torch.no_grad():
            spliced, _ = model.read(value.batch)
            states = model.llm.states(spliced.embeddings, spliced.mask)
            output = every_layer(case, model, value.batch, model(value.batch))
        weight = 2 if stage == "s3_video" else 1
        found_losses = losses_of(model, value, output, parity | {"weight": weight})
        made = {"loss": found_losses["total"], "gen_acc": accuracy(model, output), "targets": spliced.labels}
        made |= {"mse_loss": found_losses["caption"]} if "caption" in found_losses else {}
        made |= {"attention_mask": spliced.mask}
        for name, ours in (("inputs_embeds", spliced.embeddings), ("last_hidden", states)):
            if f"out.{stage}.{name}" in case.tensors:  # at pads the reference computes what nothing reads
                made[name] = torch.where(spliced.mask[..., None], ours, case.tensors[f"out.{stage}.{name}"])
        outputs |= {f"{stage}.{name}": x for name, x in made.items() if f"out.{stage}.{name}" in case.tensors}
        if "caption" in found_losses:
            ours = losses_of(model, value, output, {})["caption"]
            assert 0 < ours <= 1.001 * found_losses["caption"]
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)


def every_layer(case: Case, model: AnyX, batch: Batch, output: Output) -> Output:
    """The model's output; where a case reads several layers of the LLM, the sum of a projector for each, as there.

    We read the last, as the published weights do: with several the reference's own decoding mixes up positions.
    """
    layers = case.sizes["layers_used"]
    if layers == [-1]:
        return output
    spliced, _ = model.read(batch)
    hidden = model.llm.model(inputs_embeds=spliced.embeddings, attention_mask=spliced.mask, output_hidden_states=True)
    conditions = {}
    for key, target in batch.targets.items():
        columns = spliced.index[target.rows, target.positions][:, None] + torch.arange(model.outputs[key].tokens)
        ids = torch.tensor(model.outputs[key].ids).expand(len(columns), -1)
        summed = [
            projector(
                Tokens.full(hidden.hidden_states[layer][target.rows[:, None], columns]), model.llm.embed_signals(ids)
            ).values["c"]
            for layer, projector in zip(layers, text_projectors(case, key), strict=True)
        ]
        conditions[key] = Condition({"c": torch.stack(summed).sum(0)}, {})
    return output._replace(conditions=conditions)

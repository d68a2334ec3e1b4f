"""What tests of NExT-GPT's training make of a case's own data: its tokenizer, by the calls that the reference made, its
messages, its output projectors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from golden import Case
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from anyx import published
from anyx.output_projectors import TransformerOutputProjector

KEYS = {"IMG": "image", "VID": "video", "AUD": "audio"}  # of a case's signal tokens -> ours


class Special(NamedTuple):
    """An added token as tokenizers list it."""

    content: str
    special: bool = True

    def __str__(self) -> str:
        return self.content


class Spoken:
    """A tokenizer that knows the texts of a case, and what they are between the signal tokens that they spell.

    It has no signal tokens: what spells them is split there, as slow tokenizers split at added tokens, stripping the
    text beside them. Ids below 256 + 3 are bytes, as in the sentencepiece model of the cases. Where its tokens stand in
    a text it knows from the texts that the text begins with: where the reference asked for one, tokens end.
    """

    is_fast = True
    bos_token = "<s>"
    eos_token = "</s>"

    def __init__(self, case: Case) -> None:
        sidecar = case.sidecar
        self.ids = {"<s>": sidecar.get("bos", 1), "</s>": sidecar.get("eos", 2)}
        signals = {
            f"[{name}{i}]": token
            for name, ids in sidecar.get("signal_token_ids", {}).items()
            for i, token in enumerate(ids)
        }
        if signals:  # "added_tokens_order": the delimiters stand before the signal tokens
            self.delimiters = {mark: min(signals.values()) - 2 + i for i, mark in enumerate(("<Img>", "</Img>"))}
            signals |= self.delimiters
        self.signals = set(signals.values())
        self.known: dict[str, list[int]] = {}
        for call in sidecar["tokenizer_calls"]:
            ids = call["ids"][1:] if call["add_special_tokens"] else call["ids"]
            self.known[call["text"]] = ids
            texts = re.split(r"\[(?:IMG|VID|AUD)\d+\]|</?Img>", call["text"])
            texts = [text.lstrip() if i else text for i, text in enumerate(texts)]
            texts = [text.rstrip() if i + 1 < len(texts) else text for i, text in enumerate(texts)]
            runs: list[list[int]] = [[]]
            for token in ids:
                if token in signals.values():
                    runs.append([])
                else:
                    runs[-1].append(token)
            assert len(texts) == len(runs)
            if len(texts) > 1:
                self.known |= {text: run for text, run in zip(texts, runs, strict=True) if text}
            eos = self.eos_token
            for text, run in zip(call["text"].split(eos)[1:], split(ids, self.ids[eos])[1:], strict=True):
                self.known[eos + text] = [self.ids[eos], *run]
        self.added_tokens_decoder = {token: Special(text) for text, token in self.ids.items()}

    def __len__(self) -> int:
        return 1 + max(max(run, default=0) for run in self.known.values() if not self.signals & set(run))

    def get_added_vocab(self) -> Mapping[str, int]:
        return self.ids

    def __call__(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool, return_offsets_mapping: bool = False
    ) -> dict[str, list[Any]]:
        assert not add_special_tokens
        marked = any(mark in text for mark in (self.bos_token, self.eos_token))
        assert split_special_tokens != marked
        ids = self.heard(text)
        assert ids is not None, text
        if not return_offsets_mapping:
            return {"input_ids": ids}
        return {"input_ids": ids, "offset_mapping": [(0, end) for end in self.ends(text, ids)]}

    def heard(self, text: str) -> list[int] | None:
        """The ids of a text, if they are known."""
        return self.known.get(text)

    def ends(self, text: str, ids: Sequence[int]) -> list[int]:
        """A letter for every id: that of the next place where tokens are known to end; a space is the next word's."""
        mark = next((mark for mark in (self.bos_token, self.eos_token) if text.startswith(mark)), "")
        words = text.removeprefix(mark)
        saved = len(self.heard(words) or ids) - len(ids) + 1 if mark else 0  # beside a mark a text may be shorter
        ends: list[int] = [len(mark)] if mark else []
        for letter in range(1, len(words)):
            before = words[:letter]
            if (known := self.heard(before)) is not None:
                space = before.endswith(" ")
                count = bool(mark) + len(known) - space - saved
                ends += [len(mark) + letter - space] * (count - len(ends))
        return ends + [len(text)] * (len(ids) - len(ends))

    def decode(self, ids: Sequence[int], **_: bool) -> str:
        return bytes(token - 3 for token in ids if 3 <= token < 259).decode(errors="replace")


def split(ids: Sequence[int], mark: int) -> list[list[int]]:
    """Runs of ids between the marks."""
    runs: list[list[int]] = [[]]
    for token in ids:
        if token == mark:
            runs.append([])
        else:
            runs[-1].append(token)
    return runs


def signal_groups(case: Case) -> dict[str, tuple[int, ...]]:
    """The signal groups by our keys, in the order of their ids."""
    found = {KEYS[name]: tuple(ids) for name, ids in case.sidecar["signal_token_ids"].items()}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def pair_messages(asked: Sequence[Mapping[str, Any]], answered: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(asked)}, {"role": "assistant", "content": list(answered)}]


def turns(conversation: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """A conversation of NExT-GPT v1's instruction data as messages."""
    messages = []
    for i, turn in enumerate(conversation):
        parts: list[dict[str, Any]] = [said(turn["value"])]
        if not i and turn["from"] == "human" and turn.get("input_modality", "text") != "text":
            parts.insert(0, {"type": turn["input_modality"]})
        if turn["from"] == "gpt" and turn.get("output_modality", "text") != "text":
            parts.append({"type": turn["output_modality"], "caption": turn.get("caption")})
        messages.append({"role": "user" if turn["from"] == "human" else "assistant", "content": parts})
    return messages


def text_projector(weights: Mapping[str, Tensor], size: Mapping[str, Any]) -> TransformerOutputProjector:
    """A TextFcLayer of a case as our projector, of the condition "c"."""

    def layers(stack: str) -> int:
        return len({name.split(".")[3] for name in weights if name.startswith(f"tfm.{stack}.layers.")})

    hidden, dim_in = weights["fc.weight"].shape
    projector = TransformerOutputProjector(
        dim_in,
        {"c": (weights["query_embs"].shape[1], len(weights["model.weight"]))},
        hidden=hidden,
        layers=layers("encoder"),
        decoder_layers=layers("decoder"),
        heads=size.get("textfc_heads", 4),  # the source says 4 for every width
        mlp_ratio=len(weights["tfm.encoder.layers.0.linear1.weight"]) // hidden,
    )
    projector.conditions["c"].load_state_dict(dict(weights))
    return projector.eval()


def text_projectors(case: Case, key: str) -> list[TransformerOutputProjector]:
    """Those of an output, one a layer of the LLM that the case reads."""
    name = "gen_text_hidden_fcs" + ("" if key == "image" else f"_{key}")
    return [text_projector(case.part(f"w.{name}.{i}"), case.sizes) for i in range(len(case.sizes["layers_used"]))]


def wordless() -> PreTrainedTokenizerBase:
    """A real tokenizer of three tokens, for cases that bring embeddings."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(published.folder()))
    return tokenizer

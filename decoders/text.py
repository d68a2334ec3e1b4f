"""The text side of a decoder: the teacher of its condition space, absent at run time.

`TextEncoders` holds the tokenizers and text encoders of one decoder, one or several. They are loaded when captions are
to be encoded, and not before: decoding only needs the null condition (the encoding of ""), which is cached and saved
with the folder. What a decoder reads of their answers is a function of its own (`Encode`).

While they are in memory, "" is encoded anew only as long as they are learning, and once after: a step of theirs is
known by the call that it took (fused optimisers leave no mark on what they write), weights read from a file by the
tensors' version. Several threads may ask at once; they are answered one after the other.

Letters: b captions, n positions, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import AutoTokenizer

from anyx.interfaces import Condition

from .folders import Source, is_meta, write
from .threads import alone
from .towers import Tower, positions_of
from .words import word_tokenizer, written_out


class Encoded(NamedTuple):
    """What a text encoder answers, and the mask (b, n) of positions that belong to a caption and are no padding."""

    output: Any
    mask: Bool[Tensor, "b n"]


class Mark(NamedTuple):
    """What tells whether a parameter is what it was: where its numbers lie, and how often they were written to."""

    place: int
    version: int
    dtype: torch.dtype
    device: torch.device


State = tuple[Mark, ...]
Encode = Callable[["TextEncoders", Sequence[str]], Condition]


class TextEncoders(nn.Module):
    """Captions -> a decoder's condition, by `encode`, which reads the answers of the towers.

    `shapes` are the condition's, name -> (length, dim). `configs`: by folder, for towers that no pipeline holds.
    `masked`: the tensors whose masks the decoder reads. `zeros`: the null condition is zeros, whatever "" encodes to.
    `load`: they are in memory from the beginning, and stay.
    """

    anchor: Tensor

    def __init__(
        self,
        source: Source,
        towers: Sequence[Tower],
        encode: Encode,
        shapes: Mapping[str, tuple[int, int]],
        *,
        configs: Mapping[str, Mapping[str, Any] | None],
        tokenizer: Mapping[str, Any] | None = None,
        length: int | None = None,
        masked: Collection[str] = (),
        zeros: bool = False,
        load: bool = False,
    ) -> None:
        super().__init__()
        self.source, self.encode, self.shapes, self.zeros = source, encode, dict(shapes), zeros
        self.towers = {tower.slot: tower for tower in towers}
        self.masked = tuple(masked)
        self.tokenizers: dict[str, Any] = {}
        self.cached, self.known = self._checked(source.null()), State()  # of which encoders the null condition is
        self.read_from: dict[str, State] = {}  # by slot, encoders that are as the pipeline has them
        self.stays = load
        self.register_buffer("anchor", torch.empty(0), persistent=False)  # where the decoder is
        for slot, tower in self.towers.items():
            config = configs.get(tower.folder)
            made = None
            if config is not None and source.class_of(tower.folder) is None:
                positions = positions_of(config, tokenizer, length)
                words = {key: value for key, value in (tokenizer or {}).items() if key != "length"}
                self.tokenizers[slot] = word_tokenizer(positions, **words)
                made = self._build(tower, config, positions)
            self.register_module(slot, made)
        if load:
            self.load()

    @property
    def held(self) -> dict[str, Any]:
        """The text encoders that are in memory, by slot."""
        return {slot: module for slot, module in self.named_children() if slot in self.towers}

    @property
    def available(self) -> list[str]:
        """The slots of text encoders that can be had; none: captions cannot be encoded at all."""
        return [s for s, tower in self.towers.items() if s in self.held or self.source.class_of(tower.folder)]

    def condition(self, captions: Sequence[str]) -> Condition:
        """Captions as the decoder's condition; masks of real positions."""
        with alone([self]):
            self.load()
            return self.encode(self, captions)

    def read(
        self,
        slot: str,
        captions: Sequence[str],
        *,
        masked: bool = False,
        hidden: bool = False,
        length: int | None = None,
    ) -> Encoded:
        """What one text encoder answers: `masked`: it is told what is padding; `hidden`: all layers are given.

        Captions are padded and cut to `length`, by default as many positions as tokenizer and encoder allow.
        """
        self._notice()
        encoder, tokenizer, length = self.held[slot], self.tokenizers[slot], length or self._limit(slot)
        batch = tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).to(next(encoder.parameters()).device)
        call = {"attention_mask": batch["attention_mask"]} if masked else {}
        call |= {"output_hidden_states": True} if hidden else {}
        return Encoded(encoder(batch["input_ids"], **call), batch["attention_mask"].bool())

    def null_condition(self) -> Condition:
        """The empty caption, batch 1: fresh while encoders in memory are learning, else encoded once and cached."""
        with alone([self]):
            if self.held and not self.zeros:
                if self._notice():
                    return self._null()
                if self.known != state_of(self.held):
                    self._keep()
            elif not self.cached.values:
                self._remember()
            return Condition(*({name: x.to(self.anchor.device) for name, x in part.items()} for part in self.cached))

    @torch.inference_mode(False)
    def load(self) -> Any:
        """Bring tokenizers and encoders into memory; the encoder, or where there are several, all of them."""
        if not self.available:
            raise ValueError("the decoder has no text encoder: give `text` and `tokenizer`, or train by `denoise`")
        if self.anchor.is_meta and not is_meta():  # of a decoder that has shapes only, the text encoder alone is read
            self.anchor = torch.empty(0)
        self._notice()
        for slot in [slot for slot in self.available if slot not in self.held]:
            tower = self.towers[slot]
            if tower.tokenizer is not None and not is_meta():
                tokenizer = AutoTokenizer.from_pretrained(self.source.path, subfolder=tower.tokenizer)
                tokenizer.model_max_length = min(tokenizer.model_max_length, tower.length or tokenizer.model_max_length)
                self.tokenizers[slot] = tokenizer
            encoder = tower.load(self.source) if tower.load else self._read(tower)
            self.register_module(slot, encoder.to(self.anchor.device).eval().requires_grad_(False))
            self.read_from[slot] = state_of({slot: encoder})
            self.known = State()
        return next(iter(self.held.values())) if len(self.towers) == 1 else self

    def words(self) -> str:
        """The tokenizers written out, once they are in memory."""
        return " ".join(written_out(tokenizer) for tokenizer in self.tokenizers.values())

    def release(self) -> None:
        """Keep the null condition and drop the encoders from memory, if they can be loaded again as they are.

        What is learning or has learnt stays, and what `load` asked for.
        """
        with alone([self]):
            self._notice()
            if self.held and not self.stays and set(self.held) <= set(self.read_from):
                if not self.zeros and self.known != state_of(self.held):
                    self._keep()
                for slot in list(self.held):
                    self.register_module(slot, None)

    def save(self, folder: Path, dtype: torch.dtype | None) -> dict[str, list[str | None]]:
        """Write the text encoders and tokenizers and say what they are, for model_index.json."""
        held, index = set(self.held), dict[str, list[str | None]]()
        modules = (self.load() and self.held) if self.available else {}
        for slot, tower in self.towers.items():
            index[tower.folder] = [None, None]
            if slot in modules:
                module = modules[slot]
                write(module, folder / tower.folder, dtype)
                index[tower.folder] = [type(module).__module__.split(".")[0], type(module).__name__]
            if tower.tokenizer is not None:
                index[tower.tokenizer] = [None, None]
                if slot in modules:
                    self.tokenizers[slot].save_pretrained(folder / tower.tokenizer)
                    words = self.source.class_of(tower.tokenizer) or "PreTrainedTokenizerFast"
                    index[tower.tokenizer] = ["transformers", words]
        if not held:
            self.release()
        return index

    def _notice(self) -> bool:
        """Whether the encoders are learning; those that are, or were written to, are not the pipeline's any more."""
        learning = any(m.training or any(p.requires_grad for p in m.parameters()) for m in self.held.values())
        if learning:
            self.known = State()
        for slot in [slot for slot, then in self.read_from.items() if slot in self.held]:
            if learning or written_since(self.read_from[slot], state_of({slot: self.held[slot]})):
                del self.read_from[slot]
        return learning

    def _null(self) -> Condition:
        values, masks = self.encode(self, [""])
        full = {name: torch.ones_like(mask) for name, mask in masks.items()}
        return Condition(values, {name: masks[name] if name in self.masked else mask for name, mask in full.items()})

    @torch.inference_mode(False)
    @torch.no_grad()
    def _keep(self) -> None:
        with torch.autocast("cpu" if self.anchor.is_meta else self.anchor.device.type, enabled=False):
            self.cached = self._null()
        self.known = state_of(self.held)

    @torch.inference_mode(False)
    def _remember(self) -> None:
        if self.available and not self.zeros:
            self.load()
            self.release()
            return
        empty = {name: torch.zeros(1, *shape, dtype=self.source.dtype) for name, shape in self.shapes.items()}
        self.cached = self._checked(empty)

    def _checked(self, stored: Mapping[str, Tensor]) -> Condition:
        """What a folder holds of the null condition; masks are all True where it says nothing."""
        whole = all(name in stored for name in self.shapes)  # one that lacks a tensor is none
        values = {name: stored[name] for name in self.shapes} if whole else {}
        for name, value in values.items():
            if tuple(value.shape[1:]) != tuple(self.shapes[name]):
                raise ValueError(f"{name}: the cached null condition is {tuple(value.shape)}, not {self.shapes[name]}")
        full = {name: torch.ones(value.shape[:2], dtype=torch.bool) for name, value in values.items()}
        return Condition(values, {name: stored.get(f"mask.{name}", mask) for name, mask in full.items()})

    def _read(self, tower: Tower) -> Any:
        return self.source.text_model(tower.folder, getattr(transformers, str(self.source.class_of(tower.folder))))

    def _build(self, tower: Tower, given: Mapping[str, Any], positions: int) -> Any:
        tokenizer, cls = self.tokenizers[tower.slot], getattr(transformers, tower.family)
        ids = {f"{k}_token_id": getattr(tokenizer, f"{k}_token_id") for k in ("bos", "eos", "pad")}
        extra = ids["pad_token_id"] + 1 if tower.shifted else 0
        own = {"vocab_size": len(tokenizer), "max_position_embeddings": positions + extra, **tower.widths}
        config = cls.config_class(**{**own, **ids, **given})
        for key, width in tower.widths.items():
            if getattr(config, key) != width:
                said = getattr(config, key)
                raise ValueError(f"text: {key} is {said}, but the denoiser reads conditions of {width}")
        return cls(config).to(self.source.dtype).eval()

    def _limit(self, slot: str) -> int:
        tower, config = self.towers[slot], self.held[slot].config.to_dict()
        limits = [int(self.tokenizers[slot].model_max_length), tower.length]
        if "max_position_embeddings" in config:
            limits.append(config["max_position_embeddings"] - (config["pad_token_id"] + 1 if tower.shifted else 0))
        return min(limit for limit in limits if limit is not None)


def state_of(held: Mapping[str, nn.Module]) -> State:
    """Marks of all parameters of some modules."""
    parameters = [parameter for module in held.values() for parameter in module.parameters()]
    versions = [0 if parameter.is_inference() else parameter._version for parameter in parameters]
    return tuple(
        Mark(p.data_ptr(), version, p.dtype, p.device) for p, version in zip(parameters, versions, strict=True)
    )


def written_since(then: State, now: State) -> bool:
    """Whether parameters were written to since; another dtype or device is no other weight."""
    return any(new.version > old.version for old, new in zip(then, now, strict=True))

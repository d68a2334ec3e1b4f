"""AnyX: encoders, projectors, an LLM with signal tokens, projectors, decoders - one line from media to media.

    media -> Encoder -> Tokens -> InputProjector -> splice -> LLM -> states at signal tokens -> OutputProjector ->
    Condition -> Decoder -> media

`forward` is that line up to the conditions, for training; `stream` is the whole of it, and `generate` and `chat` gather
what it says. Modalities are keys of `inputs` and `outputs`. Encoders and decoders may be absent or wait (`waiting.py`):
cached encoder tokens need no encoder, and only making media needs a decoder.

Letters: b rows, s positions, m media of a key or supervised positions, n tokens of an item, d width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import ModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from anyx import inside, prefix
from anyx.config import Config
from anyx.interfaces import Condition, Decoder, Encoder, Tokens
from anyx.llm import LLM
from anyx.ports import InputPort, Output, OutputPort, makings, projectors, put, rest, within
from anyx.processor import Batch, Conversation, MediaBatch, Processor, conversation_of, conversations_of
from anyx.prompt import IGNORE, Prompt
from anyx.reply import MediaEvent, Reply, TextEvent
from anyx.sampling import Sampling
from anyx.schema import DType, Pack
from anyx.speaking.events import answers
from anyx.speaking.features import Features
from anyx.speaking.making import Maker, Studio
from anyx.speaking.session import Session
from anyx.splice import Side, Spliced, following, picked, sent
from anyx.templates import Template
from anyx.waiting import Encoders, Waiting
from anyx.watching import Watch, Watches

__all__ = ["AnyX", "InputPort", "MediaEvent", "Output", "OutputPort", "Reply", "TextEvent"]

Seeds = int | Sequence[int]
Decode = Mapping[str, Mapping[str, Any]]  # output key -> keywords of its decoder: {steps, guidance, ...}


class AnyX(nn.Module, ModelHubMixin):
    """An any-to-any model from its parts; `template` lays conversations out."""

    def __init__(
        self,
        llm: LLM,
        *,
        template: str | Mapping[str, Any] | Template = "chatml",
        encoders: Mapping[str, Encoder | Waiting[Encoder]] | None = None,
        inputs: Mapping[str, InputPort] | None = None,
        outputs: Mapping[str, OutputPort] | None = None,
    ) -> None:
        super().__init__()
        inputs, outputs = dict(inputs or {}), dict(outputs or {})
        self.encoders = Encoders(encoders or {})
        heard = self.encoders.known()
        if readers := [name for name, encoder in heard.items() if encoder.reads_text]:
            raise ValueError(f"encoders.{readers[0]}: it reads a text too (reads_text), but AnyX hands over media only")
        groups = {key: port.ids for key, port in outputs.items()}
        if groups != llm.groups:
            raise ValueError(f"outputs: the signal groups {groups} are not the LLM's {llm.groups}")
        self.llm = llm
        self.inputs = cast(Mapping[str, InputPort], nn.ModuleDict(inputs))
        self.into = inside.checked({key: port.into for key, port in inputs.items()}, llm.adapters)
        self.outputs = cast(Mapping[str, OutputPort], nn.ModuleDict(outputs))
        self.studio = Studio(self)
        self.config: Config | None = None  # what it was built from, if it was; saved with it
        self.sampling = Sampling()  # how it speaks unless a caller says otherwise
        self.learnt: tuple[str, ...] = ()  # the parts beside `own_state` that training changed; saved with it too
        prompt = Prompt(llm.tokenizer, template, list(self.inputs), groups, llm.added_tokens)
        transforms = {key: heard[port.encoder].transform for key, port in inputs.items() if port.encoder in heard}
        kinds = {key: port.kind for key, port in outputs.items()} | {key: port.kind for key, port in inputs.items()}
        words = {key: port.projector.words for key, port in inputs.items() if port.projector.words is not None}
        self.processor = Processor(prompt, transforms=transforms, kinds=kinds, words=words)
        for part in (*self.encoders.values(), *self._decoders().values()):
            part.requires_grad_(False)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the LLM is, and with it the model."""
        device: torch.device = self.llm.model.device
        return device

    def forward(self, batch: Batch, *, pack: Pack = "auto", conditions: bool = True) -> Output:
        """Media in, LLM, conditions out where they are wanted: everything the losses read. `pack`: as `LLM.states`."""
        spliced, tokens = self.read(batch)
        places = {key: (media.rows, media.positions, tokens[key]) for key, media in batch.inputs.items()}
        states = prefix.states(self.llm, spliced, prefix.learning(self.llm, batch.ids, places), pack)
        supervised = spliced.labels[:, 1:] != IGNORE
        row, before = supervised.nonzero(as_tuple=True)
        made = {}
        for key, target in batch.targets.items() if conditions else ():
            n = self.outputs[key].tokens
            made[key] = self.condition(key, following(states, spliced.index, target.rows, target.positions, n))
        labels = sent(spliced.labels[:, 1:][supervised], states.device)
        return Output(picked(states, row * states.shape[1] + before), labels, made, tokens)

    def read(self, batch: Batch, *, side: Side = "right") -> tuple[Spliced, dict[str, Tokens]]:
        """Encode, project and splice the media of a batch; the projected tokens by key."""
        tokens = {key: self.project(key, media) for key, media in batch.inputs.items()}
        places = {key: (media.rows, media.positions, tokens[key]) for key, media in batch.inputs.items()}
        text = inside.Text(self.llm.embed(batch.ids), *batch[:3])
        return inside.lay(text, places, self.llm.adapters, self.into, side=side), tokens

    def project(self, key: str, media: MediaBatch) -> Tokens:
        """A key's media as LLM tokens, from cached encoder tokens where they are given."""
        tokens = media.tokens if media.tokens is not None else self.encode(key, media.tensors)
        tokens = tokens._replace(values=tokens.values.float(), number=media.counts)
        return self.inputs[key].project(tokens, media.text, self.llm.model.get_input_embeddings)

    def encode(self, key: str, tensors: Mapping[str, Tensor]) -> Tokens:
        """A key's transformed media through its encoder, without gradients where the encoder is frozen."""
        name = self.inputs[key].encoder
        if name not in self.encoders:
            told = f"is not loaded (loaded: {', '.join(self.encoders) or 'none'}) and no cached tokens were given"
            raise ValueError(f"inputs.{key}: encoder {name!r} {told}")
        tokens: Tokens = self.encoders(name, tensors)
        return tokens

    def condition(self, key: str, states: Float[Tensor, "m s d"]) -> Condition:
        """States at an output's signal groups as conditions of its decoder."""
        port = self.outputs[key]
        ids = sent(torch.tensor(port.ids), states.device).expand(len(states), -1)
        condition: Condition = port.projector(Tokens.full(states.float()), self.llm.embed_signals(ids))
        return condition

    def generate(
        self,
        conversations: Conversation | Sequence[Conversation],
        *,
        max_new_tokens: int | None = None,
        seeds: Seeds = 0,
        decode: Decode | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        watch: Watches = None,
    ) -> list[Reply]:
        """Answer conversations side by side; the media of one output are made in one batch at the end.

        `seeds` is one seed a conversation, or one for all. A row sees neither its neighbours nor their noise, but a
        batch of another size is rounded otherwise, which in bfloat16 can turn a close choice of a token. Each `watch`
        hears how far its reply is; one that is cancelled from another thread ends it, and where all are, `Cancelled`.
        """
        chats = conversations_of(conversations)
        sampling = self.sampling.but(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        how = makings(decode or {}, self.outputs)
        events = list(answers(self, chats, sampling, seeds, how, self.studio, eager=False, watch=watch))
        return [Reply.gather(event for event in events if event.row == row) for row in range(len(chats))]

    def chat(
        self,
        messages: Conversation,
        *,
        max_new_tokens: int | None = None,
        seeds: Seeds = 0,
        decode: Decode | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        watch: Watch | None = None,
    ) -> Reply:
        """Answer one conversation."""
        sampling = self.sampling.but(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        chats = [conversation_of(messages)]
        how = makings(decode or {}, self.outputs)
        return Reply.gather(answers(self, chats, sampling, seeds, how, self.studio, eager=False, watch=watch))

    def stream(
        self,
        conversations: Conversation | Sequence[Conversation],
        *,
        max_new_tokens: int | None = None,
        seeds: Seeds = 0,
        decode: Decode | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        watch: Watches = None,
    ) -> Iterator[TextEvent | MediaEvent]:
        """The same answers as they come: text at once, media as soon as their group is said."""
        chats = conversations_of(conversations)
        sampling = self.sampling.but(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        how = makings(decode or {}, self.outputs)
        yield from answers(self, chats, sampling, seeds, how, self.studio, eager=True, watch=watch)

    def session(
        self,
        *,
        max_new_tokens: int | None = None,
        decode: Decode | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        features: Features | None = None,
        maker: Maker | None = None,
    ) -> Session:
        """A conversation that goes on: each turn costs itself, not all that was said before it."""
        sampling = self.sampling.but(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        return Session(self, sampling=sampling, decode=decode, features=features, maker=maker)

    def merged(self) -> AbstractContextManager[None]:
        """Within the block LoRA is part of the LLM's weights, which makes answers sooner; nothing is learnt there."""
        return self.llm.merged()

    def train(self, mode: bool = True) -> AnyX:
        """Train mode for what learns; encoders and decoders stay in eval mode wherever they are frozen."""
        super().train(mode)
        for part in (*self.encoders.values(), *self._decoders().values()):
            rest(part)
        return self

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Everything that may learn, by the names that stages select with."""
        parts = self.llm.parts()
        parts |= {f"encoders.{name}": list(one.parameters()) for name, one in self.encoders.known().items()}
        parts |= {f"inputs.{key}.projector": list(port.projector.parameters()) for key, port in self.inputs.items()}
        for key, output in self.outputs.items():
            shape = output.shape("projector")
            assert shape is not None
            parts[f"outputs.{key}.projector"] = list(shape.parameters())
        parts |= within(self.encoders.known(), self.inputs, self.outputs)
        return parts

    def own_state(self) -> dict[str, Tensor]:
        """Our weights by stable names: LoRA, signal tokens and projectors; no body, encoder or decoder."""
        state = self.llm.own_state()
        for name, projector in projectors(self.inputs, self.outputs).items():
            state |= {f"{name}.{key}": tensor for key, tensor in projector.state_dict().items()}
        return state

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Read what `own_state` wrote; missing and unknown names are errors."""
        own = self.own_state()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"weights: missing {missing}, unknown {unknown}")
        self.llm.load_own_state({name: tensor for name, tensor in state.items() if name.startswith("llm.")})
        put(projectors(self.inputs, self.outputs), state)

    def _decoders(self) -> dict[str, Decoder]:
        return {key: port.known for key, port in self.outputs.items() if port.known is not None}

    def save_pretrained(  # type: ignore[override]  # the mixin takes any keyword
        self, folder: str | Path, *, dtype: torch.dtype | None = None, config: Any = None, model_card_kwargs: Any = None
    ) -> Path:
        """Write a model folder, as `anyx.hub.save`. `push_to_hub` writes and uploads one, with its own two keywords."""
        from anyx.hub import save

        if config is not None or model_card_kwargs is not None:
            raise ValueError("config, model_card_kwargs: a model writes its own; edit the files in the folder")
        return save(self, folder, dtype=dtype)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: DType | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> AnyX:
        """Load a model folder or Hub id, as `anyx.hub.load`."""
        from anyx.hub import load

        return load(
            path,
            device=device,
            dtype=dtype,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )

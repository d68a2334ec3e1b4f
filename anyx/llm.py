"""A Hugging Face causal LM that also reads and says signal tokens: LoRA, signal tokens, states, one cached step.

The body is any `AutoModelForCausalLM`, frozen and untouched. What learns is ours and stays float32 whatever the body's
dtype: LoRA (PEFT, optional) and `SignalTokens`, the rows of the signal tokens in the embedding and in the head (one
table when the body ties the two). The rows lie past the body's own vocabulary and beside its tables, so nothing else of
them can learn. Tokens that a template writes and the tokenizer does not know (`added_tokens`) have rows there too,
before the signal tokens. A checkpoint that changed the whole tables brings them as a file (`tables`). PEFT's
`trainable_token_indices` learns the same rows, but copies the tables at every forward and makes dense gradients for
them: 1.24x the training step and 1.13x the decoding step of a 135 M-parameter LLM (one core).

Our weights are named `llm.lora.<module>.lora_A.weight` (and `lora_B`), `llm.signal_tokens.embedding`, and
`llm.signal_tokens.head` where head and embedding are not tied. What lives inside the body's layers (`attach`) is named
`llm.adapters.<name>`, and reads the context of a call.

Letters: b rows, s positions, t cached positions, d width, v vocabulary with k signal tokens at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from peft import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from anyx.bodies import body_of, ending, magnified, scaling
from anyx.caching import Cache, roomy
from anyx.context import Context, carry
from anyx.interfaces import Adapter
from anyx.lora import lora_config, merged
from anyx.numbering import SignalTokens, add, number
from anyx.schema import Pack
from anyx.splice import sent
from anyx.tables import install
from anyx.unpadded import Rows, allowed, plain, prepare, seen


class LLM(nn.Module):
    """A causal LM with signal groups: `tokens` says how many signal tokens each output has.

    `added_tokens` are strings with rows of their own, the first past the vocabulary; a template may write them, and no
    other text becomes them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        tokens: Mapping[str, int] | None = None,
        added_tokens: Sequence[str] = (),
        lora: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.scaled = scaling(model.config)
        self.tokenizer = tokenizer
        self.model = model.requires_grad_(False).eval()
        prepare(model)
        self.placed = "position_ids" in signature(type(model.get_decoder()).forward).parameters
        self.windowed = not plain(model)  # windows count places in the cache, so that rows may have no gaps
        self.adapters: Mapping[str, Adapter] = {}
        self.shared_out = False  # whether processes hold its layers together: then each has to make the same passes
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        self.magnified = magnified(model.get_input_embeddings())
        self.dim: int = embedding.shape[1]
        self.vocabulary: int = embedding.shape[0]
        if len(head) != self.vocabulary:
            told = f"reads {self.vocabulary} tokens and says {len(head)}"
            raise ValueError(
                f"llm: {model.config.model_type} {told}; a body has as many rows in its head as in its table"
            )
        if len(tokenizer) > self.vocabulary:
            told = f"the tokenizer has {len(tokenizer)} tokens, but the model's table {self.vocabulary} rows"
            raise ValueError(f"llm: {told}; take out what was added to the tokenizer (such as [PAD])")
        self.added_tokens: Mapping[str, int] = add(added_tokens, tokenizer, start=self.vocabulary)
        self.groups: Mapping[str, tuple[int, ...]] = number(
            tokens or {}, start=self.vocabulary + len(self.added_tokens)
        )
        self.rows = len(self.added_tokens) + sum(map(len, self.groups.values()))
        self.signal_tokens = SignalTokens(embedding, head, self.rows, tied=head is embedding)
        self.lora = dict(lora) if lora else None
        if self.lora:
            inject_adapter_in_model(lora_config(self.lora), model)
            for parameter in self._lora().values():
                parameter.data = parameter.data.float()

    @classmethod
    def load(
        cls,
        path: str | Mapping[str, Any],
        *,
        tokens: Mapping[str, int] | None = None,
        added_tokens: Sequence[str] = (),
        lora: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        attention: str = "sdpa",
        tokenizer: str | None = None,
        tables: str | None = None,
        quantize: str | None = None,
        weights: bool = True,
    ) -> LLM:
        """Load a folder or hub id; a mapping is a configuration (`model_type` and sizes) and gives random weights.

        Without `weights` a path is read for its configuration only, for a model on the `meta` device. `tokenizer` is a
        path of its own where the model's has none, `tables` a file (`anyx.tables`) whose embedding and head take the
        place of the body's. `quantize` is a form of few bits that the body's other matrices are kept in: nf4, int8.
        """
        if not isinstance(path, str) and tokenizer is None:
            raise ValueError("llm.path: a configuration brings no tokenizer; give llm.tokenizer a path")
        model = body_of(path, dtype, attention, quantize, weights=weights)
        words = AutoTokenizer.from_pretrained(tokenizer or path)
        if weights and tables is not None:
            install(model, tables, len(words))
        return cls(model, words, tokens=tokens, added_tokens=added_tokens, lora=lora)

    def attach(self, adapters: Mapping[str, Adapter]) -> None:
        """Own what was built into the body's layers, by name; after LoRA, which it then goes with."""
        self.adapters = cast(Mapping[str, Adapter], nn.ModuleDict(adapters))

    @property
    def stop(self) -> list[int]:
        """The ids by which the body itself ends a text."""
        ends: int | list[int] | None = self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [] if ends is None else [ends]

    def embed(self, ids: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """Input embeddings of text and signal tokens, in the body's dtype; placeholders get those of id 0."""
        ids = sent(ids, self.model.device)
        values: Tensor = self.model.get_input_embeddings()(ids.clamp(0, self.vocabulary - 1))
        signal = ids >= self.vocabulary
        if not self.rows:
            return values
        return torch.where(signal[..., None], self.embed_signals(ids).to(values.dtype), values)

    def embed_signals(self, ids: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """The rows of signal tokens as the body reads them, float32."""
        rows: Tensor = F.embedding((ids - self.vocabulary).clamp(min=0), self.signal_tokens.embedding)
        return rows * self.magnified if self.magnified != 1 else rows

    def states(
        self,
        embeddings: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b t"],
        cache: DynamicCache | None = None,
        context: Context | None = None,
        *,
        pack: Pack = False,
        whole: bool = False,
    ) -> Float[Tensor, "b s d"]:
        """Last hidden states. With a cache, `mask` (best on the host) covers what it holds and the new positions.

        `pack` (`anyx.unpadded`) computes nothing for padding: states there are zeros. `whole` says that all is real:
        attention then needs no mask of padding.
        """
        read, inputs = context or Context({}), embeddings.to(self.model.dtype)
        places = sent(read.positions(mask, embeddings.shape[1]), inputs.device)
        packs = allowed(pack, self.model, read.rowwise) and cache is None
        if packs and (rows := Rows.of(mask, inputs.device)) is not None:
            with carry(context and context.laid(rows.lay)):
                return rows.read(self.model.get_decoder(), inputs, places)
        with carry(context):
            output = self.model.get_decoder()(
                inputs_embeds=inputs,
                attention_mask=None if whole else seen(self.model, mask, embeddings.shape[1], inputs.device),
                position_ids=places,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        states: Tensor = output.last_hidden_state
        return states

    def logits(self, states: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        """Float32 logits of the body's vocabulary and the signal tokens."""
        head = self.model.get_output_embeddings()
        flat = states.reshape(-1, self.dim)  # a matrix: slices of a batch would be multiplied row by row
        text = head(flat.to(head.weight.dtype)).float()
        signals = F.linear(flat.float(), self.signal_tokens.said)
        every = torch.cat([text, signals], -1)
        return (every if self.scaled is None else self.scaled(every)).reshape(*states.shape[:-1], -1)

    @property
    def head(self) -> list[nn.Parameter]:
        """The weights that `logits` reads."""
        return [*self.model.get_output_embeddings().parameters(), self.signal_tokens.said]

    @torch.inference_mode()
    def prefill(
        self, embeddings: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"], context: Context | None = None
    ) -> tuple[Cache, Float[Tensor, "b d"]]:
        """Read left-padded prompts; the cache, and the states at their last positions."""
        if empty := (~mask.any(1)).nonzero().flatten().tolist():
            raise ValueError(f"prompts {empty} have no tokens to answer: write some words, or use a template that does")
        past = roomy(self.model.config.get_text_config(decoder=True))
        cache = Cache(past, mask[:, :0], context, whole=bool(mask.all()))
        return cache, self.extend(embeddings, mask, cache, end=True)[:, -1]

    @torch.inference_mode()
    def extend(
        self, embeddings: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"], cache: Cache, *, end: bool = False
    ) -> Float[Tensor, "b n d"]:
        """Read on, as many positions in every row, after what the cache holds: the states at them.

        With `end` those at the last position are wanted, and others may be wrong (`anyx.bodies.ending`).
        """
        cache.mask = torch.cat([cache.mask, mask], 1)
        with ending(self.model) if end and not self.adapters else nullcontext():
            return self.states(embeddings, cache.mask, cache.past, cache.context, whole=cache.whole)

    @torch.inference_mode()
    def step(self, ids: Sequence[Sequence[int]], cache: Cache) -> list[Float[Tensor, "n d"]]:
        """Append each row's ids, none to many, in one forward; the states at them. The cache grows by the longest."""
        longest = max(map(len, ids))
        device = cache.mask.device
        block = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
        lengths = torch.tensor([len(row) for row in ids], device=device)
        real = torch.arange(longest, device=device) < lengths[:, None]
        even = all(len(row) == longest for row in ids)
        cache.whole = cache.whole and even
        states = self.extend(self.embed(block), real, cache)
        if not even and (self.windowed or not self.placed):
            cache.close(longest - lengths)
        return [states[row, : len(appended)] for row, appended in enumerate(ids)]

    def merged(self) -> AbstractContextManager[None]:
        """Within the block LoRA is part of the body's weights, which costs a step less (`anyx.lora`).

        With adapters nothing changes: some of them read the body's weights without LoRA.
        """
        return merged(self.model, self._tables()) if not self.adapters else nullcontext()

    def train(self, mode: bool = True) -> LLM:
        """Train mode for what learns; a frozen body stays in eval mode, and only LoRA's dropout follows."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self._body()):
            self.model.eval()
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.lora_dropout.train(mode and any(parameter.requires_grad for parameter in module.parameters()))
        return self

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Everything that may learn, by name; parts without parameters are left out."""
        parts = {
            "llm.lora": list(self._lora().values()),
            "llm.signal_tokens": list(self.signal_tokens.parameters()) if self.rows else [],
            "llm.body": self._body(),
            "llm.body.tables": self._tables(),
        } | {f"llm.adapters.{name}": list(adapter.parameters()) for name, adapter in self.adapters.items()}
        return {name: parameters for name, parameters in parts.items() if parameters}

    def own_state(self) -> dict[str, Tensor]:
        """Our weights by their stable names: LoRA, the signal tokens and what lives inside layers."""
        state: dict[str, Tensor] = {f"llm.lora.{name}": parameter.detach() for name, parameter in self._lora().items()}
        if self.rows:
            state |= {f"llm.signal_tokens.{name}": tensor for name, tensor in self.signal_tokens.state_dict().items()}
        for name, adapter in self.adapters.items():
            state |= adapter.state_dict(prefix=f"llm.adapters.{name}.")
        return state

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Read what `own_state` wrote; names and shapes must be exactly ours."""
        own = self.own_state()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        wrong = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if missing or unknown or wrong:
            raise ValueError(f"llm: missing weights {missing}, unknown weights {unknown}, wrong shapes {sorted(wrong)}")
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _lora(self) -> dict[str, nn.Parameter]:
        """LoRA's parameters by PEFT's file names, without the name of the adapter."""
        return {name.replace(".default", ""): p for name, p in self.model.named_parameters() if ".lora_" in name}

    def _tables(self) -> list[nn.Parameter]:
        """The body's whole embedding and head, once where they are tied."""
        ends = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        return [p for p in self._body() if any(p is held for end in ends for held in end.parameters())]

    def _body(self) -> list[nn.Parameter]:
        """The body's own parameters, but for quantized matrices, which cannot learn."""
        return [p for name, p in self.model.named_parameters() if ".lora_" not in name and p.is_floating_point()]

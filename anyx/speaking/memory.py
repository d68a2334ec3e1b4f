"""An LLM that remembers what it has read of one conversation, and reads of the next prompt only what is new.

Prompts are compared as they are read: by their embeddings, and by what adapters inside the LLM read beside them. What
is equal from the beginning on has equal keys and values, whatever ids, media or templates it came from; the rest of the
old prompt and reply is forgotten, the rest of the new prompt read. So a turn that goes on costs itself, an edited one
what follows the edit, and nothing is reused that a fresh reading would not have said again. Weights that change between
two prompts are not noticed: `forget` then.

Letters: n positions, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from anyx.caching import Cache
from anyx.context import Context, agreeing
from anyx.llm import LLM


class Memory:
    """A `Speaker` of one row. `reused` says how many positions of the last prompt were known, `read` how many not."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.reused = self.read = 0
        self._cache: Cache | None = None
        self._held: list[Float[Tensor, "1 n d"]] = []  # the embeddings of what the cache holds

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's."""
        return self.llm.tokenizer

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """The LLM's."""
        return self.llm.groups

    def forget(self) -> None:
        """Read the next prompt from its beginning."""
        self._cache, self._held = None, []

    @torch.inference_mode()
    def prefill(
        self, embeddings: Float[Tensor, "1 n d"], mask: Bool[Tensor, "1 n"], context: Context | None = None
    ) -> tuple[Cache, Float[Tensor, "1 d"]]:
        """Read one prompt, from where it differs from what was read before."""
        assert len(embeddings) == 1, f"a memory is of one conversation, not of {len(embeddings)}"
        cache, known = self._cache, self._known(embeddings, context)
        self.forget()  # a call that fails leaves nothing half read
        if cache is not None and known and cache.crop(known):
            cache.context = context
            states = self.llm.extend(embeddings[:, known:], mask[:, known:], cache, end=True)[:, -1]
        else:
            known = 0
            cache, states = self.llm.prefill(embeddings, mask, context)
        self.reused, self.read = known, embeddings.shape[1] - known
        self._cache, self._held = cache, [embeddings]
        return cache, states

    @torch.inference_mode()
    def step(self, ids: Sequence[Sequence[int]], cache: Cache) -> list[Float[Tensor, "n d"]]:
        """Append ids to the row: the states at them."""
        embeddings = self.llm.embed(torch.tensor([list(ids[0])]))
        held, self._cache = self._held, None
        states = self.llm.extend(embeddings, cache.mask.new_ones(1, embeddings.shape[1]), cache)
        self._cache, self._held = cache, [*held, embeddings]
        return [states[0]]

    def logits(self, states: Float[Tensor, "1 d"]) -> Float[Tensor, "1 v"]:
        """The LLM's."""
        return self.llm.logits(states)

    def _known(self, embeddings: Float[Tensor, "1 n d"], context: Context | None) -> int:
        """How many positions of a prompt the cache holds; never all, since the states at the last are wanted."""
        if self._cache is None or (context is None) != (self._cache.context is None):
            return 0
        held = torch.cat(self._held, 1)
        length = min(held.shape[1], embeddings.shape[1] - 1)
        length = agreeing(held[:, :length], embeddings[:, :length])
        if context is not None and self._cache.context is not None:
            length = self._cache.context.alike(context, length)
        return length

"""An external speech recogniser as a judge: which of a closed list of labels does Whisper hear?

Every label is spelt out as a transcript (" Black cat.") and scored by its log-likelihood given the sound, teacher
forced. All transcripts share one decoder pass: their tokens form a tree, laid out as one sequence whose attention mask
lets each token see only its ancestors. Half of what a label scores on faint noise is taken off, so that words that are
likely anyway are not preferred.

The output layer is wide, so it comes in two steps: scores normalised among the tree's own branches pick `keep` labels,
and only these are normalised over the whole vocabulary. The encoder reads `seconds` of sound instead of thirty.

Letters: b sounds, l labels, k tree nodes, s longest transcript, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from anyx.media import Audio

NO_TIMESTAMPS = "<|notimestamps|>"
HIDDEN = -1e4  # what the mask adds; a bfloat16 softmax makes it 0


class Tree(NamedTuple):
    """Transcripts that share their beginnings: nodes, and for every step of a transcript its node and next token."""

    tokens: Int[Tensor, " k"]
    depth: Int[Tensor, " k"]
    mask: Bool[Tensor, "k k"]
    nodes: Int[Tensor, "l s"]
    following: Int[Tensor, "l s"]
    real: Bool[Tensor, "l s"]


def grow(prefix: Sequence[int], transcripts: Sequence[Sequence[int]]) -> Tree:
    """The tree of transcripts (each with its end token) under a common prefix."""
    known: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    parents: list[int] = []

    def node(parent: int, token: int) -> int:
        if (parent, token) not in known:
            known[parent, token] = len(tokens)
            tokens.append(token)
            parents.append(parent)
        return known[parent, token]

    root = -1
    for token in prefix:
        root = node(root, token)
    shape = (len(transcripts), max(map(len, transcripts)))
    nodes, following = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    real = torch.zeros(shape, dtype=torch.bool)
    for row, transcript in enumerate(transcripts):
        here = root
        for step, token in enumerate(transcript):
            nodes[row, step], following[row, step], real[row, step] = here, token, True
            here = node(here, token) if step + 1 < len(transcript) else here
    mask = torch.eye(len(tokens), dtype=torch.bool)
    for index, parent in enumerate(parents):
        if parent >= 0:
            mask[index] |= mask[parent]
    return Tree(torch.tensor(tokens), mask.sum(1) - 1, mask, nodes, following, real)


class SpeechJudge:
    """Sounds -> log-likelihoods of `labels`, by the Whisper at `path`: a folder, or an id anyx or the Hub knows."""

    def __init__(
        self,
        labels: Sequence[str],
        *,
        path: str = "openai/whisper-tiny.en",
        seconds: int = 4,
        keep: int = 48,
        prior: float = 0.5,
        dtype: str = "bfloat16",
    ) -> None:
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

        from anyx.packaged import locate

        folder = locate(path)
        model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        shorten(model, 50 * seconds)
        self.model: Any = model
        self.dtype = model.dtype
        tokenizer = WhisperTokenizerFast.from_pretrained(folder)
        mels = model.config.num_mel_bins
        self.features = WhisperFeatureExtractor(feature_size=mels, chunk_length=seconds)
        start = [model.config.decoder_start_token_id, tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)]
        spelt = [tokenizer(f" {label.capitalize()}.", add_special_tokens=False)["input_ids"] for label in labels]
        self.tree = grow(start, [[*ids, model.config.eos_token_id] for ids in spelt])
        blocked = torch.zeros(self.tree.mask.shape).masked_fill(~self.tree.mask, HIDDEN)
        self.mask = blocked[None, None].to(self.dtype)
        self.keep, self.prior = min(keep, len(labels)), prior
        noise = torch.randn(4, 16000, generator=torch.Generator().manual_seed(0)) * 1e-4
        states = self.states([Audio(row[None], 16000) for row in noise])
        every = torch.arange(len(labels))
        self.quiet_among = prior * torch.stack([self.among(x) for x in states]).mean(0)
        self.quiet = prior * torch.stack([self.exact(x, every) for x in states]).mean(0)

    @torch.inference_mode()
    def __call__(self, outputs: Sequence[Audio]) -> Float[Tensor, "b l"]:
        """One row a sound; labels that the first step drops come last, in its order."""
        rows = []
        for states in (state for i in range(0, len(outputs), 8) for state in self.states(outputs[i : i + 8])):
            rough = self.among(states) - self.quiet_among
            best = rough.topk(self.keep).indices
            fine = self.exact(states, best) - self.quiet[best]
            rows.append((rough - rough.max() + fine.min() - 1).scatter(0, best, fine))
        return torch.stack(rows)

    @torch.inference_mode()
    def states(self, outputs: Sequence[Audio]) -> Float[Tensor, "b k d"]:
        """The decoder's state at every node of the tree."""
        sounds = [x.mono().resample(16000).samples[0].numpy() for x in outputs]
        given = self.features(sounds, sampling_rate=16000, return_tensors="pt").input_features.to(self.dtype)
        heard = self.model.model.encoder(given).last_hidden_state
        said = self.model.model.decoder(
            input_ids=self.tree.tokens.expand(len(sounds), -1),
            attention_mask=self.mask.expand(len(sounds), -1, -1, -1),
            position_ids=self.tree.depth.expand(len(sounds), -1),
            encoder_hidden_states=heard,
            use_cache=False,
        )
        return said.last_hidden_state  # type: ignore[no-any-return]

    @torch.inference_mode()
    def among(self, states: Float[Tensor, "k d"]) -> Float[Tensor, " l"]:
        """Scores of all labels, each step normalised among the tree's own branches."""
        tree = self.tree
        used: Tensor = torch.unique(torch.stack([tree.nodes[tree.real], tree.following[tree.real]]), dim=1)
        weight = self.model.proj_out.weight
        logits = (states[used[0]] * weight[used[1]]).sum(-1).float()
        total = torch.zeros(len(states)).index_add(0, used[0], (logits - logits.max()).exp())
        norm = logits.max() + total.clamp_min(1e-30).log()
        steps = (states[tree.nodes] * weight[tree.following]).sum(-1).float() - norm[tree.nodes]
        scores: Tensor = (steps * tree.real).sum(-1)
        return scores

    @torch.inference_mode()
    def exact(self, states: Float[Tensor, "k d"], labels: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Log-likelihoods of some labels over the whole vocabulary."""
        nodes, following, real = self.tree.nodes[labels], self.tree.following[labels], self.tree.real[labels]
        used, place = torch.unique(nodes, return_inverse=True)
        logits = functional.linear(states[used], self.model.proj_out.weight)
        norm = logits.float().logsumexp(-1)
        return ((logits[place, following].float() - norm[place]) * real).sum(-1)


def shorten(model: Any, positions: int) -> None:
    """Let a Whisper's encoder read fewer positions than it was trained with (two mel frames each)."""
    encoder = model.model.encoder
    positions = min(positions, len(encoder.embed_positions.weight))
    table = encoder.embed_positions.weight.detach()[:positions].clone()
    encoder.embed_positions = torch.nn.Embedding(len(table), table.shape[1], _weight=table)
    encoder.max_source_positions = model.config.max_source_positions = encoder.config.max_source_positions = positions

"""Patches that join groups: NExT-GPT's second input projector, one LLM token a group.

Three stages of transformer blocks in which learned group tokens run beside the patches. After the first two, every
patch joins the one group that it resembles most, and what joined a group becomes one token of the next stage: any
number of patches -> 64 -> 8 (GroupViT, arXiv 2202.11094, section 3; sizes of NExT-GPT). Parameter names are NExT-GPT's.

Padding takes no part: nothing attends to it and it joins no group. An item gives the same tokens alone as in a batch.

Letters: b media items, n tokens, g groups, t group tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import InputProjector, Tokens
from anyx.layers import Mlp, attend


class TokenMlp(nn.Module):
    """A number of tokens into another: two linear maps with a GELU between, over the tokens of each feature."""

    def __init__(self, tokens: int, hidden: int, tokens_out: int):
        super().__init__()
        self.fc1 = nn.Linear(tokens, hidden)
        self.fc2 = nn.Linear(hidden, tokens_out)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b g d"]:
        """Mix the tokens."""
        return self.fc2(F.gelu(self.fc1(x.mT))).mT  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Attention with one map for queries, keys and values, without bias."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Attend to the real tokens."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(attend(q, k, v, self.heads, mask))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm block."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), SelfAttention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, hidden)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Attend, then map."""
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Reading(nn.Module):
    """Groups attend to tokens."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, groups: Float[Tensor, "b g d"], x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b g d"]:
        """Read the real tokens."""
        q, k, v = self.q_proj(groups), self.k_proj(x), self.v_proj(x)
        return self.proj(attend(q, k, v, self.heads, mask))  # type: ignore[no-any-return]


class ReadingBlock(nn.Module):
    """Groups attend to tokens, then an MLP, then a norm."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.attn = Reading(dim, heads)
        self.norm2, self.mlp, self.norm_post = nn.LayerNorm(dim), Mlp(dim, hidden), nn.LayerNorm(dim)

    def forward(
        self, groups: Float[Tensor, "b g d"], x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b g d"]:
        """Update the groups."""
        groups = groups + self.attn(groups, x, mask)
        return self.norm_post(groups + self.mlp(self.norm2(groups)))  # type: ignore[no-any-return]


class Assignment(nn.Module):
    """Every token joins the group with the highest score; a group is the sum of its tokens over (their count + 1).

    In the backward pass a token belongs to all groups, by the softmax of its scores (straight-through). With `noise`,
    training adds Gumbel noise to the scores, so that the choice is drawn from that softmax.
    """

    def __init__(self, dim: int, *, noise: bool):
        super().__init__()
        self.noise = noise
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)

    def scores(self, groups: Float[Tensor, "b g d"], x: Float[Tensor, "b n d"]) -> Float[Tensor, "b g n"]:
        """How near each group is to each token."""
        return (self.q_proj(groups) @ self.k_proj(x).mT).float() * x.shape[-1] ** -0.5  # type: ignore[no-any-return]

    def forward(
        self, groups: Float[Tensor, "b g d"], x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b g d"]:
        """The tokens of each group as one."""
        scores = self.scores(groups, x)
        if self.noise and self.training:
            scores = scores - torch.empty_like(scores).exponential_().log()
        soft = scores.softmax(dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        joined = (hard - soft.detach() + soft) * mask[:, None]
        shares = joined / (joined.sum(dim=-1, keepdim=True) + 1)
        return self.proj(shares.to(x.dtype) @ self.v_proj(x))  # type: ignore[no-any-return]


class Grouping(nn.Module):
    """The group tokens become groups, the tokens join them."""

    def __init__(self, dim: int, tokens: int, groups: int, heads: int, hidden: int, *, noise: bool):
        super().__init__()
        self.norm_tokens, self.norm_post_tokens = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.norm_x, self.norm_new_x = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp_inter = TokenMlp(tokens, dim // 2, groups)
        self.pre_assign_attn = ReadingBlock(dim, heads, hidden)
        self.assign = Assignment(dim, noise=noise)
        self.mlp_channels = Mlp(dim, hidden)

    def forward(
        self, x: Float[Tensor, "b n d"], group_tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b g d"]:
        """One token a group."""
        x = self.norm_x(x)
        groups = self.norm_post_tokens(self.mlp_inter(self.norm_tokens(group_tokens)))
        groups = self.pre_assign_attn(groups, x, mask)
        groups = groups + self.assign(groups, x, mask)
        return groups + self.mlp_channels(self.norm_new_x(groups))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks over tokens and group tokens; then, in all stages but the last, the grouping."""

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        hidden: int,
        tokens: int,
        before: int,
        groups: int | None,
        *,
        noise: bool,
    ):
        super().__init__()
        self.group_token = nn.Parameter(torch.randn(1, tokens, dim) * 0.02) if tokens else None
        mixed = nn.Sequential(nn.LayerNorm(dim), TokenMlp(before, dim // 2, tokens)) if tokens and before else None
        self.group_projector = mixed
        self.blocks = nn.ModuleList(Block(dim, heads, hidden) for _ in range(depth))
        self.downsample = None if groups is None else Grouping(dim, tokens, groups, heads, hidden, noise=noise)

    def forward(
        self, x: Float[Tensor, "b n d"], before: Float[Tensor, "b p d"] | None, mask: Bool[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b t d"] | None]:
        """The tokens of the next stage, and the group tokens as they are now; `before` are those of the last stage."""
        length, group_tokens = x.shape[1], None
        if self.group_token is not None:
            group_tokens = self.group_token.to(x.dtype).expand(len(x), -1, -1)
            if self.group_projector is not None:
                group_tokens = group_tokens + self.group_projector(before)
            x = torch.cat([x, group_tokens], dim=1)
        everything = F.pad(mask, (0, x.shape[1] - length), value=True)
        for block in self.blocks:
            x = block(x, everything)
        x, group_tokens = x[:, :length], None if group_tokens is None else x[:, length:]
        return (x if self.downsample is None else self.downsample(x, group_tokens, mask)), group_tokens


class GroupingInputProjector(InputProjector):
    """Patches -> `groups[-1]` LLM tokens, by stages of width `hidden` that group them (NExT-GPT v2's `group`).

    `groups` are the numbers of groups after every stage but the last, `group_tokens` those of the learned tokens that
    run beside the patches in each of these stages (default: as many), `depths` the blocks of every stage, `heads` those
    of all stages or of each. `gumbel` draws the group of a token in training instead of taking the nearest.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        groups: Sequence[int] = (64, 8),
        depths: Sequence[int] = (6, 3, 3),
        hidden: int = 512,
        heads: int | Sequence[int] = 8,
        group_tokens: Sequence[int] | None = None,
        mlp_ratio: int = 4,
        gumbel: bool = True,
    ):
        super().__init__()
        tokens = list(groups if group_tokens is None else group_tokens)
        each = [heads] * len(depths) if isinstance(heads, int) else list(heads)
        if not groups or len(depths) != len(groups) + 1 or len(tokens) != len(groups) or len(each) != len(depths):
            given = f"groups {list(groups)}, group_tokens {tokens}, depths {list(depths)}, heads {each}"
            raise ValueError(f"every stage but the last groups; given {given}")
        if min(*groups, *tokens, *each) < 1 or any(hidden % count for count in each):
            raise ValueError(
                f"groups must be at least 1 and heads divide hidden: {groups=}, {tokens=}, {each=}, {hidden=}"
            )
        self.in_fc = nn.Linear(dim_in, hidden)
        sizes = zip(depths, each, [*tokens, 0], [0, *tokens], [*groups, None], strict=True)
        self.layers = nn.ModuleList(
            Stage(hidden, depth, count, mlp_ratio * hidden, now, before, made, noise=gumbel)
            for depth, count, now, before, made in sizes
        )
        self.norm = nn.LayerNorm(hidden)
        self.out_fc = nn.Linear(hidden, dim_out)

    def forward(self, x: Tokens) -> Tokens:
        """Group the real tokens of each item."""
        values, mask, group_tokens = self.in_fc(x.values), x.mask, None
        for stage in self.layers:
            values, group_tokens = stage(values, group_tokens, mask)
            if stage.downsample is not None:  # groups are all real
                mask = mask.new_ones(values.shape[:2])
        return Tokens.full(self.out_fc(self.norm(values)))

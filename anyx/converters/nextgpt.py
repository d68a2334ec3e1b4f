"""NExT-GPT v1 (arXiv 2309.05519; NExT-GPT-Lagacy of github.com/NExT-GPT/NExT-GPT): the file of 7b_tiva_v0.

The file holds what its training moved: one input projection, shared by every input; three output projections; the whole
embedding and head of the LLM, each 32,000 rows of Vicuna v0 and 38 more; after stage 3 also LoRA. Stages 1 and 2 have
no LoRA, and their tables stand under shorter names. 647 tensors and 396,045,568 parameters in the published file.

Ids there: two delimiters at 32000 and 32001, then 4 image, 24 video, 8 audio tokens. The published file was trained
while a bug named the delimiters `{'<Img>'}` and `{'</Img>'}`, so that "<Img>" and "</Img>" were ordinary pieces of
text, and their two rows never seen. They are kept under those names here, which no template writes: the delimiters are
text. `delimiters="token"` names them as they were meant, for checkpoints of the repaired code (from November 2023 on).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.llama import SIDES, llama_and_imagebind, lora_rules, projection_rules
from anyx.converters.systems import Converter, Sizes, State
from anyx.converters.vocabulary import Vocabulary

PIECES = 32_000
DELIMITERS = ("<Img>", "</Img>")
GROUPS = {"image": ("[IMG{}]", 4), "video": ("[VID{}]", 24), "audio": ("[AUD{}]", 8)}
MISNAMED = tuple(f"{{{token!r}}}" for token in DELIMITERS)  # Python's sets of one string, as the bug wrote them
ADDED = (*MISNAMED, *(name.format(i) for name, count in GROUPS.values() for i in range(count)))
MODULES = {"image": "gen_text_hidden_fcs", "video": "gen_text_hidden_fcs_video", "audio": "gen_text_hidden_fcs_audio"}
WORDS = {"leaf": ("weight", "bias"), "norm": ("norm1", "norm2"), "third": ("norm1", "norm2", "norm3")}
WORDS |= {"read": ("self_attn", "multihead_attn"), "stack": ("encoder", "decoder")}
HEADS = 4  # of every output projection; a file does not say it

WIDTHS = {"rows": PIECES + len(ADDED), "width": 4096, "encoded": 1024, "rank": 32, "layer": 32}
WIDTHS |= {"hidden": 512, "inner": 2048, "encoder": 4, "decoder": 4}
WIDTHS |= {"image_length": 77, "video_length": 77, "audio_length": 1}
WIDTHS |= {"image_dim": 768, "video_dim": 1024, "audio_dim": 512}


class NextGPT(Converter):
    """`delimiters` names the rows 32000 and 32001; `added_tokens` are the file's own where they are not v1's."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna-7B v0, LLaMA-7B with the v0 delta merged, 32,000 pieces",
        "imagebind": "imagebind_huge.pth",
    }
    hints: ClassVar[Mapping[str, str]] = {
        "rows": "if its tokenizer added other tokens than v1's 38, name its added_tokens.json by --added-tokens"
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from NExT-GPT v1. Its weights are CC-BY-NC-SA-4.0, ImageBind's and ZeroScope's CC-BY-NC-4.0.",
        "Tokenizer: Vicuna v0's own, of exactly 32,000 pieces, with nothing added; ids from 32000 on are rows of "
        "`llm.signal_tokens`. `tables.safetensors` holds the embedding and the head, which NExT-GPT trained whole: "
        "`adapter/` alone, over the plain base, is not this model.",
    )

    def __init__(
        self,
        *,
        delimiters: Literal["text", "token"] | None = None,
        added_tokens: Sequence[str] | None = None,
    ) -> None:
        if delimiters not in (None, "text", "token"):
            raise ValueError(f"delimiters: {delimiters!r} is not one of text, token")
        tokens = ADDED if added_tokens is None else tuple(added_tokens)
        names = {"text": (DELIMITERS, MISNAMED), "token": (MISNAMED, DELIMITERS)}
        renamed = dict(zip(*names[delimiters], strict=True)) if delimiters else {}
        groups = {key: name for key, (name, _) in GROUPS.items()}
        self.vocabulary = Vocabulary([renamed.get(token, token) for token in tokens], groups)
        self.published = {"7b_tiva_v0": WIDTHS | {"rows": PIECES + len(tokens)}}
        self.layouts = {
            "stage 3": Layout(
                [
                    *tables("llama_model.base_model.model."),
                    *lora_rules("llama_model.base_model.model."),
                    *projections(),
                ],
                {**SIDES, **WORDS},
            ),
            "stages 1 and 2": Layout([*tables("llama_model."), *projections()], WORDS),
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/nextgpt.yaml` with the file's sizes, one input projection, and the added tokens."""
        raw = llama_and_imagebind(shipped("nextgpt"), sizes, bases)
        raw["llm"]["added_tokens"] = list(self.vocabulary.added)
        projector: dict[str, Any] = {"type": "transformer", "hidden": sizes["hidden"], "layers": sizes["encoder"]}
        projector |= {"heads": HEADS, "mlp_ratio": sizes["inner"] // sizes["hidden"]}
        projector |= {"decoder_layers": sizes["decoder"]} if sizes["decoder"] != sizes["encoder"] else {}
        raw["outputs"] = {
            key: raw["outputs"][key] | {"tokens": len(tokens), "projector": dict(projector)}
            for key, tokens in self.vocabulary.groups.items()
        }
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tables cut in two: base rows, and rows of added and signal tokens."""
        own = {name: tensor for name, tensor in state.items() if not name.startswith("tables.")}
        base = {}
        for name in ("embedding", "head"):
            base[name], own[f"llm.signal_tokens.{name}"] = self.vocabulary.split(state[f"tables.{name}"])
        return own, base

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The tables in one piece."""
        counts = {key: port.tokens for key, port in config.outputs.items()}
        wanted = {key: len(tokens) for key, tokens in self.vocabulary.groups.items()}
        if list(counts.items()) != list(wanted.items()):
            raise ValueError(f"outputs: the model has signal tokens {counts}, in this order; {wanted} are wanted")
        found = {name: tensor for name, tensor in state.items() if not name.startswith("llm.signal_tokens.")}
        for name in ("embedding", "head"):
            rows = f"llm.signal_tokens.{name}"
            if name not in tables or rows not in state:
                raise ValueError(f"{rows} and llm.tables are wanted: NExT-GPT's file holds the whole {name}")
            found[f"tables.{name}"] = self.vocabulary.join(tables[name], state[rows])
        return found


def tables(prefix: str) -> list[Rule]:
    """The LLM's embedding and head."""
    return [
        Rule(f"{prefix}model.embed_tokens.weight", "tables.embedding", "rows width"),
        Rule(f"{prefix}lm_head.weight", "tables.head", "rows width"),
    ]


def projections() -> list[Rule]:
    """The input projection and the three output projections."""
    rules = projection_rules()
    for key, module in MODULES.items():
        rules += text_fc(f"{module}.0", f"outputs.{key}.projector.conditions.prompt_embeds", key)
    return rules


def text_fc(theirs: str, ours: str, key: str) -> list[Rule]:
    """An output projection: the names below its own are the same on both sides."""
    names = {
        "fc.weight": "hidden width",
        "fc.bias": "hidden",
        "query_embs": f"1 {key}_length hidden",
        "tfm.{stack}.norm.{leaf}": "hidden",
        "model.weight": f"{key}_dim hidden",
        "model.bias": f"{key}_dim",
    }
    reads = {"encoder": ("self_attn", "{norm}"), "decoder": ("{read}", "{third}")}
    for stack, (attention, norm) in reads.items():
        layer = f"tfm.{stack}.layers.{{{stack}}}"
        names |= {
            f"{layer}.{attention}.in_proj_weight": "3*hidden hidden",
            f"{layer}.{attention}.in_proj_bias": "3*hidden",
            f"{layer}.{attention}.out_proj.weight": "hidden hidden",
            f"{layer}.{attention}.out_proj.bias": "hidden",
            f"{layer}.linear1.weight": "inner hidden",
            f"{layer}.linear1.bias": "inner",
            f"{layer}.linear2.weight": "hidden inner",
            f"{layer}.linear2.bias": "hidden",
            f"{layer}.{norm}.{{leaf}}": "hidden",
        }
    return [Rule(f"{theirs}.{name}", f"{ours}.{name}", shape) for name, shape in names.items()]

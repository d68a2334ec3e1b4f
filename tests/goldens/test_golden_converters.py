"""NExT-GPT's converter on the reference's own state dicts: its keys are known, and what they become gives its numbers.

A golden model is a stage 1 or 2 file once what its training leaves alone (the LLM's body) is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from golden import Case, cases, required
from stand_ins import wordless
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.converters.keys import KeysError, best
from anyx.converters.nextgpt import ADDED, MISNAMED, MODULES, NextGPT
from anyx.interfaces import Tokens
from anyx.llm import LLM
from anyx.registry import resolve

BODY = "llama_model."
TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def learnt(case: Case) -> dict[str, Tensor]:
    """What the reference saves: tables and projections; of several output projections the last, which it uses."""
    state = {n: t for n, t in case.weights().items() if not n.startswith(BODY) or n.endswith(TABLES)}
    for module in MODULES.values():
        last = max(int(name.split(".")[1]) for name in state if name.startswith(f"{module}."))
        for name in [name for name in state if name.startswith(f"{module}.")]:
            tensor = state.pop(name)
            if name.startswith(f"{module}.{last}."):
                state[f"{module}.0.{name.removeprefix(f'{module}.{last}.')}"] = tensor
    return state


def converted(
    state: dict[str, Tensor], tokens: Sequence[str] = ADDED
) -> tuple[NextGPT, dict[str, int], dict[str, Tensor], dict[str, Tensor]]:
    """The converter, the sizes it reads, our weights, and the base rows of the tables."""
    made = NextGPT(added_tokens=tokens)
    layout, match = best(made.layouts, {name: tuple(tensor.shape) for name, tensor in state.items()}, "the model")
    assert layout == "stages 1 and 2"
    own, tables = made.ours({match.names[name]: tensor for name, tensor in state.items()})
    return made, dict(match.sizes), own, tables


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_stage_losses"))
def test_the_llm(found: Case | None) -> None:
    """Stage 1's loss through the body with its base rows, our rows of added tokens beside it."""
    case = required(found)
    made, sizes, own, tables = converted(learnt(case))
    weights = {n.removeprefix(BODY): t for n, t in case.weights().items() if n.startswith(BODY)}
    weights |= {"model.embed_tokens.weight": tables["embedding"], "lm_head.weight": tables["head"]}
    body = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tables["embedding"]),
            hidden_size=sizes["width"],
            intermediate_size=case.sizes["ffn"],
            num_hidden_layers=case.sizes["llama_layers"],
            num_attention_heads=case.sizes["heads"],
            rms_norm_eps=case.sizes["rms_eps"],
            tie_word_embeddings=False,
        )
    )
    body.load_state_dict({name: tensor for name, tensor in weights.items() if "inv_freq" not in name})
    counts = {key: len(group) for key, group in made.vocabulary.groups.items()}
    llm = LLM(body, wordless(), tokens=counts, added_tokens=made.vocabulary.added)
    llm.load_own_state({name: tensor for name, tensor in own.items() if name.startswith("llm.")})
    embeddings, mask = (case.tensors[f"out.s1.{name}"] for name in ("inputs_embeds", "attention_mask"))
    with torch.no_grad():
        logits = llm.logits(llm.states(embeddings, mask.bool()))
    targets = case.tensors["out.s1.targets"].long()
    case.compare({"s1.loss": F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())})


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v1_inference_signal_path"))
def test_ids_and_projections(found: Case | None) -> None:
    """The ids of the reference, and its conditions from its hidden states at them."""
    case = required(found)
    state = learnt(case)
    table = state[f"{BODY}model.embed_tokens.weight"]
    rows, width = table.shape
    state |= {f"{BODY}lm_head.weight": table, "llama_proj.weight": torch.zeros(width, 3), "llama_proj.bias": table[0]}
    known = case.sidecar["signal_token_ids"]
    tokens = [*MISNAMED, *(f"[{name}{i}]" for name, group in known.items() for i in range(len(group)))]
    made, sizes, own, _ = converted(state, tokens)
    ids = made.vocabulary.ids(rows)
    assert list(ids.values()) == list(known.values())
    raw = made.config(sizes, {"llm": "llm", "imagebind": "imagebind.pth"})
    outputs = {}
    signal_rows = own["llm.signal_tokens.embedding"]
    for (key, group), starts in zip(ids.items(), case.sidecar["first_signal_index"].values(), strict=True):
        given = dict(raw["outputs"][key]["projector"])
        shape = (sizes[f"{key}_length"], sizes[f"{key}_dim"])
        projector = resolve("output_projectors", given.pop("type"))(width, {"prompt_embeds": shape}, **given)
        prefix = f"outputs.{key}.projector."
        projector.load_state_dict({n.removeprefix(prefix): t for n, t in own.items() if n.startswith(prefix)})
        places = torch.tensor(group) - (rows - len(signal_rows))
        for number, start in enumerate(starts):
            states = case.tensors["out.stream_image"][:, start - 1 : start - 1 + len(group)]
            with torch.no_grad():
                condition = projector.eval()(Tokens.full(states), signal_rows[places][None])
            values = condition.values["prompt_embeds"]
            name = f"{key}{number}.prompt_embeds"
            outputs[name] = values.reshape(case.tensors[f"out.{name}"].shape)
    case.compare(outputs)


@pytest.mark.parametrize("found", cases("02_nextgpt_v1", "textfc_qformer_*"))
def test_projections_of_another_kind_are_refused(found: Case | None) -> None:
    case = required(found)
    state = {f"gen_text_hidden_fcs.0.{name}": tuple(shape) for name, shape in case.shapes.items()}
    with pytest.raises(KeysError, match="unknown"):
        best(NextGPT().layouts, state, "x")

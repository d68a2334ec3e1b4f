"""NExT-GPT v2's training: ids and labels, media laid into sequences, losses of its outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from golden import Case, cases, required
from stand_ins import Spoken, said, wordless
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.decoders.diffusion import denoising_loss, min_snr_weights, signal_to_noise
from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Condition, Tokens
from anyx.llm import LLM
from anyx.output_projectors import TransformerOutputProjector
from anyx.prompt import IGNORE, PLACEHOLDER, Message, Prompt
from anyx.splice import Side, Spliced, splice
from anyx.templates import Template
from anyx.training import losses

KEYS = ("image", "video", "audio")
SHORT = {"image": "img", "video": "vid", "audio": "aud"}  # of the projectors' names
INDICES = {"image": -200, "video": -300, "audio": -400}  # of <image>, <video> and <audio> among the ids


def template(name: str, sidecar: Mapping[str, Any]) -> Template:
    """A conversation style of the reference as our template: text after <video> and <audio> begins with {bos} again."""
    style = sidecar["conversation_templates"][name]
    human, assistant = style["roles"]
    joined: dict[str, Any] = {"bos_after": ["video", "audio"]}
    given: dict[str, Any] = {"begin": "{bos}", "system_default": style["system"], "joined": joined}
    if style["style"] == "TWO":
        given |= {"system": {"tail": style["sep"]}, "user": {"prefix": f"{human}: ", "tail": style["sep"]}}
        return Template.of(given | {"assistant": {"prefix": f"{assistant}: ", "end": "{eos}"}})
    if style["style"] == "PLAIN":
        return Template.of(given | {"user": {}, "assistant": {"end": style["sep"]}})
    mark = f"{style['sep']} "
    given |= {"system": {"tail": "\n\n"}, "user": {"prefix": f"{mark}{human}: ", "tail": "\n"}}
    given["joined"] = joined | {"close": mark, "labels": "turns"}
    return Template.of(given | {"assistant": {"prefix": f"{mark}{assistant}: ", "end": "\n"}})


def chat(sources: Sequence[Mapping[str, str]], written: Template) -> list[Message]:
    """A case's conversation as messages; where the reference has written its speakers into the words, they go."""
    messages: list[Message] = []
    for turn in sources:
        voice = written.user if turn["from"] == "human" else written.assistant
        words = turn["value"]
        if voice.prefix and words.startswith(voice.prefix):
            words = words.removeprefix(voice.prefix).removesuffix("\n")
        parts = [part for part in re.split("(<image>|<video>|<audio>)", words) if part]
        content = [{"type": part[1:-1]} if part[1:-1] in KEYS else said(part) for part in parts]
        messages.append({"role": "user" if turn["from"] == "human" else "assistant", "content": content})
    return messages


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v2_preprocess*"))
def test_ids_and_labels(found: Case | None) -> None:
    case = required(found)
    outputs = {}
    for entry in case.sidecar["cases"]:
        written = template(entry["case"].split(".")[0], case.sidecar)
        prompt = Prompt(Spoken(case), written, KEYS)  # type: ignore[arg-type]
        encoded = prompt.encode(chat(entry["sources"], written))
        places = {slot.position: INDICES[slot.key] for slot in encoded.media}
        ids = [places.get(i, token) for i, token in enumerate(encoded.ids)]
        assert sum(token == PLACEHOLDER for token in encoded.ids) == len(places)
        labels = torch.tensor(encoded.labels)
        if entry["printed"]:  # the reference found its counts at odds, and silently left the whole sample out
            assert (labels != IGNORE).any()
            labels = torch.full_like(labels, IGNORE)
        outputs |= {f"{entry['case']}.input_ids": torch.tensor(ids), f"{entry['case']}.labels": labels}
    case.compare(outputs)


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v2_splice*"))
def test_media_stand_where_their_placeholders_stood(found: Case | None) -> None:
    """What `splice` makes, and the positions that the LLM is given; pads are compared as the reference fills them."""
    case = required(found)
    given = case.part("in")
    table = case.tensors["w.embed_tokens.weight"]
    width, dim = case.shapes["mm_input_projector.weight"][::-1]
    projector = LinearInputProjector(width, dim)
    projector.proj.load_state_dict(case.part("w.mm_input_projector"))
    ids, mask = given["input_ids"], given["attention_mask"]
    media = {}
    for key in (key for key in KEYS if f"{key}_enc" in given):
        rows, positions = (ids == case.sizes[f"{key}_index"]).nonzero(as_tuple=True)
        tokens = projector(Tokens.full(given[f"{key}_enc"][:, None]))
        media[key] = rows, positions, tokens
    here = torch.where(ids < 0, PLACEHOLDER, ids)
    sides: dict[Side, Spliced] = {
        side: splice(table[ids.clamp(min=0)], here, media, mask, given["labels"], side=side)
        for side in ("right", "left")  # type: ignore[misc]
    }
    outputs = {}
    for name in sorted({name.split(".")[1] for name in case.tensors if name.startswith("out.")}):
        spliced = sides["left" if name == "left" else "right"]
        length = case.sizes["tokenizer_model_max_length"] if name == "maxlen" else spliced.mask.shape[1]
        made = {
            "inputs_embeds": spliced.embeddings,
            "attention_mask": spliced.mask,
            "labels": spliced.labels,
            "position_ids": positions_of(spliced).masked_fill(~spliced.mask, 0),
        }
        outputs |= {
            f"{name}.{what}": value[:, :length] for what, value in made.items() if f"out.{name}.{what}" in case.tensors
        }
    assert len(outputs) == sum(name.startswith("out.") for name in case.tensors)
    case.compare({name: x.detach() for name, x in outputs.items()})


def positions_of(spliced: Spliced) -> Tensor:
    """The position ids that `LLM.states` hands to its body."""
    dim, seen = spliced.embeddings.shape[-1], {}
    config = LlamaConfig(vocab_size=8, hidden_size=dim, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    llm = LLM(LlamaForCausalLM(config), wordless())
    llm.model.model.register_forward_pre_hook(lambda _, args, keywords: seen.update(keywords), with_kwargs=True)
    llm.states(spliced.embeddings, spliced.mask)
    positions: Tensor = seen["position_ids"]
    return positions


NAMES = {"in_fc": "fc", "out_fc": "model"}  # theirs -> ours


class Named(nn.Module):
    """Parameters by the names that the case gives them."""

    def __init__(self, found: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.found = dict(found)

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.found.items()


def renamed(name: str, names: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return f"{names.get(first, first)}{dot}{rest}"


def query_transformer(case: Case, name: str) -> TransformerOutputProjector:
    """v2's projector as ours: other names for the first and last linear map."""
    weights = case.part(f"w.{name}")

    def layers(stack: str) -> int:
        return len({key.split(".")[3] for key in weights if key.startswith(f"tfm.{stack}.layers.")})

    hidden, dim_in = weights["in_fc.weight"].shape
    projector = TransformerOutputProjector(
        dim_in,
        {"c": (weights["query_embs"].shape[1], len(weights["out_fc.weight"]))},
        hidden=hidden,
        layers=layers("encoder"),
        decoder_layers=layers("decoder"),
        heads=4,  # the source says so for every width
        mlp_ratio=len(weights["tfm.encoder.layers.0.linear1.weight"]) // hidden,
    )
    projector.conditions["c"].load_state_dict({renamed(key, NAMES): x for key, x in weights.items()})
    return projector.eval()


@pytest.mark.parametrize("found", cases("04_nextgpt_training", "v2_output_losses*"))
def test_losses_of_outputs(found: Case | None) -> None:
    """Parity: every position of the teacher counted and not relative to it, noise as target, weights averaged apart."""
    case = required(found)
    given = {name: x.requires_grad_(x.is_floating_point()) for name, x in case.part("in").items()}
    carried = given["alphas_cumprod"].detach().double()
    alphas = carried / torch.cat([torch.ones(1, dtype=torch.float64), carried[:-1]])
    betas = (1 - alphas).tolist()
    # A scheduler that says v-prediction, as Stable Diffusion 2's does: the reference teaches noise all the same.
    scheduler = DDPMScheduler(len(betas), trained_betas=betas, prediction_type="v_prediction")
    states = given["hidden_last" if case.sizes["layer_idx"] == -1 else "hidden_prev"]
    table = nn.Parameter(case.tensors["w.embed.weight"])
    bound = float(re.findall(r"min\(snr_b, ?([\d.]+)\)", case.sidecar["formula"])[0])
    outputs: dict[str, Tensor] = {}
    parameters = {"embed.weight": table}
    for key in KEYS:
        projector = query_transformer(case, f"proj_{SHORT[key]}")
        theirs = {ours: name for name, ours in NAMES.items()}
        for name, parameter in projector.conditions["c"].named_parameters():
            parameters[f"proj_{SHORT[key]}.{renamed(name, theirs)}"] = parameter
        condition = projected(case, key, projector, states, table)
        taught = given[f"cap_{key}"]
        taught = taught[:, None] if taught.ndim == 2 else taught
        pads = torch.arange(taught.shape[1]).expand(len(taught), -1) < 1
        caption = losses.caption(
            condition, Condition({"c": taught}, {"c": pads}), kind="l2norm", pads=1, relative=False
        )
        noise, steps, pred = (given[f"{name}_{key}"].detach() for name in ("noise", "timesteps", "pred"))
        latents = given[f"latents_{key}"].detach() * case.sizes["scaling_factor"][key]
        if latents.ndim != noise.ndim:  # frames one after the other
            latents = latents.unflatten(0, (len(noise), -1)).transpose(1, 2)
        noisy: list[Tensor] = []

        def predict(x: Tensor, _: Tensor, seen: list[Tensor] = noisy, pred: Tensor = pred) -> Tensor:
            seen.append(x)
            return pred

        for name in (key, f"{key}_nosnr"):
            if f"out.{name}.total" not in case.tensors:
                continue
            gamma = bound if f"{key}_nosnr" in {n.split(".")[1] for n in case.tensors} and name == key else None
            denoise = denoising_loss(
                predict,
                latents,
                scheduler,
                prediction="epsilon",
                min_snr=gamma,
                average_weights=True,
                steps=steps,
                noise=noise,
            )
            total = losses.weighted({"caption": caption, "denoise": denoise}, {"caption": 1, "denoise": 1})
            made = {"cap_loss": caption, "gen_loss": denoise, "total": total, "cap_loss_returned_with_gen": total}
            outputs |= {f"{name}.{what}": value for what, value in made.items()}
            if gamma is not None:
                ratio = signal_to_noise(scheduler, steps)
                weights = min_snr_weights(ratio, gamma, "epsilon")
                outputs |= {f"{name}.snr": ratio, f"{name}.min_snr_weight": weights}
                each = denoising_loss(
                    predict, latents, scheduler, prediction="epsilon", min_snr=gamma, steps=steps, noise=noise
                )
                error = (pred - noise).square().flatten(1).mean(1)
                torch.testing.assert_close(each, (error * weights).mean())  # ours by default: every sample by its own
        outputs[f"{key}.noisy_latents"] = noisy[0]
        outputs[f"{key}.projected"] = condition.values["c"].reshape(case.tensors[f"out.{key}.projected"].shape)
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)
    case.compare_gradients(outputs, given, Named(parameters))


def projected(case: Case, key: str, projector: TransformerOutputProjector, states: Tensor, table: Tensor) -> Condition:
    """The condition of the span from a group's first id to its last: v2's tokenizer leaves one between any two."""
    labels, signals = case.tensors[f"in.labels_{key}"], case.sizes["signal_token_ids"][key]
    span = [slice(row.index(signals[0]), row.index(signals[-1]) + 1) for row in labels.tolist()]
    ids = torch.stack([row[here] for row, here in zip(labels, span, strict=True)])
    assert ids.shape[1] == 2 * len(signals) - 1
    values = torch.stack([row[here] for row, here in zip(states, span, strict=True)])
    condition: Condition = projector(Tokens.full(values), table[ids])
    return condition

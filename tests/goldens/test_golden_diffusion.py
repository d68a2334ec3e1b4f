"""Decoders against diffusers' own pipelines and NExT-GPT's copies of them: latents, media, captions' conditions.

Every case is read as a published folder, its negative embeddings as the folder's cached null condition. What a sidecar
does not say (how many steps its short runs took) is searched for among what it could be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from einops import rearrange
from golden import Case, cases, required
from safetensors.torch import save_file
from torch import Tensor

from anyx.decoders import pipelines
from anyx.decoders.audioldm import AudioLDMDecoder
from anyx.decoders.diffusion import make_scheduler
from anyx.decoders.folders import NULL, Source
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.decoders.video import VideoDecoder
from anyx.interfaces import Condition

ITEM, NAME = "17_diffusion", "prompt_embeds"
SD, AUDIO, VIDEO = "stable_diffusion_prompt_embeds", "audioldm_prompt_embeds", "text_to_video_prompt_embeds"
RESCALES = [step / 20 for step in range(1, 21)]  # of the case `rescale`, whose sidecar says neither this nor its steps
CLASSES = {
    "StableDiffusionPipeline": {"text_encoder": "CLIPTextModel"},
    "AudioLDMPipeline": {"text_encoder": "ClapTextModelWithProjection", "vocoder": "SpeechT5HifiGan"},
    "TextToVideoSDPipeline": {"unet": "UNet3DConditionModel", "text_encoder": "CLIPTextModel"},
}


def beside(case: Case, name: str) -> Case:
    """The case that another's sidecar names for its weights and inputs."""
    return Case(case.path.with_stem(name))


def folder(case: Case, where: Path, pipeline: str, scheduler: str, null: Tensor | None, **more: Any) -> str:
    """The case as a published folder; `more` are components of others: config, weights."""
    configs, weights = dict(case.sidecar["configs"]), dict(case.weights())
    for name, (config, state) in more.items():
        configs[name], weights = config, weights | {f"{name}.{key}": x for key, x in state.items()}
    sampler = (scheduler, case.sidecar["schedulers"][scheduler])
    published.write(where, pipeline, configs, weights, sampler, CLASSES[pipeline])
    if null is not None:
        save_file({NAME: null.contiguous()}, where / NULL)
    return str(where)


def use(decoder: Any, case: Case, scheduler: str) -> None:
    """Another of the case's schedulers."""
    config = case.sidecar["schedulers"][scheduler]
    named = {"type": published.scheduler_name(scheduler), **config}
    decoder.scheduler = make_scheduler(named, Source(None, "float32"))


def embedded(values: Tensor) -> Condition:
    return Condition({NAME: values if values.ndim == 3 else values[:, None]}, {})


def run(decoder: Any, embeds: Tensor, latents: Tensor, steps: int, guidance: float, **call: Any) -> Any:
    """What the decoder's own pipeline gives, unrounded; every step's input of the unet is kept."""
    inputs: list[Tensor] = []
    hook = decoder.unet.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    asked = pipelines.Asked([torch.Generator()] * len(latents), steps, guidance, None, latents)
    made = pipelines.run(decoder, embedded(embeds), asked, shape=tuple(latents.shape[1:]), call=call)
    hook.remove()
    return made, inputs


def per_step(inputs: Sequence[Tensor], last: Tensor, wanted: Tensor) -> Tensor:
    """Latents after each step: what the unet saw at the next ones, and the last."""
    seen = [given[-len(last) :] for given in inputs[len(inputs) - len(wanted) + 1 :]]
    return torch.stack([*seen, last])


def nearest(case: Case, name: str, made: Sequence[Tensor]) -> None:
    """Of several runs the one that is the case's: it must be near."""
    wanted = case.tensors[f"out.{name}"]
    case.compare({name: min(made, key=lambda x: float((x - wanted).abs().max()))})


def at_500(decoder: Any, case: Case) -> Tensor:
    """What the unet says of the case's noise, half-way."""
    noise, embeds = case.tensors["in.latents"], case.tensors["in.prompt_embeds"]
    with torch.no_grad():
        said: Tensor = decoder.predict(noise, torch.full((len(noise),), 500), decoder.read(embedded(embeds)))
    return said


def part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): x for key, x in weights.items() if key.startswith(f"{name}.")}


def sizes_of(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """What CLIP's weights say of its configuration; no sidecar holds that of the video case."""
    words, positions = (weights[f"text_model.embeddings.{n}_embedding.weight"] for n in ("token", "position"))
    layers = {key.split(".")[3] for key in weights if key.startswith("text_model.encoder.layers.")}
    return {
        "vocab_size": words.shape[0],
        "hidden_size": words.shape[1],
        "max_position_embeddings": positions.shape[0],
        "num_hidden_layers": len(layers),
        "intermediate_size": weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
    }


def generators(items: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(item) for item in range(items)]


@pytest.mark.parametrize("found", cases(ITEM, SD))
def test_stable_diffusion(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    given, sizes = case.part("in"), case.sizes
    steps, guidance = sizes["steps"], sizes["guidance_scale"]
    null = given["negative_prompt_embeds"]
    path = folder(case, tmp_path / "sd", "StableDiffusionPipeline", "ddim", null)
    decoder = StableDiffusionDecoder(path=path, steps=steps, guidance=guidance, scheduler="own")
    call = given["prompt_embeds"], given["latents"]
    for name in case.sidecar["schedulers"]:
        use(decoder, case, name)
        made, inputs = run(decoder, *call, steps, guidance, output_type="latent")
        case.compare({f"{name}.latents": made.images})
        decoder.scheduler.set_timesteps(steps)
        case.compare({f"{name}.timesteps": decoder.scheduler.timesteps.double()})
        sigma = torch.as_tensor(decoder.scheduler.init_noise_sigma, dtype=torch.float64)
        case.compare({f"{name}.init_noise_sigma": sigma})
        if f"out.{name}.latents_per_step" in case.tensors:
            wanted = case.tensors[f"out.{name}.latents_per_step"]
            case.compare({f"{name}.latents_per_step": per_step(inputs, made.images, wanted)})
    use(decoder, case, "ddim")
    images = run(decoder, *call, steps, guidance, output_type="pt")[0].images
    case.compare({"ddim.image": images})
    if (custom := beside(case, "nextgpt_custom_sd")).path.is_file():
        made, _ = run(decoder, *call, steps, guidance, output_type="latent")
        same = dict.fromkeys(("diff_to_diffusers", "image_diff_to_diffusers"), torch.tensor(0.0))
        custom.compare({"ddim_latents": made.images, **same})
    made = decoder(embedded(call[0]), generators=generators(len(call[1])), latents=call[1])
    shown = torch.stack([image.pixels for image in made]).float()
    assert (shown - images * 255).abs().max() <= 0.501, "forward rounds what the pipeline gives, no more"
    case.compare({"no_cfg.latents": run(decoder, *call, steps, 1.0, output_type="latent")[0].images})
    case.compare({"noise_pred_t500": at_500(decoder, case)})
    with torch.no_grad():
        case.compare({"decoded": decoder.vae.decode(given["latents"] / decoder.scaling_factor()).sample})
    counts = range(1, steps + 1)
    latent = {"output_type": "latent"}
    again = [run(decoder, *call, n, guidance, guidance_rescale=x, **latent)[0] for n in counts for x in RESCALES]
    nearest(case, "rescale.latents", [made.images for made in again])
    each = len(given["latents2"]) // len(given["latents"])
    twice = folder(case, tmp_path / "twice", "StableDiffusionPipeline", "ddim", null.repeat_interleave(each, 0))
    decoder, embeds = StableDiffusionDecoder(path=twice, scheduler="own"), call[0].repeat_interleave(each, 0)
    made = [run(decoder, embeds, given["latents2"], n, guidance, output_type="latent")[0].images for n in counts]
    nearest(case, "two_per_prompt.latents", made)


@pytest.mark.parametrize("found", cases(ITEM, SD))
def test_the_empty_caption_is_the_negative(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    ids, steps = case.tensors["out.default_negative.ids"][0].tolist(), case.sizes["steps"]
    path = folder(case, tmp_path / "sd", "StableDiffusionPipeline", "ddim", None)
    published.write_tokenizer(Path(path), {"": []}, length=len(ids), pad=ids[-1], around=(ids[0], ids[1]))
    decoder = StableDiffusionDecoder(path=path, scheduler="own")
    case.compare({"default_negative.embeds": decoder.null_condition().values[NAME]})
    assert not decoder.text.held, "the text encoder is not kept"
    call = case.tensors["in.embeds77"], case.tensors["in.latents77"]
    guidance = case.sizes["guidance_scale"]
    made = [run(decoder, *call, n, guidance, output_type="latent")[0].images for n in range(1, steps + 1)]
    nearest(case, "default_negative.latents", made)
    if (custom := beside(case, "nextgpt_custom_sd")).path.is_file():
        nearest(custom, "default_negative_latents", made)
        custom.compare({"diff_default_negative": torch.tensor(0.0)})


@pytest.mark.parametrize("found", cases(ITEM, AUDIO))
def test_audioldm(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    given, sizes = case.part("in"), case.sizes
    steps, guidance = sizes["steps"], sizes["guidance_scale"]
    path = folder(case, tmp_path / "ad", "AudioLDMPipeline", "ddim", given["negative_prompt_embeds"][:, None])
    seconds = case.tensors["out.ddim.audio"].shape[1] / case.sidecar["configs"]["vocoder"]["sampling_rate"]
    settings: dict[str, Any] = {"steps": steps, "guidance": guidance, "scheduler": "own", "seconds": seconds}
    decoder = AudioLDMDecoder(path=path, **settings, normalise=False)
    ended: list[Tensor] = []  # what the autoencoder is given at the end
    decoder.vae.post_quant_conv.register_forward_pre_hook(lambda _, x: ended.append(x[0]))
    call, sound = (given["prompt_embeds"], given["latents"]), {"audio_length_in_s": seconds, "output_type": "pt"}
    for name in case.sidecar["schedulers"]:
        use(decoder, case, name)
        made, inputs = run(decoder, *call, steps, guidance, **sound)
        last, wanted = ended[-1] * decoder.scaling_factor(), case.tensors[f"out.{name}.latents_per_step"]
        case.compare({f"{name}.audio": made.audios, f"{name}.latents_per_step": per_step(inputs, last, wanted)})
    use(decoder, case, "ddim")
    made = decoder(embedded(call[0]), generators=generators(len(call[1])), latents=call[1])
    audio = torch.cat([sound.samples for sound in made])
    case.compare({"ddim.audio": audio})
    if (custom := beside(case, "nextgpt_custom_ad")).path.is_file():
        custom.compare({"ddim_audio": audio, "diff_to_diffusers": torch.tensor(0.0)})
    case.compare({"no_cfg.audio": run(decoder, *call, steps, 1.0, **sound)[0].audios})
    case.compare({"noise_pred_t500": at_500(decoder, case)})
    with torch.no_grad():
        mel = decoder.vae.decode(ended[0]).sample  # of the first scheduler, which is the case's
        case.compare({"mel": mel, "vocoded": decoder.vocoder(mel[:, 0])})
    lengths = given["prompt_embeds"].norm(dim=-1), given["negative_prompt_embeds"].norm(dim=-1)
    if all(torch.allclose(length, torch.ones(())) for length in lengths):  # then our default is the same
        ours = AudioLDMDecoder(path=path, **settings)
        made = ours(embedded(call[0]), generators=generators(len(call[1])), latents=call[1])
        case.compare({"ddim.audio": torch.cat([sound.samples for sound in made])})


@pytest.mark.parametrize("found", cases(ITEM, AUDIO))
def test_a_sound_s_caption_is_a_unit_vector(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    ids, mask = case.tensors["in.text_ids"], case.tensors["in.text_mask"].bool()
    texts = {f"caption{row}": ids[row, mask[row]].tolist() for row in range(len(ids))}
    path = folder(case, tmp_path / "ad", "AudioLDMPipeline", "ddim", None)
    pad = case.sidecar["configs"]["text_encoder"]["pad_token_id"]
    published.write_tokenizer(Path(path), texts, length=ids.shape[1], pad=pad)
    told = AudioLDMDecoder(path=path).encode_text(list(texts)).values[NAME][:, 0]
    case.compare({"clap_text_embeds_normalised": told})
    if (custom := beside(case, "nextgpt_custom_ad")).path.is_file():
        custom.compare({"caption_embeds": told, "diff_caption": torch.tensor(0.0)})


@pytest.mark.parametrize("found", cases(ITEM, VIDEO))
def test_text_to_video(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    given, sizes = case.part("in"), case.sizes
    steps, guidance, frames = sizes["steps"], sizes["guidance_scale"], sizes["num_frames"]
    path = folder(case, tmp_path / "vd", "TextToVideoSDPipeline", "ddim", given["negative_prompt_embeds"])
    decoder = VideoDecoder(path=path, steps=steps, guidance=guidance, frames=frames, scheduler="own")
    call, count = (given["prompt_embeds"], given["latents"]), {"num_frames": frames}
    for name in case.sidecar["schedulers"]:
        use(decoder, case, name)
        made, _ = run(decoder, *call, steps, guidance, **count, output_type="latent")
        case.compare({f"{name}.latents": made.frames})
    use(decoder, case, "ddim")
    made, _ = run(decoder, *call, steps, guidance, **count, output_type="pt")
    case.compare({"ddim.frames": rearrange(made.frames, "b t c h w -> b t h w c")})
    clips = decoder(embedded(call[0]), generators=generators(len(call[1])), latents=call[1])
    shown = torch.stack([clip.frames for clip in clips])
    assert (shown.float() - made.frames * 255).abs().max() <= 0.501, "forward rounds what the pipeline gives, no more"
    made, _ = run(decoder, *call, steps, 1.0, **count, output_type="latent")
    case.compare({"no_cfg.latents": made.frames, "noise_pred_t500": at_500(decoder, case)})
    if (custom := beside(case, "nextgpt_custom_vd")).path.is_file():
        made, _ = run(decoder, *call, steps, guidance, **count, output_type="latent")
        custom.compare({"ddim_latents": made.frames, "diff_to_diffusers": torch.tensor(0.0)})
        wanted = custom.tensors["out.frames_uint8"]  # the copy cuts off fractions, and lays a batch side by side
        laid = rearrange(shown, "b t c h w -> t h (b w) c")
        assert laid.shape == wanted.shape
        assert (laid.int() - wanted.int()).abs().max() <= 1


@pytest.mark.parametrize("found", cases(ITEM, "nextgpt_custom_[sv]d"))
def test_nextgpt_s_captions_are_the_padded_states(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    video = case.path.stem.endswith("vd")
    base = beside(case, VIDEO if video else SD)
    ids, texts = case.tensors["out.caption_ids"], case.sidecar["size_config"]["texts"]
    weights = case.weights() if video else part(base.weights(), "text_encoder")
    config = beside(case, SD).sidecar["configs"]["text_encoder"] | sizes_of(weights)
    pipeline = "TextToVideoSDPipeline" if video else "StableDiffusionPipeline"
    path = folder(base, tmp_path / "it", pipeline, "ddim", None, text_encoder=(config, weights))
    rows = [row[1 : row.index(row[-1])] for row in ids.tolist()]
    around, told = (int(ids[0, 0]), int(ids[0, -1])), dict(zip(texts, rows, strict=True))
    published.write_tokenizer(Path(path), told, length=ids.shape[1], pad=around[1], around=around)
    decoder: Any = VideoDecoder(path=path, frames=1) if video else StableDiffusionDecoder(path=path)
    case.compare({"caption_embeds": decoder.encode_text(texts).values[NAME]})

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel
from transformers import (
    ClapConfig,
    ClapModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
)

from anyx.decoders.audioldm2 import AudioLDM2Decoder
from anyx.decoders.words import word_tokenizer
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Audio

Seeds = Callable[..., list[torch.Generator]]
STATES, VECTORS = "prompt_embeds", "generated_prompt_embeds"
WORDS = ("cat", "dog", "a", "and")
ROW = TINY["decoders"]["audioldm2"][0] | {"vectors": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pipeline folder as diffusers writes it, with CLAP, T5, projection and, named as published, a bare GPT-2."""
    torch.manual_seed(0)
    bare = AudioLDM2Decoder(**ROW)
    word = word_tokenizer(12, words=WORDS)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    clap = ClapConfig(
        text_config=small | {"vocab_size": len(word), "max_position_embeddings": 16, "projection_dim": 10},
        audio_config={
            "spec_size": 32,
            "num_mel_bins": 8,
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "window_size": 2,
            "patch_size": 2,
            "patch_stride": 2,
            "num_classes": 2,
            "projection_dim": 10,
        },
        projection_dim=10,
    )
    t5 = T5Config(vocab_size=len(word), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    gpt2 = GPT2Config(vocab_size=5, n_embd=12, n_layer=1, n_head=2, n_positions=64)
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=8,
        sampling_rate=16000,
        upsample_initial_channel=8,
        upsample_rates=[10, 16],
        upsample_kernel_sizes=[20, 32],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
        initializer_range=0.2,
    )
    AudioLDM2Pipeline(
        vae=bare.vae,
        text_encoder=ClapModel(clap),
        text_encoder_2=T5EncoderModel(t5),
        projection_model=AudioLDM2ProjectionModel(10, 16, 12),
        language_model=GPT2Model(gpt2),
        tokenizer=word,
        tokenizer_2=word_tokenizer(12, words=WORDS),
        feature_extractor=None,
        unet=bare.unet,
        scheduler=bare.scheduler,
        vocoder=SpeechT5HifiGan(vocoder),
    ).save_pretrained(path := tmp_path_factory.mktemp("audioldm2"))
    return str(path)


def pipeline(path: str) -> Any:
    """Diffusers' own reading of the folder, with a language model that can go on."""
    language = GPT2LMHeadModel.from_pretrained(path, subfolder="language_model").eval()
    made = AudioLDM2Pipeline.from_pretrained(path, language_model=language, feature_extractor=None)
    made.set_progress_bar_config(disable=True)
    return made


def test_it_is_what_the_interfaces_ask() -> None:
    decoder = AudioLDM2Decoder(**ROW)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    assert decoder.condition == {STATES: (5, 16), VECTORS: (4, 12)}
    assert decoder.parts()["text"] == []
    with pytest.raises(ValueError, match="no text encoder"):
        decoder.encode_text(["cat"])


def test_captions_are_what_the_pipeline_makes_of_each(folder: str) -> None:
    decoder = AudioLDM2Decoder(path=folder, length=7, vectors=4)
    captions = ["cat", "a cat and a dog"]
    told = decoder.encode_text(captions)
    theirs = pipeline(folder)
    for row, caption in enumerate(captions):
        states, mask, vectors = theirs.encode_prompt(caption, "cpu", 1, False, caption, max_new_tokens=4)
        count = states.shape[1]
        assert told.masks[STATES][row].tolist() == [True] * count + [False] * (7 - count)
        torch.testing.assert_close(told.values[STATES][row, :count], states[0])
        torch.testing.assert_close(told.values[VECTORS][row], vectors[0])
    assert mask.all()
    alone = decoder.encode_text(captions[:1])
    assert all(torch.equal(alone.values[name][0], told.values[name][0]) for name in told.values)


def test_it_equals_diffusers(folder: str, seeds: Seeds) -> None:
    """From a caption by diffusers, from its encoding and without an encoder in memory by us."""
    teacher, theirs = AudioLDM2Decoder(path=folder, length=5, vectors=4), pipeline(folder)
    condition, null = teacher.encode_text(["a cat and"]), teacher.encode_text([""])
    decoder = AudioLDM2Decoder(path=folder, length=5, vectors=4, steps=3)
    assert all(torch.equal(x, decoder.null_condition().values[n]) for n, x in null.values.items())
    assert decoder.null_condition().masks[STATES].tolist() == null.masks[STATES].tolist()
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    call = {"num_inference_steps": 3, "latents": noise, "audio_length_in_s": decoder.seconds, "max_new_tokens": 4}
    plain = theirs("a cat and", transcription="a cat and", guidance_scale=1.0, output_type="pt", **call).audios
    ours = decoder(condition, generators=seeds(6), guidance=1.0)[0].samples
    torch.testing.assert_close(ours, plain.clamp(-1, 1), atol=1e-4, rtol=0)
    named = {f"negative_{name}": x for name, x in null.values.items()} | dict(condition.values)
    named |= {"attention_mask": condition.masks[STATES], "negative_attention_mask": null.masks[STATES]}
    guided = theirs(**named, **call, guidance_scale=3.5, output_type="pt").audios
    ours = decoder(condition, generators=seeds(6))[0].samples
    torch.testing.assert_close(ours, guided.clamp(-1, 1), atol=1e-4, rtol=0)
    assert decoder.text.held == {}


def test_round_trip_with_the_teacher(folder: str, seeds: Seeds, tmp_path: Path) -> None:
    decoder = AudioLDM2Decoder(path=folder, length=7, vectors=4, steps=2)
    condition = decoder.encode_text(["a dog"])
    again = AudioLDM2Decoder(path=str(decoder.save(tmp_path / "full")), steps=2)
    assert again.condition == decoder.condition
    assert again.null_condition().masks[STATES].tolist() == decoder.null_condition().masks[STATES].tolist()
    assert again.text.held == {}
    assert torch.equal(*(d(condition, generators=seeds(3))[0].samples for d in (decoder, again)))
    torch.testing.assert_close(again.encode_text(["a dog"]).values, condition.values)
    assert len(again.parts()["text"]) == len(decoder.parts()["text"]) > 0
    half = AudioLDM2Decoder(path=folder, length=7, vectors=4, steps=2, dtype="bfloat16")
    assert half(condition, generators=seeds(3))[0].samples.isfinite().all()


def test_meta_reads_no_weights(folder: str, tmp_path: Path) -> None:
    decoder = AudioLDM2Decoder(path=folder, load_text=True)
    decoder.save(tmp_path)
    for file in tmp_path.rglob("*model*.safetensors"):
        file.unlink()
    with torch.device("meta"):
        shapes = AudioLDM2Decoder(path=str(tmp_path), load_text=True)
    assert all(p.is_meta for p in shapes.parameters())
    assert {k: len(v) for k, v in shapes.parts().items()} == {k: len(v) for k, v in decoder.parts().items()}


def test_seeds_belong_to_items(folder: str, seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = AudioLDM2Decoder(path=folder, length=7, vectors=4)
    condition = decoder.encode_text(["cat", "a cat and a dog", "a cat and a dog"])
    seen: list[tuple[int, int]] = []
    sounds = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not torch.allclose(sounds[1].samples, sounds[2].samples, atol=1e-3)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    torch.testing.assert_close(alone.samples, sounds[1].samples, atol=1e-4, rtol=0)
    short = decoder(take(condition, 0), generators=seeds(7), steps=1, seconds=0.1)[0]
    assert short.samples.shape == (1, 1600)


def test_masked_positions_say_nothing(folder: str, seeds: Seeds) -> None:
    decoder = AudioLDM2Decoder(path=folder, length=7, vectors=4, steps=2)
    condition = decoder.encode_text(["a cat"])
    hidden = ~condition.masks[STATES][..., None]
    changed = {**condition.values, STATES: condition.values[STATES] + 5 * hidden}
    first, same, other = (
        decoder(c, generators=seeds(3))[0].samples
        for c in (condition, Condition(changed, condition.masks), Condition(changed, {}))
    )
    torch.testing.assert_close(first, same, atol=1e-4, rtol=0)
    assert not torch.allclose(first, other, atol=1e-4)


def test_it_learns(folder: str) -> None:
    decoder = AudioLDM2Decoder(path=folder, length=7, vectors=4)
    generator = torch.Generator().manual_seed(1)
    sounds = [Audio(0.1 * torch.randn(1, n, generator=generator), 16000) for n in (5000, 3000)]
    decoder.fit_scaling(sounds)
    latents, optimizer = decoder.latents(sounds), torch.optim.Adam(decoder.unet.parameters(), 1e-2)
    condition = decoder.encode_text(["cat", "a dog"])
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_a_unet_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="places for two sequences"):
        AudioLDM2Decoder(**ROW | {"unet": ROW["unet"] | {"cross_attention_dim": 12}})

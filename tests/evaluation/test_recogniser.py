"""The tree of transcripts against plain teacher forcing, on a tiny random Whisper."""

from pathlib import Path

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

from anyx.evaluation.recogniser import SpeechJudge, grow
from anyx.media import Audio

LABELS = ["cow", "cow face", "black cat", "cat", "owl"]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    words = WhisperTokenizerFast(tokenizer_object=tiny.tokenizer().backend_tokenizer)
    words.add_special_tokens({"additional_special_tokens": ["<|startoftranscript|>", "<|notimestamps|>"]})
    start, end = words.convert_tokens_to_ids(["<|startoftranscript|>", "<|im_end|>"])
    config = WhisperConfig(
        vocab_size=len(words),
        num_mel_bins=20,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=1500,
        max_target_positions=64,
        init_std=0.3,
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=end,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20).save_pretrained(folder)
    return folder


def judge(folder: Path, **options: object) -> SpeechJudge:
    return SpeechJudge(LABELS, path=str(folder), seconds=1, dtype="float32", **options)  # type: ignore[arg-type]


def test_grow_shares_beginnings() -> None:
    tree = grow([9], [[1, 2, 0], [1, 3, 0], [1, 2, 4, 0]])
    assert tree.tokens.tolist() == [9, 1, 2, 3, 4]
    assert tree.depth.tolist() == [0, 1, 2, 2, 3]
    assert tree.mask[4].tolist() == [True, True, True, False, True]
    assert tree.nodes[1, :3].tolist() == [0, 1, 3]
    assert tree.real.sum(1).tolist() == [3, 3, 4]


def test_the_tree_scores_as_teacher_forcing_does(whisper: Path) -> None:
    found = judge(whisper, keep=5, prior=0.0)
    sounds = [Audio(torch.randn(1, 12000, generator=torch.Generator().manual_seed(i)) * 0.1, 16000) for i in range(2)]
    scores = found(sounds)
    words = WhisperTokenizerFast.from_pretrained(whisper)
    features = found.features([x.samples[0].numpy() for x in sounds], sampling_rate=16000, return_tensors="pt")
    config = found.model.config
    for column, label in enumerate(LABELS):
        spelt = words(f" {label.capitalize()}.", add_special_tokens=False)["input_ids"]
        ids = [config.decoder_start_token_id, words.convert_tokens_to_ids("<|notimestamps|>"), *spelt]
        with torch.inference_mode():
            out = found.model(input_features=features.input_features, decoder_input_ids=torch.tensor([ids, ids]))
        steps = out.logits[:, 1:].log_softmax(-1)
        expected = steps.gather(-1, torch.tensor([[*spelt, config.eos_token_id]] * 2)[..., None]).sum((1, 2))
        torch.testing.assert_close(scores[:, column], expected, atol=2e-3, rtol=1e-4)


def test_dropped_labels_come_last(whisper: Path) -> None:
    sounds = [Audio(torch.randn(1, 9000, generator=torch.Generator().manual_seed(3)) * 0.1, 16000)]
    short, full = judge(whisper, keep=2)(sounds)[0], judge(whisper, keep=5)(sounds)[0]
    kept = short.topk(2).indices
    torch.testing.assert_close(short[kept], full[kept], atol=1e-3, rtol=1e-4)
    assert short.isfinite().all()

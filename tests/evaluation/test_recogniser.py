"""The recogniser on real speech of the corpus; what is expected is what was said."""

from pathlib import Path

import pytest
import torch

from anyx.evaluation.judges import RANKED, rankings
from anyx.evaluation.metrics import chance, hits
from anyx.evaluation.recogniser import SILENT, SpeechJudge, denoised, prepared, trimmed
from anyx.media import Audio

SPEECH = Path(__file__).parents[2] / "experiments" / "emoji" / "data" / "speech"
WORDS = {"rickshaw": "R IH K SH AO"}
LABELS = ["airplane", "butterfly", "auto rickshaw", "black cat", "cat", "elephant", "airplane arrival", "tornado"]
SAID = {"butterfly": 1, "auto_rickshaw": 2, "black_cat": 3, "elephant": 5, "tornado": 7}


@pytest.fixture(scope="module")
def judge() -> SpeechJudge:
    return SpeechJudge(LABELS, words=WORDS)


def spoken(name: str, voice: str = "slt") -> Audio:
    return Audio.read(SPEECH / voice / f"{name}.ogg")


@pytest.mark.parametrize("voice", ["slt", "kal16"])
def test_what_was_said_comes_first(judge: SpeechJudge, voice: str) -> None:
    scores = judge([spoken(name, voice) for name in SAID])
    assert scores.shape == (len(SAID), len(LABELS))
    assert scores.argmax(-1).tolist() == list(SAID.values())


def test_each_best_label_is_struck_out_for_the_next(judge: SpeechJudge) -> None:
    (row,) = judge([spoken("black_cat")])
    order = row.topk(RANKED).indices.tolist()
    assert row[order].tolist() == [5, 4, 3, 2, 1]
    assert (row == -torch.inf).sum() == len(LABELS) - RANKED
    left = [label for index, label in enumerate(LABELS) if index != order[0]]
    (without,) = SpeechJudge(left, words=WORDS)([spoken("black_cat")])
    assert left[int(without.argmax())] == LABELS[order[1]]


def test_a_row_is_the_same_in_any_company(judge: SpeechJudge) -> None:
    sounds = [spoken("elephant"), spoken("black_cat", "kal16"), spoken("tornado")]
    together = judge(sounds)
    assert torch.equal(judge(sounds[::-1]).flip(0), together)
    assert torch.equal(SpeechJudge(LABELS, words=WORDS)(sounds[1:2]), together[1:2])


def test_level_rate_channels_and_silence_around_do_not_matter(judge: SpeechJudge) -> None:
    clip = spoken("elephant")
    around = torch.nn.functional.pad(0.02 * clip.samples, (4000, 9000)).expand(2, -1)
    scores = judge([clip, Audio(around, clip.rate), clip.resample(22050)])
    assert scores.argmax(-1).tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    "samples",
    [
        torch.zeros(1, 16000),
        torch.full((1, 8000), torch.nan),
        torch.full((2, 8000), SILENT / 2),
    ],
    ids=["silence", "nan", "quiet"],
)
def test_nothing_heard_is_a_wrong_answer_and_not_the_first_label(judge: SpeechJudge, samples: torch.Tensor) -> None:
    outputs = [Audio(samples, 16000)]
    assert (judge(outputs) == -torch.inf).all()
    assert rankings(judge, outputs) == [[]]
    assert hits(rankings(judge, outputs), [0], 5) == 0
    assert chance(rankings(judge, outputs), [0]) == 0


@pytest.mark.parametrize("length", [1, 160, 800])
def test_scraps_of_sound_do_not_fail(judge: SpeechJudge, length: int) -> None:
    noise = 0.3 * torch.randn(1, length, generator=torch.Generator().manual_seed(0))
    noise[0, length // 2] = torch.inf if length > 1 else 0.5
    scores = judge([Audio(noise, 16000)])
    assert scores.shape == (1, len(LABELS))
    assert not scores.isnan().any()


def test_few_labels_are_all_ranked() -> None:
    judge = SpeechJudge(["cat", "elephant"])
    assert judge([spoken("elephant")]).tolist() == [[4, 5]]
    assert judge([]).shape == (0, 2)


def test_steady_noise_and_quiet_ends_are_taken_off() -> None:
    generator = torch.Generator().manual_seed(0)
    hiss = 0.01 * torch.randn(16000, generator=generator)  # its quietest tenth, times 1.5, is what comes off
    tone = torch.zeros(16000)
    tone[6400:9600] = 0.5 * torch.sin(torch.arange(3200) * 0.3)
    clean = denoised(tone + hiss)
    assert clean[:6000].std() < 0.9 * hiss.std()
    torch.testing.assert_close(clean[7000:9000].std(), tone[7000:9000].std(), rtol=0.05, atol=0)
    assert 3200 < len(trimmed(tone)) <= 3200 + 2 * 800
    laid = prepared(Audio(tone[None], 16000))
    assert laid is not None
    assert len(laid) == 2 * (len(trimmed(denoised(tone))) + 2 * 3200)


@pytest.mark.parametrize(
    ("labels", "words", "message"),
    [
        (
            ["auto rickshaw", "cat", "Zzyx"],
            {},
            r"no pronunciation of rickshaw, zzyx; .* words: \{rickshaw: R IH K SH AO",
        ),
        (["auto rickshaw"], {"rickshaw": "R IH Q"}, r"words\.rickshaw: 'R IH Q' is no pronunciation in ARPAbet"),
        (["T-Rex", "t rex"], {}, "2 labels but 1 phrases: two are spelt alike"),
    ],
)
def test_what_it_cannot_say_is_named(labels: list[str], words: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechJudge(labels, words=words)

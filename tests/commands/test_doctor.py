"""`anyx doctor` tells mismatched torch packages apart from matching ones, and says what to do."""

from pathlib import Path

import pytest

from anyx.commands import main
from anyx.commands.doctor import libraries, storage, torch_family


@pytest.mark.parametrize(
    ("torch", "audio", "vision", "failing"),
    [
        ("2.11.0", "2.11.0", None, []),
        ("2.11.0", "2.11.0", "0.26.0", []),
        ("2.8.0", "2.8.0", "0.23.0", []),  # the pair that was released together
        ("2.11.0", "2.11.0", "0.25.0", ["torchvision"]),
        ("2.11.0", "2.10.0", None, ["torchaudio"]),
        ("2.13.0", None, "0.26.0", ["torchaudio", "torchvision"]),
        (None, None, None, ["torch"]),
    ],
)
def test_torch_family(torch: str | None, audio: str | None, vision: str | None, failing: list[str]) -> None:
    findings = list(torch_family(torch, audio, vision))
    assert [finding.what for finding in findings if finding.state == "fail"] == failing
    assert all(finding.words for finding in findings)


def test_an_empty_cache_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYX_HOME", str(tmp_path / "not" / "there"))
    cache, weights = storage()
    assert (cache.what, cache.state) == ("cache", "ok")
    assert "0 MiB" in cache.words
    assert weights.state == "warn"
    assert "anyx fetch" in weights.words
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("codec", ["libopus", "libx264"])
def test_every_codec_that_is_written_with_is_looked_for(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {codec})
    (found,) = (finding for finding in libraries() if finding.what == "av")
    assert (found.state, found.words) == ("warn", f"{av.__version__}, without {codec}")


def test_this_environment_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert "torchaudio" in printed
    assert "cpu" in printed

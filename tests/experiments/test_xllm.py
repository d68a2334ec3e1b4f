"""X-LLM: the published counts at full size; cut to a few thousand weights, its phases learn what they should."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyx import yamls
from anyx.build import build
from anyx.commands import main
from anyx.config import check, load
from anyx.data.sources import feed
from anyx.imports import import_file
from anyx.media import Audio, Image, Video
from anyx.processor import Processor
from anyx.training.run import train
from anyx.training.stage import select

XLLM = Path(__file__).parents[2] / "experiments" / "xllm"
spoken = import_file(XLLM / "spoken.py")
MAP = 768 * 4096 + 4096  # BERT's width into the LLM's
QUERIES = 32 * 768
FORMER = 105_137_664  # BLIP-2's, without what is for words
BERT = 12 * 7_087_872 + (512 + 2) * 768 + 2 * 768  # bert-base without its table of words and its pooler


def test_full_size_counts_are_the_published() -> None:
    """D1 of the reference sheet, and what D2 trains in each phase; the C-Former (787,457) is ours to train."""
    config = load(XLLM / "experiment.yaml")
    parts = build(config, meta=True).parts()
    counts = {name: sum(parameter.numel() for parameter in part) for name, part in parts.items()}
    assert counts["inputs.image.projector.query_tokens"] == counts["inputs.video.projector.query_tokens"] == QUERIES
    assert counts["inputs.image.projector.proj"] == counts["inputs.video.projector.proj"] == MAP == 3_149_824
    assert counts["inputs.image.projector.qformer"] == FORMER
    assert counts["inputs.speech.projector.pre"] == 512 * 768 + 768
    assert counts["inputs.speech.projector.bert"] == BERT == 85_450_752
    assert counts["inputs.speech.projector.post"] == MAP
    assert counts["inputs.speech.projector.cif"] == 512 * 512 * 3 + 512 + 513
    assert 985e6 < counts["encoders.vision"] < 987e6
    shared = parts["inputs.image.projector.qformer"], parts["inputs.video.projector.qformer"]
    assert [id(p) for p in shared[0]] == [id(p) for p in shared[1]]
    learning = {}
    for name, stage in config.stages.items():
        learning[name] = sum(parameter.numel() for parameter in select(parts, stage.train).parameters())
    assert learning == {
        "image": FORMER + 2 * 1408 + QUERIES + MAP,
        "video": QUERIES + MAP,
        "speech": 512 * 768 + 768 + BERT + MAP + 787_457,
        "integrate": 2 * (QUERIES + MAP) + MAP,
    }


def test_the_plan_tells_what_it_weighs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(XLLM.parents[1] / "configs/models/xllm.yaml")])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    rows = dict(line.strip().rsplit("  ", 1) for line in printed.out.splitlines() if "  " in line.strip())
    told = {" ".join(name.split()): " ".join(count.split()) for name, count in rows.items()}
    assert told["LLM 9.40 G"] == "9.40 G"
    assert told["encoders: vision 986 M"] == "986 M"
    assert told["inputs.image.projector"] == f"{FORMER + 2 * 1408 + QUERIES + MAP:,}"
    assert told["inputs.video.projector.proj"] == "3,149,824"


def test_the_plan_forecasts_its_phases(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip's projector is asked with a token a frame; a part learns where the whole of it is trained."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(XLLM / "tiny.yaml")])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    rows = {line.split()[0]: line.split()[2:] for line in printed.out.splitlines() if line.startswith(" inputs.")}
    assert rows["inputs.image.projector.qformer"] == ["learns", "frozen", "frozen", "frozen"]
    assert rows["inputs.video.projector.qformer"] == rows["inputs.image.projector.qformer"]
    assert rows["inputs.video.projector.proj"] == ["frozen", "learns", "frozen", "learns"]
    assert rows["inputs.speech.projector.post"] == ["frozen", "frozen", "learns", "learns"]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """One record of each modality, and one of two."""
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (5, 3, 28, 28), dtype=torch.uint8)
    paths = {
        "image": Image(frames[0]).save(tmp_path / "still.png"),
        "video": Video(frames, 1.0).save(tmp_path / "clip.mp4"),
        "speech": Audio(torch.rand(1, 16000) - 0.5, 16000).save(tmp_path / "voice.wav"),
    }
    media = {key: {"type": key, "path": str(path), "caption": "red fox"} for key, path in paths.items()}
    asked = [[media[key]] for key in media] + [[media["image"], media["speech"]]]
    lines = tmp_path / "some.jsonl"
    with lines.open("w") as file:
        for parts in asked:
            ask = {"role": "user", "content": [*parts, {"type": "text", "text": "say it"}]}
            file.write(json.dumps({"messages": [ask, {"role": "assistant", "content": "red fox"}]}) + "\n")
    return lines


def test_the_phases_learn_what_they_name(records: Path, tmp_path: Path) -> None:
    raw = yamls.read(XLLM / "tiny.yaml")
    raw["data"] = {name: {"type": "jsonl", "path": str(records)} for name in raw["data"]}
    config = check(raw)
    folder = train(config, out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    saved = {name: load_file(folder / name / "final.safetensors") for name in config.stages}
    prefix = {name: {key.split(".projector.")[0] + ":" + key.split(".projector.")[1].split(".")[0] for key in state}
              for name, state in saved.items()}  # fmt: skip
    assert prefix == {
        "image": {f"inputs.image:{name}" for name in ("norm", "query_tokens", "qformer", "proj")},
        "video": {"inputs.video:query_tokens", "inputs.video:proj"},
        "speech": {f"inputs.speech:{name}" for name in ("cif", "pre", "bert", "post")},
        "integrate": {
            "inputs.image:query_tokens", "inputs.image:proj", "inputs.video:query_tokens", "inputs.video:proj",
            "inputs.speech:post",
        },
    }  # fmt: skip
    rows = (folder / "metrics.csv").read_text()
    assert "quantity" in rows.splitlines()[0]
    reply = build(config).chat(
        [{"role": "user", "content": [{"type": "speech", "path": str(records.parent / "voice.wav")}]}], max_new_tokens=2
    )
    assert isinstance(reply.text, str)


def test_media_stand_between_their_names() -> None:
    model = build(load(XLLM / "tiny.yaml"))
    processor: Processor = model.processor
    content = [{"type": "speech"}, {"type": "image"}, {"type": "text", "text": "ok"}]
    encoded = processor.prompt.encode([{"role": "user", "content": content}], generate=True)
    written = processor.prompt.template
    assert written.around("speech", 1) == ("<Speech>", "</Speech>")
    assert [slot.key for slot in encoded.media] == ["speech", "image"]
    plain = processor.prompt.tokenizer("</Speech><Image>", add_special_tokens=False)["input_ids"]
    between = encoded.ids[encoded.media[0].position + 1 : encoded.media[1].position]
    assert len(between) == len(plain)


def test_spoken_words() -> None:
    """Every voice of a split speaks; learning and tests draw other sequences; the same index is the same utterance."""
    given = feed("spoken", {"type": f"{XLLM / 'spoken.py'}:Spoken", "records": 9})
    first, again = given.source[4], given.source[4]
    heard = first["messages"][0]["content"][0]
    assert torch.equal(heard["media"].samples, again["messages"][0]["content"][0]["media"].samples)
    assert heard["caption"] == first["messages"][1]["content"]
    assert [len(spoken.drawn("train", i)[0]) for i in range(6)] == [1, 2, 3, 1, 2, 3]
    corpus = spoken.SpokenCorpus(utterances=60)
    names = {concept.label for concept in spoken.names()}
    learnt = {spoken.said(spoken.drawn("train", i)[0]) for i in range(1200)}
    several = [label for label in map(corpus.label, corpus.chosen("seen", 60)) if label not in names]
    assert not learnt.intersection(several)
    for split in ("seen", "unseen", *corpus.apart):
        sound = corpus.media(split, "speech", "2", 0)
        assert 0.8 < sound.seconds < 4.8
        (turn,) = corpus.request(split, "speech", "text", "2", 0)
        assert turn["content"][1]["text"] not in spoken.ASK

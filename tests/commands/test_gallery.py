"""`anyx gallery` answers a file of requests with a tiny model and shows them all; `anyx chat` goes on where it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from PIL import Image as PILImage

from anyx import AnyX, Audio, Image
from anyx.build import build
from anyx.commands import loading, main
from anyx.commands.conversation import Conversation
from anyx.config import check
from anyx.evaluation.gallery import Exchange, thumbnail, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tiny_llm_folder: str) -> AnyX:
    torch.manual_seed(0)
    decoder = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "imagebind"} | TINY["encoders"]["imagebind"][0]},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "outputs": {"image": {"tokens": 2, "projector": {"type": "linear"}, "decoder": decoder}},
    }
    model = build(check(raw))
    with torch.no_grad():  # rows so long that the first signal token is said almost at once
        model.llm.signal_tokens.said.mul_(50)
    return model


def picture(folder: Path) -> Path:
    return Image(torch.full((3, 16, 16), 200, dtype=torch.uint8)).save(folder / "in.png")


def test_gallery_writes_replies_and_sheets(model: AnyX, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save_pretrained(tmp_path / "model")
    name = picture(tmp_path).name
    content = [{"type": "image", "path": name}, {"type": "text", "text": "What is <this>?"}]
    rows = [
        {"id": "image->text", "messages": [{"role": "user", "content": content}]},
        {"id": "text->image", "messages": [{"role": "user", "content": "Draw."}]},
    ]
    (tmp_path / "requests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    words = ["gallery", str(tmp_path / "requests.jsonl"), "--model", str(tmp_path / "model"), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--max-new-tokens", "6", "--device", "cpu"])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.out + printed.err
    assert "2 requests in" in printed.out
    assert (out / "image_to_text" / "asked" / "0_image.png").is_file()
    assert list((out / "text_to_image").glob("*.png"))
    page = (out / "index.html").read_text()
    assert "What is &lt;this&gt;?" in page
    assert 'src="image_to_text/asked/0_image.png"' in page
    with PILImage.open(out / "sheet.png") as sheet:
        assert sheet.width > sheet.height


def test_gallery_fails_where_a_reply_lacks_what_was_asked_for(
    model: AnyX, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    row = {"id": "text->video", "messages": [{"role": "user", "content": "Move."}]}
    (tmp_path / "requests.jsonl").write_text(json.dumps(row))
    words = ["gallery", str(tmp_path / "requests.jsonl"), "--model", str(tmp_path / "model"), "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--max-new-tokens", "2", "--device", "cpu"])
    assert ended.value.code == 1
    assert "without what was asked for: text->video" in capsys.readouterr().out


def test_overrides_change_the_model_s_own_yaml(
    model: AnyX, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where the demo's own requests are
    place = model.save_pretrained(tmp_path / "model")
    loaded = loading.load_model(place, loading.Loading("cpu"), ["outputs.image.decoder.steps=1"])
    assert loaded.outputs["image"].decoder.steps == 1
    (tmp_path / "requests.jsonl").write_text("")
    seen = ["run", "--image", str(picture(tmp_path))]
    for command in (["run", "Hello."], seen, ["chat"], ["gallery", str(tmp_path / "requests.jsonl")], ["gallery"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "outputs.image.decoder.stpes=1", "--model", str(place)])
        assert ended.value.code == 2
        assert "Did you mean: 'steps'?" in capsys.readouterr().err


def test_the_gallery_s_requests_are_one_a_cell() -> None:
    rows = [json.loads(line) for line in (ROOT / "experiments/emoji/demo.jsonl").read_text().splitlines()]
    keys = ("text", "image", "audio", "video")
    assert [row["id"] for row in rows] == [f"{source}->{target}" for source in keys for target in keys]
    for row in rows:
        media = [part for part in row["messages"][0]["content"] if part["type"] != "text"]
        assert [part["type"] for part in media] == [key for key in [row["id"].split("->")[0]] if key != "text"]
        assert all((ROOT / "experiments/emoji" / part["path"]).is_file() for part in media)


def test_every_kind_has_a_thumbnail(tmp_path: Path) -> None:
    sound = Audio(torch.rand(1, 8000) - 0.5, 16000)
    assert len({thumbnail(part).size for part in (sound, "words", Image(torch.zeros(3, 8, 9, dtype=torch.uint8)))}) == 1
    files = write([Exchange("one", ["Hello"], [sound], [], [sound.save(tmp_path / "a.wav")])], tmp_path)
    assert [file.name for file in files] == ["sheet.png", "index.html"]
    assert '<audio controls src="a.wav">' in files[1].read_text()


def test_a_conversation_remembers(model: AnyX, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 5}
    chat = Conversation(model, tmp_path, 0, settings)
    assert chat.command(f"/image {picture(tmp_path)}")
    chat.say("What is this?")
    assert [message["role"] for message in chat.session.messages] == ["user", "assistant"]
    assert chat.session.messages[0]["content"][0]["type"] == "image"
    assert chat.attached == []
    chat.say("And now?")
    assert len(chat.session.messages) == 4
    assert chat.command("/seed 5")
    assert chat.seed == 5
    assert chat.command("/help")
    assert "/image PATH" in capsys.readouterr().out
    assert chat.command("/reset")
    assert chat.session.messages == []
    assert not chat.command("/quit")
    with pytest.raises(ValueError, match=r"^/image: there is no file 'none.png'"):
        chat.command("/image none.png")


def test_a_failed_turn_costs_itself_alone(model: AnyX, tmp_path: Path) -> None:
    chat = Conversation(model, tmp_path / "out", 0, {"max_new_tokens": 3})
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot read"):
        chat.command(f"/image {tmp_path / 'bad.png'}")
    assert chat.attached == []
    with pytest.raises(ValueError, match=r"^/image: the path of a file is missing"):
        chat.command("/image")
    assert chat.command(f"/image {picture(tmp_path)}")
    chat.session.decode = {"smell": {}}
    with pytest.raises(ValueError, match=r"decode: {'smell': {}} given"):
        chat.say("Hello")
    assert chat.attached == []
    chat.session.decode, chat.out = {}, tmp_path / "bad.png"
    with pytest.raises(OSError, match=r"bad\.png"):  # the reply cannot be written
        chat.say("Hello")
    assert chat.session.messages == []
    chat.out = tmp_path / "out"
    chat.say("Hello")
    assert len(chat.session.messages) == 2
    before = {file: file.read_bytes() for file in chat.out.rglob("*") if file.is_file()}
    chat.command("/reset")
    chat.seed = 1
    chat.say("Another")
    assert len(list(chat.out.iterdir())) == 2
    assert all(file.read_bytes() == held for file, held in before.items())

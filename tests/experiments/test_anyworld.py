"""AnyWorld: renderings are read as what they are, worse the more noise; no held-out scene is learnt from."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from anyx.commands import main
from anyx.evaluation.judges import build, rankings
from anyx.evaluation.run import evaluate, read_settings
from anyx.imports import import_file
from anyx.media import Audio, Image, Video
from anyx.reply import Reply

WORLD = Path(__file__).parents[2] / "experiments" / "anyworld"
dialogues = import_file(WORLD / "dialogues.py")
readers = import_file(WORLD / "readers.py")
corpus, world = dialogues.corpus, dialogues.world
SOME = world.SCENES[::5]
RENDER = pytest.mark.parametrize("render", [world.picture, world.sound, world.clip])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy(medium: Any, level: float, seed: int) -> Any:
    """White noise of a deviation of `level` of the full scale."""
    values = (
        medium.samples if isinstance(medium, Audio) else medium.pixels if isinstance(medium, Image) else medium.frames
    )
    noise = level * torch.randn(values.shape, generator=seeded(seed))
    if isinstance(medium, Audio):
        return Audio((values + noise).clamp(-1, 1), medium.rate)
    pixels = (values + 255 * noise).clamp(0, 255).to(torch.uint8)
    return Image(pixels) if isinstance(medium, Image) else Video(pixels, medium.fps)


def right(render: Any, level: float) -> int:
    return sum(readers.attributes(noisy(render(s), level, i)) == s._asdict() for i, s in enumerate(SOME))


def test_a_scene_by_hand() -> None:
    """Two red circles on the left: 2 x pi x 5.7^2 = 204 pixels, all left of 24, red; beeps at 250 Hz before 0.64 s."""
    scene = world.BY_LABEL["two red circles on the left"]
    assert scene == ("two", "red", "circle", "left")
    assert scene.caption == "two red circle left"
    pixels = world.picture(scene).pixels.float()
    assert pixels[0].sum() / 235 == pytest.approx(204, rel=0.02)
    assert pixels[:, :, 24:].sum() == 0
    assert pixels[:, 16, 12].tolist() == pixels[:, 32, 12].tolist() == [235, 60, 50]
    assert pixels[:, 24, 12].sum() == 0
    samples = world.sound(scene).samples[0]
    assert samples[5120:].abs().max() == 0
    assert torch.fft.rfft(samples[:5120]).abs().argmax() * 8000 / 5120 == pytest.approx(250, abs=10)
    frames = world.clip(scene).frames
    assert frames[0, 0, :, 21].sum() > 0 == frames[-1, 0, :, 21].sum()


@RENDER
def test_every_scene_is_read_as_it_is(render: Any) -> None:
    assert all(readers.attributes(render(scene)) == scene._asdict() for scene in world.SCENES)
    copies = [(scene, render(scene, seeded(i))) for i, scene in enumerate(world.SCENES)]
    assert all(readers.attributes(copy) == scene._asdict() for scene, copy in copies)


@RENDER
def test_more_noise_is_read_worse(render: Any) -> None:
    found = [right(render, level) for level in (0.05, 0.4, 1.0, 3.0)]
    assert found[0] == len(SOME)
    assert found == sorted(found, reverse=True)
    assert found[-1] <= 2


def test_words_are_read_attribute_by_attribute() -> None:
    assert all(readers.attributes(f"I see {scene.label.upper()}.") == scene._asdict() for scene in world.SCENES)
    assert readers.attributes("right: squares, 3 of them, blue") == {
        "count": "three", "colour": "blue", "shape": "square", "side": "right"}  # fmt: skip
    assert readers.attributes("a red or blue circle") == {"shape": "circle"}
    assert readers.attributes("nothing of the kind") is None


def test_nothing_is_made_out_of_noise_or_of_nothing() -> None:
    for seed in range(5):
        noise = torch.rand(3, 48, 48, generator=seeded(seed))
        assert readers.attributes(Image.read(noise)) is None
        assert readers.attributes(Audio(0.3 * torch.randn(1, 10240, generator=seeded(seed)), 8000)) is None
    assert readers.attributes(Image.read(torch.zeros(3, 48, 48))) is None
    assert readers.attributes(Audio(torch.zeros(1, 10240), 8000)) is None


def test_the_side_of_a_clip_is_where_it_stands_and_moves() -> None:
    scene = world.SCENES[3]
    moving, rest = world.clip(scene), {"count": scene.count, "colour": scene.colour, "shape": scene.shape}
    assert readers.attributes(moving) == scene._asdict()
    assert readers.attributes(Video(moving.frames.flip(0), 8.0)) == rest
    assert readers.attributes(Video(world.picture(scene).pixels[None].expand(8, -1, -1, -1), 8.0)) == rest
    assert readers.attributes(Video(moving.frames.repeat_interleave(2, 0), 16.0)) == scene._asdict()


def test_other_sizes_and_rates_are_read_too() -> None:
    scene = world.SCENES[40]
    assert readers.attributes(world.picture(scene).resize(96, 96)) == scene._asdict()
    assert readers.attributes(world.sound(scene).resample(16000)) == scene._asdict()


def test_held_out_scenes_have_no_value_and_no_pair_of_their_own() -> None:
    kept, learnt = corpus.scenes("held_out"), corpus.scenes("seen")
    assert (len(kept), len(learnt)) == (12, 60)
    names = list(world.VALUES)
    for a, b in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        pairs = Counter((getattr(s, a), getattr(s, b)) for s in learnt)
        assert len(pairs) == len(world.VALUES[a]) * len(world.VALUES[b])
        assert min(pairs.values()) >= 4


def test_training_names_no_held_out_scene_and_every_other() -> None:
    wanted = {scene.caption for scene in corpus.scenes("seen")}
    for part in dialogues.PARTS:
        records = dialogues.World(part=part, copies=1).records
        assert set(re.findall(r'"caption": "([^"]+)"', json.dumps(records))) == wanted
        said = {turn["content"][0]["text"].rstrip(".") for r in records for turn in r["messages"][1::2]
                if not isinstance(turn["content"], str)}  # fmt: skip
        assert said == {scene.label for scene in corpus.scenes("seen")}


def test_pairs_show_all_scenes_under_some_or_all_of_their_words() -> None:
    counts, met = Counter(), set()
    for record in dialogues.Pairs(keys=["image"], copies=2):
        shown = world.Scene(**readers.attributes(record["media"]["image"]))
        met.add(shown)
        words = record["caption"].split()
        assert [word for word in shown if word in words] == words
        counts[len(words)] += 1
    assert met == set(world.SCENES)
    assert counts[4] > 60
    assert min(counts[1], counts[2], counts[3]) >= 5


def test_the_same_seed_makes_the_same_records() -> None:
    first, again, other = (json.dumps(dialogues.World(part="converse", copies=1, seed=s).records) for s in (3, 3, 4))
    assert first == again != other
    made = [dialogues.Pairs(keys=["image", "audio"], copies=2)[i]["media"] for i in (5, 5, 77)]
    assert torch.equal(made[0]["image"].pixels, made[1]["image"].pixels)
    assert not torch.equal(made[0]["image"].pixels, made[2]["image"].pixels)
    assert readers.attributes(made[0]["audio"]) == readers.attributes(made[2]["image"])


def test_records_have_all_routes_and_their_media() -> None:
    routes = Counter()
    for record in dialogues.World(part="converse", copies=1)[:300]:
        turns = [[{"type": "text"}] if isinstance(t["content"], str) else t["content"] for t in record["messages"]]
        routes[tuple("+".join(part["type"] for part in turn) for turn in turns)] += 1
        for part in turns[0]:
            if part["type"] != "text":
                assert readers.attributes(part["media"]) == world.Scene(*part["caption"].split())._asdict()
    asked = {"text": "text", "image": "image+text", "audio": "audio+text", "video": "video+text"}
    said = {"text": "text", "image": "text+image", "audio": "text+audio", "video": "text+video"}
    assert {(asked[a], said[b]) for a in asked for b in said} <= routes.keys()
    assert any(len(route) == 4 for route in routes)
    assert any(route[1].count("+") == 2 for route in routes)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text))


def test_requests_of_tests_are_new_but_their_words_are_not() -> None:
    learnt = json.dumps(dialogues.World(part="converse", copies=6).records)
    met, asked = words_of(learnt), set()
    any_world = corpus.AnyWorld()
    for split in any_world.splits:
        names = any_world.chosen(split, None)
        assert len(set(names)) == len(names) == {"seen": 240, "held_out": 48}[split]
        for source in any_world.keys:
            for target in any_world.keys:
                (turn,) = any_world.request(split, source, target, names[0], 0)
                assert [part["type"] for part in turn["content"]] == ["text"] if source == "text" else [source, "text"]
                assert not set(dialogues.requests(source, target, "train")) & set(
                    dialogues.requests(source, target, "test"))  # fmt: skip
                asked |= words_of(turn["content"][-1]["text"])
    kept = set(any_world.plain())
    assert len(kept) >= 25
    assert not kept & {question for question, _ in dialogues.plain_pairs("train")}
    assert asked | set().union(*map(words_of, kept)) <= met


def test_the_judges_are_right_about_what_is_real() -> None:
    any_world = corpus.AnyWorld()
    judges = build(read_settings(WORLD).judges, any_world.labels, WORLD)
    for split in any_world.splits:
        names = any_world.chosen(split, 12)
        for key, named in judges.items():
            real = [any_world.real(split, key, name, 0) for name in names]
            ranked = rankings(named["reader"], real)
            assert [any_world.labels[row[0]] for row in ranked] == [any_world.label(name) for name in names]
    assert rankings(judges["text"]["reader"], ["two red circles"]) == [[]]
    with pytest.raises(ValueError, match="'fog' is no scene of AnyWorld"):
        readers.SceneJudge(["fog"])


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="part: 'sing' is not one of describe, imagine, converse, speak"):
        dialogues.World(part="sing")
    with pytest.raises(ValueError, match="keys: 'smell' is not one of image, audio, video"):
        dialogues.Pairs(keys=["smell"])


class Oracle:
    """Reads every request with the exact readers and renders what was asked for."""

    forms: Mapping[str, str] = {
        re.escape(verb).replace(re.escape("{o}"), ".+"): key for key, verbs in dialogues.VERBS.items() for verb in verbs
    }

    def generate(self, conversations: Any, *, max_new_tokens: int, seeds: Any) -> list[Reply]:
        return [self.answer(chat[-1]["content"]) for chat in conversations]

    def answer(self, content: Any) -> Reply:
        if isinstance(content, str):
            return Reply(["i am a small model."])
        text = content[-1]["text"]
        scene = world.Scene(**readers.attributes(content[0].get("media", text)))
        (key,) = {key for form, key in self.forms.items() if re.fullmatch(form, text)}
        return Reply([f"{scene.label}.", *([] if key == "text" else [corpus.MEDIA[key](scene)])])


def test_the_committed_tokenizer_is_what_the_script_writes() -> None:
    make = import_file(WORLD / "make_tokenizer.py")
    made, kept = make.tokenizer(), AutoTokenizer.from_pretrained(WORLD / "tokenizer")
    assert made.get_vocab() == kept.get_vocab()
    ids = kept("Two red circles, on the left.", add_special_tokens=False)["input_ids"]
    assert kept.convert_ids_to_tokens(ids) == ["two", "red", "circle", "##s", ",", "on", "the", "left", "."]
    assert kept.decode(ids) == "two red circles, on the left."
    said = [kept(text, add_special_tokens=False)["input_ids"] for text in make.texts()]
    assert not [ids for ids in said if kept.unk_token_id in ids]


def test_who_reads_and_renders_exactly_has_every_cell(tmp_path: Path) -> None:
    found = evaluate(WORLD, tmp_path, model=Oracle(), limit=2, show=False)
    assert {cell["top1"] for split in ("seen", "held_out") for cell in found[split].values()} == {1.0}
    assert len(found["seen"]) == len(found["held_out"]) == 16
    assert {cell["top1"] for split in ("seen", "held_out") for cell in found["cycles"][split].values()} == {1.0}
    assert found["plain_chat"]["plain"] == 1.0
    assert found["labels"] == 72
    assert found["below"] == []


class Colourblind(Oracle):
    """An oracle to which all that is green is red."""

    def answer(self, content: Any) -> Reply:
        reply = super().answer(content)
        return Reply([str(reply.parts[0]).replace("green", "red"), *reply.parts[1:]])


def test_cells_below_their_floor_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "world"
    shutil.copytree(WORLD, folder, ignore=shutil.ignore_patterns("backbones", "model"))
    cells = ["text->text", "text->audio"]
    given = [f"cells={json.dumps(cells)}", "floors={seen: 0.9, held_out: 0.1}"]
    found = evaluate(folder, tmp_path / "out", given, model=Colourblind(), limit=12, show=False)
    assert 0.5 < found["seen"]["text->text"]["top1"] < 0.9
    assert found["below"] == [f"seen text->text: {found['seen']['text->text']['top1']:.1%} of 12, floor 90.0%"]
    for floors, code in ((given[1], 1), ("floors={seen: 0.1, held_out: 0.1}", 0)):
        with pytest.raises(SystemExit) as ended:
            main(("evaluate", str(folder), "--out", str(tmp_path / "out"), "--score-only", given[0], floors))
        assert ended.value.code == code
        assert ("floor 90.0%" in capsys.readouterr().out) == bool(code)
    with pytest.raises(ValueError, match="floors: 'unseen' is not one of seen, held_out"):
        evaluate(folder, tmp_path / "out", ["floors={unseen: 0.9}"], model=Oracle(), show=False)


def test_records_of_some_media_have_no_others() -> None:
    for keys, wanted in (([], {"text"}), (["image"], {"text", "image"})):
        records = dialogues.World(part="converse", copies=1, keys=keys).records
        assert set().union(*map(dialogues.kinds, records)) == wanted
    every = dialogues.World(part="describe", copies=1).records
    assert dialogues.World(part="describe", copies=1, keys=["image", "audio", "video"]).records == every
    with pytest.raises(ValueError, match="keys: 'smell' is not one of image, audio, video"):
        dialogues.World(part="describe", keys=["smell"])

"""The examples of the site do what their pages say: short, named by a YAML, true to their contracts, taught, asked."""

import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import depth_data
import midi_data
import pytest
import smf
import tiny
import torch
from depth import Depth
from listener import Listener
from midi import Notes
from mosaic import Mosaic
from player import Player
from split import Split
from thumbnail import Thumbnail
from timing import seconds
from weighed import Weighed

from anyx import AnyX, Condition, Image, Tokens, config
from anyx.faults import Limits, MediaError, OversizedError, TruncatedError, within
from anyx.interfaces import Decoder, Encoder, Medium
from anyx.processor import stack
from anyx.training import run

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def colours(folder: Path) -> Path:
    """Pictures of one colour, named and drawn."""
    lines: list[str] = []
    for index in range(32):
        name, hue = list({"red": 0, "green": 1, "blue": 2}.items())[index % 3]
        pixels = torch.full((3, 16, 16), 20 + index, dtype=torch.uint8)
        pixels[hue] = 200
        Image(pixels).save(folder / f"{index}.png")
        part = {"type": "image", "path": f"{index}.png"}
        asked: Any = [part, {"type": "text", "text": "What colour?"}] if index % 2 else f"Draw {name}."
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": name if index % 2 else [part]}]
        lines.append(json.dumps({"messages": turns}))
    (folder / "colours.jsonl").write_text("\n".join(lines))
    return folder / "colours.jsonl"


def trained(name: str, source: str, records: Path, out: Path, steps: int) -> AnyX:
    values = [f"data.{source}.path={records}", "stages.learn.workers=0", f"stages.learn.steps={steps}"]
    checked = config.load(EXAMPLES / name, [*values, "stages.learn.log_every=1"])
    run.train(checked, out=out, cache=out / "cache", device="cpu")
    return AnyX.from_pretrained(str(out))


def learnt(out: Path) -> bool:
    """Whether the mean loss of the last ten steps is a fifth below that of the first ten."""
    head, *rows = (out / "metrics.csv").read_text().splitlines()
    found = [float(row.split(",")[head.split(",").index("loss")]) for row in rows]
    return sum(found[-10:]) < 0.8 * sum(found[:10])


def shown(model: AnyX, key: str, seed: int = 0) -> Medium:
    """What a model makes of a signal group, whether or not it has learnt when to open one."""
    port = model.outputs[key]
    states = torch.randn(1, port.tokens, model.llm.dim, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        made = port.decoder(model.condition(key, states), generators=[torch.Generator().manual_seed(seed)])  # type: ignore[misc]
    return made[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_under_sixty_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize(
    ("encoder", "items"),
    [
        (Thumbnail(size=4), [Image(torch.full((3, 9, 9 + i), 60 * i, dtype=torch.uint8)) for i in range(3)]),
        (Depth(), [depth_data.scene("bump", side, torch.Generator().manual_seed(1)) for side in ("left", "right")]),
        (Listener(), [midi_data.melody("a scale up", 60 + i, 0.2, 3 + i) for i in range(3)]),
    ],
    ids=["thumbnail", "depth", "listener"],
)
def test_encoders_keep_their_contract(encoder: Encoder, items: list[Medium]) -> None:
    tensors = [encoder.transform(item) for item in items]
    tiny.packed(encoder.transform)  # it brings no weights to data workers
    tokens, alone = encoder(stack(tensors)), encoder(stack(tensors[:1]))
    assert tokens.values.shape[::2] == (len(items), encoder.dim)
    assert tokens.mask.shape == tokens.values.shape[:2]
    assert not torch.equal(tokens.values[0], tokens.values[1])
    torch.testing.assert_close(tokens.values[0][tokens.mask[0]], alone.values[0])
    strange = Notes(torch.ones(1, 4)) if not isinstance(encoder, Listener) else Image(torch.zeros(3, 2, 2).byte())
    with pytest.raises(MediaError):
        encoder.transform(strange)


def test_the_input_projector_keeps_its_contract() -> None:
    projector, mask = Split(12, 10, count=3), torch.tensor([[True] * 4, [True, True, False, False]])
    values = torch.randn(2, 4, 12, requires_grad=True)
    tokens = projector(Tokens(values, mask))
    assert tokens.values.shape == (2, 12, 10)
    assert tokens.mask.sum(1).tolist() == [12, 6]
    torch.testing.assert_close(tokens.values[0, :3] - projector.marks, projector.map(values[0, 0].reshape(3, 4)))
    with pytest.raises(ValueError, match="count: 5 given; it divides the encoder's width, 12"):
        Split(12, 10, count=5)


def test_the_output_projector_keeps_its_contract() -> None:
    sizes, states = {"prompt_embeds": (5, 12), "pooled": (1, 4)}, torch.randn(2, 3, 10)
    projector, mask = Weighed(10, sizes), torch.tensor([[True] * 3, [True, False, False]])
    made = projector(Tokens(states, mask))
    assert {name: tuple(value.shape[1:]) for name, value in made.values.items()} == sizes
    changed = projector(Tokens(states + 5 * ~mask[..., None], mask))
    torch.testing.assert_close(changed.values["pooled"], made.values["pooled"])  # what is not real is not read


@pytest.mark.parametrize("decoder", [Mosaic(dim=6), Player(dim=6, temperature=5.0)], ids=["mosaic", "player"])
def test_decoders_keep_their_contract(decoder: Decoder) -> None:
    read = Condition.full({name: torch.randn(1, *size) for name, size in decoder.condition.items()})
    both = Condition.full({name: value.expand(2, -1, -1) for name, value in read.values.items()})

    def made(given: Condition, *seeds: int) -> list[bytes]:
        return [one.to_bytes() for one in decoder(given, generators=[torch.Generator().manual_seed(s) for s in seeds])]

    assert made(read, 1) + made(read, 2) == made(both, 1, 2), "an item must not depend on its neighbours"
    assert made(read, 1) != made(read, 2)
    null = decoder.null_condition()
    assert {name: tuple(value.shape) for name, value in null.values.items()} == {
        name: (1, *size) for name, size in decoder.condition.items()
    }
    read.values[next(iter(read.values))].requires_grad_()
    loss = decoder.loss(read, decoder(read, generators=[torch.Generator().manual_seed(3)]))
    assert math.isfinite(loss.item())
    loss.backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_a_depth_map_keeps_what_eight_bits_lose(tmp_path: Path) -> None:
    path = depth_data.scene("bump", "left", torch.Generator().manual_seed(5)).save(tmp_path / "wall.png")
    seen = Image.read(path)
    assert len(seen.pixels.unique()) <= 2
    assert Depth().transform(seen)["metres"].min() == pytest.approx(-0.04, abs=0.005)
    with pytest.raises(MediaError, match="16 bits"):
        Depth().transform(Image(seen.pixels))


def test_midi_files_come_back(tmp_path: Path) -> None:
    notes = midi_data.melody("a scale down", 60, 0.25, 5)
    again = Notes.read(notes.save(tmp_path / "a.mid"))
    torch.testing.assert_close(again.notes, notes.notes, atol=1e-3, rtol=0)
    assert again.to_bytes() == notes.to_bytes()


def test_midi_of_other_programs() -> None:
    """Two tracks, a tempo, a status byte left out, an end by velocity 0, a note never ended, a foreign chunk."""
    tempo = b"\x00\xff\x51\x03\x0f\x42\x40" + b"\x00\xff\x2f\x00"  # a second for a quarter note
    play = b"\x00\x90\x3c\x40\x60\x3c\x00\x00\xc0\x05\x81\x40\x91\x3e\x7f" + b"\x60\xff\x2f\x00"
    chunks = [(b"MTrk", tempo), (b"XFIH", b"??"), (b"MTrk", play)]
    file = struct.pack(">4sIHHH", b"MThd", 6, 1, 2, 96) + b"".join(
        struct.pack(">4sI", name, len(body)) + body for name, body in chunks
    )
    assert seconds(*smf.load(file)) == [[60, 64, 0.0, 1.0], [62, 127, 3.0, 0.0]]
    assert smf.number(io.BytesIO(b"\x81\x80\x00")) == 16384
    with pytest.raises(TruncatedError, match="truncated"):
        Notes.read(file[:-3])
    with pytest.raises(MediaError, match="no Standard MIDI file"):
        Notes.read(b"RIFF" + file[4:])
    with within(Limits(seconds=2)), pytest.raises(OversizedError, match=r"limits\.seconds"):
        Notes.read(file)
    for cut in range(len(file)):  # whatever is broken is one line of a MediaError
        with pytest.raises(MediaError):
            Notes.read(file[:cut] + b"\xff" + file[cut + 1 : -4])


def test_the_parts_of_the_pages_learn_and_answer(tmp_path: Path) -> None:
    model = trained("parts.yaml", "colours", colours(tmp_path), tmp_path / "out", 60)
    assert isinstance(shown(model, "image"), Image)
    picture = {"type": "image", "path": str(tmp_path / "1.png")}
    reply = model.chat(
        [{"role": "user", "content": [picture, {"type": "text", "text": "What colour?"}]}], max_new_tokens=4
    )
    assert reply.parts
    assert learnt(tmp_path / "out")


def test_depth_learns_and_answers(tmp_path: Path) -> None:
    model = trained("depth.yaml", "walls", depth_data.make(tmp_path, count=32), tmp_path / "out", 30)
    question = [{"type": "depth", "path": str(tmp_path / "3.png")}, {"type": "text", "text": "What is on the wall?"}]
    assert model.chat([{"role": "user", "content": question}], max_new_tokens=4).text
    assert learnt(tmp_path / "out")


def test_midi_learns_and_answers(tmp_path: Path) -> None:
    model = trained("midi.yaml", "melodies", midi_data.make(tmp_path, count=48), tmp_path / "out", 30)
    made = shown(model, "notes")
    assert isinstance(made, Notes)
    question = [{"type": "notes", "media": made}, {"type": "text", "text": "What is this?"}]
    assert model.chat([{"role": "user", "content": question}], max_new_tokens=4).parts
    assert learnt(tmp_path / "out")


@pytest.mark.slow
def test_depth_is_understood(tmp_path: Path) -> None:
    """As the page trains it: walls that training has not, of which guessing names a quarter right."""
    model = trained("depth.yaml", "walls", depth_data.make(tmp_path), tmp_path / "out", 300)
    chance, right = torch.Generator().manual_seed(99), 0
    for index in range(40):
        shape, side = depth_data.SHAPES[index % 2], depth_data.SIDES[index // 2 % 2]
        part = {"type": "depth", "media": depth_data.scene(shape, side, chance)}
        asked = [{"role": "user", "content": [part, {"type": "text", "text": "What is on the wall?"}]}]
        right += model.chat(asked, max_new_tokens=32).text == f"A {shape} on the {side}."
    assert right >= 32


@pytest.mark.slow
def test_melodies_are_understood_and_played(tmp_path: Path) -> None:
    """As the page trains it: heard at pitches and speeds of other seeds, played as files that other programs read."""
    model = trained("midi.yaml", "melodies", midi_data.make(tmp_path), tmp_path / "out", 300)
    right = 0
    for index in range(18):
        name = list(midi_data.STEPS)[index % 3]
        part = {"type": "notes", "media": midi_data.melody(name, 55 + index // 2, 0.33, 7)}
        asked = [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]
        right += model.chat(asked, max_new_tokens=40).text == f"It is {name}."
    assert right >= 14
    for name, step in midi_data.STEPS.items():
        reply = model.chat([{"role": "user", "content": f"Play {name}."}], max_new_tokens=40)
        played = Notes.read(reply.save(tmp_path / name)[-1]).notes
        assert reply.keys == ["text", "notes"]
        assert played[:, 0].diff().tolist() == [step] * 7

"""Every registered component keeps its interface's promises; how they fit each other is in `test_pairings.py`.

Components are found through the registry's tables; `TINY` in `components.py` lists keyword arguments that make each one
small. A registered component without an entry fails: add its line there.
"""

import inspect
import math
import pickle
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from components import TINY
from torch import Tensor

from anyx.adapters.body import Body
from anyx.context import Context, carry
from anyx.imports import import_file
from anyx.interfaces import (
    Adapter,
    Condition,
    Decoder,
    Encoder,
    InputProjector,
    Layout,
    Media,
    OutputProjector,
    TextTeacher,
    Tokens,
)
from anyx.media import Audio, Image, Series, Video
from anyx.registry import TABLES, resolve, table

BASES = {
    "encoders": Encoder,
    "decoders": Decoder,
    "input_projectors": InputProjector,
    "output_projectors": OutputProjector,
    "adapters": Adapter,
}
CASES = {
    kind: [
        pytest.param(name, given, id=f"{name}{i or ''}") for name, rows in names.items() for i, given in enumerate(rows)
    ]
    for kind, names in TINY.items()
}
WIDTH = 10  # of the LLM that is not there


def media(kind: type[Media], seed: int) -> Media:
    """A small random item."""
    random = torch.Generator().manual_seed(seed)
    if kind is Audio:
        return Audio(torch.rand(1, 16000, generator=random) - 0.5, 16000)
    if kind is Series:
        return Series(torch.randn(6, 40, generator=random))
    frames = torch.randint(0, 256, (8, 3, 20, 24), generator=random, dtype=torch.uint8)
    return Image(frames[0]) if kind is Image else Video(frames, 8.0)


@cache
def component(kind: str, index: int, name: str, seed: int = 0) -> Any:
    """A registered encoder or decoder, tiny, random, frozen."""
    torch.manual_seed(seed)
    return resolve(kind, name)(**TINY[kind][name][index]).eval().requires_grad_(False)


def kind_of_encoder(encoder: Encoder) -> type[Media]:
    """What the encoder's transform reads."""
    for kind in (Image, Audio, Video, Series):
        try:
            encoder.transform(media(kind, 0))
        except (ValueError, AttributeError, TypeError):
            continue
        return kind
    raise AssertionError(f"{type(encoder).__name__}.transform reads none of Image, Audio, Video, Series")


def encode(encoder: Encoder, items: list[Media]) -> Tokens:
    inputs = [encoder.transform(item) for item in items]
    with torch.no_grad():
        tokens: Tokens = encoder({key: torch.stack([one[key] for one in inputs]) for key in inputs[0]})
    return tokens


def condition(sizes: Mapping[str, tuple[int, int]], batch: int, seed: int = 0) -> Condition:
    random = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(batch, *size, generator=random) for name, size in sizes.items()}
    return Condition(values, {name: torch.ones(batch, size[0], dtype=torch.bool) for name, size in sizes.items()})


def pixels(item: Media) -> Tensor:
    return item.samples if isinstance(item, Audio) else item.pixels if isinstance(item, Image) else item.frames


@pytest.mark.parametrize("kind", list(BASES))
def test_every_registered_component_is_tested(kind: str) -> None:
    assert set(TABLES) == {*BASES, "media"}  # kinds of media are in test_media.py
    assert set(table(kind)) == set(TINY[kind]), f"give each of anyx.registry's {kind} tiny arguments in TINY"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in BASES for name in TINY[kind]])
def test_final_and_built_from_keywords(kind: str, name: str) -> None:
    cls = resolve(kind, name)
    assert cls.__base__ is BASES[kind], f"{cls.__name__} is {cls.__base__.__name__}'s child: abstract or final"
    wired = {"input_projectors": ["dim_in", "dim_out"], "output_projectors": ["dim_in", "condition"]}
    dims = (wired | {"adapters": ["body", "name"]}).get(kind, [])
    parameters = list(inspect.signature(cls).parameters.values())
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters), "a signature is a schema"
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == dims, f"keyword-only after {dims}"
    assert cls.__doc__


@pytest.mark.parametrize(("name", "given"), CASES["encoders"])
class TestEncoder:
    def test_gives_tokens_of_its_width(self, name: str, given: dict[str, Any]) -> None:
        encoder = component("encoders", TINY["encoders"][name].index(given), name)
        kind = kind_of_encoder(encoder)
        items = [media(kind, seed) for seed in range(3)]
        tokens = encode(encoder, items)
        assert tokens.values.shape[0] == 3
        assert tokens.values.shape[2] == encoder.dim
        assert tokens.mask.shape == tokens.values.shape[:2]
        assert tokens.mask.dtype == torch.bool
        assert tokens.mask.any(dim=1).all()
        assert tokens.values.isfinite().all()
        alone = encode(encoder, items[1:2])
        torch.testing.assert_close(alone.values[0], tokens.values[1], rtol=1e-4, atol=1e-5)
        assert not torch.equal(tokens.values[0], tokens.values[1])

    def test_transform_travels_to_workers(self, name: str, given: dict[str, Any]) -> None:
        encoder = component("encoders", TINY["encoders"][name].index(given), name)
        item = media(kind_of_encoder(encoder), 0)
        blob = tiny.packed(encoder.transform)
        assert len(blob) < 200_000, "the transform carries weights"
        again = pickle.loads(blob)(item)
        assert all(torch.equal(again[key], tensor) for key, tensor in encoder.transform(item).items())


def test_a_method_of_the_encoder_does_not_travel() -> None:
    with pytest.raises(AssertionError, match="carries weights"):
        tiny.packed(tiny.TinyEncoder().forward)


def test_the_transform_of_the_readme_travels(tmp_path: Path) -> None:
    blocks = (Path(__file__).parents[1] / "README.md").read_text().split("```")
    code = next(block.removeprefix("python") for block in blocks if "(Encoder)" in block)
    (tmp_path / "thumbnail.py").write_text(code)
    transform = import_file(tmp_path / "thumbnail.py").Thumbnail(size=4).transform
    again = pickle.loads(tiny.packed(transform))
    assert torch.equal(again(media(Image, 0))["pixels"], transform(media(Image, 0))["pixels"])


def test_an_encoder_that_reads_text_is_refused() -> None:
    """Nothing hands it an instruction: it would run on None."""
    words, encoder = tiny.tokenizer(), tiny.TinyEncoder()
    encoder.reads_text = True
    with pytest.raises(ValueError, match=r"encoders\.eye: it reads a text too \(reads_text\)"):
        tiny.AnyX(tiny.LLM(tiny.causal_lm(words), words), encoders={"eye": encoder})


@pytest.mark.parametrize(("name", "given"), CASES["input_projectors"])
class TestInputProjector:
    def test_carries_widths_and_hides_padding(self, name: str, given: dict[str, Any]) -> None:
        torch.manual_seed(0)
        projector = resolve("input_projectors", name)(12, WIDTH, **given)
        mask = torch.tensor([[True] * 4, [True, True, False, False]])
        values = torch.randn(2, 4, 12, requires_grad=True)
        tokens = projector(Tokens(values, mask))
        assert tokens.values.shape[::2] == (2, WIDTH)
        assert tokens.mask.shape == tokens.values.shape[:2]
        changed = projector(Tokens(values + 5 * ~mask[..., None], mask))
        torch.testing.assert_close(changed.values[tokens.mask], tokens.values[tokens.mask])
        tokens.values[tokens.mask].square().sum().backward()
        assert values.grad is not None
        assert all(p.grad is not None and p.grad.isfinite().all() for p in projector.parameters())


@pytest.mark.parametrize(("name", "given"), CASES["adapters"])
def test_adapters_change_nothing_at_the_beginning(name: str, given: dict[str, Any]) -> None:
    """With a context that says nothing of media; what holds of every family is in tests/adapters."""
    llm = tiny.causal_lm(tiny.tokenizer())
    ids = torch.tensor([[5, 6, 7, 8]])
    before = llm(input_ids=ids).logits
    adapter: Adapter = resolve("adapters", name)(Body(llm), name, **given)
    assert adapter.name == name
    real = torch.ones_like(ids, dtype=torch.bool)
    reading = adapter.read(Layout(llm.get_input_embeddings()(ids), real, real), [])
    with carry(Context({name: reading})):
        torch.testing.assert_close(llm(input_ids=ids).logits, before)


@pytest.mark.parametrize(("name", "given"), CASES["output_projectors"])
class TestOutputProjector:
    @pytest.mark.parametrize("sizes", [{"prompt_embeds": (5, 12)}, {"prompt_embeds": (1, 6), "pooled": (1, 4)}])
    @pytest.mark.parametrize("length", [1, 4, 7])
    def test_makes_the_condition(self, name: str, given: dict[str, Any], sizes: Any, length: int) -> None:
        torch.manual_seed(0)
        projector = resolve("output_projectors", name)(WIDTH, sizes, **given)
        states = torch.randn(2, length, WIDTH, requires_grad=True)
        made = projector(Tokens.full(states), torch.randn(2, length, WIDTH))
        assert {key: tuple(value.shape[1:]) for key, value in made.values.items()} == sizes
        assert {key: tuple(mask.shape) for key, mask in made.masks.items()} == {
            k: (2, n) for k, (n, _) in sizes.items()
        }
        sum(value.square().sum() for value in made.values.values()).backward()
        assert states.grad is not None
        assert all(p.grad is not None and p.grad.isfinite().all() for p in projector.parameters())


@pytest.mark.parametrize(("name", "given"), CASES["decoders"])
class TestDecoder:
    def decoder(self, name: str, given: dict[str, Any]) -> Any:
        return component("decoders", TINY["decoders"][name].index(given), name)

    def test_same_seed_same_media(self, name: str, given: dict[str, Any]) -> None:
        decoder = self.decoder(name, given)

        def make(*seeds: int) -> list[Media]:
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            read = condition(decoder.condition, 1)
            read = Condition(*({k: v.expand(len(seeds), *v.shape[1:]) for k, v in part.items()} for part in read))
            return decoder(read, generators=generators, steps=2, guidance=2.0)  # type: ignore[no-any-return]

        first, again, other, alone = (pixels(item).float() for item in (*make(1, 1, 2), *make(2)))
        rounding = 1e-3 if first.ndim == 2 else 1  # of samples, of bytes: matrix products may round rows differently
        assert (first - again).abs().max() <= rounding < (first - other).abs().max()
        assert (alone - other).abs().max() <= rounding, "an item must not depend on its neighbours"

    def test_null_condition_has_the_condition_s_shape(self, name: str, given: dict[str, Any]) -> None:
        decoder = self.decoder(name, given)
        null = decoder.null_condition()
        assert {key: tuple(value.shape) for key, value in null.values.items()} == {
            key: (1, *size) for key, size in decoder.condition.items()
        }
        assert set(null.masks) == set(null.values)

    def test_loss_teaches_the_condition_and_the_parts(self, name: str, given: dict[str, Any]) -> None:
        decoder = self.decoder(name, given)
        read = condition(decoder.condition, 2)
        for value in read.values.values():
            value.requires_grad_()
        torch.manual_seed(0)
        made = decoder(read, generators=[torch.Generator().manual_seed(s) for s in (0, 1)], steps=1, guidance=1.0)
        loss = decoder.loss(read, made)
        assert loss.ndim == 0
        assert math.isfinite(loss.item())
        loss.backward()
        assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in read.values.values())

    def test_parts_are_the_house_s(self, name: str, given: dict[str, Any]) -> None:
        decoder = self.decoder(name, given)
        parts = decoder.parts()
        assert set(parts) <= {"vae", "denoiser", "motion", "text", "vocoder"}
        ids = [id(parameter) for part in parts.values() for parameter in part]
        assert len(ids) == len(set(ids)), "two parts share a parameter"
        assert set(ids) == {id(parameter) for parameter in decoder.parameters()}

    def test_saved_and_read_again(self, name: str, given: dict[str, Any], tmp_path: Any) -> None:
        decoder = self.decoder(name, given)
        decoder.save(tmp_path)
        plain = {key: value for key, value in given.items() if isinstance(value, int | float)}
        again = resolve("decoders", name)(path=str(tmp_path), **plain).eval()
        assert again.condition == decoder.condition
        read = condition(decoder.condition, 1)
        first, second = (d(read, generators=[torch.Generator().manual_seed(3)], steps=2) for d in (decoder, again))
        torch.testing.assert_close(pixels(first[0]), pixels(second[0]), rtol=1e-3, atol=1e-3)
        assert not again.parts()["text"], "decoding needs no text encoder in memory"
        for file in tmp_path.rglob("*.safetensors"):
            file.unlink()
        with torch.device("meta"):  # a published folder's configurations alone are enough to count what it has
            plan = resolve("decoders", name)(path=str(tmp_path), **plain)
        assert {k: [p.shape for p in ps] for k, ps in plan.parts().items()} == {
            k: [p.shape for p in ps] for k, ps in again.parts().items()
        }
        assert all(parameter.is_meta for parameter in plan.parameters())

    def test_a_teacher_speaks_its_own_condition(self, name: str, given: dict[str, Any]) -> None:
        decoder = self.decoder(name, given)
        assert isinstance(decoder, TextTeacher)
        if decoder.parts()["text"]:
            told = decoder.encode_text(["a cow", "a red cow"])
            assert {k: tuple(v.shape[1:]) for k, v in told.values.items()} == dict(decoder.condition)


@pytest.mark.parametrize(("name", "given"), CASES["encoders"] + CASES["decoders"])
def test_on_meta_a_component_has_shapes_only(name: str, given: dict[str, Any]) -> None:
    """`anyx plan` counts what this gives; no memory is taken and no weight is read."""
    kind = "encoders" if name in TINY["encoders"] else "decoders"
    with torch.device("meta"):
        shapes = resolve(kind, name)(**given)
    assert all(parameter.is_meta for parameter in shapes.parameters())
    real = component(kind, TINY[kind][name].index(given), name)
    assert [p.shape for p in shapes.parameters()] == [p.shape for p in real.parameters()]

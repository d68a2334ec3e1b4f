"""OpenFlamingo's file, of the true keys -> a model folder -> the same file, less its second copies; 9B by its shapes.

What a folder computes is held against the same file run by the formulas of reference sheet 1.12 over transformers' MPT.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel, MptConfig, MptForCausalLM

from anyx import AnyX, Image
from anyx.commands import main
from anyx.converters.flamingo import OpenFlamingo
from anyx.converters.keys import KeysError, best
from anyx.converters.systems import check_sizes, convert, export
from anyx.interfaces import Tokens

Shapes = dict[str, tuple[int, ...]]
TRUE = {"width": 4096, "layers": 32, "every": 4, "rows": 50280, "encoded": 1024, "latents": 64, "inner": 512}
TRUE |= {"depth": 6}  # how many rows the published table has is not known: any number will do
SMALL = {"width": 32, "layers": 4, "every": 2, "encoded": 16, "latents": 3, "inner": 16, "depth": 2}
HEADS = 8


def shapes(sizes: dict[str, int]) -> Shapes:
    width, dim, inner = sizes["width"], sizes["encoded"], sizes["inner"]
    found: Shapes = {"perceiver.latents": (sizes["latents"], dim), "lang_encoder.transformer.wte.weight": (0, 0)}
    found["lang_encoder.transformer.wte.weight"] = (sizes["rows"], width)
    for leaf in ("weight", "bias"):
        found[f"perceiver.norm.{leaf}"] = (dim,)
    for i in range(sizes["depth"]):
        read, feed = f"perceiver.layers.{i}.0.", f"perceiver.layers.{i}.1."
        for name in (f"{read}norm_media", f"{read}norm_latents", f"{feed}0"):
            found |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
        found |= {f"{read}to_q.weight": (inner, dim), f"{read}to_kv.weight": (2 * inner, dim)}
        found |= {f"{read}to_out.weight": (dim, inner)}
        found |= {f"{feed}1.weight": (4 * dim, dim), f"{feed}3.weight": (dim, 4 * dim)}
    for i in range(sizes["every"] - 1, sizes["layers"], sizes["every"]):
        block = f"lang_encoder.transformer.blocks.{i}.gated_cross_attn_layer."
        for name in ("attn.norm", "ff.0"):
            found |= {f"{block}{name}.weight": (width,), f"{block}{name}.bias": (width,)}
        found |= {f"{block}attn_gate": (1,), f"{block}ff_gate": (1,), f"{block}attn.to_out.weight": (width, inner)}
        found |= {f"{block}attn.to_q.weight": (inner, width), f"{block}attn.to_kv.weight": (2 * inner, dim)}
        found |= {f"{block}ff.1.weight": (4 * width, width), f"{block}ff.3.weight": (width, 4 * width)}
    return found


def copies(state: dict[str, Any]) -> dict[str, Any]:
    """The second names that gated blocks have in some files."""
    first, second = "lang_encoder.transformer.blocks.", "lang_encoder.gated_cross_attn_layers."
    return {n.replace(first, second).replace("gated_cross_attn_layer.", ""): x for n, x in state.items() if first in n}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """MPT with 20 rows more than its tokenizer has tokens, as the published one has some."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bases")
    words = tiny.tokenizer()
    config = MptConfig(
        vocab_size=len(words) + 20, d_model=32, n_heads=2, n_layers=4, max_seq_len=64, expansion_ratio=2,
        initializer_range=0.3,
    )  # fmt: skip
    MptForCausalLM(config).save_pretrained(folder / "llm")
    words.save_pretrained(folder / "llm")
    eye = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**eye, image_size=28, patch_size=14)).save_pretrained(folder / "vision")
    return {"llm": str(folder / "llm"), "vision": str(folder / "vision")}


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    sizes = SMALL | {"rows": len(tiny.tokenizer()) + 3}
    return {name: 0.4 * torch.randn(shape) for name, shape in shapes(sizes).items()}


def converted(bases: dict[str, str], state: dict[str, Tensor], out: Path, **settings: Any) -> Path:
    torch.save(state, out.with_suffix(".pt"))
    given = {"bases": bases, "overrides": ["llm.dtype=float32"], "any_size": True} | settings
    return convert("openflamingo", out.with_suffix(".pt"), out, **given).path


def test_the_true_file_is_known() -> None:
    found = shapes(TRUE)
    made = OpenFlamingo()
    layout, match = best(made.layouts, found, "x")
    assert (layout, match.faults) == ("every 4", 0)
    check_sizes("x", made, match.sizes)
    gated = sum(torch.Size(shape).numel() for name, shape in found.items() if "gated" in name)
    assert gated == 8 * (2 + 4 * 4096 + 2 * 512 * 4096 + 1024 * 1024 + 8 * 4096**2)
    _, sparser = best(made.layouts, shapes(TRUE | {"every": 2}), "x")
    with pytest.raises(ValueError, match="every layer 2 instead of 4"):
        check_sizes("x", made, sparser.sizes)
    del found["lang_encoder.transformer.blocks.7.gated_cross_attn_layer.ff_gate"]
    with pytest.raises(
        KeysError, match=r"missing \(1\): lang_encoder.transformer.blocks.7.gated_cross_attn_layer.ff_gate"
    ):
        best(made.layouts, found, "x")
    with pytest.raises(KeysError, match=r"unknown \(1\): perceiver.frame_embs"):
        best(made.layouts, shapes(TRUE) | {"perceiver.frame_embs": (8, 1024)}, "x")


def attended(x: Tensor, read: Tensor, state: dict[str, Tensor], prefix: str) -> Tensor:
    q = x @ state[f"{prefix}to_q.weight"].T
    k, v = (read @ state[f"{prefix}to_kv.weight"].T).chunk(2, -1)
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
    y = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
    return y.transpose(1, 2).flatten(2) @ state[f"{prefix}to_out.weight"].T


def normed(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def fed(x: Tensor, state: dict[str, Tensor], prefix: str) -> Tensor:
    return F.gelu(normed(x, state, f"{prefix}0") @ state[f"{prefix}1.weight"].T) @ state[f"{prefix}3.weight"].T


def perceived(patches: Tensor, state: dict[str, Tensor]) -> Tensor:
    latents = state["perceiver.latents"].expand(len(patches), -1, -1)
    for i in range(SMALL["depth"]):
        read, feed = f"perceiver.layers.{i}.0.", f"perceiver.layers.{i}.1."
        mine = normed(latents, state, f"{read}norm_latents")
        context = torch.cat([normed(patches, state, f"{read}norm_media"), mine], 1)
        latents = latents + attended(mine, context, state, read)
        latents = latents + fed(latents, state, feed)
    return normed(latents, state, "perceiver.norm")


class Looking(nn.Module):
    """A block of MPT behind a gated block of the file."""

    def __init__(self, block: nn.Module, state: dict[str, Tensor], prefix: str, media: Tensor, since: int) -> None:
        super().__init__()
        self.block, self.state, self.prefix, self.media, self.since = block, state, prefix, media, since

    def forward(self, x: Tensor, **given: Any) -> Any:
        seen = attended(normed(x, self.state, f"{self.prefix}attn.norm"), self.media, self.state, f"{self.prefix}attn.")
        seen = seen * (torch.arange(x.shape[1]) >= self.since)[:, None]  # words before the picture see nothing
        x = x + self.state[f"{self.prefix}attn_gate"].tanh() * seen
        x = x + self.state[f"{self.prefix}ff_gate"].tanh() * fed(x, self.state, f"{self.prefix}ff.")
        return self.block(x, **given)


def direct(state: dict[str, Tensor], ids: Tensor, media: Tensor, since: int, path: str) -> Tensor:
    """Logits of transformers' MPT with the file's table, its gated blocks before every second of the LLM's."""
    model = MptForCausalLM.from_pretrained(path).eval()
    table = state["lang_encoder.transformer.wte.weight"]
    model.resize_token_embeddings(len(table))
    with torch.no_grad():
        model.transformer.wte.weight.copy_(table)
        blocks = model.transformer.blocks
        for i in range(SMALL["every"] - 1, SMALL["layers"], SMALL["every"]):
            prefix = f"lang_encoder.transformer.blocks.{i}.gated_cross_attn_layer."
            blocks[i] = Looking(blocks[i], state, prefix, media, since)
        return model(input_ids=ids, use_cache=False).logits


def test_there_and_back(bases: dict[str, str], state: dict[str, Tensor], tmp_path: Path) -> None:
    old = {"lang_encoder.old_decoder_blocks.0.norm_1.weight": torch.ones(32)}
    file = state | copies(state) | old
    out = converted(bases, {f"module.{name}": x for name, x in file.items()}, tmp_path / "out")
    left_out = {"duplicates under gated_cross_attn_layers": 22, "duplicates under old_decoder_blocks": 1}
    assert json.loads((out / "conversion.json").read_text())["left_out"] == left_out
    assert "Left out of the checkpoint: 22 duplicates under gated_cross_attn_layers." in (out / "README.md").read_text()

    model = AnyX.from_pretrained(out)
    words = len(tiny.tokenizer())
    assert model.llm.vocabulary == words, "rows that no token has are cut"
    assert model.llm.added_tokens == {"<|endofchunk|>": words, "<image>": words + 1, "<PAD>": words + 2}
    picture = Image(torch.randint(0, 255, (3, 30, 20), dtype=torch.uint8))
    content = [
        {"type": "text", "text": "Look: "},
        {"type": "image", "media": picture},
        {"type": "text", "text": "a fox"},
    ]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "yes"}]
    pixels = model.processor.transforms["image"](picture)["pixels"][None]
    tower = CLIPVisionModel.from_pretrained(bases["vision"])
    with torch.no_grad():
        patches = tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        media = perceived(patches, state)
        made = model.inputs["image"].projector(Tokens.full(patches)).values
        torch.testing.assert_close(made, media, atol=1e-5, rtol=1e-5)
        batch = model.processor.collate([model.processor(messages)])
        spliced, _ = model.read(batch)
        states = model.llm.states(spliced.embeddings, spliced.mask, None, spliced.context)
    ids = batch.ids[batch.ids >= 0][None]  # the picture stands nowhere: `<image>` marks where it is seen from
    since = int((ids[0] == words + 1).nonzero())
    assert since == 0, "a picture stands at the front of its turn"
    wanted = direct(state, ids, media, since, bases["llm"])
    torch.testing.assert_close(model.llm.logits(states), wanted, atol=1e-4, rtol=1e-4)
    blind = direct(state, ids, media, ids.shape[1], bases["llm"])
    assert (wanted - blind).abs().max() > 1e-2, "the picture is seen"
    assert model.chat(messages[:1], max_new_tokens=2).keys in (["text"], [])

    export("openflamingo", out, tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_the_command_counts_what_it_left_out(
    bases: dict[str, str], state: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state | copies(state), tmp_path / "in.pt")
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"<image>": 330, "<|endofchunk|>": 331, "<PAD>": 332}))
    named = [word for name, path in bases.items() for word in ("--base", f"{name}={path}")]
    words = [
        "convert",
        "openflamingo",
        str(tmp_path / "in.pt"),
        str(tmp_path / "out"),
        "llm.dtype=float32",
        "--any-size",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*words, *named, "--added-tokens", str(tokens)])
    assert ended.value.code == 0
    assert "; 22 duplicates under gated_cross_attn_layers left out\n" in capsys.readouterr().out
    assert list(AnyX.from_pretrained(tmp_path / "out").llm.added_tokens) == ["<image>", "<|endofchunk|>", "<PAD>"]


def test_refusals(bases: dict[str, str], state: dict[str, Tensor], tmp_path: Path) -> None:
    other = copies(state)
    name = next(name for name in other if name.endswith("attn_gate"))
    with pytest.raises(ValueError, match=rf"{name} is said to be a copy of .*, but differs from it"):
        converted(bases, state | other | {name: torch.ones(1)}, tmp_path / "out")
    with pytest.raises(ValueError, match=r"added_tokens: a given; <\|endofchunk\|> and <image> must be among them"):
        converted(bases, state, tmp_path / "out", options={"added_tokens": ["a"]})
    table = "lang_encoder.transformer.wte.weight"
    with pytest.raises(ValueError, match=r"has 350 rows .* trained over 329"):
        converted(bases, state | {table: state[table][:-1]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    only = copies(state) | {name: x for name, x in state.items() if "gated_cross" not in name}
    with pytest.raises(KeysError, match="missing"):
        converted(bases, only, tmp_path / "out")

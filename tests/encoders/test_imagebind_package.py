"""Parity with Meta's own ImageBind from PyPI, where the optional extra `imagebind` is installed.

The package is only run: the same random weights, the same inputs, all six towers. Expected numbers are its outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anyx.encoders.imagebind import ImageBind
from anyx.encoders.imagebind_text import TextTransform
from anyx.imports import import_file

package = import_file(Path(__file__).parents[2] / "experiments" / "benchmarks" / "imagebind_package.py")
pytestmark = pytest.mark.skipif(
    not package.is_installed(), reason="imagebind-unofficial is not installed: the optional extra `imagebind`, CC-BY-NC"
)
TOWERS = {
    name: (width, depth, 2)
    for (name, width), depth in zip(
        {"vision": 32, "text": 16, "audio": 24, "depth": 16, "thermal": 24, "imu": 16}.items(),
        (3, 2, 2, 1, 2, 3),
        strict=True,
    )
}
INPUTS: dict[str, Any] = {
    "vision": (2, 3, 224, 224),
    "audio": (2, 3, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}


@pytest.fixture(scope="module")
def both() -> tuple[Any, ImageBind]:
    torch.manual_seed(0)
    theirs = package.model(TOWERS, 12)
    with torch.no_grad():
        for parameter in theirs.parameters():  # away from the start, where biases and norms do nothing
            parameter.add_(torch.randn_like(parameter) * 0.02)
    ours = ImageBind(
        {n: {"dim": dim, "depth": depth, "heads": heads, "out_dim": 12} for n, (dim, depth, heads) in TOWERS.items()}
    ).eval()
    ours.load_state_dict(theirs.state_dict())  # strict: the same keys
    return theirs, ours


@pytest.mark.parametrize("tower", [*INPUTS, "video", "text"])
def test_embeddings_are_its_own(both: tuple[Any, ImageBind], tower: str, record_property: Any) -> None:
    theirs, ours = both
    torch.manual_seed(1)
    if tower == "text":
        x = torch.randint(1, 49406, (3, 77))
        for row, end in enumerate((4, 76, 20)):
            x[row, end], x[row, end + 1 :] = 49407, 0
    else:
        x = torch.randn(INPUTS[tower] if tower != "video" else (1, 4, 3, 2, 224, 224))
    tower = "vision" if tower == "video" else tower
    with torch.inference_mode():
        wanted, found = theirs({tower: x})[tower], ours.embed(tower, x, scaled=True)
    record_property("largest error", (found - wanted).abs().max().item())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5)


def test_ids_are_its_own() -> None:
    texts = [
        "A dog.",
        "it\u2019s   &amp;lt;naïve&amp;gt; ﬁne",
        "Ünïcode 中文 🙂 12.5%",
        "<|endoftext|>",
        "",
        "a " * 100,
    ]
    tokenize = package.module("models.multimodal_preprocessors").SimpleTokenizer(bpe_path=str(package.merges()))
    transform = TextTransform(str(package.merges()))
    for text in texts:
        assert transform(text)["ids"].tolist() == tokenize(text).tolist()

"""Meta's own ImageBind, where the optional extra `imagebind` is installed (CC-BY-NC): to compare with, never to use.

`pip install -e .[imagebind]` or, without the video readers that the model does not need,
`pip install --no-deps imagebind-unofficial timm iopath portalocker regex torchvision`.
"""

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any


def is_installed() -> bool:
    return importlib.util.find_spec("imagebind") is not None


def module(name: str) -> Any:
    """`imagebind.<name>`, without the package's own start, which imports pytorchvideo and decord."""
    spec = (
        importlib.util.find_spec("imagebind") if "imagebind" not in sys.modules else sys.modules["imagebind"].__spec__
    )
    if spec is None:
        raise ModuleNotFoundError("imagebind is not installed: pip install -e .[imagebind]", name="imagebind")
    sys.modules.setdefault("imagebind", importlib.util.module_from_spec(spec))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"imagebind.{name}")


def merges() -> Path:
    """The merges file that it carries."""
    spec = importlib.util.find_spec("imagebind")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "bpe" / "bpe_simple_vocab_16e6.txt.gz"


def model(towers: dict[str, tuple[int, int, int]], out_dim: int) -> Any:
    """Its model, random; `towers` names (width, blocks, heads)."""
    sizes = {"out_embed_dim": out_dim, "audio_drop_path": 0.0, "imu_drop_path": 0.0}
    for tower, (dim, depth, heads) in towers.items():
        sizes |= {f"{tower}_embed_dim": dim, f"{tower}_num_blocks": depth, f"{tower}_num_heads": heads}
    return module("models.imagebind_model").ImageBindModel(**sizes).eval()

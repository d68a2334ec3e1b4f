"""Golden cases: found by name, read with their sidecar, compared within the sidecar's own tolerance.

`ANYX_GOLDENS` names the folder that holds `01_imagebind/`, `02_nextgpt_v1/`, ...; default: the copies beside this file,
of which `packed.zip` holds what packing makes small.
"""

from __future__ import annotations

import atexit
import fnmatch
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"


def unpacked() -> Path:
    """The copies as a whole set: a folder that goes when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="anyx-goldens-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(DATA / "packed.zip") as packed:
        packed.extractall(folder)
    shutil.copytree(DATA, folder, dirs_exist_ok=True)
    return folder


NAMED = os.environ.get("ANYX_GOLDENS")
ROOT = unpacked() if NAMED is None else Path(NAMED)
READ: dict[str, float] = {}  # case -> largest absolute error of its values


@dataclass(frozen=True)
class Case:
    path: Path  # of the safetensors file

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        return json.loads(self.path.with_suffix(".json").read_text())

    @property
    def sizes(self) -> dict[str, Any]:
        return self.sidecar["hyper_parameters"]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        READ.setdefault(self.name, 0.0)
        return load_file(self.path)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors named `prefix.*`, without the prefix."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """Shapes of the weights, stored or made."""
        return self.sidecar["w_shapes"] or {k: v["shape"] for k, v in self.sidecar["recipe_weights"].items()}

    def weights(self) -> dict[str, Tensor]:
        """The reference's state dict: stored, or made by the sidecar's recipe."""
        return self.part("w") or {k: self._recipe(k, v) for k, v in self.sidecar["recipe_weights"].items()}

    def _recipe(self, key: str, known: Mapping[str, Any]) -> Tensor:
        seed = (self.sidecar["recipe_seed"] * 1000003 + zlib.crc32(key.encode())) % 2**32
        x = np.random.RandomState(seed).standard_normal(known["shape"])
        if x.ndim >= 3:
            x = 0.3 * x
        elif x.ndim == 2:
            x = x / np.sqrt(x.shape[1])
        else:
            x = 1 + 0.1 * x if "norm" in key and key.endswith("weight") else 0.1 * x
        x = x.astype(np.float32)
        np.testing.assert_allclose(x.sum(dtype=np.float64), known["sum_f64"], rtol=1e-6, atol=1e-6, err_msg=key)
        return torch.from_numpy(x)

    def compare(self, outputs: Mapping[str, Tensor]) -> None:
        """Hold values against `out.*`; every stored output that is named must be near."""
        assert outputs, f"{self.name}: nothing to compare"
        for name, value in outputs.items():
            self._near(f"out.{name}", value, self.tensors[f"out.{name}"], "")

    def compare_gradients(self, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor], module: nn.Module) -> None:
        """Back-propagate the sum of `out * g`; hold inputs against `grad.*` and parameters against `param_grad_l2`."""
        fixed = self.part("g")
        assert fixed.keys() <= outputs.keys(), f"{self.name}: gradients flow from {sorted(fixed)}"
        torch.autograd.backward([(outputs[name] * g).sum() for name, g in fixed.items()])
        for name, wanted in self.part("grad").items():
            grad = inputs[name].grad
            self._near(f"grad.{name}", torch.zeros_like(wanted) if grad is None else grad, wanted, "grad_")
        found = dict(module.named_parameters())
        for name, norm in self.sidecar["param_grad_l2"].items():
            grad = found[name].grad
            assert (grad is None) == (norm is None), f"{self.name}: {name}"
            if norm is not None:
                self._near(name, grad.double().norm(), torch.tensor(norm, dtype=torch.float64), "grad_")

    def _near(self, name: str, value: Tensor, wanted: Tensor, kind: str) -> None:
        assert value.shape == wanted.shape, f"{self.name}: {name} is {value.shape}, not {wanted.shape}"
        bound, error = self.sidecar["tolerance"], (value.detach().double() - wanted.double()).abs()
        limit = bound[f"{kind}abs"] + bound[f"{kind}rel"] * wanted.double().abs()
        if not kind:
            READ[self.name] = max(READ[self.name], error.max().item())
        assert (error <= limit).all(), f"{self.name}: {name} is off by {error.max():.2e}, tolerance {bound}"


def cases(item: str, pattern: str) -> list[Any]:
    """Parameters for the cases whose name matches; one that fails where there is none.

    The copies beside this file are some of the published set, for its size: what `left_out.txt` lists is skipped.
    """
    found = [Case(path) for path in sorted((ROOT / item).glob(f"{pattern}.safetensors"))]
    if found:
        return [pytest.param(case, id=case.name) for case in found]
    left_out = (DATA / "left_out.txt").read_text().split() if NAMED is None else []
    skipped = pytest.mark.skipif(
        bool(fnmatch.filter(left_out, f"{item}/{pattern}")),
        reason="left out of the copies for its size; ANYX_GOLDENS names the folder of a whole set",
    )
    return [pytest.param(None, id=f"no {item}/{pattern}", marks=skipped)]


def required(case: Case | None) -> Case:
    assert case is not None, f"no such golden case under {ROOT}; ANYX_GOLDENS names the folder that holds 01_imagebind/"
    return case


def absent(what: str) -> None:
    """Skip a case that every set need not have; the copies beside this file have it."""
    assert NAMED is not None, f"{what} is missing from {ROOT}"
    pytest.skip(f"the set that ANYX_GOLDENS names has no {what}")

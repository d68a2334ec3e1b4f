"""LPIPS: by hand, and equal to torchmetrics' on the same random weights with its own learned heads."""

import math
from pathlib import Path

import pytest
import torch
import torchmetrics
from safetensors.torch import save_file
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as published

from anyx.media import Image
from anyx.scoring.lpips import LAYOUTS, SCALE, SHIFT, Lpips, lpips

LEARNED = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
ALEX = {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)}


def network(net: str, seed: int = 0) -> nn.Sequential:
    """torchvision's `features`, which is not installed: the same layers, of few channels for VGG."""
    torch.manual_seed(seed)
    layout, width, made = LAYOUTS[net], 3, list[nn.Module]()
    for place in range(layout.read[-1] + 1):
        if place in layout.convolutions:
            stride, padding = layout.convolutions[place]
            out, size = (4, 3) if net == "vgg" else ALEX[place][1:]
            made.append(nn.Conv2d(width, out, size, stride, padding))
            width = out
        else:
            made.append(nn.MaxPool2d(layout.pools[place], 2) if place in layout.pools else nn.ReLU())
    return nn.Sequential(*made)


def written(folder: Path, features: nn.Module, heads: dict[str, Tensor]) -> tuple[Path, Path]:
    save_file({f"features.{name}": value for name, value in features.state_dict().items()}, folder / "net.safetensors")
    save_file(heads, folder / "heads.safetensors")
    return folder / "net.safetensors", folder / "heads.safetensors"


def heads(width: int, value: float = 1.0) -> dict[str, Tensor]:
    return {f"lin{depth}.model.1.weight": torch.full((1, width, 1, 1), value) for depth in range(5)}


def pictures() -> tuple[Image, Image]:
    dice = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (3, 70, 84), generator=dice, dtype=torch.uint8)
    b = (a.float() + 30 * torch.randn(a.shape, generator=dice)).clamp(0, 255).to(torch.uint8)
    return Image(a), Image(b)


def test_alex_is_torchmetrics_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = network("alex")
    learned = torch.load(LEARNED / "alex.pth", map_location="cpu", weights_only=True)
    monkeypatch.setattr(published, "_get_tv_model_features", lambda *_: features)  # torchvision is not installed
    other = published._LPIPS(net="alex", pnet_rand=True)
    a, b = pictures()
    wanted = other(*(one.pixels.float()[None] / 127.5 - 1 for one in (a, b))).item()
    measure = Lpips(*written(tmp_path, features, learned), net="alex")
    assert wanted > 1e-3
    assert measure(a, b) == pytest.approx(wanted, rel=1e-5)


def test_vgg_reads_the_layers_that_torchmetrics_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts put together for 4 channels a layer and heads of 1: its network, its lengths, its mean over places."""
    features = network("vgg")
    monkeypatch.setattr(published, "_get_tv_model_features", lambda *_: features)
    net, scaling = published.Vgg16(pretrained=False), published.ScalingLayer()
    a, b = pictures()
    x, y = (net(scaling(one.pixels.float()[None] / 127.5 - 1)) for one in (a, b))
    squares = [
        (published._normalize_tensor(p) - published._normalize_tensor(q)) ** 2 for p, q in zip(x, y, strict=True)
    ]
    wanted = sum(one.sum(1).mean() for one in squares).item()
    assert Lpips(*written(tmp_path, features, heads(4)))(a, b) == pytest.approx(wanted, rel=1e-5)


def test_two_flat_pictures_by_hand(tmp_path: Path) -> None:
    """The first layer passes red and green on, the others their input: (r, g) to (3, 4) / 5 and (1, 0), 5 times.

    The difference (-2/5, 4/5) squares to 4/25 + 16/25; with heads of 1/2 each depth adds 2/5, together 2.
    """
    net = network("alex")
    for layer in [layer for layer in net if isinstance(layer, nn.Conv2d)]:
        size, width = layer.kernel_size[0], layer.in_channels
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        for channel in range(2):
            layer.weight.data[channel, channel, size // 2, size // 2] = 1
        assert width >= 2

    def flat(red: float, green: float) -> Image:
        """The picture whose scaled red and green are near these, on whole levels."""
        levels = [(127.5 * (v * s + m + 1)) for v, s, m in zip((red, green, 0), SCALE, SHIFT, strict=True)]
        return Image(torch.tensor([round(x) for x in levels], dtype=torch.uint8)[:, None, None].expand(3, 64, 64))

    measure = Lpips(*written(tmp_path, net, {
        f"lin{depth}.model.1.weight": torch.full((1, width, 1, 1), 0.5)
        for depth, width in enumerate((64, 192, 384, 256, 256))
    }), net="alex")  # fmt: skip
    assert measure(flat(0.9, 1.2), flat(1.5, 0)) == pytest.approx(2, abs=0.03)
    assert measure(flat(0.9, 1.2), flat(0.9, 1.2)) == 0


def test_the_result_names_what_measured(tmp_path: Path) -> None:
    a, b = pictures()
    measure = Lpips(*written(tmp_path, network("vgg"), heads(4)))
    found = lpips([a, a], [a, b], measure)
    assert (found.n, found.items[0], found.by) == (2, 0, {"embedder": measure.name})
    assert found.figures["lpips"] == pytest.approx(measure(a, b) / 2)
    assert measure.name.startswith("lpips@0.1 vgg#")
    assert Lpips(*written(tmp_path, network("vgg", seed=1), heads(4))).name != measure.name
    assert lpips([], [], measure).figures["lpips"] is None
    assert math.isfinite(found.items[1])


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    net, linear = written(tmp_path, network("vgg"), heads(4))
    a, b = pictures()
    with pytest.raises(ValueError, match="net: 'squeeze' is not one of vgg, alex"):
        Lpips(net, linear, net="squeeze")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"there is no .*none\.safetensors"):
        Lpips(tmp_path / "none.safetensors", linear)
    with pytest.raises(ValueError, match=r"has no features\.3\.weight; of the kind it has 0\.weight, 10\.weight"):
        Lpips(net, linear, net="alex")
    with pytest.raises(ValueError, match=r"heads: .* has no lin0\.model\.1\.weight"):
        Lpips(net, net)
    save_file(heads(5), tmp_path / "wide.safetensors")
    with pytest.raises(ValueError, match=r"lin0\.model\.1\.weight is of 5 channels, but .* has 4 there"):
        Lpips(net, tmp_path / "wide.safetensors")
    measure = Lpips(net, linear)
    with pytest.raises(ValueError, match="1 references but 2 pictures"):
        lpips([a], [a, b], measure)
    with pytest.raises(ValueError, match=r"compared at one size \(h, w\), but \(70, 84\) and \(35, 84\)"):
        lpips([a], [Image(a.pixels[:, ::2])], measure)

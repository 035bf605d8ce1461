"""Face networks of others, from their description: seeded tensors under upstream's names, and plain functions on them.

Nothing of the project is in here, so that its networks can be held against these.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 112
# Blocks of the four stages; the two families call the deepest differently.
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


class Tensors(dict):
    """Seeded values that keep the signal alive, by name; on the device ``meta`` shapes alone."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return self._drawn(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._drawn(torch.rand, shape)

    def _drawn(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        meta = self.device.type == "meta"
        return torch.empty(shape, device=self.device) if meta else draw(*shape, generator=self.generator)

    def weights(self, name: str, *shape: int) -> None:
        self[f"{name}.weight"] = np.prod(shape[1:]) ** -0.5 * self.normal(*shape)

    def slopes(self, name: str, channels: int) -> None:
        self[f"{name}.weight"] = self.uniform(channels)

    def norm(self, name: str, channels: int, affine: bool = True) -> None:
        if affine:
            self[f"{name}.weight"] = 0.5 + self.uniform(channels)
            self[f"{name}.bias"] = 0.3 * self.normal(channels)
        self[f"{name}.running_mean"] = 0.3 * self.normal(channels)
        self[f"{name}.running_var"] = 0.5 + self.uniform(channels)
        self[f"{name}.num_batches_tracked"] = torch.tensor(7, device=self.device)


def _norm(t: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    x = (x - t[f"{name}.running_mean"].view(shape)) / (t[f"{name}.running_var"] + 1e-5).sqrt().view(shape)
    if f"{name}.weight" not in t:
        return x
    return x * t[f"{name}.weight"].view(shape) + t[f"{name}.bias"].view(shape)


def _prelu(t: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return torch.where(x > 0, x, t[f"{name}.weight"].view(1, -1, 1, 1) * x)


# ==== InsightFace: iresnet ====


def iresnet_tensors(blocks: tuple[int, ...], embedding: int, device: str = "cpu") -> dict[str, Tensor]:
    """A ``backbone.pth``."""
    t = Tensors(device)
    t.weights("conv1", 64, 3, 3, 3)
    t.norm("bn1", 64)
    t.slopes("prelu", 64)
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            t.norm(f"{name}.bn1", inputs)
            t.weights(f"{name}.conv1", width, inputs, 3, 3)
            t.norm(f"{name}.bn2", width)
            t.slopes(f"{name}.prelu", width)
            t.weights(f"{name}.conv2", width, width, 3, 3)
            t.norm(f"{name}.bn3", width)
            if i == 0:
                t.weights(f"{name}.downsample.0", width, inputs, 1, 1)
                t.norm(f"{name}.downsample.1", width)
            inputs = width
    t.norm("bn2", 512)
    t.weights("fc", embedding, 512 * 7 * 7)
    t["fc.bias"] = t.normal(embedding)
    t.norm("features", embedding)
    t["features.weight"] = torch.ones(embedding)
    return dict(t)


def iresnet_embeddings(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """RGB images to unit embeddings in float64, in evaluation."""
    t = {name: value.double() for name, value in tensors.items()}
    x = _prelu(t, "prelu", _norm(t, "bn1", F.conv2d(x.double(), t["conv1.weight"], padding=1)))
    for name in [key.removesuffix(".conv1.weight") for key in t if key.endswith(".conv1.weight")]:
        stride = 2 if name.endswith(".0") else 1
        out = F.conv2d(_norm(t, f"{name}.bn1", x), t[f"{name}.conv1.weight"], padding=1)
        out = _prelu(t, f"{name}.prelu", _norm(t, f"{name}.bn2", out))
        out = _norm(t, f"{name}.bn3", F.conv2d(out, t[f"{name}.conv2.weight"], padding=1, stride=stride))
        if stride == 2:
            x = _norm(t, f"{name}.downsample.1", F.conv2d(x, t[f"{name}.downsample.0.weight"], stride=2))
        x = out + x
    flat = _norm(t, "bn2", x).reshape(len(x), -1)
    return F.normalize(_norm(t, "features", flat @ t["fc.weight"].T + t["fc.bias"]))


# ==== AdaFace, CVLface, CurricularFace: IR ====


def ir_tensors(
    blocks: tuple[int, ...], embedding: int, excited: bool = False, middle_norm: bool = True, device: str = "cpu"
) -> dict[str, Tensor]:
    """The state dict of one of their networks."""
    t = Tensors(device)
    t.weights("input_layer.0", 64, 3, 3, 3)
    t.norm("input_layer.1", 64)
    t.slopes("input_layer.2", 64)
    widths = [64 * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
    for i, (inputs, width) in enumerate(zip([64, *widths], widths, strict=False)):
        layer = f"body.{i}.res_layer"
        later = 1 if middle_norm else 0  # by how much the numbers of the later layers move
        if inputs != width:
            t.weights(f"body.{i}.shortcut_layer.0", width, inputs, 1, 1)
            t.norm(f"body.{i}.shortcut_layer.1", width)
        t.norm(f"{layer}.0", inputs)
        t.weights(f"{layer}.1", width, inputs, 3, 3)
        if middle_norm:
            t.norm(f"{layer}.2", width)
        t.slopes(f"{layer}.{2 + later}", width)
        t.weights(f"{layer}.{3 + later}", width, width, 3, 3)
        t.norm(f"{layer}.{4 + later}", width)
        if excited:
            block = "se_block" if middle_norm else "5"
            t.weights(f"{layer}.{block}.fc1", width // 16, width, 1, 1)
            t.weights(f"{layer}.{block}.fc2", width, width // 16, 1, 1)
    t.norm("output_layer.0", 512)
    t.weights("output_layer.3", embedding, 512 * 7 * 7)
    t["output_layer.3.bias"] = t.normal(embedding)
    t.norm("output_layer.4", embedding, affine=False)
    return dict(t)


def ir_embeddings(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """Images to unit embeddings in float64, in evaluation; the form is read off the names."""
    t = {name: value.double() for name, value in tensors.items()}
    x = F.conv2d(x.double(), t["input_layer.0.weight"], padding=1)
    x = _prelu(t, "input_layer.2", _norm(t, "input_layer.1", x))
    middle_norm = "body.0.res_layer.2.running_mean" in t
    before = 0
    for i in range(sum(key.endswith(".res_layer.1.weight") for key in t)):
        layer, later = f"body.{i}.res_layer", int(middle_norm)
        width = len(t[f"{layer}.1.weight"])
        stride = 1 if width == before else 2
        out = F.conv2d(_norm(t, f"{layer}.0", x), t[f"{layer}.1.weight"], padding=1)
        out = _prelu(t, f"{layer}.{2 + later}", _norm(t, f"{layer}.2", out) if middle_norm else out)
        out = _norm(
            t, f"{layer}.{4 + later}", F.conv2d(out, t[f"{layer}.{3 + later}.weight"], padding=1, stride=stride)
        )
        block = f"{layer}.{'se_block' if middle_norm else 5}"
        if f"{block}.fc1.weight" in t:
            share = F.conv2d(F.adaptive_avg_pool2d(out, 1), t[f"{block}.fc1.weight"])
            out = out * torch.sigmoid(F.conv2d(F.relu(share), t[f"{block}.fc2.weight"]))
        if f"body.{i}.shortcut_layer.0.weight" in t:
            x = F.conv2d(x, t[f"body.{i}.shortcut_layer.0.weight"], stride=stride)
            x = _norm(t, f"body.{i}.shortcut_layer.1", x)
        else:
            x = F.max_pool2d(x, 1, stride)
        x, before = out + x, width
    flat = _norm(t, "output_layer.0", x).reshape(len(x), -1)
    return F.normalize(_norm(t, "output_layer.4", flat @ t["output_layer.3.weight"].T + t["output_layer.3.bias"]))

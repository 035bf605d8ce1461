"""IR: the residual network of AdaFace, CVLface and CurricularFace, 112×112 px, 18 to 101 layers.

Deng et al. 2019, "ArcFace" (arXiv:1801.07698), section 3.1, for the block without activation after the sum; Hu et al.
2018, "Squeeze-and-Excitation Networks" (arXiv:1709.01507), for the ``_se`` forms. It is not IResNet: a shortcut has
parameters only if the channels change. The modules carry upstream's names, so that its weight files need no more than
a prefix: ``output_layer.3`` and ``.4`` are the neck here.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from models.prelu import PReLU

IMAGE_SIZE = 112
FEATURE_MAP_SIZE = 7
NECK_BATCHNORM_EPS = 1e-5  # PyTorch's own, as in all of its BatchNorms
WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}
SQUEEZE = 16  # channels for one value between the two layers of an excitation


@dataclass(frozen=True)
class Form:
    """What tells the networks apart. ``middle_norm``: a BatchNorm before the PReLU (CurricularFace has none)."""

    blocks: tuple[int, ...]  # of each stage
    excited: bool
    middle_norm: bool


def _forms() -> dict[str, Form]:
    excitations = {"": False, "_se": True}
    forms = {f"ir_{n}{se}": Form(blocks, on, True) for se, on in excitations.items() for n, blocks in BLOCKS.items()}
    for se, on in excitations.items():
        forms |= {f"ir_{n}{se}_curricular": Form(BLOCKS[n], on, False) for n in (50, 101)}
    return forms


FORMS = _forms()


class Excitation(nn.Module):
    """Weighs each channel by what all channels have on average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // SQUEEZE, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // SQUEEZE, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class IRBlock(nn.Module):
    """BatchNorm, 3×3, BatchNorm if ``middle_norm``, PReLU, 3×3 with the stride, BatchNorm; nothing after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, form: Form) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            *([nn.BatchNorm2d(outputs)] if form.middle_norm else []),
            PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if form.excited:  # AdaFace gives it a name, CurricularFace the next number
            self.res_layer.add_module("se_block" if form.middle_norm else "5", Excitation(outputs))
        self.stride = stride
        self.shortcut_layer = None
        if inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        return self.res_layer(x) + shortcut


class IRFeatures(nn.Sequential):
    """(B, 3, 112, 112) → (B, 512, 7, 7), after the last BatchNorm: about half of the values are negative.

    ``name``: one of FORMS.
    """

    out_channels = WIDTHS[-1]

    def __init__(self, name: str) -> None:
        form = FORMS[name]
        stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), PReLU(WIDTHS[0])
        )
        body, inputs = [], WIDTHS[0]
        for width, blocks in zip(WIDTHS, form.blocks, strict=True):
            for i in range(blocks):
                body.append(IRBlock(inputs, width, 1 if i else 2, form))
                inputs = width
        tail = nn.Sequential(nn.BatchNorm2d(inputs))
        super().__init__(OrderedDict(input_layer=stem, body=nn.Sequential(*body), output_layer=tail))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

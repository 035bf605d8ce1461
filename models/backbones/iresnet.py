"""IResNet: the residual network of InsightFace's arcface_torch, 112×112 px, 18 to 200 layers.

Duta et al. 2020, "Improved Residual Networks" (arXiv:2004.04989); Deng et al. 2019, "ArcFace" (arXiv:1801.07698),
section 3.1, for the stem without stride and the tail that flattens. The modules carry upstream's names, so that its
weight files need no more than a prefix: ``fc`` and ``features`` are the neck here.
"""

from torch import Tensor, nn

from models.prelu import PReLU

IMAGE_SIZE = 112
FEATURE_MAP_SIZE = 7
NECK_BATCHNORM_EPS = 1e-5  # PyTorch's own, as in all of its BatchNorms
WIDTHS = (64, 128, 256, 512)
BLOCKS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}


class IBasicBlock(nn.Module):
    """BatchNorm, 3×3, BatchNorm, PReLU, 3×3 with the stride, BatchNorm; nothing after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1:  # the first block of each stage; the only one whose channels may change
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        return out + (x if self.downsample is None else self.downsample(x))


class IResNetFeatures(nn.Module):
    """(B, 3, 112, 112) → (B, 512, 7, 7), after the last BatchNorm: about half of the values are negative.

    ``name``: one of BLOCKS.
    """

    out_channels = WIDTHS[-1]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = PReLU(WIDTHS[0])
        inputs = WIDTHS[0]
        for number, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[name], strict=True), 1):
            first, others = IBasicBlock(inputs, width, 2), (IBasicBlock(width, width, 1) for _ in range(blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
            inputs = width
        self.bn2 = nn.BatchNorm2d(inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Upstream draws with a deviation of 0.1. A BatchNorm after each convolution takes the scale away, but
                # before its statistics have followed, evaluation of a deep network would overflow.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Images to feature map."""
        x = self.prelu(self.bn1(self.conv1(images)))
        return self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))

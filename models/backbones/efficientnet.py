"""EfficientNet B0 to B7 (Tan and Le 2019, arXiv:1905.11946), by efficientnet-pytorch."""

import math

from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn


class EfficientNetFeatures(nn.Module):
    """efficientnet-pytorch's B0 … B7 (Tan and Le 2019, arXiv:1905.11946) without the classifier.

    ``image_size`` fixes the padding of the strided convolutions, as TensorFlow's "same" does.
    """

    def __init__(self, variant: str, image_size: int) -> None:
        super().__init__()
        self.net = EfficientNet.from_name(f"efficientnet-{variant}", image_size=image_size, include_top=False)
        self.out_channels = self.net._conv_head.out_channels
        # The package's swish is an autograd function in Python; torch's SiLU saves the same tensor and is faster.
        for module in (self.net, *self.net._blocks):
            module._swish = nn.SiLU()
        for module in self.net.modules():
            if isinstance(module, nn.Conv2d):
                _init_as_in_the_paper(module)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, h, w)."""
        return self.net.extract_features(x)


def _init_as_in_the_paper(conv: nn.Conv2d) -> None:
    """Normal with variance 2 / fan-out, as in the authors' TensorFlow code; efficientnet-pytorch leaves it out.

    Without it a fresh network in evaluation mode shrinks its images to 1e-13, the length at which unit rows are noise.
    """
    fan_out = conv.out_channels // conv.groups * math.prod(conv.kernel_size)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)

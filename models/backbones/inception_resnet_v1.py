"""InceptionResNetV1 as of facenet-pytorch (Szegedy et al. 2016, arXiv:1602.07261), without its embedding layers."""

from facenet_pytorch import InceptionResnetV1
from torch import Tensor


class InceptionResNetV1Features(InceptionResnetV1):
    """facenet-pytorch's InceptionResNetV1 up to its last block; its parameter names are kept.

    The last block has no ReLU, so that the map has negative values. An average uses them; GeM clamps them away,
    so that GeM here is the same as GeM behind a ReLU. Nothing is added to prevent it: GeM is defined for
    non-negative features. Know it when you choose GeM, above all with VGGFace2's or CASIA-WebFace's weights,
    which were made with the average.
    """

    out_channels = 1792

    def __init__(self) -> None:
        super().__init__()
        del self.avgpool_1a, self.dropout, self.last_linear, self.last_bn

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1792, h, w), signed."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        return self.block8(self.repeat_3(self.mixed_7a(x)))

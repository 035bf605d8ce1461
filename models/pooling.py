"""Feature map (B, C, H, W) → one vector an image (B, C)."""

import torch
from torch import Tensor, nn

POOLINGS = ("backbone", "average", "gem")


class AveragePooling(nn.Module):
    """Mean over the positions, in float32."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → float32 (B, C)."""
        return features.float().mean((2, 3))


class GeM(nn.Module):
    """Generalised mean over the positions: (mean of x^p)^(1/p), p learned, one for all channels.

    Radenović, Tolias, Chum 2018, "Fine-tuning CNN Image Retrieval with No Human Annotation"
    (arXiv:1711.02512), eq. 3: p = 1 is the average, p → ∞ the maximum. Values below ``eps`` count as ``eps``,
    so that negative features are thrown away: GeM of a signed feature map is GeM after a ReLU. A p below 1
    counts as 1.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → float32 (B, C)."""
        clamped = features.float().clamp(min=self.eps)
        p = self.p.float().clamp(min=1)
        # Dividing by the maximum keeps x^p from over- and underflowing. The result does not depend on that
        # divisor, so no gradient needs to pass through it.
        largest = clamped.detach().amax((2, 3), keepdim=True)
        mean = (clamped / largest).pow(p).mean((2, 3))
        return largest.flatten(1) * mean.pow(1 / p)


class DepthwisePooling(nn.Module):
    """A learned weight for each channel and position: depthwise convolution as large as the map, BatchNorm.

    Chen et al. 2018, "MobileFaceNets" (arXiv:1804.07573), section 3: the corner of a face's feature map sees
    less of the face than its centre does, and an average treats them alike.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, kernel, kernel) → (B, C)."""
        return self.norm(self.conv(features)).flatten(1)


class FlattenPooling(nn.Module):
    """No pooling: the features of all positions side by side, in (C, H, W) order, for the neck to weigh.

    Deng et al. 2019, "ArcFace" (arXiv:1801.07698), section 3.1: on aligned faces this beats the average.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C · H · W)."""
        return features.flatten(1)

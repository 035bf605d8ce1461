"""The network that says where a face's five points are, also those that a mask or a hand covers, and how surely.

A face is looked at in a coarse crop: an upright square whose template (``crop_template``) shows the face in the middle
with hair, ears and chin, so that a hidden mouth is read off the head around it.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.transforms import template

# Side of the coarse crop in pixels, and how many times as wide as the arcface5 crop it looks.
CROP_SIZE, CROP_WIDTH = 96, 1.35
# Least and most spread of a point, as a share of the crop's side: a thirtieth of a pixel, and anywhere.
_LEAST_SPREAD, _MOST_SPREAD = 3e-4, 0.5
# Filters of the seven convolutions, and by how much each shrinks the picture: 96 pixels become 3.
_FILTERS = (16, 32, 64, 64, 128, 128, 128)
_STRIDES = (2, 2, 2, 1, 2, 1, 2)
_HIDDEN = 128
# Left and right change places in the mirror: eyes, nose, corners of the mouth.
MIRRORED = [1, 0, 2, 4, 3]


def crop_template(size: int = CROP_SIZE) -> np.ndarray:
    """Where a face's points lie in a perfect coarse crop of size×size pixels: float64 (5, 2)."""
    inner = size / CROP_WIDTH
    return template(1).astype(np.float64) * inner + (size - inner) / 2


class Points(NamedTuple):
    """``landmarks`` float (B, 5, 2), ``spread`` (B, 5): mean distance that each is off by; both as shares of the
    crop's side. ``face``: logit of whether there is a face, (B,)."""

    landmarks: Tensor
    spread: Tensor
    face: Tensor


class LandmarkNetwork(nn.Module):
    """Seven 3×3 convolutions and two linear layers, 0.6 million parameters: coarse crops → Points."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for filters, stride in zip(_FILTERS, _STRIDES, strict=True):
            convolution = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
            channels = filters
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels * (CROP_SIZE // 32) ** 2, _HIDDEN)
        self.output = nn.Linear(_HIDDEN, 16)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer("mean_face", torch.from_numpy(crop_template() / CROP_SIZE).float())

    def forward(self, crops: Tensor) -> Points:
        """uint8 (B, 96, 96, 3) RGB → Points."""
        images = crops.permute(0, 3, 1, 2).to(self.output.weight.dtype).sub_(127.5).mul_(1 / 64)
        values = self.output(F.relu(self.hidden(self.features(images).flatten(1)))).float()
        landmarks = self.mean_face.float() + values[:, :10].view(-1, 5, 2) * 0.1
        spread = (0.03 * values[:, 10:15].exp()).clamp(_LEAST_SPREAD, _MOST_SPREAD)
        return Points(landmarks, spread, values[:, 15])

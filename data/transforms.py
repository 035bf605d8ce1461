"""The one place that knows crop template, image size, channel order, mean and std.

A face on disk is an aligned RGB crop. Two crops exist:

- ``arcface5``: similarity transform of five landmarks (left eye, right eye, nose tip, mouth's left and right
  corner, as seen in the image) to the ArcFace template (Deng et al. 2019, arXiv:1801.07698), scaled by size / 112.
- ``mtcnn_box``: the detector's box, resized. facenet-pytorch's weights and the original's checkpoints were made so.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from data.alignment.alignment import Alignment
from runtime.errors import InputError

Crop = Literal["arcface5", "mtcnn_box"]

# (x, y) in a 112×112 image; left and right are the image's, not the person's.
ARCFACE_TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)


def template(size: int) -> np.ndarray:
    """The five points of the ``arcface5`` crop for size×size images: float32 (5, 2), pixels, x before y."""
    return ARCFACE_TEMPLATE_112 * (size / 112)


# The shorter side of MTCNN's box for a distance of the eyes of 1: the median of 2,031 photographs of LFW, of which 90 %
# lie between 2.13 and 2.40.
_BOX_SIDE = 2.27


def box_side(size: int, crop: Crop) -> float:
    """The shorter side in pixels that the detector's box has around a face in a size×size crop."""
    left_eye, right_eye = template(size)[:2]
    return _BOX_SIDE * float(np.linalg.norm(right_eye - left_eye)) if crop == "arcface5" else float(size)


@dataclass(frozen=True)
class Preprocessing:
    """How a face becomes a network's input; saved with every checkpoint, so that testing repeats training.

    ``mean`` and ``std`` are per RGB channel on the scale 0 … 1; ``alignment``: how the faces were found.
    """

    size: int
    crop: Crop
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    alignment: Alignment = field(default_factory=Alignment)

    @classmethod
    def from_dict(cls, values: dict) -> "Preprocessing":
        """Inverse of ``to_dict``. Raises InputError for a crop that is not known here."""
        if values["crop"] not in get_args(Crop):
            raise InputError(
                f"faces of crop {values['crop']!r} are asked for; known are {' and '.join(get_args(Crop))}"
            )
        return cls(values["size"], values["crop"], tuple(values["mean"]), tuple(values["std"]), Alignment.of(values))

    def to_dict(self) -> dict:
        """Plain values, for a checkpoint or a config.json."""
        values = {"size": self.size, "crop": self.crop, "mean": list(self.mean), "std": list(self.std)}
        # A checkpoint without it says the same: older programs can read it.
        return values if self.alignment == Alignment() else {**values, "alignment": self.alignment.to_dict()}

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) RGB → float32 (B, 3, H, W) in channels_last order, on the images' device."""
        mean, std = _channels(self.mean, images.device), _channels(self.std, images.device)
        return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


@cache
def _channels(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Float32 (1, 3, 1, 1), made once: each copy from the CPU waits for the GPU to finish all queued work."""
    with torch.inference_mode(False):  # so that passes with gradients can use it, too
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)


NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # (x − 127.5) / 128 on the scale 0 … 255, as facenet-pytorch and InsightFace use it.
    "symmetric": ((0.5, 0.5, 0.5), (128 / 255, 128 / 255, 128 / 255)),
}


def make_preprocessing(
    *, size: int, crop: Crop, normalisation: Literal["auto", "imagenet", "symmetric"], weights: dict | None
) -> Preprocessing:
    """The preprocessing of a run. ``weights`` is that of its pre-trained weights; ``auto`` takes their mean and std.

    Another size than the weights' is fine: the template scales. Raises InputError if crop, mean or std differ.
    """
    made = None if weights is None else Preprocessing.from_dict(weights)
    if normalisation == "auto":
        mean, std = (made.mean, made.std) if made else NORMALISATIONS["imagenet"]
    else:
        mean, std = NORMALISATIONS[normalisation]
    if made and made.crop != crop:
        raise InputError(
            f"the pre-trained weights were made on {made.crop} faces, crop is {crop}; prepare the faces with "
            f"python -m data.prepare --crop {made.crop} and set crop to it"
        )
    if made and not np.allclose([mean, std], [made.mean, made.std], atol=1e-3):
        raise InputError(f"the pre-trained weights need mean {made.mean} and std {made.std}; set normalisation to auto")
    return Preprocessing(size, crop, mean, std)


def resize_face(image: np.ndarray, size: int) -> np.ndarray:
    """A square face uint8 (S, S, 3) at another size (size, size, 3): the template stays."""
    if len(image) == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if len(image) > size else cv2.INTER_LINEAR)


def flip_horizontally(image: np.ndarray) -> None:
    """Mirror uint8 (H, W, 3) left to right, in place: OpenCV takes a twentieth of the time of a reversed copy."""
    cv2.flip(image, 1, dst=image)

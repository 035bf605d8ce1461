"""The network under test: faces → the sum of its outputs for image and mirror, as published protocols embed them."""

import time
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from data.alignment.alignment import Alignment
from data.transforms import Preprocessing
from eval.embed import eval_mode
from models.trained_model import open_model
from runtime.devices import pick_device, to_device

_TRIAL = 16


class FaceNetwork:
    """A trained model with its preprocessing.

    ``size`` and ``crop`` of the aligned faces that it takes; ``alignment``: how those of its training were found;
    ``device``: where it runs.
    """

    def __init__(self, name: str, backbone: str = "", device: str = "auto") -> None:
        """``name`` and ``backbone`` as in ``open_model``. Raises InputError."""
        opened = open_model(name, backbone)
        self.name, self.threshold = name, opened.threshold
        self._preprocessing = Preprocessing.from_dict(opened.preprocessing)
        self.device = pick_device(device)
        self._model = to_device(opened.model, self.device)
        self._seconds: float | None = None

    @property
    def size(self) -> int:
        """Side of an aligned face in pixels."""
        return self._preprocessing.size

    @property
    def crop(self) -> str:
        """How faces are cropped: arcface5 or mtcnn_box."""
        return self._preprocessing.crop

    @property
    def alignment(self) -> Alignment:
        """How the faces of its training were found."""
        return self._preprocessing.alignment

    @property
    def preprocessing(self) -> dict:
        """Plain values."""
        return self._preprocessing.to_dict()

    def sums(self, faces: np.ndarray) -> np.ndarray:
        """Aligned faces, uint8 (B, size, size, 3) RGB → float32 (B, D): the outputs of each face and of its mirror,
        summed before normalising."""
        return next(iter(self.sums_of([faces])))

    @torch.inference_mode()
    def sums_of(self, batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        """``sums`` of each batch."""
        with eval_mode(self._model):
            for faces in batches:
                images = torch.from_numpy(np.ascontiguousarray(faces)).to(self.device)
                yield (self._outputs(images) + self._outputs(images.flip(2))).cpu().numpy()

    def _outputs(self, images: Tensor) -> Tensor:
        rows, lengths = self._model(self._preprocessing.normalise(images), lengths=True)
        return (rows * lengths[:, None]).float()

    @property
    def seconds_a_face(self) -> float:
        """Measured once: a face and its mirror, in a batch."""
        if self._seconds is None:
            faces = np.zeros((_TRIAL, self.size, self.size, 3), np.uint8)
            self.sums(faces)  # the first batch of a shape is slow
            start = time.perf_counter()
            self.sums(faces)
            self._seconds = (time.perf_counter() - start) / _TRIAL
        return self._seconds

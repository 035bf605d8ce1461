"""Faces on disk → uint8 batches. Decoding, flip and masks happen here; normalisation on the device, later."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from data.mask import random_mask_kind, render_mask
from data.samplers import SampleKey
from data.tables import FaceTable
from data.transforms import horizontal_flip
from runtime.seeds import sample_generator

# simplejpeg raises ValueError on damaged JPEGs; OpenCV gives None on anything it can't read.
_UNREADABLE = (OSError, ValueError, cv2.error)


class Batch(NamedTuple):
    """``images`` uint8 (B, H, W, 3) RGB; ``labels`` int64 (B,); ``unreadable`` the paths that gave no image."""

    images: Tensor
    labels: Tensor
    unreadable: list[str]


def read_face(path: Path, size: int) -> np.ndarray:
    """An aligned face as uint8 (size, size, 3) RGB; another size on disk is resized, which keeps the template.

    Raises OSError or ValueError where the file can't be read as an image.
    """
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":
        image = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    else:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
        if decoded is None:
            raise ValueError(f"{path} is no image")
        image = decoded
    if image.shape[:2] != (size, size):
        shrink = image.shape[0] > size
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return image


class TrainFaces(Dataset):
    """Training faces with random flip and, on plain faces, a fresh random mask in ``mask_probability`` of the draws.

    Items are asked for by SampleKey, a whole batch at a time; what is random derives from (seed, epoch, position).
    """

    def __init__(self, root: Path, table: FaceTable, size: int, disk_size: int, mask_probability: float, seed: int):
        self.root, self.table, self.size, self.seed = root, table, size, seed
        self.mask_probability = mask_probability
        # Landmarks are in pixels of the face on disk; masks are drawn at the network's size.
        self.landmark_scale = size / disk_size

    def __len__(self) -> int:
        return len(self.table.targets)

    def __getitems__(self, keys: Sequence[SampleKey]) -> Batch:
        images = np.empty((len(keys), self.size, self.size, 3), dtype=np.uint8)
        labels, unreadable = [], []
        for key in keys:
            try:
                images[len(labels)] = self._augmented(key)
            except _UNREADABLE:
                unreadable.append(str(self.table.paths[key.index]))
            else:
                labels.append(self.table.targets[key.index])
        kept = torch.from_numpy(images[: len(labels)])
        return Batch(kept, torch.tensor(np.array(labels, dtype=np.int64)), unreadable)

    def _augmented(self, key: SampleKey) -> np.ndarray:
        rng = sample_generator(self.seed, key.epoch, key.position)
        image = read_face(self.root / str(self.table.paths[key.index]), self.size)
        if self._may_mask(key.index) and rng.random() < self.mask_probability:
            landmarks = self.table.landmarks[key.index] * self.landmark_scale
            image = render_mask(image, landmarks, random_mask_kind(rng), rng)
        return horizontal_flip(image) if rng.random() < 0.5 else image

    def _may_mask(self, index: int) -> bool:
        if self.mask_probability == 0:
            return False
        return self.table.masked is None or not self.table.masked[index]


class _ListedFaces(Dataset):
    """Faces of a list in order, for evaluation: nothing random."""

    def __init__(self, root: Path, paths: np.ndarray, size: int):
        self.root, self.paths, self.size = root, paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, list[int]]:
        images = np.zeros((len(indices), self.size, self.size, 3), dtype=np.uint8)
        unreadable = []
        for row, index in enumerate(indices):
            try:
                images[row] = read_face(self.root / str(self.paths[index]), self.size)
            except _UNREADABLE:
                unreadable.append(index)
        return torch.from_numpy(images), unreadable


class ImageLoader:
    """Iterates over uint8 (B, H, W, 3) batches of a list of faces, in order.

    A face that can't be read comes as a black image, and its index is in ``unreadable`` afterwards, so that pairs
    with it can be left out and counted.
    """

    def __init__(self, root: Path, paths: np.ndarray, size: int, *, batch_size: int, workers: int):
        self.unreadable: set[int] = set()
        faces = _ListedFaces(root, paths, size)
        self._loader = DataLoader(
            faces, batch_size, num_workers=workers, collate_fn=_whole_batch, generator=torch.Generator()
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Tensor]:
        self.unreadable = set()
        for images, unreadable in self._loader:
            self.unreadable.update(unreadable)
            yield images


def image_loader(root: Path, paths: np.ndarray, size: int, *, batch_size: int, workers: int) -> ImageLoader:
    """Faces under ``root`` in the order of ``paths``, as uint8 batches at ``size``."""
    return ImageLoader(root, paths, size, batch_size=batch_size, workers=workers)


def train_loader(faces: TrainFaces, sampler: Sampler, *, workers: int, pin_memory: bool) -> DataLoader:
    """Batches of the sampler's keys; workers live through all epochs."""
    return DataLoader(
        faces,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_whole_batch,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
        # A loader draws a seed for its workers, how often depends on their number: not from the generator of dropout.
        generator=torch.Generator(),
    )


def _whole_batch(batch):
    """The data sets give whole batches already."""
    return batch


def _one_thread(worker: int) -> None:
    # OpenCV's own threads in every worker would fight for the cores that train.
    cv2.setNumThreads(0)

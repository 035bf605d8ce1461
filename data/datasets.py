"""Faces → uint8 batches. Decoding, flip and masks happen here, in the workers; normalisation on the device, later."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from configs.settings import Settings
from data.alignment.align import align_to_points
from data.alignment.errors import AlignmentErrors, misalign
from data.faces import FaceData
from data.loading.batch_memory import BatchMemory, Room, send_array
from data.loading.cache import FaceCache
from data.loading.decode import UNREADABLE, decode_face
from data.loading.jitter import jitter
from data.masks.render import MASK_KINDS, MaskFitKind, check_mask_kinds, numbered_mask, random_mask_kind, render_mask
from data.samplers import RankBatchSampler, SampleKey, UnnamedBatchSampler
from data.sources.read_image import decode_whole
from data.tables.images import Images
from data.tables.train_csv import FaceTable
from data.transforms import flip_horizontally
from runtime.devices import loader_workers
from runtime.processes.children import end_with_parent, no_opencv_threads
from runtime.processes.distributed import part_of, rank, ranks
from runtime.processes.signals import ignore_stop_signals
from runtime.processes.watched_loader import Progress, WatchedLoader
from runtime.seeds import SampleGenerators

# Forked workers share tables, cache and batches. They never touch CUDA, which a fork would break.
_FORKS = sys.platform == "linux"


class Batch(NamedTuple):
    """``images`` uint8 (B, H, W, 3) RGB; ``labels`` int64 (B,); ``unreadable`` names what gave no image; ``masked``
    bool (B,), who wears a mask, photographed or drawn (nobody, if the CSV doesn't say and none is drawn)."""

    images: Tensor
    labels: Tensor
    unreadable: list[str]
    masked: Tensor


class _Faces(Dataset):
    """The base of both data sets: ``images``, ``size`` in pixels, where batches are made and how far they are."""

    def __init__(self, images: Images, size: int):
        self.images, self.size = images, size
        self.progress = Progress(0)
        self._memory: BatchMemory | None = None

    def __len__(self) -> int:
        return len(self.images)

    def name(self, row: int) -> str:
        """The name of a row's image in messages."""
        return self.images.name(row)

    def share_memory(self, workers: int, batch_size: int) -> None:
        """Make batches in slots that are used again, and tell how far they are; to be called before a loader forks
        its workers."""
        self.progress = Progress(workers)
        if workers == 0 or _FORKS:
            self._memory = BatchMemory(workers, batch_size, self.size)

    def _room(self, count: int) -> Room:
        if self._memory is None:
            return Room(np.empty((count, self.size, self.size, 3), np.uint8))
        return self._memory.room(count)


class TrainFaces(_Faces):
    """Training faces with random flip and, on plain faces, a new random mask in ``mask_probability`` of the draws.

    ``mask_kinds``: what ``mask_style`` takes, each equally likely; ``mask_fit`` as in ``render_mask``. Raises
    InputError where a kind is unknown. ``errors``: how far a face moves that gets a mask, which misleads detectors.
    ``jitter``: see ``data.loading.jitter``. ``labelled_by_row``: a face's label is its row, not its target.
    Items are asked for by SampleKey, a whole batch at a time; what is random derives from (seed, epoch, position).
    ``images`` has a row for each of ``table``; ``disk_size`` is the side in pixels on which the landmarks rest.
    """

    def __init__(
        self,
        images: Images,
        table: FaceTable,
        size: int,
        *,
        disk_size: int,
        mask_probability: float,
        mask_kinds: Sequence[str] = MASK_KINDS,
        mask_fit: MaskFitKind = "varied",
        jitter: bool = False,
        errors: AlignmentErrors | None = None,
        labelled_by_row: bool = False,
        seed: int,
        cache: FaceCache | None = None,
    ):
        super().__init__(images, size)
        self.table, self.cache = table, cache
        self.labels = np.arange(len(table.targets)) if labelled_by_row else table.targets
        self.mask_probability = mask_probability
        self.mask_kinds, self.mask_fit = check_mask_kinds(mask_kinds), mask_fit
        self.jitter, self.errors = jitter, errors
        # Masks are drawn at the network's size.
        self.landmark_scale = size / disk_size
        self._generators = SampleGenerators(seed)

    @property
    def unnamed(self) -> int:
        """How many of the faces have no name."""
        return self.table.unnamed

    def __getitems__(self, keys: Sequence[SampleKey]) -> Batch:
        self.images.prefetch([key.index for key in keys])
        room = self._room(len(keys))
        rows, masked, unreadable = [], [], []
        for key in keys:
            self.progress.at(key.index)
            try:
                wears_mask = self._draw(key, room.faces[len(rows)])
            except UNREADABLE:
                unreadable.append(self.name(key.index))
            else:
                rows.append(key.index)
                masked.append(wears_mask)
        self.progress.done()
        labels = self.labels[np.array(rows, dtype=np.int64)]
        return Batch(room.images(len(rows)), send_array(labels), unreadable, send_array(np.array(masked, dtype=bool)))

    def _draw(self, key: SampleKey, face: np.ndarray) -> bool:
        """One augmented face into ``face``, uint8 (S, S, 3); whether it wears a mask then."""
        self._decode(key.index, face)
        rng = self._generators.at(key.epoch, key.position)
        draws_mask = self._may_mask(key.index) and rng.random() < self.mask_probability
        if draws_mask:
            landmarks = self.table.landmarks[key.index] * self.landmark_scale
            kind = random_mask_kind(rng, self.mask_kinds)
            face[:] = render_mask(face, landmarks, kind, rng, self.mask_fit)
            if self.errors is not None:
                misalign(face, self.errors.draw(rng, kind, landmarks, self.size))
        if self.jitter:
            jitter(face, rng)
        if rng.random() < 0.5:
            flip_horizontally(face)
        return draws_mask or (self.table.masked is not None and bool(self.table.masked[key.index]))

    def _decode(self, row: int, face: np.ndarray) -> None:
        if self.cache is None:
            decode_face(self.images.read(row), face)
            return
        image = self.images.image_of(row)
        if not self.cache.get(image, face):
            decode_face(self.images.read(row), face)
            self.cache.put(image, face)

    def _may_mask(self, index: int) -> bool:
        if self.mask_probability == 0:
            return False
        return self.table.masked is None or not self.table.masked[index]


class _ListedFaces(_Faces):
    """Faces of a list in order, for evaluation: nothing random."""

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        self.images.prefetch(rows)
        room = self._room(len(rows))
        unreadable = []
        for face, row in zip(room.faces, rows, strict=True):
            self.progress.at(row)
            try:
                self._decode(row, face)
            except UNREADABLE:
                face[:] = 0
                unreadable.append(row)
        self.progress.done()
        return room.images(len(rows)), unreadable

    def _decode(self, row: int, face: np.ndarray) -> None:
        decode_face(self.images.read(row), face)


class _LandmarkedFaces(_ListedFaces):
    """Faces of a list of photographs of any size, aligned to five landmarks of each, float (N, 5, 2); with a
    ``mask_seed`` each gets the mask that follows from it and from the row, whatever the order of the work."""

    def __init__(self, images: Images, size: int, landmarks: np.ndarray, mask_seed: int | None):
        super().__init__(images, size)
        self.landmarks, self.mask_seed = landmarks, mask_seed

    def _decode(self, row: int, face: np.ndarray) -> None:
        photograph = decode_whole(bytes(self.images.read(row)))
        face[:], points = align_to_points(photograph, self.landmarks[row], self.size)
        if self.mask_seed is not None:
            face[:] = render_mask(face, points, *numbered_mask(self.mask_seed, row))


class ImageLoader:
    """Iterates over uint8 (B, H, W, 3) batches of a list of faces, in order; of several processes each over its part.

    A face that can't be read comes as a black image, and its index is in ``unreadable`` afterwards, so that pairs
    with it can be left out and counted. Iterating raises what a WatchedLoader raises.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        *,
        batch_size: int,
        workers: int,
        timeout_minutes: float = 0.0,
        landmarks: np.ndarray | None = None,
        mask_seed: int | None = None,
    ):
        """``landmarks`` float (N, 5, 2): the images are photographs, and are aligned to these (``arcface5``); with a
        ``mask_seed`` they get simulated masks."""
        self.unreadable: set[int] = set()
        if landmarks is None:
            faces = _ListedFaces(images, size)
        else:
            faces = _LandmarkedFaces(images, size, landmarks, mask_seed)
        faces.share_memory(workers, batch_size)
        own = range(len(faces))[part_of(len(faces))]
        self._loader = WatchedLoader(
            faces, batch_size, sampler=own, timeout_minutes=timeout_minutes, **_worker_options(workers)
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Tensor]:
        self.unreadable = set()
        for images, unreadable in self._loader:
            self.unreadable.update(unreadable)
            yield images

    def faces(self, indices: Sequence[int]) -> np.ndarray:
        """Single faces of the list by number, read here and now: uint8 (n, H, W, 3), black where one can't be read."""
        return self._loader.read([int(i) for i in indices])[0].numpy()


def image_loader(root: Path, paths: Sequence[str] | np.ndarray, size: int, *, batch_size: int, workers: int):
    """Faces under ``root`` in the order of ``paths``, as uint8 batches at ``size``: an ImageLoader."""
    return ImageLoader(Images(root, paths), size, batch_size=batch_size, workers=workers)


def train_loader_for(settings: Settings, faces: FaceData, sampler: Sampler, device: torch.device) -> WatchedLoader:
    """Augmented training batches of the settings; of several processes each takes its part of the sampler's batches."""
    size = faces.preprocessing.size
    augmented = TrainFaces(
        faces.train_images,
        faces.train,
        size,
        # A teacher knows each face by itself: its labels are the numbers of the rows.
        labelled_by_row=bool(settings.teacher),
        disk_size=faces.disk_size,
        mask_probability=settings.mask_probability,
        mask_kinds=settings.mask_kinds,
        mask_fit=settings.mask_fit,
        jitter=settings.jitter,
        errors=faces.alignment_errors if settings.alignment_errors else None,
        seed=settings.seed,
        cache=FaceCache(faces.train_images.count, size) if settings.cache == "memory" else None,
    )
    sampler = with_unnamed(sampler, faces.train, settings)
    own = RankBatchSampler(sampler, rank(), ranks(), settings.accumulate_steps)
    workers = loader_workers(settings.workers, device, settings.gpus)
    pin_memory, timeout_minutes = device.type == "cuda", settings.data_timeout_minutes
    return train_loader(augmented, own, workers=workers, pin_memory=pin_memory, timeout_minutes=timeout_minutes)


def with_unnamed(sampler: Sampler, faces: FaceTable, settings: Settings) -> Sampler:
    """The sampler's batches, to each of which ``unnamed_share`` adds faces without a name, if there are any."""
    if not faces.unnamed or not settings.unnamed_share:
        return sampler
    rows = np.arange(len(faces.targets) - faces.unnamed, len(faces.targets))
    return UnnamedBatchSampler(sampler, rows, settings.unnamed_share, ranks())


def train_loader(
    faces: TrainFaces, sampler: Sampler, *, workers: int, pin_memory: bool, timeout_minutes: float = 0.0
) -> WatchedLoader:
    """Batches of the sampler's keys (it has a ``batch_size``); workers live through all epochs."""
    faces.share_memory(workers, sampler.batch_size)
    return WatchedLoader(
        faces,
        batch_sampler=sampler,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        timeout_minutes=timeout_minutes,
        **_worker_options(workers),
    )


def _worker_options(workers: int) -> dict:
    """The options that both loaders have for their workers and what these give them."""
    # A loader draws a seed for its workers, how often depends on their number: not from the generator of dropout.
    options = {"num_workers": workers, "collate_fn": _whole_batch, "generator": torch.Generator()}
    if workers:
        options |= {"multiprocessing_context": "fork" if _FORKS else None, "worker_init_fn": _start_worker}
    return options


def _whole_batch(batch):
    """The data sets give whole batches already."""
    return batch


def _start_worker(worker: int) -> None:
    no_opencv_threads()
    ignore_stop_signals()
    end_with_parent()

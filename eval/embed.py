"""Faces to embeddings in Python: ``from eval.embed import Embedder``."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from data.alignment.alignment import LANDMARKS, Alignment
from data.alignment.every_face import EveryFaceReader, OpenedPhoto, PlacedFace
from data.alignment.finder import MTCNN, detector_name
from data.alignment.photos import FacePhoto, PhotoReader
from data.tables.card import warn_of_alignment
from data.transforms import Preprocessing
from models.trained_model import open_model
from runtime.devices import pick_device, to_device
from runtime.errors import InputError


@torch.inference_mode()
def embed(
    model: nn.Module,
    loader: Iterable[Tensor],
    *,
    device: torch.device | str,
    normalise: Callable[[Tensor], Tensor],
    autocast_dtype: torch.dtype | None = None,
    mirror: bool = False,
    progress: str | None = None,
    lengths: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Embeddings of all images of a loader, in its order: float32 (N, D), rows of length 1.

    ``loader`` yields uint8 (B, H, W, 3) RGB; ``normalise`` turns such a batch into the network's float input
    (B, 3, H, W). ``mirror`` sums the embeddings of each image and its mirror before normalising. ``progress``
    is the title of a progress bar (None: no bar). With ``lengths``: these rows, and the length of each before the
    network normalised it, float32 (N,), with ``mirror`` the mean of the image's and its mirror's. The model runs in
    eval mode and is left as it was found. Raises InputError if the loader is empty.
    """
    device = torch.device(device)

    def look(images: Tensor) -> list[Tensor]:
        """Rows (B, D) and, if asked for, lengths (B,)."""
        output = model(normalise(images), lengths=True) if lengths else [model(normalise(images))]
        return [part.float() for part in output]

    parts = []
    with eval_mode(model):
        for batch in tqdm(loader, desc=progress, unit="batch", disable=progress is None, leave=False):
            images = batch.to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
                views = [look(images), look(images.flip(2))] if mirror else [look(images)]
            rows, *measured = (sum(both) for both in zip(*views, strict=True))
            means = [total / len(views) for total in measured]
            parts.append([part.cpu().numpy() for part in (F.normalize(rows), *means)])
    if not parts:
        raise InputError("no image to embed: the list of images is empty")
    rows, *measured = map(np.concatenate, zip(*parts, strict=True))
    return (rows, *measured) if lengths else rows


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; then each module gets its own mode back, a frozen BatchNorm too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


_BATCH = 64
# Photographs whose faces are looked for at once: batches for the networks, yet no gigabyte of large pictures.
AT_ONCE = 8

Photo = str | Path | np.ndarray
# The order of an array's channels; OpenCV's is bgr. Files say their own.
Colour = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class EmbeddedFace:
    """A face of a group picture: ``box`` (left, top, right, bottom) and ``landmarks`` (5, 2) in pixels of the picture,
    its ``embedding`` float32 (D,) of length 1, and a ``remark`` that a user must see, or an empty text."""

    box: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray
    remark: str


class Embedder:
    """A trained network that turns photographs of faces into vectors to compare.

    ::

        import numpy as np

        from eval.embed import Embedder

        embedder = Embedder("results/RUN")
        a, b = embedder.embed(["ann.jpg", "ben_masked.jpg"])
        distance = float(np.linalg.norm(a - b))  # 0: the same picture … 2: as different as can be
        same_person = distance <= embedder.threshold

    ``embed`` takes photographs as they come from a camera: it finds the face (the one nearest the centre, where there
    are several), turns and crops it as the network was trained, and embeds it. ``group_pictures`` gives every face of
    each photograph with its box. Faces that were cropped before, as ``data.prepare`` does, go into ``embed_aligned``.
    Arrays from OpenCV need ``colour="bgr"``. Vectors of two runs can't be compared with each other.

    Attributes: ``threshold``, the distance up to which two faces count as one person, chosen on the run's evaluation
    pairs (None where none is stored: see eval.threshold); ``size``, side of an aligned face in pixels; ``crop``, how
    faces are aligned, ``arcface5`` or ``mtcnn_box``; ``alignment``, how the training faces were found;
    ``smallest_face``, the side in pixels of the smallest face that the network can use (None where it was not
    measured).

    ``face`` gives what ``embed`` embeds, with its size, sharpness and pose, and a ``remark`` where one of them makes
    the result doubtful.
    """

    def __init__(
        self, run: str, backbone: str = "", device: str = "auto", detector: str = MTCNN, least_face: int | None = None
    ) -> None:
        """Load ``run``: a run folder (its best.pt), a checkpoint, an ONNX or weight file, or with ``backbone`` weights
        by name (``vggface2``). ``device``: auto, cpu or cuda (an ONNX file runs on the CPU). ``detector``: what finds
        the faces, ``mtcnn``, ``yunet`` or an ONNX file of YuNet's kind. ``least_face``: side in pixels of the smallest
        face that is taken from a photograph; None: ``smallest_face``; 0: any.

        Raises InputError (a ValueError of one line) where it is missing, damaged or of another architecture.
        """
        opened = open_model(str(run), backbone)
        needed = Preprocessing.from_dict(opened.preprocessing)
        self.threshold, self.size, self.crop = opened.threshold, needed.size, needed.crop
        self.alignment, self.smallest_face = needed.alignment, opened.least_face
        self._device = pick_device(device)
        self._model = to_device(opened.model, self._device)
        self._normalise, self._mirror = needed.normalise, opened.mirror
        self._detector, self._least_face = detector, least_face
        self._reader: PhotoReader | None = None

    def embed(self, images: Sequence[Photo], colour: Colour = "rgb") -> np.ndarray:
        """Photographs, each a path or uint8 (H, W, 3) of any size → float32 (N, D), rows of length 1, in order.

        ``colour``: the order of the channels of arrays.
        Raises InputError for a file that can't be read and for a photograph without a face, with its name or place.
        """
        return self.embed_aligned(np.stack([self.face(image, colour).image for image in _all(images)]))

    def group_pictures(self, images: Sequence[Photo], colour: Colour = "rgb") -> list[list[EmbeddedFace]]:
        """Every face of each photograph, from left to right; an empty list where there is none.

        Arguments as ``embed``. Raises InputError for a file that can't be read.
        """
        images = _all(images)
        return [
            [
                EmbeddedFace(face.box, face.landmarks, row, face.photo.remark)
                for face, row in zip(faces, rows, strict=True)
            ]
            for start in range(0, len(images), AT_ONCE)
            for faces, rows in self.every_face([self.open(one, colour) for one in images[start : start + AT_ONCE]])
        ]

    def embed_aligned(self, faces: np.ndarray) -> np.ndarray:
        """Aligned faces, uint8 (N, size, size, 3) RGB → float32 (N, D), rows of length 1."""
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (self.size, self.size, 3) or not len(faces):
            raise InputError(
                f"aligned faces must be uint8 (N, {self.size}, {self.size}, 3), RGB; these are {faces.dtype} "
                f"{faces.shape}"
            )
        batches = torch.from_numpy(np.ascontiguousarray(faces)).split(_BATCH)
        return embed(self._model, batches, device=self._device, normalise=self._normalise, mirror=self._mirror)

    def face(self, image: Photo, colour: Colour = "rgb") -> FacePhoto:
        """The face of one photograph, aligned, with what was found on the way. Raises InputError as ``embed``."""
        if self._reader is None:
            self._warn_of_alignment()
            least = {"least_face": self._least_face, "needed": self.smallest_face}
            self._reader = PhotoReader(self.size, self.crop, self._detector, **least)
        return self._reader(_as_rgb(image, colour))

    def open(self, image: Photo, colour: Colour = "rgb") -> OpenedPhoto:
        """A photograph for ``every_face``. Raises InputError for a file that can't be read."""
        return self._every_face.open(_as_rgb(image, colour))

    def every_face(
        self, photos: Sequence[OpenedPhoto], upright: bool = False
    ) -> list[tuple[list[PlacedFace], np.ndarray]]:
        """All faces of each photograph from left to right, aligned, and their embeddings, float32 (F, D), F perhaps 0.

        A few photographs at once (AT_ONCE) are quicker than one by one. ``upright``: one look at each alone, none at
        it on its side: for the frames of a film.
        """
        if upright:
            found = self._every_face.find_upright([photo.image for photo in photos])
        else:
            found = self._every_face.find(photos)
        aligned = [face.photo.image for faces in found for face in faces]
        rows = self.embed_aligned(np.stack(aligned)) if aligned else np.empty((0, 0), np.float32)
        ends = np.cumsum([len(faces) for faces in found])
        return [(faces, rows[end - len(faces) : end]) for faces, end in zip(found, ends, strict=True)]

    @cached_property
    def _every_face(self) -> EveryFaceReader:
        self._warn_of_alignment()
        return EveryFaceReader(self.size, self.crop, self._detector, needed=self.smallest_face)

    @property
    def least_face(self) -> int:
        """Side in pixels of the smallest face that is taken from a photograph; 0: any."""
        return (self.smallest_face or 0) if self._least_face is None else self._least_face

    def _warn_of_alignment(self) -> None:
        used = Alignment(detector_name(self._detector), LANDMARKS)
        if not used.finds_as(self.alignment):
            warn_of_alignment("photographs", used, self.alignment)


def _as_rgb(image: Photo, colour: Colour) -> Photo:
    if colour not in ("rgb", "bgr"):
        raise InputError(f"colour must be rgb or bgr, not {colour!r}")
    if colour == "bgr" and isinstance(image, np.ndarray):
        return np.ascontiguousarray(image[..., ::-1])
    return image


def _all(images: Sequence[Photo]) -> Sequence[Photo]:
    if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == 3):
        raise InputError("embed takes a list of photographs: put the single one into brackets")
    if not len(images):
        raise InputError("no image to embed: the list of images is empty")
    return images

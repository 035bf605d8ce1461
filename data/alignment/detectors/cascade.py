"""The three-network cascade of MTCNN (Zhang et al. 2016, arXiv:1604.02878) in batches of equal canvases.

Networks and weights are facenet-pytorch's. The cascade around them is written anew, for two reasons: facenet-pytorch
squeezes candidate windows that stick out of the picture into a square, which puts the landmarks of tightly cropped
faces wrong (here the missing part is black, as in the paper's code); and with the channels innermost the networks'
max-pooling is several times as fast on a CPU.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

# Least face probability after the proposal, refinement and output networks; facenet-pytorch's defaults.
THRESHOLDS = (0.6, 0.7, 0.7)
_CELL, _STRIDE = 12, 2
# Windows at a time. No two batches of photographs have as many: in pieces of ever other sizes of up to 100 MB the heap
# grew without end (2.3 GB after 9,000 photographs), in these it stays at 1.3 GB, and is as fast.
_CHUNK = 128


class Cascade:
    """Finds all faces of equally large pictures."""

    def __init__(self) -> None:
        from facenet_pytorch import MTCNN  # and torchvision: seconds, which commands that find no face are spared

        networks = MTCNN().eval()
        self._proposal, self._refinement, self._output = (
            network.to(memory_format=torch.channels_last) for network in (networks.pnet, networks.rnet, networks.onet)
        )

    @torch.inference_mode()
    def __call__(
        self,
        images: Sequence[np.ndarray],
        min_face: int,
        factor: float,
        thresholds: tuple[float, float, float] = THRESHOLDS,
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Per image (H, W, 3) uint8 RGB, all of one size: boxes float32 (F, 4), landmarks (F, 5, 2), probabilities
        (F,); pixels, F faces. ``min_face`` is the smallest face in pixels, ``factor`` the pyramid's step,
        ``thresholds`` the least probability after each of the three networks."""
        boxes, owners = self._propose(images, min_face, factor, thresholds[0])
        boxes, owners = self._refine(images, boxes, owners, thresholds[1])
        boxes, scores, points, owners = self._finish(images, boxes, owners, thresholds[2])
        return [(boxes[owners == i], points[owners == i], scores[owners == i]) for i in range(len(images))]

    def _propose(
        self, images: Sequence[np.ndarray], min_face: int, factor: float, least: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Square candidate windows (M, 4) and the image each belongs to (M,)."""
        found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        height, width = images[0].shape[:2]
        scale, level = _CELL / min_face, list(images)
        while min(height, width) * scale >= _CELL:
            size = int(width * scale + 1), int(height * scale + 1)
            # From level to level: the area average of an area average costs a fraction of one from the picture.
            level = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in level]
            shifts, scores = self._proposal(_tensor(np.stack(level)))
            found.append(_candidates(shifts, scores[:, 1], scale, least))
            scale *= factor
        if not found:  # no face of that size has room in the picture
            return np.empty((0, 4), np.float32), np.empty(0, np.int64)
        boxes, shifts, scores, owners = (torch.cat(parts) for parts in zip(*found, strict=True))
        keep = _batched_nms(boxes, scores, owners, 0.7)
        return _square(_shifted(boxes[keep], shifts[keep])).numpy(), owners[keep].numpy()

    def _refine(
        self, images: Sequence[np.ndarray], boxes: np.ndarray, owners: np.ndarray, least: float
    ) -> tuple[np.ndarray, np.ndarray]:
        if not len(boxes):
            return boxes, owners
        shifts, scores = _in_chunks(self._refinement, _windows(images, boxes, owners, 24))
        sure = scores[:, 1] > least
        kept, group = torch.from_numpy(boxes)[sure], torch.from_numpy(owners)[sure]
        keep = _batched_nms(kept, scores[sure, 1], group, 0.7)
        return _square(_shifted(kept[keep], shifts[sure][keep])).numpy(), group[keep].numpy()

    def _finish(
        self, images: Sequence[np.ndarray], boxes: np.ndarray, owners: np.ndarray, least: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Final boxes, probabilities, landmarks and owners."""
        if not len(boxes):
            return boxes, np.empty(0, np.float32), np.empty((0, 5, 2), np.float32), owners
        shifts, points, scores = _in_chunks(self._output, _windows(images, boxes, owners, 48))
        sure = scores[:, 1] > least
        windows, group, score = torch.from_numpy(boxes)[sure], torch.from_numpy(owners)[sure], scores[sure, 1]
        side = (windows[:, 2:] - windows[:, :2])[:, None]
        landmarks = points[sure].view(-1, 2, 5).transpose(1, 2) * side + windows[:, None, :2]
        boxes = _shifted(windows, shifts[sure])
        keep = _minimum_nms(boxes.numpy(), score.numpy(), group.numpy(), 0.7)
        return boxes.numpy()[keep], score.numpy()[keep], landmarks.numpy()[keep], group.numpy()[keep]


def _batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, limit: float) -> Tensor:
    from torchvision.ops import batched_nms

    return batched_nms(boxes, scores, groups, limit)


def _tensor(images: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W), channels innermost in memory, about −1 … 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(127.5).mul_(1 / 128)


def _in_chunks(network: torch.nn.Module, windows: np.ndarray) -> tuple[Tensor, ...]:
    parts = [network(_tensor(windows[i : i + _CHUNK])) for i in range(0, len(windows), _CHUNK)]
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _candidates(shifts: Tensor, scores: Tensor, scale: float, least: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells of the proposal network's map (B, h, w) that may hold a face: boxes, shifts, scores, owners."""
    owner, row, column = (scores >= least).nonzero(as_tuple=True)
    corner = torch.stack([column, row], 1) * _STRIDE
    boxes = torch.cat([(corner + 1) / scale, (corner + _CELL) / scale], 1).floor()
    score = scores[owner, row, column]
    keep = _batched_nms(boxes, score, owner, 0.5)
    return boxes[keep], shifts[owner, :, row, column][keep], score[keep], owner[keep]


def _shifted(boxes: Tensor, shifts: Tensor) -> Tensor:
    """Boxes moved edge by edge by the networks' corrections, which are shares of the box's side."""
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    """The square round each box's centre with its longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], 1)


def _windows(images: Sequence[np.ndarray], boxes: np.ndarray, owners: np.ndarray, size: int) -> np.ndarray:
    """The boxes' contents, black where they leave the picture: uint8 (M, size, size, 3)."""
    out = np.empty((len(boxes), size, size, 3), np.uint8)
    for window, (left, top, right, bottom), owner in zip(
        out, np.floor(boxes).astype(int).tolist(), owners.tolist(), strict=True
    ):
        image = images[owner]
        part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if part.shape[0] != bottom - top or part.shape[1] != right - left:
            whole = np.zeros((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
            y, x = max(-top, 0), max(-left, 0)
            whole[y : y + part.shape[0], x : x + part.shape[1]] = part
            part = whole
        cv2.resize(part, (size, size), dst=window, interpolation=cv2.INTER_AREA)
    return out


def _minimum_nms(boxes: np.ndarray, scores: np.ndarray, owners: np.ndarray, limit: float) -> np.ndarray:
    """Drop a box whose overlap with a surer one of its image is more than ``limit`` of the smaller of the two, so
    that a face within a face goes too. Indices of those kept, surest first."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        others = [j for j in kept if owners[j] == owners[i]]
        low = np.maximum(boxes[others, :2], boxes[i, :2])
        high = np.minimum(boxes[others, 2:], boxes[i, 2:])
        overlap = np.prod(np.clip(high - low, 0, None), axis=1)
        if not (overlap > limit * np.minimum(areas[others], areas[i])).any():
            kept.append(int(i))
    return np.array(kept, dtype=int)

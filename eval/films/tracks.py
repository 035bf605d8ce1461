"""Faces of a film's frames, joined to tracks: one person, for as long as they are seen.

A face continues the track that it resembles and overlaps most, if that was at most one and a half faces away. The more
the two boxes overlap, the farther apart the embeddings may be: the limit rises from 0.9 times the network's threshold
without overlap to 1.2 times where they coincide. So a person who turns the head stays one track, and one who appears in
another's place after a cut is a new one. A track ends if its face is not seen for a second.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from data.alignment.every_face import PlacedFace
from data.alignment.photos import FacePhoto

# Shares of the threshold up to which two faces are one person: apart, and added where their boxes coincide.
_APART, _ADDED = 0.9, 0.3
# How far a face moves at most between two looks, in sides of its box.
_MOST_MOVED = 1.5
_SECONDS_UNSEEN = 1.0
# Side in pixels and sharpness from which a face is as good as any: the side of an aligned face, and the sharpness that
# three quarters of LFW's photographs have.
_FULL_SIDE, _FULL_SHARPNESS = 112, 0.2
_FORBIDDEN = 1e6


@dataclass(frozen=True)
class BestFace:
    """The face of a track that can be recognised best: where and when it is, its ``embedding`` (D,), its shorter side
    in ``pixels``, the ``remark`` about it, and its ``quality``, 0 … 1."""

    frame: int
    seconds: float
    box: np.ndarray
    embedding: np.ndarray
    pixels: float
    remark: str
    quality: float


@dataclass
class Track:
    """One person from ``first`` to ``last`` (seconds): the ``best`` face, the numbers of the ``frames`` they were seen
    in, and the ``places`` there, four numbers for each."""

    first: float
    last: float
    best: BestFace
    latest: np.ndarray
    frames: array = field(default_factory=lambda: array("q"))
    places: array = field(default_factory=lambda: array("f"))

    def box(self, place: int) -> np.ndarray:
        """(left, top, right, bottom) in frame number ``place`` of ``frames``: float32 (4,)."""
        return np.array(self.places[4 * place : 4 * place + 4], np.float32)

    def box_at(self, frame: int) -> np.ndarray:
        """The box in any frame from the first to the last: on the straight line between those before and after."""
        after = bisect_left(self.frames, frame)
        if self.frames[after] == frame:
            return self.box(after)
        start, end = self.frames[after - 1], self.frames[after]
        share = (frame - start) / (end - start)
        return (1 - share) * self.box(after - 1) + share * self.box(after)

    def meets(self, other: "Track") -> bool:
        """Whether both are seen in one frame: then they are two people."""
        return not set(self.frames).isdisjoint(other.frames)


class Tracker:
    """Joins the faces of frame after frame; memory grows by a few bytes a face."""

    def __init__(self, threshold: float) -> None:
        """``threshold``: the network's, a distance."""
        self._threshold = threshold
        self.tracks: list[Track] = []
        self._open: list[Track] = []

    def add(self, number: int, seconds: float, faces: Sequence[PlacedFace], embeddings: np.ndarray) -> None:
        """The ``faces`` of frame ``number`` with their ``embeddings`` (F, D)."""
        self._open = [track for track in self._open if seconds - track.last <= _SECONDS_UNSEEN]
        continued = self._continued(faces, embeddings)
        for row, (face, embedding) in enumerate(zip(faces, embeddings, strict=True)):
            seen = _best(number, seconds, face, embedding)
            track = continued.get(row)
            if track is None:
                track = Track(seconds, seconds, seen, embedding)
                self.tracks.append(track)
                self._open.append(track)
            track.last, track.latest = seconds, embedding
            if seen.quality > track.best.quality:
                track.best = seen
            track.frames.append(number)
            track.places.extend(face.box.tolist())

    def _continued(self, faces: Sequence[PlacedFace], embeddings: np.ndarray) -> dict[int, Track]:
        """The open track that each face continues, by the face's row; each track at most once."""
        if not self._open or not faces:
            return {}
        latest = np.stack([track.latest for track in self._open])
        distances = np.linalg.norm(embeddings[:, None] - latest[None], axis=2) / self._threshold
        boxes = np.stack([face.box for face in faces])
        last = np.stack([track.box(len(track.frames) - 1) for track in self._open])
        overlaps = _overlaps(boxes, last)
        may_be = (distances <= _APART + _ADDED * overlaps) & (_moved(boxes, last) <= _MOST_MOVED)
        cost = np.where(may_be, distances - overlaps, _FORBIDDEN)
        pairs = zip(*linear_sum_assignment(cost), strict=True)
        return {int(row): self._open[column] for row, column in pairs if cost[row, column] < _FORBIDDEN}


def _best(number: int, seconds: float, face: PlacedFace, embedding: np.ndarray) -> BestFace:
    photo = face.photo
    return BestFace(number, seconds, face.box, embedding, face.side, photo.remark, quality(photo))


def quality(face: FacePhoto) -> float:
    """How well a face can be recognised, 0 … 1: size times sharpness times the cosine of the yaw angle, the first two
    up to where more of them no longer helps."""
    turned = max(float(np.cos(np.deg2rad(face.yaw))), 0.0)
    return min(face.side / _FULL_SIDE, 1.0) * min(face.sharpness / _FULL_SHARPNESS, 1.0) * turned


def _moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far the centres of boxes (N, 4) and (M, 4) lie apart, in sides of the larger of the two: (N, M)."""
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (one, other)]
    sides = [(boxes[:, 2:] - boxes[:, :2]).max(axis=1) for boxes in (one, other)]
    apart = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2)
    return apart / np.maximum(np.maximum(sides[0][:, None], sides[1][None]), 1e-9)


def _overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)

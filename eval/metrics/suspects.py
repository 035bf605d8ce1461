"""Faces whose embeddings contradict their names. NumPy and scikit-learn. N faces, C people, D embedding."""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from eval.metrics.distances import unit_means

# So many faces at a time against all: 1024 × 100,000 distances are 400 MB.
_CHUNK = 1024
# Two embeddings of one picture, saved anew or shifted by a pixel, are nearer than this.
DUPLICATE_DISTANCE = 0.35


@dataclass(frozen=True)
class Levels:
    """Near and far in this set with this network: L2 distances of mean embeddings (unit length).

    ``one_person``: within it lie the two halves of 95 % of the people, and at most 0.1 % (or five) of the pairs of
    people.
    ``two_people``: what 99 % of the pairs of people exceed; ``face_and_stranger``: what 99 % of single faces exceed
    against another person's mean.
    """

    one_person: float
    two_people: float
    face_and_stranger: float


def levels(embeddings: np.ndarray, labels: np.ndarray, centres: np.ndarray, seed: int = 0) -> Levels:
    """Measured on the set itself; a few wrong names move these shares little."""
    rng = np.random.default_rng(seed)
    halves = []
    for person in range(len(centres)):
        rows = rng.permutation(np.flatnonzero(labels == person))
        if len(rows) >= 2:
            a, b = (unit_means(embeddings[half], np.zeros(len(half), int), 1)[0] for half in np.array_split(rows, 2))
            halves.append(np.linalg.norm(a - b))
    left, right = rng.integers(len(centres), size=(2, 20_000))
    apart = np.linalg.norm(centres[left] - centres[right], axis=1)[left != right]
    faces, other = rng.integers(len(labels), size=20_000), rng.integers(len(centres), size=20_000)
    strange = np.linalg.norm(embeddings[faces] - centres[other], axis=1)[labels[faces] != other]
    within = np.quantile(halves, 0.95) if halves else 0.0
    # Among few people the nearest five pairs may all be errors.
    rare = np.quantile(apart, max(0.001, min(1.0, 10 / (len(centres) * (len(centres) - 1)))))
    # Those as near as one person are suspects themselves.
    two_people, stranger = (np.quantile(x[x > within] if (x > within).any() else x, 0.01) for x in (apart, strange))
    return Levels(float(min(within, rare)), float(two_people), float(stranger))


def near_pairs(rows: np.ndarray, limit: float) -> list[tuple[int, int, float]]:
    """Pairs i < j of unit rows (R, D) at most ``limit`` apart, nearest first: (i, j, distance)."""
    found = []
    for start in range(0, len(rows), _CHUNK):
        cosines = rows[start : start + _CHUNK] @ rows[start:].T
        for i, j in np.argwhere(cosines >= 1 - limit**2 / 2):
            if i < j:
                found.append((start + int(i), start + int(j)))
    apart = [(i, j, float(np.linalg.norm(rows[i] - rows[j]))) for i, j in found]
    return sorted((pair for pair in apart if pair[2] <= limit), key=lambda pair: pair[2])


def split_of(embeddings: np.ndarray) -> tuple[np.ndarray, float]:
    """One person's faces (n, D), n ≥ 3, in two groups by average linkage: bool (n,), True for the smaller group (of
    equal ones the second), and the distance of the groups' means."""
    groups = AgglomerativeClustering(n_clusters=2, linkage="average").fit_predict(embeddings)
    smaller = groups == (1 if (groups == 1).sum() <= (groups == 0).sum() else 0)
    a, b = unit_means(embeddings, smaller.astype(int), 2)
    return smaller, float(np.linalg.norm(a - b))


def same_picture(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two faces uint8 (H, W, 3) are one picture but for size, brightness and compression.

    Both are reduced to 16×16 greys of mean 0 and standard deviation 1, which must correlate by 0.97.
    """
    x, y = (_thumbnail(image) for image in (a, b))
    return float((x * y).mean()) >= 0.97


def _thumbnail(image: np.ndarray) -> np.ndarray:
    height, width = (side // 16 * 16 for side in image.shape[:2])
    grey = image[:height, :width].astype(np.float32).mean(axis=2)
    small = grey.reshape(16, height // 16, 16, width // 16).mean(axis=(1, 3))
    return (small - small.mean()) / max(float(small.std()), 1e-6)

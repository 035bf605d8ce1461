"""A small set in the form of IJB-C, written line by line."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

# The ArcFace template's points at 112 pixels, to two digits.
POINTS = [(38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20)]


def write_lists(
    folder: Path,
    pictures: Sequence[tuple[str, int, int, float]],
    pairs: Sequence[tuple[int, int, int]],
    name: str = "ijbc",
    landmarks: Sequence[Sequence[tuple[float, float]]] | None = None,
) -> Path:
    """``pictures``: name, template, medium and score of each; ``pairs``: template, template, label. The folder."""
    meta = folder / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    (folder / "loose_crop").mkdir(exist_ok=True)
    points = [POINTS] * len(pictures) if landmarks is None else landmarks
    with (
        open(meta / f"{name}_face_tid_mid.txt", "w") as media,
        open(meta / f"{name}_name_5pts_score.txt", "w") as faces,
    ):
        for (picture, template, medium, score), five in zip(pictures, points, strict=True):
            media.write(f"{picture} {template} {medium}\n")
            faces.write(" ".join([picture, *(f"{x:.3f} {y:.3f}" for x, y in five), f"{score:.3f}"]) + "\n")
    with open(meta / f"{name}_template_pair_label.txt", "w") as file:
        file.writelines(f"{one} {other} {label}\n" for one, other, label in pairs)
    return folder


def write_pictures(folder: Path, names: Sequence[str], seed: int = 0) -> list[list[tuple[float, float]]]:
    """Coarse noise of several sizes in loose_crop, losslessly, and where the five points of each are."""
    rng = np.random.default_rng(seed)
    (folder / "loose_crop").mkdir(parents=True, exist_ok=True)
    landmarks = []
    for name in names:
        scale, shift = rng.uniform(0.8, 2.5), rng.uniform(0, 30, size=2)
        side = int(112 * scale + 40)
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "loose_crop" / name), cv2.resize(coarse, (side, side + 7)))
        landmarks.append([(x * scale + shift[0], y * scale + shift[1]) for x, y in POINTS])
    return landmarks

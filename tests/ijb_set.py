"""A small set in the form of IJB-C, written line by line."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

# The ArcFace template's points at 112 pixels.
POINTS = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]


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


def write_pictures(
    folder: Path, names: Sequence[str], people: Sequence[int] | None = None
) -> list[list[tuple[float, float]]]:
    """Coarse noise of several sizes in loose_crop, losslessly, alike for each of ``people``; where the five points of
    each picture are."""
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (len(names), 9, 9, 3))
    (folder / "loose_crop").mkdir(parents=True, exist_ok=True)
    landmarks = []
    for name, person in zip(names, people or range(len(names)), strict=True):
        scale, shift = rng.uniform(0.8, 2.5), rng.uniform(0, 30, size=2)
        side = int(112 * scale + 40)
        coarse = np.clip(looks[person] + rng.normal(0, 90, (9, 9, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "loose_crop" / name), cv2.resize(coarse, (side, side + 7)))
        landmarks.append([(round(x * scale + shift[0], 3), round(y * scale + shift[1], 3)) for x, y in POINTS])
    return landmarks

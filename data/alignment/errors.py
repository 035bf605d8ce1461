"""By how much masks move the alignment of faces: measured when a data set is prepared, drawn from in training.

A masked face is not aligned as the bare one would be, since the mask misleads the detector. A mask that is drawn on an
aligned face has to move the face by as much, or the network never learns to bear it.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from data.alignment.align import similarity
from data.masks.pose import fit_pose
from data.tables.rows import read_rows
from data.transforms import template

FILE = "alignment_errors.csv"
COLUMNS = ["mask_kind", "yaw", "right_x", "right_y", "x", "y"]
# A head turned by more than this is another kind of picture: a detector sees half of the mouth, or none of it.
TURNED = 25.0
# More tell no more.
_MOST = 5_000
# Fewer of one kind and pose say nothing: then all kinds count.
_LEAST = 20


def measure_errors(kinds: Sequence[str], bare: np.ndarray, masked: np.ndarray, size: int) -> pd.DataFrame:
    """A row of COLUMNS for each face, evenly spread where there are many.

    ``bare`` and ``masked`` float (N, 5, 2): where the same points of a face lie in the crop that its bare photograph
    gave, and in the one that its masked photograph gave, both size×size pixels. The error is the similarity from the
    former to the latter about the crop's middle: to where it brings the step to the right, (``right_x``,
    ``right_y``), and by how much it moves the middle, ``x`` and ``y``, as shares of the side. ``yaw`` in degrees.
    """
    chosen = np.linspace(0, len(bare) - 1, min(len(bare), _MOST)).astype(int)
    middle = (size - 1) / 2
    rows = []
    for i in chosen:
        matrix = similarity(bare[i] - middle, masked[i] - middle)
        yaw = float(np.rad2deg(fit_pose(np.asarray(bare[i], np.float64)).yaw))
        rows.append([kinds[i], round(yaw), *np.round([matrix[0, 0], matrix[1, 0], *(matrix[:, 2] / size)], 5)])
    return pd.DataFrame(rows, columns=COLUMNS)


class AlignmentErrors:
    """Draws errors by kind of mask, and by whether the head is turned."""

    def __init__(self, table: pd.DataFrame) -> None:
        values = table[COLUMNS[2:]].to_numpy(np.float64)
        turned = table["yaw"].abs().to_numpy() > TURNED
        kinds = table["mask_kind"].to_numpy(str)
        self._all = values
        self._groups = {}
        for kind in np.unique(kinds):
            for is_turned in (False, True):
                group = values[(kinds == kind) & (turned == is_turned)]
                if len(group) >= _LEAST:
                    self._groups[str(kind), is_turned] = group

    @classmethod
    def read(cls, folder: Path) -> "AlignmentErrors | None":
        """Those that ``data.prepare`` measured in a folder of faces; None where it measured none."""
        path = folder / FILE
        return cls(read_rows(path, COLUMNS)) if path.is_file() and _has_rows(path) else None

    def draw(self, rng: np.random.Generator, kind: str, landmarks: np.ndarray, size: int) -> np.ndarray:
        """The similarity, float64 (2, 3), that one error moves an aligned face of size×size pixels by."""
        is_turned = abs(np.rad2deg(fit_pose(np.asarray(landmarks, np.float64)).yaw)) > TURNED
        group = self._groups.get((kind, bool(is_turned)), self._all)
        right_x, right_y, x, y = group[int(rng.integers(len(group)))]
        turn = np.array([[right_x, -right_y], [right_y, right_x]])
        middle = np.full(2, (size - 1) / 2)
        return np.column_stack([turn, middle - turn @ middle + np.array([x, y]) * size])


def _has_rows(csv: Path) -> bool:
    """Whether there is a line below the header: where all photographs show masks, nothing could be measured."""
    with csv.open(encoding="utf-8", errors="replace") as file:
        return len(list(islice(file, 2))) == 2


def misalign(face: np.ndarray, matrix: np.ndarray) -> None:
    """Move an aligned face uint8 (S, S, 3) by a similarity, in place; what comes in over the rim repeats the rim."""
    face[:] = cv2.warpAffine(face, matrix, face.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def error_quantiles(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Kind of mask → median and 90 % quantile of how far the points are moved, as a share of the eyes' distance."""
    points = template(1).astype(np.float64) - 0.5
    turn = table["right_x"].to_numpy() + 1j * table["right_y"].to_numpy()
    shift = table["x"].to_numpy() + 1j * table["y"].to_numpy()
    places = points @ [1, 1j]
    moved = np.abs(turn[:, None] * places + shift[:, None] - places).mean(1) / abs(places[1] - places[0])
    return {
        str(kind): {"median": round(float(np.median(part)), 4), "p90": round(float(np.quantile(part, 0.9)), 4)}
        for kind in sorted(table["mask_kind"].unique())
        for part in [moved[(table["mask_kind"] == kind).to_numpy()]]
    }

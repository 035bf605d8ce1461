"""A contact sheet: faces before and after preparation, to look at before training."""

from collections.abc import Sequence

import cv2
import numpy as np

_TILE, _GAP, _HEAD, _PER_ROW = 128, 4, 22, 4


def contact_sheet(faces: Sequence[tuple[np.ndarray | None, ...]]) -> np.ndarray:
    """Triples (source, aligned, masked), each uint8 (H, W, 3) RGB, side by side → one picture (H, W, 3).

    Four triples a row, under a line that names the three; None stays grey.
    """
    step = 3 * _TILE + 3 * _GAP
    rows = -(-len(faces) // _PER_ROW)
    sheet = np.full((_HEAD + rows * (_TILE + _GAP), min(len(faces), _PER_ROW) * step, 3), 255, np.uint8)
    for column in range(min(len(faces), _PER_ROW)):
        for k, title in enumerate(("source", "aligned", "masked")):
            at = (column * step + k * (_TILE + 2) + 4, 15)
            cv2.putText(sheet, title, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    for i, triple in enumerate(faces):
        row, column = divmod(i, _PER_ROW)
        top = _HEAD + row * (_TILE + _GAP)
        for k, image in enumerate(triple):
            left = column * step + k * (_TILE + 2)
            sheet[top : top + _TILE, left : left + _TILE] = _tile(image)
    return sheet


def _tile(image: np.ndarray | None) -> np.ndarray:
    """The picture as large as it fits on a grey square."""
    tile = np.full((_TILE, _TILE, 3), 225, np.uint8)
    if image is None:
        return tile
    height, width = image.shape[:2]
    scale = _TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    y, x = (_TILE - size[1]) // 2, (_TILE - size[0]) // 2
    tile[y : y + size[1], x : x + size[0]] = small
    return tile

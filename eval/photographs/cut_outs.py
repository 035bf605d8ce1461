"""Pictures of faces to look at: cut out of a photograph, and written."""

from pathlib import Path

import cv2
import numpy as np

from runtime.files import write_file

# A cut-out reaches so far beyond the face's box, in its sides: room for the detector to find it again.
_MARGIN = 0.6
_JPEG_QUALITY = 95


def cut_out(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The square around a box, its longer side and _MARGIN of it to each side; cut smaller at the picture's border, but
    the same to the left and right, and above and below, so that the face stays nearest to the centre."""
    height, width = image.shape[:2]
    centre, half = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) * (0.5 + _MARGIN)
    room = np.minimum(centre, [width, height] - centre)
    reach = np.maximum(np.minimum(half, room), (box[2:] - box[:2]) / 2)
    left, top = np.maximum(np.floor(centre - reach), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + reach), [width, height]).astype(int)
    return np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1)])


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB. Raises InputError if the disk refuses."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    write_file(path, data.tobytes(), flush=False)

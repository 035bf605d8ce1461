"""The face in the middle of a picture, found without a detector: by the landmark network alone.

Most photographs show the face that is meant in the middle. A detector that was trained on bare faces may not see it
under a mask, and then finds nobody, or somebody else at the side.
"""

from collections.abc import Iterator

import numpy as np

from data.alignment.align import eye_distance
from data.alignment.detectors.detection import Detection
from data.alignment.landmark_network import CROP_SIZE, crop_template
from data.alignment.landmarks import LandmarkFinder, box_around, refined

# Sides of the crops looked at, as shares of the picture's shorter side, each about as much larger than the one before
# as the network was taught to bear; and by how much of their side they lie apart.
_SIDES, _STEP = (0.35, 0.46, 0.6, 0.78, 1.0, 1.3, 1.7), 0.2
# So many of the likeliest are looked at again.
_CANDIDATES = 4
# A face is believed with this probability, and if so many crops show it with its points in one place, to this share of
# the eyes' distance; more crops if somebody else is seen beside it. Of people never trained on, the former lets
# three quarters of the masked faces through that MTCNN loses or mistakes, and 1.4 % of photographs' corners.
_LEAST_FACE, _CROPS_ALONE, _CROPS_BESIDE, _ONE_PLACE = 0.8, 3, 6, 0.2
_EYES = eye_distance(crop_template()) / CROP_SIZE
_NO_POINTS = np.zeros((5, 2), np.float32)


def face_at_the_centre(image: np.ndarray, landmarks: LandmarkFinder, beside: bool) -> Detection | None:
    """The likeliest face in the middle of an image (H, W, 3) uint8 RGB, if several crops show one.

    ``beside``: somebody else is seen, outside the middle. Its probability is half of the network's: no detector has
    seen it.
    """
    windows = [Detection(box, _NO_POINTS, 0.0) for box in _windows(*image.shape[:2])]
    points, faces = landmarks.glance([image] * len(windows), windows)
    likeliest = np.argsort(-faces, kind="stable")[:_CANDIDATES]
    coarse = [Detection(_box_of(points[i]), points[i].astype(np.float32), float(faces[i])) for i in likeliest]
    readings = landmarks([image] * len(coarse), coarse)
    best = max(readings, key=lambda reading: (reading.sure, reading.face))
    off = np.linalg.norm(points - best.landmarks, axis=2).mean(1) / eye_distance(best.landmarks)
    crops = np.count_nonzero((faces > 0.5) & (off < _ONE_PLACE))
    if not best.sure or best.face < _LEAST_FACE or crops < (_CROPS_BESIDE if beside else _CROPS_ALONE):
        return None
    found = refined(Detection(_box_of(best.landmarks), best.landmarks, best.face / 2), best)
    # Otherwise it may be the one who is seen already.
    return found if not beside or covers_the_centre(found, image) else None


def covers_the_centre(face: Detection, image: np.ndarray) -> bool:
    """Whether the middle of the image lies in a face's box."""
    middle = np.array(image.shape[1::-1]) / 2
    return bool((face.box[:2] <= middle).all() and (middle <= face.box[2:]).all())


def _windows(height: int, width: int) -> Iterator[np.ndarray]:
    for side in np.array(_SIDES) * min(height, width):
        for down in (-_STEP, 0.0, _STEP):
            for right in (-_STEP, 0.0, _STEP):
                yield box_around(np.array([width / 2 + right * side, height / 2 + down * side]), side * _EYES)


def _box_of(points: np.ndarray) -> np.ndarray:
    return box_around(points.mean(0), eye_distance(points))

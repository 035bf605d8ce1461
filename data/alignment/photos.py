"""One photograph as it comes from a camera → the aligned face in it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.alignment.align import align_face
from data.alignment.alignment import LANDMARKS, Landmarks
from data.alignment.finder import MTCNN, check_detector, open_finder
from data.sources.read_image import UnreadableImage, read_image
from data.tables.card import card_above, check_card
from data.transforms import Crop, resize_face
from runtime.errors import InputError

SIDEWAYS = {0: "", 1: "turned a quarter to the left", 3: "turned a quarter to the right", 2: "turned upside down"}

# The detector sees some faces upside down or sideways, too, but is less sure of them (at most 0.9988 on 121
# photographs, of which the upright views had more in every case): a face surer than this needs no look at the others.
_SURE = 0.999


# Of LFW's photographs shrunk to 60 pixels, whose faces have about 27, a network for photographs let three times as many
# strangers in as of whole ones, and of those shrunk to 40 twelve times as many.
SMALL_FACE = 40


@dataclass(frozen=True)
class FacePhoto:
    """``image`` uint8 (size, size, 3), the aligned face; ``faces`` found in the photograph; ``turned``: what had to be
    done to it before a face was found, in words, or empty; ``side``: of the face's box in the photograph, in pixels,
    None for an aligned face, which is taken as it is."""

    image: np.ndarray
    faces: int
    turned: str
    side: float | None = None

    @property
    def remark(self) -> str:
        """The remark about this photo that a user must see, or an empty text."""
        several = f"{self.faces} faces: the one nearest the centre is taken" if self.faces > 1 else ""
        turned = f"{self.turned} to find a face" if self.turned else ""
        aligned = "an aligned face, taken as it is" if self.side is None else ""
        small = f"a face of {self.side:.0f} pixels: below {SMALL_FACE} strangers look alike" if self.is_small else ""
        return "; ".join(text for text in (several, turned, aligned, small) if text)

    @property
    def is_small(self) -> bool:
        """Whether the face has too few pixels to tell people apart with the accuracy of large ones."""
        return self.side is not None and self.side < SMALL_FACE


class PhotoReader:
    """Reads photographs and aligns the face nearest the centre; also where the photograph lies on its side."""

    def __init__(
        self, size: int, crop: Crop, detector: str = MTCNN, landmarks: Landmarks = LANDMARKS, least_face: int = 0
    ) -> None:
        """``detector`` and ``landmarks`` as in ``open_finder``; ``least_face``: side in pixels below which a face is
        refused; 0: none is. Raises InputError if there is no such detector, or it can't give that crop."""
        check_detector(detector, crop)
        self._size, self._crop, self._least_face = size, crop, least_face
        self._detector = open_finder(detector, landmarks)

    def __call__(self, photo: str | Path | np.ndarray) -> FacePhoto:
        """``photo``: a path, or uint8 (H, W, 3) RGB. A face that data.prepare has aligned is taken as it is.

        Raises InputError: unreadable, not such an array, no face in it, one too small, or aligned for another crop.
        """
        name, image = opened(photo)
        if not isinstance(photo, np.ndarray) and is_aligned(Path(photo), image, self._crop):
            return FacePhoto(resize_face(image, self._size), 1, "")
        surest, probability = None, 0.0
        for quarters, turned in SIDEWAYS.items():
            view = np.ascontiguousarray(np.rot90(image, quarters))
            faces = self._detector.all_faces(view)
            if faces and faces[0].probability > probability:
                face, _ = align_face(view, faces[0], self._size, self._crop)
                surest, probability = FacePhoto(face, len(faces), turned, faces[0].side), faces[0].probability
            # The landmark network knows upright faces alone.
            if probability > _SURE or (faces and faces[0].refined):
                break
        if surest is None:
            raise InputError(f"{name}: no face found; take a picture with the face larger, sharper or from the front")
        if surest.side < self._least_face:
            raise InputError(
                f"{name}: its face has {surest.side:.0f} pixels, under --least-face {self._least_face}; get closer"
            )
        return surest


def is_aligned(photo: Path, image: np.ndarray, crop: Crop) -> bool:
    """Whether a card says so, and the picture is of its size: others may lie among them."""
    found = card_above(photo)
    return found is not None and image.shape[:2] == (found[0]["size"],) * 2 and bool(check_card(*found, crop))


def opened(photo: str | Path | np.ndarray) -> tuple[str, np.ndarray]:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise InputError(f"a photograph must be uint8 (H, W, 3), RGB; this is {photo.dtype} {photo.shape}")
        return "the photograph", photo
    try:
        return str(photo), read_image(Path(photo))
    except UnreadableImage as error:
        raise InputError(f"{photo} can't be read as a picture: {error}") from None

"""One photograph as it comes from a camera → the aligned face in it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.alignment.align import align_face
from data.alignment.alignment import LANDMARKS, Landmarks
from data.alignment.detectors.detection import Detection
from data.alignment.finder import MTCNN, check_detector, open_finder
from data.alignment.quality import sharpness, yaw
from data.sources.read_image import UnreadableImage, read_image
from data.tables.card import card_above, check_card, is_masked
from data.transforms import Crop, box_side, resize_face
from runtime.errors import InputError

SIDEWAYS = {0: "", 1: "rotated 90° counter-clockwise", 3: "rotated 90° clockwise", 2: "rotated 180°"}

# The detector sees some faces upside down or sideways, too, but is less sure of them (at most 0.9988 on 121
# photographs, of which the upright views had more in every case): a face surer than this needs no look at the others.
_SURE = 0.999


# Of LFW's photographs shrunk to 60 pixels, whose faces have about 27, a network for photographs let three times as many
# strangers in as of whole ones, and of those shrunk to 40 twelve times as many.
SMALL_FACE = 40
# Of 2,031 photographs of LFW 0.9 % are less sharp. Blurred by 2.5 pixels of 112, which lets a network for photographs
# accept 35 times as many strangers (0.08 % became 2.9 %), more than 95 % are; by 1.5 pixels (0.15 %), half. So are most
# of those made as small as 18 pixels and enlarged again. Faces drawn here have 0.15 or more, and nearly all under 0.08
# after 2.5 pixels.
BLURRED = 0.08
# Degrees. The same network missed 0.6 % of CFP's pairs of two faces under 10°, and 30 % or more of those with one
# beyond 40°, as 2 % of LFW's are.
TURNED_AWAY = 40


@dataclass(frozen=True)
class FacePhoto:
    """``image`` uint8 (size, size, 3), the aligned face; ``faces`` found in the photograph; ``turned``: what had to be
    done to it before a face was found, in words, or empty. ``side`` of the face's box in the photograph, in pixels;
    ``sharpness`` (variance of the Laplacian around the eyes) and ``yaw`` (degrees), see ``data.alignment.quality``: all
    None for an aligned face, which is taken as it is. ``needed``: the side that a face should have. ``masked``: whether
    it wears a mask, as its folder says; None where nobody said so, as it is not measured."""

    image: np.ndarray
    faces: int
    turned: str
    side: float | None = None
    sharpness: float | None = None
    yaw: float | None = None
    needed: int = SMALL_FACE
    masked: bool | None = None

    @property
    def remark(self) -> str:
        """The remark about this photo that a user must see, or an empty text."""
        several = f"{self.faces} faces: the one nearest the centre is taken" if self.faces > 1 else ""
        turned = f"{self.turned} to find a face" if self.turned else ""
        aligned = "an aligned face, taken as it is" if self.side is None else ""
        small = f"face only {self.side:.0f} px wide: false matches rise under {self.needed}" if self.is_small else ""
        blurred = f"blurred or enlarged (sharpness {self.sharpness:.3f}, under {BLURRED})" if self.is_blurred else ""
        away = f"head turned by {abs(self.yaw):.0f}°, over {TURNED_AWAY}°" if self.is_turned_away else ""
        return "; ".join(text for text in (several, turned, aligned, small, blurred, away) if text)

    @property
    def is_small(self) -> bool:
        """Whether the face has too few pixels to tell people apart with the accuracy of large ones."""
        return self.side is not None and self.side < self.needed

    @property
    def is_blurred(self) -> bool:
        """Whether the face is so blurred that strangers look alike, though it has the pixels."""
        return self.sharpness is not None and self.sharpness < BLURRED and not self.is_small

    @property
    def is_turned_away(self) -> bool:
        """Whether the head is turned so far that people are recognised less often."""
        return self.yaw is not None and abs(self.yaw) > TURNED_AWAY

    @property
    def measures(self) -> str:
        """What was measured or said of the face, in words, or an empty text."""
        size = "" if self.side is None else f"{self.side:.0f} pixels"
        sharp = "" if self.sharpness is None else f"sharpness {self.sharpness:.3f}"
        pose = "" if self.yaw is None else f"yaw {self.yaw:.0f}°"
        mask = "" if self.masked is None else f"{'a' if self.masked else 'no'} mask, as its folder says"
        return ", ".join(text for text in (size, sharp, pose, mask) if text)


class PhotoReader:
    """Reads photographs and aligns the face nearest the centre; also where the photograph lies on its side."""

    def __init__(
        self,
        size: int,
        crop: Crop,
        detector: str = MTCNN,
        landmarks: Landmarks = LANDMARKS,
        least_face: int | None = None,
        needed: int | None = None,
    ) -> None:
        """``detector`` and ``landmarks`` as in ``open_finder``. ``needed``: side in pixels of the smallest face that
        the network can use, if it was measured. ``least_face``: side below which a face is refused; None: ``needed``;
        0: none is. Raises InputError if there is no such detector, or it can't give that crop."""
        check_detector(detector, crop)
        self._size, self._crop = size, crop
        self._needed = needed or SMALL_FACE
        self._least_face = (needed or 0) if least_face is None else least_face
        self._asked = least_face is not None
        self._detector = open_finder(detector, landmarks)

    def __call__(self, photo: str | Path | np.ndarray) -> FacePhoto:
        """``photo``: a path, or uint8 (H, W, 3) RGB. A face that data.prepare has aligned is taken as it is.

        Raises InputError: unreadable, not such an array, no face in it, one too small, or aligned for another crop.
        """
        name, image = opened(photo)
        if not isinstance(photo, np.ndarray) and is_aligned(Path(photo), image, self._crop):
            return FacePhoto(resize_face(image, self._size), 1, "", masked=is_masked(Path(photo)))
        surest, probability = None, 0.0
        for quarters, turned in SIDEWAYS.items():
            view = np.ascontiguousarray(np.rot90(image, quarters))
            faces = self._detector.all_faces(view)
            if faces and faces[0].probability > probability:
                surest, probability = self._measured(view, faces, turned), faces[0].probability
            if probability > _SURE:
                break
        if surest is None:
            raise InputError(f"{name}: no face found; take a picture with the face larger, sharper or from the front")
        if surest.side < self._least_face:
            least = self._least_face
            rule, way = f"--least-face {least}", ""
            if not self._asked:
                rule, way = f"the {least} px that this network needs", " (--least-face 0 accepts any face)"
            raise InputError(f"{name}: the face is {surest.side:.0f} px wide, under {rule}; take it from closer{way}")
        return surest

    def _measured(self, view: np.ndarray, faces: list[Detection], turned: str) -> FacePhoto:
        """The first of the faces found in a view, aligned and measured."""
        face = measured(view, faces[0], self._size, self._crop)
        return replace(face, faces=len(faces), turned=turned, needed=self._needed)


def measured(view: np.ndarray, face: Detection, size: int, crop: Crop) -> FacePhoto:
    """A face found in a view, aligned and measured."""
    image, _ = align_face(view, face, size, crop)
    return FacePhoto(image, 1, "", face.side, sharpness(image, box_side(size, crop)), yaw(face.landmarks))


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

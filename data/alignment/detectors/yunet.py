"""Find faces and their five landmarks with YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y) through OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from data.alignment.detectors.detection import Detection, is_plausible, lay
from runtime.errors import InputError
from runtime.files import sha256

FILE = "yunet_n_320_320.onnx"
# The published file: its own commit, and what it must be.
URL = (
    "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    f"47198234de8c4646961e46159e02af5b06021a78/onnx/{FILE}"
)
SHA256 = "81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2"
_OVERLAP, _MOST = 0.3, 50


@dataclass(frozen=True)
class Look:
    """One way to look for faces: the image's longer side becomes ``inner`` pixels in the middle of a square ``canvas``;
    ``least``: the probability that a face needs."""

    inner: int
    canvas: int
    least: float


# Each canvas has one size: OpenCV plans a network anew for each other one, which takes longer than the search.
SEARCHES = (Look(208, 256, 0.6), Look(144, 256, 0.4), Look(608, 640, 0.4))


class YuNet:
    """Any ONNX file that OpenCV's FaceDetectorYN takes."""

    searches = SEARCHES

    def __init__(self, path: Path) -> None:
        """Raises InputError where there is no such file, or it is no such network."""
        if not path.is_file():
            raise InputError(f"there is no detector {path}; give mtcnn, yunet or an ONNX file of YuNet's kind")
        # OpenCV's engine would say at each start that it has no GPU.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._networks = {
                canvas: cv2.FaceDetectorYN.create(str(path), "", (canvas, canvas), 0.5, _OVERLAP, _MOST)
                for canvas in {search.canvas for search in SEARCHES}
            }
            self.search([np.zeros((64, 64, 3), np.uint8)], SEARCHES[0])
        except cv2.error:
            raise InputError(f"{path} is no face detector of YuNet's kind (ONNX with boxes and five points)") from None

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The face nearest the centre of each image (H, W, 3) uint8 RGB; None where there is none."""
        return [self._nearest(image) for image in images]

    def search(self, images: Sequence[np.ndarray], search: Look) -> list[list[Detection]]:
        """The faces of each image that one search finds, the nearest to the centre first."""
        network = self._networks[search.canvas]
        network.setScoreThreshold(search.least)
        return [_look(network, image, search) for image in images]

    def all_faces(self, image: np.ndarray) -> list[Detection]:
        """Every face of one image, the nearest to the centre first."""
        for search in SEARCHES:
            faces = [face for face in self.search([image], search)[0] if is_plausible(face.landmarks)]
            if faces:
                return faces
        return []

    def crowds(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Every face of each image, small ones too: looked for in the largest canvas."""
        found = self.search(images, SEARCHES[-1])
        plausible = [[face for face in faces if is_plausible(face.landmarks)] for faces in found]
        return [faces or self.all_faces(image) for faces, image in zip(plausible, images, strict=True)]

    def _nearest(self, image: np.ndarray) -> Detection | None:
        faces = self.all_faces(image)
        return faces[0] if faces else None


def _look(network: cv2.FaceDetectorYN, image: np.ndarray, search: Look) -> list[Detection]:
    canvas, (scale, x, y) = lay(image, search.inner, search.canvas)
    found = network.detect(canvas[..., ::-1].copy())[1]
    if found is None:
        return []
    # Left, top, width, height; eyes, nose, mouth as seen in the image; probability. Pixels of the canvas.
    points = (found[:, 4:14].reshape(-1, 5, 2) - [x, y]) / scale
    corners = (np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], 1).reshape(-1, 2, 2) - [x, y]) / scale
    middle = np.array(image.shape[1::-1]) / 2
    nearest = np.linalg.norm(corners.mean(1) - middle, axis=1).argsort(kind="stable")
    return [
        Detection(corners[i].ravel().astype(np.float32), points[i].astype(np.float32), float(found[i, 14]))
        for i in nearest
    ]


def yunet_file() -> Path:
    """The published file in torch.hub's folder, fetched on the first use.

    Raises InputError where it can't be fetched, or is another file than the published one.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(path), hash_prefix=SHA256, progress=False)
        except (OSError, RuntimeError) as error:  # no network; another content
            raise InputError(
                f"the detector {FILE} is not here and can't be fetched ({error}); get it from {URL} and put it at "
                f"{path}, or give its path as --detector"
            ) from None
    if sha256(path) != SHA256:
        raise InputError(f"{path} is not the published {FILE}; delete it, or give your own file as --detector")
    return path

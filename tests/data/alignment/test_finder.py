"""Detectors by name, and the landmark network that judges what they find."""

import cv2
import numpy as np
import pytest
import torch

from data.alignment.alignment import Alignment
from data.alignment.detectors import yunet
from data.alignment.detectors.detection import Detection
from data.alignment.detectors.mtcnn import FaceDetector
from data.alignment.detectors.yunet import SEARCHES, YuNet
from data.alignment.finder import FaceFinder, check_detector, detector_name, open_detector
from data.alignment.landmarks import Reading, coarse_points
from data.transforms import template
from runtime.errors import InputError

FACE = template(112)
LOWER = np.array([0, 2])


def detection(middle, side=40.0, probability=0.99) -> Detection:
    middle = np.asarray(middle, np.float32)
    box = np.concatenate([middle - side / 2, middle + side / 2])
    return Detection(box, (FACE - FACE.mean(0)) * (side / 112) + middle, probability)


# ==== by name ====


def test_a_detector_is_a_name_or_a_file():
    assert isinstance(open_detector("mtcnn"), FaceDetector)
    assert (detector_name("yunet"), detector_name("/models/mine.onnx")) == ("yunet", "mine.onnx")
    with pytest.raises(InputError, match="there is no detector nowhere/mine.onnx"):
        open_detector("nowhere/mine.onnx")
    with pytest.raises(InputError, match="unknown detector 'dlib'; use mtcnn, yunet"):
        check_detector("dlib", "arcface5")


def test_box_crops_are_mtcnns():
    check_detector("mtcnn", "mtcnn_box")
    with pytest.raises(InputError, match="crop mtcnn_box is the box of mtcnn, not that of yunet"):
        check_detector("yunet", "mtcnn_box")


def test_without_a_network_a_line_says_which_file_and_where(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    place = tmp_path / "checkpoints" / "yunet_n_320_320.onnx"
    with pytest.raises(InputError) as error:
        open_detector("yunet")
    assert str(place) in str(error.value) and yunet.URL in str(error.value) and "\n" not in str(error.value)
    place.write_bytes(b"another file")
    with pytest.raises(InputError, match="is not the published yunet_n_320_320.onnx"):
        open_detector("yunet")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="is no face detector of YuNet's kind"):
        YuNet(tmp_path / "mine.onnx")


# ==== YuNet ====


class _ToyYN:
    """OpenCV's FaceDetectorYN that sees a face wherever a pixel is bright, ten canvas pixels wide."""

    def __init__(self, size):
        self.size, self.least = size, 0.5

    def setScoreThreshold(self, least):
        self.least = least

    def detect(self, canvas):
        assert canvas.shape == (*self.size, 3), "the canvas keeps its size"
        rows, columns = np.nonzero(canvas[..., 0] > 200)  # blue: OpenCV's order
        faces = []
        for x, y in zip(columns, rows, strict=True):
            points = (FACE - FACE.mean(0)) / 11.2 + [x, y]
            faces.append([x - 5, y - 5, 10, 10, *points.ravel(), 0.9])
        return 1, np.array(faces, np.float32) if faces else None


def test_yunets_faces_are_in_image_pixels_nearest_the_centre_first(tmp_path, monkeypatch):
    file = tmp_path / "mine.onnx"
    file.write_bytes(b"x")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda path, config, size, *_: _ToyYN(size))
    image = np.zeros((104, 208, 3), np.uint8)
    image[[10, 50], [30, 120], 2] = 255  # RGB
    detector = YuNet(file)
    first, second = detector.search([image], SEARCHES[0])[0]
    assert (first.box[:2] + first.box[2:]) / 2 == pytest.approx([120, 50], abs=1e-3)
    assert first.landmarks.mean(0) == pytest.approx([120, 50], abs=1e-3)
    assert second.landmarks.mean(0) == pytest.approx([30, 10], abs=1e-3)
    assert np.allclose(detector([image])[0].box, first.box) and len(detector.all_faces(image)) == 2
    assert detector([np.zeros((50, 50, 3), np.uint8)]) == [None]


# ==== the network behind a detector ====


class _Searches:
    """A detector whose searches find what they are told."""

    def __init__(self, *found: list[Detection]):
        self.searches, self.done = found, []

    def search(self, images, search):
        self.done.append(len(images))
        return [list(search) for _ in images]

    def all_faces(self, image):
        return [face for search in self.searches for face in search]


class _Knows:
    """A landmark network that knows faces right of a line, and finds their points two pixels lower. In crops around the
    centre it sees the ``hidden`` face, or one left of the line."""

    def __init__(self, line: float, hidden: Detection | None = None):
        self.line, self.hidden = line, hidden or detection([0, 50])

    def glance(self, images, windows):
        middles = np.array([(window.box[:2] + window.box[2:]) / 2 for window in windows])
        far = np.linalg.norm(middles - self.hidden.landmarks.mean(0), axis=1)
        return np.stack([self.hidden.landmarks.astype(np.float64)] * len(windows)), np.exp(-far / 40)

    def __call__(self, images, detections):
        sure = [face.landmarks.mean(0)[0] > self.line for face in detections]
        return [
            Reading(face.landmarks + LOWER, np.arange(5.0), 0.9, bool(known))
            for face, known in zip(detections, sure, strict=True)
        ]


IMAGE = np.zeros((100, 100, 3), np.uint8)


def test_the_nearest_face_that_the_network_knows_is_taken_with_its_points():
    near, far = detection([45, 50]), detection([70, 50])
    detector = _Searches([near, far], [near])
    (found,) = FaceFinder(detector, _Knows(60))([IMAGE])
    assert found.refined and np.allclose(found.landmarks, far.landmarks + LOWER)
    assert found.weights.tolist() == [0, 1, 2, 3, 4] and detector.done == [1]


def test_where_it_knows_none_every_search_is_done_and_a_sure_detectors_points_are_kept():
    faint, sure = detection([40, 50], probability=0.5), detection([45, 50])
    detector = _Searches([faint], [sure], [])
    (found,) = FaceFinder(detector, _Knows(60))([IMAGE])
    assert found is sure and not found.refined and detector.done == [1, 1, 1]
    assert FaceFinder(_Searches([faint]), _Knows(60))([IMAGE]) == [None]
    assert FaceFinder(_Searches([]), _Knows(60))([]) == []


def test_where_no_known_face_is_at_the_centre_the_network_looks_there_itself():
    beside, hidden = detection([90, 50], 30.0), detection([64, 55], 50.0)
    knows = _Knows(60, hidden)
    for detector in (_Searches([], []), _Searches([beside])):
        (found,) = FaceFinder(detector, knows)([IMAGE])
        assert found.refined and np.allclose(found.landmarks, hidden.landmarks + LOWER)
        # The box is the one that a detector would give these points.
        assert np.allclose(coarse_points(Detection(found.box, np.zeros((5, 2)), 0.9)), found.landmarks, atol=2)
    (found,) = FaceFinder(_Searches([detection([66, 50])]), knows)([IMAGE])
    assert np.allclose(found.landmarks, detection([66, 50]).landmarks + LOWER)
    (found,) = FaceFinder(_Searches([beside]), _Knows(60))([IMAGE])
    assert np.allclose(found.landmarks, beside.landmarks + LOWER)


def test_all_faces_begin_with_the_known_one():
    near, far = detection([45, 50]), detection([90, 50])
    first, second = FaceFinder(_Searches([near, far]), _Knows(60)).all_faces(IMAGE)
    assert first.refined and second is near


# ==== what cards say ====


def test_what_says_nothing_was_found_by_mtcnn_and_masked_after_alignment():
    before = Alignment("mtcnn", "detector", "after alignment")
    assert Alignment.of(None) == Alignment.of({"crop": "arcface5"}) == Alignment() == before
    other = Alignment("yunet", "network", "before alignment")
    assert Alignment.of({"alignment": other.to_dict()}) == other
    # The landmark network has learned MTCNN's points, whatever found the face.
    assert other.finds_as(before) and not Alignment("yunet").finds_as(before)

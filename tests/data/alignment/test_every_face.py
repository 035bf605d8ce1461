"""Every face of a picture, upright or not: by a detector that knows where they are, and by MTCNN."""

import numpy as np
import pytest

from data.alignment import every_face
from data.alignment.align import align_face
from data.alignment.detectors import cascade
from data.alignment.detectors.detection import Detection
from data.alignment.detectors.mtcnn import FaceDetector
from data.alignment.every_face import EveryFaceReader, turned_back
from data.company import draw_group
from runtime.errors import InputError


@pytest.fixture(scope="module")
def group():
    return draw_group([0, 1, 2], 3, width=480, height=320, masked_share=0.0)


class KnowsOne:
    """Finds the given faces in the one picture that it knows; ``alone``: what it finds when it looks longer."""

    def __init__(self, image: np.ndarray, faces: list[Detection], alone: Detection | None = None) -> None:
        self._image, self._faces, self._alone = image, faces, alone

    def crowds(self, images):
        return [self._faces if np.array_equal(image, self._image) else [] for image in images]

    def __call__(self, images):
        return [self._alone] * len(images)


def read(photo):
    """The picture, and its faces."""
    reader = EveryFaceReader(112, "arcface5")
    opened = reader.open(photo)
    return opened.image, reader.find([opened])[0]


def detections(group) -> list[Detection]:
    return [Detection(guest.box, guest.landmarks, 1.0) for guest in group.guests]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_faces_of_a_turned_photograph_lie_where_they_are_in_its_file(group, monkeypatch, quarters):
    known = KnowsOne(group.image, detections(group)[::-1])
    monkeypatch.setattr(every_face, "open_finder", lambda *_: known)
    # In the file it lies turned to the right, so that turning it to the left sets it upright.
    image, faces = read(np.ascontiguousarray(np.rot90(group.image, -quarters)))
    assert len(faces) == 3 and [face.box[0] for face in faces] == sorted(face.box[0] for face in faces)
    # Paint the boxes into the upright picture, turn that: the boxes in the file cover the same pixels.
    expected = np.zeros(group.image.shape[:2], int)
    for guest in group.guests:
        left, top, right, bottom = guest.box.round().astype(int)
        expected[top : bottom + 1, left : right + 1] = 1
    painted = np.zeros(image.shape[:2], int)
    for face in faces:
        left, top, right, bottom = face.box.round().astype(int)
        painted[top : bottom + 1, left : right + 1] = 1
        assert (face.landmarks > face.box[:2]).all() and (face.landmarks < face.box[2:]).all()
    assert (np.rot90(expected, -quarters) != painted).mean() < 0.005
    upright = {align_face(group.image, one, 112)[0].tobytes() for one in detections(group)}
    assert {face.photo.image.tobytes() for face in faces} == upright
    assert all(bool(face.photo.turned) == bool(quarters) for face in faces)


def test_points_turn_back_pixel_by_pixel():
    picture = np.arange(12).reshape(3, 4)
    for quarters in range(4):
        view = np.rot90(picture, quarters)
        places = np.array([(x, y) for y in range(view.shape[0]) for x in range(view.shape[1])], float)
        back = turned_back(places, quarters, view.shape).astype(int)
        np.testing.assert_array_equal(picture[back[:, 1], back[:, 0]], view.ravel())


def test_where_none_is_found_the_detector_looks_longer(group, monkeypatch):
    one = detections(group)[1]
    monkeypatch.setattr(every_face, "open_finder", lambda *_: KnowsOne(group.image[:1], [], one))
    _, faces = read(group.image)
    assert [face.box.tolist() for face in faces] == [one.box.tolist()]
    monkeypatch.setattr(every_face, "open_finder", lambda *_: KnowsOne(group.image[:1], []))
    assert read(group.image)[1] == []
    with pytest.raises(InputError, match="can't be read"):
        read("nowhere.jpg")


def test_mtcnn_finds_a_crowd(group):
    found = FaceDetector().crowds([group.image])[0]
    centres = np.array([face.box.reshape(2, 2).mean(0) for face in found])
    for guest in group.guests:
        middle, side = guest.box.reshape(2, 2).mean(0), guest.box[2] - guest.box[0]
        assert np.linalg.norm(centres - middle, axis=1).min() < side / 3
    assert len(found) == 3


def test_candidates_in_small_pieces_are_the_same_crowd(group, monkeypatch):
    whole = FaceDetector().crowds([group.image])[0]
    monkeypatch.setattr(cascade, "_CHUNK", 7)
    pieces = FaceDetector().crowds([group.image])[0]
    assert len(whole) == len(pieces) >= 3
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.01)

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.alignment.align import align_face, apply_affine, similarity
from data.alignment.detectors.cascade import Cascade, _minimum_nms, _windows
from data.alignment.detectors.detection import Detection, is_plausible
from data.alignment.detectors.mtcnn import FaceDetector
from data.transforms import template

coordinate = st.floats(-300, 300)
points_of_a_face = st.lists(st.tuples(coordinate, coordinate), min_size=5, max_size=5).map(np.array)


def detection(points: np.ndarray, box: tuple = (10, 10, 90, 90)) -> Detection:
    return Detection(np.array(box, np.float32), np.asarray(points, np.float32), 1.0)


def naive_similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Four unknowns a, b, x, y of [[a, −b, x], [b, a, y]], two equations a point, by general least squares."""
    rows = [[x, -y, 1, 0] for x, y in points] + [[y, x, 0, 1] for x, y in points]
    a, b, x, y = np.linalg.lstsq(np.array(rows), np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    return np.array([[a, -b, x], [b, a, y]])


# ==== similarity transform ====


@settings(deadline=None)
@given(points_of_a_face)
def test_similarity_is_the_least_squares_one(points):
    if np.ptp(points, axis=0).max() < 1:
        return
    assert similarity(points, template(112)) == pytest.approx(naive_similarity(points, template(112)), abs=1e-6)


@settings(deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(0.1, 8), coordinate, coordinate)
def test_similarity_recovers_a_known_transform(angle, scale, x, y):
    known = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]) * scale
    known[:, 2] = x, y
    source = template(112).astype(float)
    assert similarity(source, apply_affine(known, source)) == pytest.approx(known, abs=1e-6)


def test_similarity_never_mirrors():
    mirrored = template(112) * [-1, 1]
    matrix = similarity(mirrored, template(112))
    assert np.linalg.det(matrix[:, :2]) > 0


def test_similarity_refuses_a_single_point():
    with pytest.raises(ValueError, match="one point"):
        similarity(np.ones((5, 2)), template(112))


# ==== crops ====


def dotted(points: np.ndarray, size: int, radius: float = 2.0) -> np.ndarray:
    """White soft dots on black at the points."""
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for px, py in points:
        image += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2))
    return np.repeat((255 * image.clip(0, 1))[..., None], 3, axis=2).astype(np.uint8)


def centroid(image: np.ndarray, near: np.ndarray, reach: int = 8) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image[..., 0] * (np.hypot(x - near[0], y - near[1]) < reach)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [112, 128, 160])
@pytest.mark.parametrize("enlarged", [0.8, 1.5, 3.7, 6.0])
def test_landmarks_land_on_the_template_at_any_source_size(size, enlarged):
    """The largest sources shrink in steps: the landmarks returned must still be where the dots went."""
    turn = np.deg2rad(12)
    matrix = enlarged * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    source = template(112) @ matrix.T + [30 * enlarged, 5]
    image = dotted(source, int(160 * enlarged), radius=2 * enlarged)
    face, landmarks = align_face(image, detection(source), size)
    assert face.shape == (size, size, 3) and face.dtype == np.uint8
    assert landmarks == pytest.approx(template(size), abs=1e-3)
    for point in landmarks:
        assert centroid(face, point) == pytest.approx(point, abs=0.35)


def test_a_strong_reduction_does_not_skip_pixels():
    """Stripes finer than the result average to grey; plain bilinear sampling would show them."""
    image = np.zeros((1600, 1600, 3), np.uint8)
    image[:, ::2] = 255
    face, _ = align_face(image, detection(template(1600)), 112)
    assert abs(int(face[20:90, 20:90].min()) - 127) < 20 and abs(int(face[20:90, 20:90].max()) - 127) < 20


@pytest.mark.parametrize("box", [(20, 30, 80, 110), (-15, -10, 70, 75), (60, 60, 300, 260)])
def test_box_crop_is_the_detectors_box_cut_at_the_border(box):
    points = np.array([[35, 50], [65, 50], [62, 66], [40, 66], [64, 69]])
    image = dotted(points, 128)
    face, landmarks = align_face(image, detection(points, box), 160, "mtcnn_box")
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], 128), min(box[3], 128)
    assert face.shape == (160, 160, 3)
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) - 0.5
    scale = 160 / np.array([right - left, bottom - top])
    assert landmarks == pytest.approx((points - middle) * scale + 79.5, abs=1e-3)


# ==== plausibility ====


def test_a_face_is_plausible_in_any_pose_and_a_scramble_is_not():
    face = template(112)
    turn = np.deg2rad(160)
    rotated = face @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert is_plausible(face) and is_plausible(rotated)
    assert not is_plausible(face[[1, 0, 2, 3, 4]])
    assert not is_plausible(face[[0, 1, 3, 2, 4]])
    assert not is_plausible(np.ones((5, 2)))
    assert not is_plausible(face * [-1, 1])


# ==== detector ====


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def test_no_face_gives_none_for_any_shape(detector):
    noise = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    shapes = [
        np.zeros((40, 30, 3), np.uint8),
        np.full((1, 1, 3), 90, np.uint8),
        noise,
        np.zeros((10, 900, 3), np.uint8),
    ]
    assert detector(shapes) == [None] * 4
    assert detector([]) == []


def test_of_several_faces_the_one_nearest_the_centre_in_image_pixels(monkeypatch, detector):
    face = template(112)

    def three_faces(images, min_face, factor, thresholds):
        canvas = len(images[0])
        centres = np.array([[0.2, 0.5], [0.55, 0.5], [0.5, 0.49]]) * canvas
        boxes = np.hstack([centres - 10, centres + 10]).astype(np.float32)
        points = np.array([face * (20 / 112) + c - 10 for c in centres], np.float32)
        # The last is nearest, but not sure enough.
        return [(boxes, points, np.array([0.99, 0.95, 0.75], np.float32))] * len(images)

    monkeypatch.setattr(detector, "_cascade", three_faces)
    (found,) = detector([np.zeros((400, 800, 3), np.uint8)])
    # 800 pixels lie on 200 of the canvas of 250, from 25 on: x = (0.55 · 250 − 25) · 4.
    assert (found.box[:2] + found.box[2:]) / 2 == pytest.approx([450, 200], abs=1e-3)
    assert found.landmarks.mean(0) == pytest.approx(
        [450 + (face.mean(0)[0] - 56) * 80 / 112, 200 + (face.mean(0)[1] - 56) * 80 / 112], abs=0.01
    )


def test_implausible_landmarks_are_no_face(monkeypatch, detector):
    scramble = template(112)[[1, 0, 2, 3, 4]]

    def guess(images, min_face, factor, thresholds):
        return [(np.array([[10, 10, 90, 90]], np.float32), scramble[None], np.ones(1, np.float32))] * len(images)

    monkeypatch.setattr(detector, "_cascade", guess)
    assert detector([np.zeros((100, 100, 3), np.uint8)]) == [None]


def test_windows_are_black_where_they_leave_the_picture():
    image = np.full((50, 60, 3), 200, np.uint8)
    boxes = np.array([[10, 10, 34, 34], [-12, -12, 12, 12], [48, 38, 72, 62], [200, 200, 224, 224]], np.float32)
    inside, corner, far_corner, outside = _windows([image], boxes, np.zeros(4, int), 24)
    assert (inside == 200).all() and (outside == 0).all()
    assert (corner[:12] == 0).all() and (corner[:, :12] == 0).all() and (corner[12:, 12:] == 200).all()
    assert (far_corner[:12, :12] == 200).all() and (far_corner[12:] == 0).all() and (far_corner[:, 12:] == 0).all()


def test_minimum_nms_drops_a_face_in_a_face_of_the_same_picture_only():
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60], [0, 0, 98, 98], [200, 0, 300, 100]], np.float32)
    scores = np.array([0.9, 0.8, 0.99, 0.7], np.float32)
    kept = _minimum_nms(boxes, scores, np.zeros(4, int), 0.7)
    assert kept.tolist() == [2, 3]
    assert sorted(_minimum_nms(boxes, scores, np.arange(4), 0.7).tolist()) == [0, 1, 2, 3]


@torch.inference_mode()
def test_cascade_keeps_the_pictures_of_a_batch_apart():
    """A candidate in one picture must not suppress or feed another: alone and in company the same."""
    rng = np.random.default_rng(1)
    pictures = [np.repeat(np.repeat(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), 12, 0), 12, 1) for _ in range(6)]
    cascade = Cascade()
    together = cascade._propose(pictures, 40, 0.709, 0.6)
    counts = np.bincount(together[1], minlength=6)
    alone = [cascade._propose([picture], 40, 0.709, 0.6)[0] for picture in pictures]
    assert counts.tolist() == [len(boxes) for boxes in alone] and counts.sum() > 0


def test_pictures_that_no_face_has_room_in_have_none():
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert FaceDetector().crowds([noise, noise[:1, :1], noise[:2]]) == [[], [], []]

"""The landmark network: what it learns from, its training, its file, and its points in the photograph."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.alignment.align import apply_affine, eye_distance
from data.alignment.detectors.detection import Detection
from data.alignment.landmark_network import CROP_SIZE, LandmarkNetwork, Points, crop_template
from data.alignment.landmarks import LandmarkFinder, coarse_points, load_network
from data.landmarks import hide
from data.landmarks.fit import _Training, fit, loss_of
from data.landmarks.hide import hard_face, natural_face
from data.landmarks.settings import LandmarkSettings
from data.landmarks.teacher import KEPT_SIZE, Taught, is_held_out, kept_template, teach
from data.landmarks.train import write_trained
from data.masks.render import MASK_KINDS
from data.synthetic.draw import draw_face
from data.transforms import template
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError

# A colour for each point.
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]])


def dotted(size: int, points: np.ndarray) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    for (x, y), colour in zip(points, COLOURS.tolist(), strict=True):
        cv2.circle(image, (round(x * 8), round(y * 8)), 24, colour, -1, shift=3)
    return image


def dots(image: np.ndarray) -> np.ndarray:
    """Where the dots lie: the centres of what is nearest to each colour."""
    off = np.abs(image[:, :, None].astype(int) - COLOURS).sum(-1)
    weight = np.clip(200 - off, 0, None).astype(float)
    rows, columns = np.mgrid[: len(image), : image.shape[1]]
    return np.stack([np.array([(w * columns).sum(), (w * rows).sum()]) / w.sum() for w in np.moveaxis(weight, 2, 0)])


# ==== what it learns from ====


def test_points_stay_on_the_face_through_every_move(monkeypatch):
    for share in ("MASKED", "OTHER_THINGS", "CUT_OFF", "NO_FACE"):
        monkeypatch.setattr(hide, share, 0.0)
    monkeypatch.setattr(hide, "_light", lambda image, rng: image)
    points = kept_template().astype(np.float32)
    crop = dotted(KEPT_SIZE, points)
    mirrored = 0
    for seed in range(20):
        small, found, is_face = hard_face(crop, points, np.random.default_rng(seed), MASK_KINDS, crop[None])
        seen = dots(small)
        if seen[1, 0] < seen[0, 0]:
            # In the mirror the image's left eye is the other dot.
            seen, mirrored = seen[[1, 0, 2, 4, 3]], mirrored + 1
        inside = ((found > 0.05) & (found < 0.95)).all(1)
        assert is_face and seen[inside] == pytest.approx(found[inside] * CROP_SIZE, abs=1.5)
    assert 3 < mirrored < 17


def test_hidden_faces_are_crops_with_masks_anywhere():
    face = draw_face(1, 0, size=KEPT_SIZE)
    crops = np.stack([face.image] * 2)
    rng = np.random.default_rng(0)
    examples = [hard_face(face.image, kept_template().astype(np.float32), rng, MASK_KINDS, crops) for _ in range(30)]
    assert {small.shape for small, _, _ in examples} == {(CROP_SIZE, CROP_SIZE, 3)}
    assert 0 < sum(not is_face for _, _, is_face in examples) < 15
    same = np.random.default_rng(3), np.random.default_rng(3)
    first, again = (natural_face(face.image, kept_template(), one, "n95")[0] for one in same)
    assert (first == again).all()


# ==== training ====


@pytest.fixture(scope="module")
def taught() -> Taught:
    crops = np.stack([draw_face(person, 0, size=KEPT_SIZE).image for person in range(6)])
    landmarks = np.stack([kept_template()] * 6).astype(np.float32)
    return Taught(crops, landmarks, np.array([False] * 4 + [True] * 2))


def settings(tmp_path: Path, **more) -> LandmarkSettings:
    values = {"batch_size": 4, "steps": 4, "workers": 0, **more}
    return LandmarkSettings((tmp_path,), out=tmp_path / "points.safetensors", **values)


def _saves_and_stops(training, path, save=_Training.save):
    save(training, path)
    raise KeyboardInterrupt


def test_stopped_and_resumed_or_with_a_worker_it_gives_the_same_bits(taught, tmp_path, monkeypatch):
    whole = fit(taught, settings(tmp_path), tmp_path / "whole.pt").state_dict()
    monkeypatch.setattr("data.landmarks.fit._SAVED_EVERY", 2)
    with monkeypatch.context() as patch:
        patch.setattr("data.landmarks.fit._Training.save", _saves_and_stops)
        with pytest.raises(KeyboardInterrupt):
            fit(taught, settings(tmp_path), tmp_path / "parts.pt")
    parts = fit(taught, settings(tmp_path, workers=1), tmp_path / "parts.pt").state_dict()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    with pytest.raises(InputError, match="was begun with lr 0.002; use the same settings"):
        fit(taught, settings(tmp_path, lr=0.1), tmp_path / "parts.pt")


def test_a_checkpoint_of_other_photographs_is_refused(taught, tmp_path):
    """The trained file of one folder used to come out again under the card of another."""
    fit(taught, settings(tmp_path), tmp_path / "a.pt")
    others = replace(taught, landmarks=taught.landmarks + 1)
    with pytest.raises(InputError, match="begun with other photographs; .* name another --out"):
        fit(others, settings(tmp_path), tmp_path / "a.pt")


def test_a_checkpoint_that_names_no_photographs_is_resumed(taught, tmp_path):
    whole = fit(taught, settings(tmp_path), tmp_path / "a.pt").state_dict()
    content = load_checkpoint(tmp_path / "a.pt")
    del content["settings"]["photographs"]
    save_checkpoint(tmp_path / "a.pt", content)
    resumed = fit(taught, settings(tmp_path), tmp_path / "a.pt").state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_faces_whose_crops_are_gone_are_found_again(tmp_path, monkeypatch):
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "faces" / "Ann" / "1.png"), np.zeros((40, 40, 3), np.uint8))
    found = np.full((KEPT_SIZE, KEPT_SIZE, 3), 9, np.uint8), kept_template()
    monkeypatch.setattr("data.landmarks.teacher._bare_faces", lambda files: [("Ann", *found)])
    teach([tmp_path / "faces"], tmp_path / "cache", 5)
    next((tmp_path / "cache").glob("*.npy")).unlink()
    assert (teach([tmp_path / "faces"], tmp_path / "cache", 5).crops == 9).all()


def test_the_loss_is_that_of_a_laplacian_in_the_plane():
    truth = torch.rand(3, 5, 2)
    points = Points(truth + torch.tensor([0.03, 0.04]), torch.full((3, 5), 0.1), torch.zeros(3))
    faces = torch.tensor([1.0, 1.0, 0.0])
    # A distance of 0.05 where 0.1 is expected, and log 2 for not knowing whether it is a face.
    expected = 2 * 0.05 / 0.1 + 2 * np.log(0.1) + 0.05 / 0.04 + np.log(2)
    assert float(loss_of(points, truth, faces)) == pytest.approx(expected, abs=1e-4)
    # Least where the expected distance is the true one.
    losses = [float(loss_of(points._replace(spread=torch.full((3, 5), s)), truth, faces)) for s in (0.04, 0.05, 0.06)]
    assert min(losses) == losses[1]


def test_the_file_is_small_comes_back_and_has_a_card(taught, tmp_path):
    torch.manual_seed(0)
    card = write_trained(LandmarkNetwork().eval(), taught, settings(tmp_path))
    file = tmp_path / "points.safetensors"
    assert file.stat().st_size < 2_000_000 and card["parameters"] < 650_000
    assert file.stat().st_mode == file.with_suffix(".json").stat().st_mode  # whoever may read one may read the other
    assert json.loads(file.with_suffix(".json").read_text()) == card and "research only" in card["licence"]
    assert set(card["median_error_of_eye_distance"]) == {"bare", *MASK_KINDS}
    # A network that knows nothing says the mean face.
    found = load_network(file)(torch.zeros(1, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8))
    assert found.landmarks[0].detach().numpy() * CROP_SIZE == pytest.approx(crop_template(), abs=0.05)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="is no trained landmark network"):
        load_network(file)


def test_people_are_held_out_by_their_names():
    people = [f"Person {i}" for i in range(2_000)]
    held_out = [is_held_out(person) for person in people]
    assert 0.03 < np.mean(held_out) < 0.09 and held_out == [is_held_out(person) for person in people]


# ==== its points in a photograph ====


class _SeesDots:
    """Finds the coloured dots of a crop; what is mirrored, it takes for what it looks like."""

    def __call__(self, crops: torch.Tensor) -> Points:
        found = []
        for crop in crops.numpy():
            points = dots(crop)
            found.append(points if points[0, 0] < points[1, 0] else points[[1, 0, 2, 4, 3]])
        landmarks = torch.from_numpy(np.stack(found)) / CROP_SIZE
        return Points(landmarks, torch.full((len(crops), 5), 0.01), torch.full((len(crops),), 3.0))


def test_points_come_back_in_the_photographs_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("data.alignment.landmarks.load_network", lambda file: _SeesDots())
    turn = np.array([[0.96, -0.28], [0.28, 0.96]]) * 0.9
    points = (template(112) - 56) @ turn.T + [130, 110]
    photo = dotted(240, points)
    box = np.array([90, 65, 170, 165], np.float32)
    off = Detection(box, (points + np.array([9, -7])).astype(np.float32), 0.9)
    (reading,) = LandmarkFinder()([photo], [off])
    assert reading.landmarks == pytest.approx(points, abs=1) and reading.sure
    assert LandmarkFinder()([], []) == []


def test_points_that_can_not_be_the_boxs_are_left_for_the_box():
    box = np.array([100, 100, 180, 200], np.float32)
    good = apply_affine(np.array([[1.0, 0, 84], [0, 1, 96]]), template(112)).astype(np.float32)
    assert coarse_points(Detection(box, good, 0.9)) is good
    for wrong in (good + 90, (good - good.mean(0)) * 3 + good.mean(0), good[[1, 0, 2, 3, 4]]):
        face = coarse_points(Detection(box, wrong, 0.9))
        assert np.abs(face.mean(0) - [140, 156]).max() < 1 and 25 < eye_distance(face) < 50


def test_a_file_where_the_cache_is_to_be_is_one_line(tmp_path):
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "faces" / "Ann" / "1.png"), np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "cache").touch()
    with pytest.raises(InputError, match=r"can't write .*cache/\w+.npy \(File exists"):
        teach([tmp_path / "faces"], tmp_path / "cache", 5)

"""The smallest face of a network that sees stripes: a naive count, what is stored, and who takes it from there."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from data.transforms import box_side
from eval import threshold as command
from eval.embed import Embedder
from eval.evaluators import PairEvaluator
from eval.least_face import MOST_ADDED, MOST_TIMES, SIDES, measure_least_face, shrunk, store_least_face
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.run_folder import RunFolder
from tests.small_run import write_small_run

SIZE, PEOPLE, PICTURES = 112, 12, 3
THRESHOLD = 0.9


class Stripes(nn.Module):
    """The direction of a picture's coarse parts beside its fine ones: without these, people look alike."""

    def forward(self, x):
        coarse = nn.functional.avg_pool2d(x, 8)
        fine = (x - nn.functional.interpolate(coarse, SIZE)).flatten(1) @ self.fine
        return nn.functional.normalize(torch.cat([fine, torch.ones(len(x), 1)], dim=1))

    def __init__(self, patterns):
        super().__init__()
        self.fine = nn.Parameter(patterns)


@pytest.fixture(scope="module")
def stripes():
    """(faces, model): each person is a pattern of fine grain, each picture of them a brightness."""
    rng = np.random.default_rng(3)
    grain = rng.normal(size=(PEOPLE, SIZE, SIZE, 1))
    grain = np.stack([cv2.GaussianBlur(each, (0, 0), 1.2)[..., None] for each in grain])
    grain = 40 * (grain / grain.std((1, 2, 3), keepdims=True)).repeat(3, axis=3)
    shades = np.array([110, 125, 140])[None, :, None, None, None]
    faces = np.clip(grain[:, None] + shades, 0, 255).astype(np.uint8).reshape(-1, SIZE, SIZE, 3)
    patterns = normalise(torch.from_numpy(faces[::PICTURES])).flatten(1)
    patterns = patterns - patterns.mean(1, keepdim=True)
    return faces, Stripes(patterns.T / (patterns[0] @ patterns[0]) * 2)


def normalise(batch):
    return batch.permute(0, 3, 1, 2).float() / 255


def evaluator_of(faces):
    """Each person's pictures with each other and with the next person's."""
    one = np.arange(len(faces))
    left, right = np.concatenate([one, one]), np.concatenate([(one + 1) % len(faces), (one + PICTURES) % len(faces)])
    people = np.stack([left, right], axis=1) // PICTURES
    same = people[:, 0] == people[:, 1]
    pairs = SimpleNamespace(left=left, right=right, people=people, same=same, left_out=None)
    loader = SimpleNamespace(faces=lambda rows: faces[rows], unreadable=set())
    return PairEvaluator(loader, pairs, device=torch.device("cpu"), normalise=normalise)


def naive_share(model, faces):
    with torch.no_grad():
        rows = model(normalise(torch.from_numpy(faces))).numpy()
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if i // PICTURES != j // PICTURES]
    return np.mean([np.linalg.norm(rows[i] - rows[j]) <= THRESHOLD for i, j in pairs])


def test_it_is_the_last_size_before_strangers_are_accepted(stripes):
    faces, model = stripes
    found = measure_least_face(model, evaluator_of(faces), THRESHOLD, "arcface5")
    whole = round(box_side(SIZE, "arcface5"))
    assert whole == 80 and next(iter(found.false_matches)) == 80
    expected = {80: naive_share(model, faces)}
    least = 80
    for side in SIDES:
        expected[side] = naive_share(model, shrunk(faces, side / 80))
        if expected[side] > MOST_TIMES * expected[80] and expected[side] > expected[80] + MOST_ADDED:
            break
        least = side
    assert found.false_matches == pytest.approx(expected) and found.side == least
    assert 20 < least < 80, "the fixture must lie between the sizes"


def test_a_face_made_small_has_the_pixels_of_a_small_one(stripes):
    face = stripes[0][0]
    small = cv2.resize(face, (28, 28), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(shrunk(face[None], 0.25)[0], expected)


def test_black_pictures_and_a_single_person_do_not_count(stripes):
    faces, model = stripes
    spoiled = faces.copy()
    spoiled[::PICTURES] = 0
    fewer = measure_least_face(model, evaluator_of(spoiled), THRESHOLD, "arcface5")
    kept = np.delete(faces, np.s_[::PICTURES], axis=0)
    with torch.no_grad():
        rows = model(normalise(torch.from_numpy(kept))).numpy()
    near = np.linalg.norm(rows[:, None] - rows, axis=2) <= THRESHOLD
    people = np.arange(len(kept)) // (PICTURES - 1)
    assert fewer.false_matches[80] == pytest.approx(near[people[:, None] != people].mean())
    assert measure_least_face(model, evaluator_of(faces[:PICTURES]), THRESHOLD, "arcface5") is None


def test_a_run_stores_it_beside_its_threshold(stripes, tmp_path, capsys):
    faces, model = stripes
    run = RunFolder(tmp_path)
    store_least_face(run, model, evaluator_of(faces), "arcface5")  # stopped before its first checkpoint
    save_checkpoint(run.best, {"model": model.state_dict(), "threshold": THRESHOLD, "epoch": 2})
    store_least_face(run, model, evaluator_of(faces), "arcface5")
    found = measure_least_face(model, evaluator_of(faces), THRESHOLD, "arcface5")
    content = load_checkpoint(run.best)
    assert content["least_face"] == found.side and content["epoch"] == 2
    assert content["false_matches_by_side"] == {str(side): share for side, share in found.false_matches.items()}
    assert f"smallest usable face: {found.side} px" in capsys.readouterr().out


def test_eval_threshold_measures_it_anew_and_the_embedder_takes_it(drawn_faces, tmp_path, monkeypatch, capsys):
    run = write_small_run(tmp_path / "run")
    assert Embedder(str(run), device="cpu").smallest_face is None
    csvs = [str(drawn_faces / name) for name in ("eval_same.csv", "eval_diff.csv")]
    monkeypatch.setattr(sys, "argv", ["threshold", str(run), *csvs, "--root", str(drawn_faces)])
    command.main()
    stored = load_checkpoint(run / "best.pt")["least_face"]
    assert f"smallest usable face: {stored} px" in capsys.readouterr().out
    assert Embedder(str(run), device="cpu").smallest_face == stored

"""IJB-B and IJB-C against the published evaluation in naive lines, on small sets that a writer of its own makes."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from data.datasets import ImageLoader
from data.masks.render import random_mask_kind, render_mask
from data.sources.ijb import find_ijb, read_ijb
from data.tables.images import Images
from eval.benchmark.contract import Work
from eval.benchmark.faces import drawn_mask, masks_checksums
from eval.benchmark.network import FaceNetwork
from eval.benchmark.sets.find import find_sets
from eval.benchmark.sets.ijb import RATES
from tests.ijb_set import POINTS, write_lists, write_pictures
from tests.one_line import one_line
from tests.small_run import write_small_run

TEMPLATES, PEOPLE, SIZE = 40, 10, 64


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return FaceNetwork(str(write_small_run(tmp_path_factory.mktemp("runs") / "run")), device="cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A set with one to six pictures a template, of one to three media, and its rows as Python values."""
    rng = np.random.default_rng(1)
    folder, pictures = tmp_path_factory.mktemp("sets") / "IJBC", []
    for template in range(1, TEMPLATES + 1):
        for _ in range(rng.integers(1, 6)):
            medium = int(rng.integers(1, 4))
            pictures.append((f"{len(pictures) + 1}.png", template * 10, medium, round(float(rng.random()), 3)))
    order = rng.permutation(len(pictures))
    pictures = [pictures[i] for i in order]
    person = {template * 10: template % PEOPLE for template in range(1, TEMPLATES + 1)}
    landmarks = write_pictures(folder, [name for name, *_ in pictures], [person[t] for _, t, *_ in pictures])
    every = [(a, b, int(person[a] == person[b])) for a in person for b in person if a < b]
    pairs = [every[i] for i in rng.permutation(len(every))]
    write_lists(folder, pictures, pairs, landmarks=landmarks)
    return folder, pictures, pairs, landmarks


def run(folder: Path, network: FaceNetwork) -> list:
    (found,) = find_sets(folder.parent)
    return found.run(Work(network, "mtcnn", 0, "none", 1))


# ---- the published evaluation, naively ----


def aligned(path: Path, points: list) -> np.ndarray:
    """Umeyama's similarity (1991) to the template, and one bilinear warp."""
    source, target = np.array(points), np.array(POINTS) * (SIZE / 112)
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a)
    rotation = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt
    scaled = (d * [1, np.sign(np.linalg.det(u @ vt))]).sum() / (a**2).sum() * rotation
    matrix = np.column_stack([scaled, target.mean(0) - scaled @ source.mean(0)])
    return cv2.warpAffine(cv2.imread(str(path)), matrix, (SIZE, SIZE))[:, :, ::-1]


def published(sums, pictures, pairs, by_length: bool, by_score: bool) -> dict[str, float]:
    """TAR at each rate of RATES."""
    templates = {}
    for template in {t for _, t, _, _ in pictures}:
        total = 0
        for medium in {m for _, t, m, _ in pictures if t == template}:
            rows = []
            for row, (_, t, m, score) in zip(sums.astype(float), pictures, strict=True):
                if (t, m) == (template, medium):
                    row = row if by_length else row / np.sqrt((row**2).sum())
                    rows.append(row * score if by_score else row)
            total = total + np.mean(rows, axis=0)
        templates[template] = total / np.sqrt((total**2).sum())
    labels = [label for *_, label in pairs]
    fars, tars, _ = roc_curve(labels, [templates[a] @ templates[b] for a, b, _ in pairs])
    fars, tars = fars[::-1], tars[::-1]  # so that of one FAR the highest TAR comes first
    return {name: tars[np.argmin(abs(fars - rate))] for name, rate in RATES.items()}


def crops(folder: Path, mask_seed: int | None = None) -> np.ndarray:
    """The faces that the network sees, uint8 (N, S, S, 3)."""
    (files,) = find_ijb(folder)
    lists = read_ijb(files)
    images = Images(files.pictures, lists.paths)
    options = {"landmarks": lists.landmarks, "mask_seed": mask_seed}
    return np.concatenate([batch.numpy() for batch in ImageLoader(images, SIZE, batch_size=500, workers=0, **options)])


def test_faces_are_aligned_as_the_published_evaluation_does(written):
    folder, pictures, _, landmarks = written
    files = [folder / "loose_crop" / name for name, *_ in pictures]
    expected = np.stack([aligned(path, points) for path, points in zip(files, landmarks, strict=True)])
    off = np.abs(crops(folder).astype(int) - expected)
    assert off.max() <= 1 and off.mean() < 1e-3


def test_every_test_mode_equals_the_published_evaluation(written, network):
    folder, pictures, pairs, _ = written
    sums = network.sums(crops(folder))
    results = run(folder, network)
    assert [result.protocol for result in results] == [f"IJB 1:1 N{n}D{d}F1" for n in (1, 0) for d in (1, 0)]
    for result in results:
        expected = published(sums, pictures, pairs, "N1" in result.protocol, "D1" in result.protocol)
        found = {figure.name.removeprefix("TAR at FAR "): figure.value for figure in result.official}
        assert found == pytest.approx(expected, abs=1e-9), result.protocol
        assert (result.pairs, result.lost_pairs, result.faces, result.lost_faces) == (len(pairs), 0, len(pictures), 0)
        assert result.not_comparable == "" and result.set == "ijbc"
    assert len({tuple(figure.value for figure in result.official) for result in results}) > 2


def test_own_figures_are_given_where_there_are_enough_different_pairs(written, network):
    (first, *_) = run(written[0], network)
    given = {figure.name for figure in first.own if figure.value is not None}
    assert given == {"TAR at FAR 1e-1"}  # 720 different pairs
    assert first.curve.same + first.curve.different == first.pairs


def test_the_line_before_the_work_says_what_there_is(written, network):
    folder, pictures, pairs, _ = written
    (found,) = find_sets(folder.parent, ["ijbc"])
    assert found.describe() == f"{len(pairs)} pairs of {TEMPLATES} templates of {len(pictures)} pictures"
    assert found.seconds(Work(network, "mtcnn", 0, "none", 1)) > 0


def test_a_list_that_contradicts_itself_has_figures_but_no_people(tmp_path, network):
    """Its different pair is one person by two same pairs."""
    folder = tmp_path / "IJBC"
    landmarks = write_pictures(folder, ["1.png", "2.png", "3.png"])
    pairs = [(1, 2, 1), (2, 3, 1), (1, 3, 0)]
    write_lists(folder, [(f"{i}.png", i, 1, 1.0) for i in (1, 2, 3)], pairs, landmarks=landmarks)
    for result in run(folder, network):
        assert result.official[0].value is not None and result.intervals_over == ""
        assert result.notes[0].startswith("no intervals")


# ---- masked twins ----


def test_twins_are_masked_on_the_right_and_on_both_sides(written, network):
    folder, pictures, pairs, landmarks = written
    (found,) = find_sets(folder.parent)
    results = found.run(Work(network, "mtcnn", 5, "before", 1))
    assert [result.condition for result in results] == [
        *["plain-plain"] * 4,
        *["plain-masked"] * 4,
        *["masked-masked"] * 4,
    ]
    assert {result.masks for result in results[4:]} == {"after alignment"} and results[0].masks == ""
    expected = published(network.sums(crops(folder, mask_seed=5)), pictures, pairs, True, True)
    found = {figure.name.removeprefix("TAR at FAR "): figure.value for figure in results[8].official}
    assert found == pytest.approx(expected, abs=1e-9)
    assert len({tuple(figure.value for figure in result.official) for result in results}) > 4
    drawn = {n: drawn_mask(5, n, points) for n, points in enumerate(landmarks)}
    checksum = masks_checksums(drawn, 5, len(landmarks))["parameters"]
    assert {(r.details["masks"]["parameters"], r.details["seed"]) for r in results[4:]} == {(checksum, 5)}


def test_masks_lie_on_the_landmarks_of_the_list(written):
    folder, *_ = written
    bare, masked = crops(folder), crops(folder, mask_seed=5)
    for number, (face, found) in enumerate(zip(bare, masked, strict=True)):
        rng = np.random.default_rng([5, number])
        kind = random_mask_kind(rng)
        expected = render_mask(face, np.array(POINTS) * (SIZE / 112), kind, rng)
        assert np.abs(found.astype(int) - expected).mean() < 0.5, number


# ---- what is missing ----


def test_lost_pictures_and_templates_are_counted_and_the_rest_is_as_if_they_had_never_been(tmp_path, network):
    names = [f"{i}.png" for i in range(8)]
    landmarks = write_pictures(tmp_path / "a" / "IJBC", names)
    pictures = [(name, i // 2, i, 1.0) for i, name in enumerate(names)]
    pairs = [(0, 1, 1), (2, 3, 0), (0, 3, 0), (1, 3, 0), (0, 2, 1)]
    broken = write_lists(tmp_path / "a" / "IJBC", pictures, [*pairs, (0, 9, 0)], landmarks=landmarks)
    (broken / "loose_crop" / "1.png").unlink()
    (broken / "loose_crop" / "4.png").write_bytes(b"no picture")
    (broken / "loose_crop" / "5.png").unlink()
    whole = tmp_path / "b" / "IJBC"
    write_pictures(whole, names)
    kept = [0, 2, 3, 6, 7]
    rest = [pair for pair in pairs if 2 not in pair]
    write_lists(whole, [pictures[i] for i in kept], rest, landmarks=[landmarks[i] for i in kept])
    assert find_sets(broken.parent)[0].describe().endswith("2 missing; 1 pairs name a template without pictures")
    for lost, same in zip(run(broken, network), run(whole, network), strict=True):
        assert (lost.faces, lost.lost_faces, lost.pairs, lost.lost_pairs) == (8, 3, 3, 3)
        assert lost.not_comparable == "3 pictures and 3 pairs of the set are missing"
        assert lost.official == same.official


def test_without_one_readable_picture_of_both_templates_there_is_nothing_to_say(tmp_path, network):
    folder = write_lists(tmp_path / "IJBC", [("1.png", 1, 1, 1.0), ("2.png", 2, 1, 1.0)], [(1, 2, 1)])
    assert "not one pair has a readable picture" in one_line(lambda: run(folder, network))


def test_landmarks_in_one_point_make_a_picture_unreadable(tmp_path, network):
    folder = tmp_path / "IJBC"
    landmarks = write_pictures(folder, ["1.png", "2.png", "3.png"])
    landmarks[1] = [(5.0, 5.0)] * 5
    write_lists(folder, [(f"{i}.png", i, 1, 1.0) for i in (1, 2, 3)], [(1, 3, 1), (1, 2, 0)], landmarks=landmarks)
    assert all((result.lost_faces, result.lost_pairs) == (1, 1) for result in run(folder, network))


def test_networks_that_take_boxes_are_refused(written):
    (found,) = find_sets(written[0].parent)
    assert find_ijb(written[0])
    network = SimpleNamespace(name="run", crop="mtcnn_box")
    assert "no boxes" in one_line(lambda: found.run(Work(network, "mtcnn", 0, "none", 1)))

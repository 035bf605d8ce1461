"""Templates against loops that anybody can believe, and against InsightFace's way to read a ROC, by scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from eval.metrics.many_pairs.templates import TemplatePairs, people_of_templates, template_embeddings
from eval.metrics.roc import curve, tar_at_far, tar_within_far, tars_nearest_far
from runtime.errors import InputError

RATES = {f"1e-{n}": 10.0**-n for n in range(6, 0, -1)}


def pictures(seed: int, images: int = 300, templates: int = 40, media: int = 4):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(images, 16)).astype(np.float32)
    return embeddings, rng.random(images), rng.integers(templates, size=images), rng.integers(media, size=images)


def template_by_template(embeddings, weights, template, media, templates):
    rows = np.zeros((templates, embeddings.shape[1]))
    for t in set(template.tolist()):
        for m in set(media[template == t].tolist()):
            here = (template == t) & (media == m)
            rows[t] += np.mean([weights[i] * embeddings[i].astype(float) for i in np.flatnonzero(here)], axis=0)
        rows[t] /= np.sqrt((rows[t] ** 2).sum())
    return rows


@pytest.mark.parametrize("at_once", [1, 7, 16_384])
def test_a_template_is_the_sum_of_the_means_of_its_media(monkeypatch, at_once):
    monkeypatch.setattr("eval.metrics.many_pairs.templates._IMAGES_AT_ONCE", at_once)
    embeddings, weights, template, media = pictures(0)
    expected = template_by_template(embeddings, weights, template, media, 40)
    np.testing.assert_allclose(template_embeddings(embeddings, weights, template, media, 40), expected, atol=1e-12)
    expected = template_by_template(embeddings, np.ones(300), template, media, 40)
    np.testing.assert_allclose(template_embeddings(embeddings, None, template, media, 40), expected, atol=1e-12)


def test_more_pictures_of_one_video_weigh_no_more():
    rows = np.eye(3, dtype=np.float32)
    found = template_embeddings(rows[[0, 1, 1, 1, 1]], None, np.zeros(5, int), np.array([7, 9, 9, 9, 9]), 1)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5, 0]])


def test_a_template_without_images_is_a_row_of_zeros():
    rows = np.eye(2, dtype=np.float32)
    found = template_embeddings(rows, None, np.array([2, 0]), np.array([1, 1]), 4)
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [1, 0], [0, 0]])


def test_embeddings_that_are_not_finite_are_refused():
    rows = np.array([[np.nan, 0], [1, 0]], np.float32)
    with pytest.raises(InputError, match="1 of 2 templates have embeddings that are not finite"):
        template_embeddings(rows, None, np.array([0, 1]), np.array([0, 0]), 2)


@pytest.mark.parametrize("at_once", [1, 5, 256])
def test_distances_are_those_of_each_pair_in_the_order_of_the_list(monkeypatch, at_once):
    monkeypatch.setattr("eval.metrics.many_pairs.templates._TEMPLATES_AT_ONCE", at_once)
    rows, others = (template_embeddings(*pictures(seed), 40) for seed in (1, 3))
    left, right = np.random.default_rng(2).integers(40, size=(2, 500))
    expected = [np.linalg.norm(rows[a] - others[b]) for a, b in zip(left, right, strict=True)]
    pairs = TemplatePairs(left, right, 40)
    np.testing.assert_allclose(pairs.distances(rows, others), expected, atol=3e-8)
    shown = []
    pairs.distances(rows, rows, (shown.append(part) or part for part in pairs.blocks()))
    assert sum(part.stop - part.start for part in shown) == 500


# ---- who is who ----


def test_same_pairs_make_people_of_templates():
    left, right = np.array([0, 1, 3, 0]), np.array([1, 2, 4, 3])
    person = people_of_templates(left, right, np.array([True, True, True, False]), 6)
    assert person[0] == person[1] == person[2] != person[3] == person[4]
    assert len(set(person.tolist())) == 3
    assert people_of_templates(left, np.array([1, 2, 4, 2]), np.array([True, True, True, False]), 6) is None


# ---- TAR as it is published ----


def as_insightface_reads_it(distances, same, rate):
    fars, tars, _ = roc_curve(same, -distances)
    points = sorted((abs(far - rate), -place) for place, far in enumerate(fars))
    return tars[-points[0][1]]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=60),
    st.sampled_from([1e-6, 1e-3, 0.1, 0.2, 0.25, 0.5]),
)
def test_published_tar_is_that_of_the_nearest_corner_of_scikit_learns_roc(pairs, rate):
    distances, same = np.array([d for d, _ in pairs]) / 8, np.array([s for _, s in pairs])
    found = tars_nearest_far(curve(distances, same), {"rate": rate})["rate"]
    if same.all() or not same.any():
        assert found is None
    else:
        assert found == pytest.approx(as_insightface_reads_it(distances, same, rate), abs=1e-12)


def test_published_tar_may_pass_the_rate_by_one_pair_where_ours_does_not():
    """Of 16 different pairs a FAR of 0.1 is 1.6 pairs: the nearest is 2."""
    distances = np.array([0.1, 0.2, 0.3, 0.4, 0.5, *np.linspace(0.6, 1, 14)])
    same = np.array([False, True, True, False, True, *[False] * 14])
    points = curve(distances, same)
    assert tars_nearest_far(points, {"0.1": 0.1}) == {"0.1": 1.0}
    assert tar_within_far(points, 0.1) == pytest.approx(2 / 3)


def test_without_enough_different_pairs_a_tar_is_that_of_no_false_accept():
    distances, same = np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, False])
    points = curve(distances, same)
    assert tar_within_far(points, 1e-4) == 0.5 and tar_at_far(points, 1e-4) is None
    assert tar_within_far(curve(distances[:1], same[:1]), 1e-4) is None

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.mask import MASK_KINDS, HeadPose, fit_pose, random_mask_kind, render_mask
from data.mask_cuts import FACE_POINTS, KINDS
from data.transforms import template

SKIN = (200, 150, 125)


def turned(yaw: float, pitch: float, roll: float, scale: float = 0.6, at: tuple = (64.0, 60.0)) -> np.ndarray:
    """The canonical points seen from there, by three plain rotation matrices in degrees."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_x = [[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]
    about_z = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    rotation = np.array(about_z) @ np.array(about_x) @ np.array(about_y)
    return (scale * FACE_POINTS @ rotation.T)[:, :2] + at


def flat(colour: tuple = SKIN, size: int = 128) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


def changed(image: np.ndarray, masked: np.ndarray, least: int = 40) -> np.ndarray:
    return np.abs(image.astype(int) - masked).max(-1) >= least


def at(picture: np.ndarray, point: np.ndarray):
    x, y = np.rint(point).astype(int)
    return picture[y, x]


# ==== pose ====


@pytest.mark.parametrize("yaw", [-45, -20, 0, 20, 45])
@pytest.mark.parametrize("roll", [-30, 0, 30])
@pytest.mark.parametrize("pitch", [-10, 0, 10])
def test_pose_is_found_from_the_five_points(yaw, pitch, roll):
    pose = fit_pose(turned(yaw, pitch, roll))
    # The prior draws a little towards the front.
    assert np.rad2deg([pose.yaw, pose.pitch, pose.roll]) == pytest.approx([yaw, pitch, roll], abs=3.5)
    assert pose.scale == pytest.approx(0.6, rel=0.03)
    assert pose.offset == pytest.approx((64, 60), abs=1.5)


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(0.3, 3), st.floats(0, 300))
@settings(deadline=None, max_examples=50)
def test_pose_moves_with_the_image(yaw, roll, scale, x):
    """Yaw and pitch don't depend on scale, roll and place; those are closed form."""
    base, moved = fit_pose(turned(yaw, 0, 0)), fit_pose(turned(yaw, 0, roll, scale, (x, 20.0)))
    assert [moved.yaw, moved.pitch] == pytest.approx([base.yaw, base.pitch], abs=1e-6)
    assert moved.scale / base.scale == pytest.approx(scale / 0.6, rel=1e-6)
    assert np.rad2deg(moved.roll - base.roll) == pytest.approx(roll, abs=1e-6)


def test_pose_refuses_a_single_point():
    with pytest.raises(ValueError, match="one point"):
        fit_pose(np.ones((5, 2)))


def test_mirrored_points_give_the_mirrored_yaw():
    pose = fit_pose(turned(30, 5, 10))
    mirrored = (turned(30, 5, 10) * [-1, 1] + [128, 0])[[1, 0, 2, 4, 3]]
    back = fit_pose(mirrored)
    assert [back.yaw, back.pitch, back.roll] == pytest.approx([-pose.yaw, pose.pitch, -pose.roll], abs=1e-3)
    assert isinstance(back, HeadPose)


# ==== where the mask lies ====


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("yaw", [-45, -25, 0, 25, 45])
@pytest.mark.parametrize("roll", [-30, 0, 30])
def test_covers_nose_and_mouth_and_never_an_eye(kind, yaw, roll):
    points = turned(yaw, 0, roll, scale=0.5)
    for seed in range(6):
        image = flat()
        hit = changed(image, render_mask(image, points, kind, np.random.default_rng(seed)), least=12)
        assert at(hit, points[2]), "nose tip"
        assert at(hit, points[3:].mean(0)), "middle of the mouth"
        # Lids and pupil: 7 mm round the landmark; straps pass the outer corner further out.
        for eye in points[:2]:
            y, x = np.ogrid[:128, :128]
            assert not hit[np.hypot(x - eye[0], y - eye[1]) < 7 * 0.5].any()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_reaches_under_the_chin_and_stays_off_forehead_and_background(kind):
    points = turned(0, 0, 0, scale=0.5, at=(64, 45))
    hit = changed(flat(), render_mask(flat(), points, kind, np.random.default_rng(0)))
    chin, below = 45 + 0.5 * 106, 45 + 0.5 * 135
    assert hit[int(chin), 64]
    assert not hit[int(below) :].any() and not hit[:45].any()
    assert not hit[:, : 64 - 40].any() and not hit[:, 64 + 40 :].any()


@pytest.mark.parametrize("yaw", [25, 45])
def test_a_turned_head_shows_more_mask_on_the_near_side_of_the_nose(yaw):
    for side in (-1, 1):
        points = turned(side * yaw, 0, 0)
        hit = changed(flat(), render_mask(flat(), points, "kn95", np.random.default_rng(0)))
        beyond = (np.nonzero(hit[70:100])[1] - points[2, 0]) * side
        assert beyond.max() < -0.4 * beyond.min()


def test_follows_a_shift_of_image_and_landmarks_exactly():
    rng = np.random.default_rng(7)
    image = rng.integers(60, 200, (90, 90, 3), dtype=np.uint8)
    wide = np.zeros((150, 150, 3), np.uint8)
    wide[20:110, 30:120] = image
    points = turned(15, 0, 5, scale=0.35, at=(45.0, 30.0))
    small = render_mask(image, points, "n95", np.random.default_rng(3))
    large = render_mask(wide, np.add(points, [30, 20]), "n95", np.random.default_rng(3))
    assert np.abs(small.astype(int) - large[20:110, 30:120]).max() <= 3


@pytest.mark.parametrize("size", [64, 112, 160, 400])
def test_the_same_mask_at_any_size(size):
    hit = changed(flat(size=size), render_mask(flat(size=size), template(size), "cloth", np.random.default_rng(0)))
    assert hit.mean() == pytest.approx(0.22, abs=0.015)


def test_landmarks_outside_the_image_leave_it_as_it_is():
    image = flat()
    for shift in (1000, -1000):
        assert (render_mask(image, template(128) + shift, "n95", np.random.default_rng(0)) == image).all()


# ==== pixels ====


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_same_seed_same_pixels_another_seed_others(kind):
    image = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    before = image.copy()
    first, again, other = (render_mask(image, template(112), kind, np.random.default_rng(s)) for s in (4, 4, 5))
    assert (first == again).all() and (first != other).any()
    assert (image == before).all() and first.dtype == np.uint8 and first is not image


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_has_the_colour_of_its_kind(kind):
    colour = np.mean(
        [
            at(render_mask(flat(), template(128), kind, np.random.default_rng(s)), (56, 96)).astype(float)
            for s in range(8)
        ],
        axis=0,
    )
    wanted = np.array(KINDS[kind].colour, float)
    assert np.abs(colour - wanted).max() < 60
    if kind.startswith("surgical"):
        assert np.argsort(colour).tolist() == np.argsort(wanted).tolist()


def test_brightness_follows_the_light_on_the_face():
    def brightness(factor: float) -> float:
        image = flat(tuple(int(v * factor) for v in SKIN))
        return float(at(render_mask(image, template(128), "n95", np.random.default_rng(0)), (56, 90)).mean())

    night, dusk, day = brightness(0.08), brightness(0.4), brightness(1)
    assert night < 40 < 60 < dusk < 140 < 200 < day


def test_light_from_one_side_falls_on_that_side_of_the_mask():
    gradient = np.linspace(1.0, 0.35, 128)[None, :, None] * np.array(SKIN)
    image = np.broadcast_to(gradient, (128, 128, 3)).astype(np.uint8)
    masked = render_mask(image, template(128), "kn95", np.random.default_rng(0)).astype(float)
    left, right = masked[88:110, 44:54].mean(), masked[88:110, 74:84].mean()
    assert left > 1.2 * right


def test_a_grey_picture_stays_grey():
    image = flat((140, 140, 140))
    masked = render_mask(image, template(128), "surgical_blue", np.random.default_rng(0)).astype(int)
    assert changed(image, masked, least=8).any()
    assert np.ptp(masked, axis=-1).max() <= 2


def test_edges_are_soft():
    """Between skin and mask lie pixels of both: no step of the full difference anywhere on the upper edge."""
    masked = render_mask(flat((120, 120, 120), 250), template(250), "cloth", np.random.default_rng(0)).astype(int)
    column = masked[:, 100, 0]
    assert column.max() - column.min() > 80
    assert np.abs(np.diff(column)).max() < 0.75 * (column.max() - column.min())


def test_skin_beside_the_rim_lies_in_shadow():
    image = flat()
    masked = render_mask(image, template(128), "n95", np.random.default_rng(0)).astype(int)
    darker = (image.astype(int) - masked).max(-1)
    assert 5 < darker[:, 64][: np.nonzero(changed(image, masked, 40)[:, 64])[0][0]].max() < 80


def test_random_kind_draws_each_kind():
    rng = np.random.default_rng(0)
    drawn = [random_mask_kind(rng) for _ in range(500)]
    assert set(drawn) == set(MASK_KINDS) == set(KINDS)
    assert min(drawn.count(kind) for kind in MASK_KINDS) > 60


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(ValueError, match="surgical_green"):
        render_mask(flat(), template(128), "scarf", np.random.default_rng(0))

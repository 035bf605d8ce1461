import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.masks.cuts import CUTS
from data.masks.pose import FACE_POINTS, POSE_STEP, HeadPose, fit_pose
from data.masks.render import MASK_KINDS, MaskFit, MaskStyle, mask_style, random_mask_kind, render_mask
from data.transforms import template
from runtime.errors import InputError

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


def covering(seed: int) -> np.random.Generator:
    """A generator whose first mask covers the nose."""
    while MaskFit.draw(np.random.default_rng(seed)).nose_free:
        seed += 1000
    return np.random.default_rng(seed)


def at(picture: np.ndarray, point: np.ndarray):
    x, y = np.rint(point).astype(int)
    return picture[y, x]


# ==== pose ====


@pytest.mark.parametrize("yaw", [-45, -20, 0, 20, 45])
@pytest.mark.parametrize("roll", [-30, 0, 30])
@pytest.mark.parametrize("pitch", [-10, 0, 10])
def test_pose_is_found_from_the_five_points(yaw, pitch, roll):
    pose = fit_pose(turned(yaw, pitch, roll))
    # Steps of 3°, and the prior draws a little towards the front.
    assert np.rad2deg([pose.yaw, pose.pitch, pose.roll]) == pytest.approx([yaw, pitch, roll], abs=4.1)
    assert pose.scale == pytest.approx(0.6, rel=0.03)
    assert pose.offset == pytest.approx((64, 60), abs=1.5)


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(0.3, 3), st.floats(0, 300))
@settings(deadline=None, max_examples=50)
def test_pose_moves_with_the_image(yaw, roll, scale, x):
    """Yaw and pitch don't depend on scale, roll and place; those are closed form. Half-way between two poses rounding
    may take either."""
    base, moved = fit_pose(turned(yaw, 0, 0)), fit_pose(turned(yaw, 0, roll, scale, (x, 20.0)))
    if [moved.yaw, moved.pitch] == [base.yaw, base.pitch]:
        assert moved.scale / base.scale == pytest.approx(scale / 0.6, rel=1e-5)
        assert np.rad2deg(moved.roll - base.roll) == pytest.approx(roll, abs=1e-4)
    else:
        assert [moved.yaw, moved.pitch] == pytest.approx([base.yaw, base.pitch], abs=1.01 * POSE_STEP)


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
        # Lids and pupil: 6 mm round the landmark; straps pass the outer corner further out.
        for eye in points[:2]:
            y, x = np.ogrid[:128, :128]
            assert not hit[np.hypot(x - eye[0], y - eye[1]) < 6 * 0.5].any()


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
    assert np.abs(small.astype(int) - large[20:110, 30:120]).max() <= 4


@pytest.mark.parametrize("size", [64, 112, 160, 400])
def test_the_same_mask_at_any_size(size):
    hit = changed(flat(size=size), render_mask(flat(size=size), template(size), "cloth", np.random.default_rng(0)))
    assert hit.mean() == pytest.approx(0.25, abs=0.02)


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


@pytest.mark.parametrize("kind", [*MASK_KINDS, "cloth:#b03050", "surgical:#203040", "n95:#ffd0e0"])
def test_has_the_colour_of_its_kind(kind):
    named = {"surgical_green": "#44b4a8", "surgical_blue": "#1ca0f4", "n95": "#ffffff", "kn95": "#ffffff"}
    wanted = np.array(list(bytes.fromhex(named.get(kind, "#000000" if kind == "cloth" else kind)[-6:])), float)
    masked = [render_mask(flat(), template(128), kind, covering(seed)) for seed in range(8)]
    colour = np.mean([at(image, (56, 96)) for image in masked], axis=0)
    assert np.abs(colour - wanted).max() < 60
    if np.ptp(wanted) > 30:
        assert np.argsort(colour).tolist() == np.argsort(wanted).tolist()


def test_brightness_follows_the_light_on_the_face():
    def brightness(factor: float) -> float:
        image = flat(tuple(int(v * factor) for v in SKIN))
        return float(at(render_mask(image, template(128), "n95", np.random.default_rng(0)), (56, 90)).mean())

    night, dusk, day = brightness(0.08), brightness(0.4), brightness(1)
    assert night < 40 < 60 < dusk < 140 < 200 < day


def test_light_from_one_side_falls_on_that_side_of_the_mask():
    gradient = np.linspace(0.75, 0.26, 128)[None, :, None] * np.array(SKIN)
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


def test_black_and_white_photographs_with_a_cast_get_masks_without_colour():
    paper = np.linspace(0.3, 1, 128)[:, None, None] * np.array([150, 146, 140])
    image = np.broadcast_to(paper, (128, 128, 3)).astype(np.uint8)
    masked = render_mask(image, template(128), "surgical_blue", covering(0)).astype(int)
    assert changed(image, masked, least=8).any()
    assert np.ptp(masked, axis=-1).max() < 60, "the blue of the mask alone spans 180"


# ==== fit ====


def test_random_fits_keep_within_natural_bounds_and_few_leave_the_nose_free():
    fits = [MaskFit.draw(np.random.default_rng(seed)) for seed in range(2000)]
    assert max(abs(np.rad2deg(f.tilt)) for f in fits) < 6
    assert all(0.85 < f.size < 1.2 and -12 < f.lower_mm < 8 and abs(f.aside_mm) < 5 for f in fits)
    assert np.std([f.lower_mm for f in fits]) > 2 and np.std([f.size for f in fits]) > 0.02
    assert 0.01 < np.mean([f.nose_free for f in fits]) < 0.10


def test_fixed_masks_are_all_alike_and_varied_ones_are_not():
    points = turned(20, 5, 10)
    for fit, different in (("fixed", 1), ("varied", 5)):
        drawn = {render_mask(flat(), points, "n95", np.random.default_rng(seed), fit).tobytes() for seed in range(5)}
        assert len(drawn) == different


def test_a_flat_mask_is_symmetric_on_a_turned_head_and_a_fitted_one_is_not():
    """Along the line through the mouth, measured from the middle of the face as the flat one sees it."""
    points = turned(35, 0, 0, scale=0.5, at=(64, 40))
    sides = {}
    for fit in ("flat", "varied"):
        hit = changed(flat(), render_mask(flat(), points, "kn95", covering(3), fit))
        columns = np.flatnonzero(hit[int(points[3:, 1].mean())])
        sides[fit] = np.array([columns.max(), columns.min()]) - points[:, 0].mean()
    assert abs(sides["flat"].sum()) < 8 < 16 < abs(sides["varied"].sum()), sides


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_mask_below_the_nose_still_covers_mouth_and_chin(kind):
    seed = next(s for s in range(1000) if MaskFit.draw(np.random.default_rng(s)).nose_free)
    points = turned(0, 0, 0, scale=0.5, at=(64, 45))
    hit = changed(flat(), render_mask(flat(), points, kind, np.random.default_rng(seed)))
    assert not at(hit, points[2]) and not hit[: int(points[2, 1])].any()
    assert at(hit, points[3:].mean(0)) and hit[int(45 + 0.5 * 106), 64]


# ==== kinds ====


def test_random_kind_draws_each_kind():
    rng = np.random.default_rng(0)
    drawn = [random_mask_kind(rng) for _ in range(500)]
    assert set(drawn) == set(MASK_KINDS)
    assert min(drawn.count(kind) for kind in MASK_KINDS) > 60
    few = [random_mask_kind(rng, ("n95", "cloth:#b03050")) for _ in range(100)]
    assert set(few) == {"n95", "cloth:#b03050"}


def test_kinds_are_named_by_cut_and_colour_or_texture(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((9, 14, 3), (10, 20, 200), np.uint8))
    assert mask_style("kn95:#0A1b2C") == MaskStyle("kn95", (10, 27, 44))
    assert mask_style(f"cloth:{tmp_path}/red.png") == MaskStyle("cloth", texture=tmp_path / "red.png")
    assert {mask_style(kind).cut for kind in MASK_KINDS} == set(CUTS)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("scarf", "surgical_green"),
        ("scarf:#000000", "surgical, n95"),
        ("cloth:", "can't read"),
        ("cloth:#12", "#b03050"),
        ("cloth:#12345g", "#b03050"),
        ("cloth:nowhere.png", "nowhere.png"),
    ],
)
def test_unknown_kinds_are_one_line_that_says_what_to_do(kind, told):
    with pytest.raises(InputError, match=told) as raised:
        render_mask(flat(), template(128), kind, np.random.default_rng(0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("shape", [(40, 40), (10, 90), (200, 30)])
def test_a_texture_lies_upright_over_the_whole_mask(tmp_path, cut, shape):
    """Left half red, right half blue: so is the mask, whatever the shape of the picture."""
    picture = np.full((*shape, 3), (200, 30, 30), np.uint8)
    picture[:, shape[1] // 2 :] = (30, 30, 200)
    cv2.imwrite(str(tmp_path / "halves.png"), picture[..., ::-1])
    points = turned(0, 0, 0, scale=0.5, at=(64, 45))
    style = MaskStyle(cut, texture=tmp_path / "halves.png")
    masked = render_mask(flat(), points, style, covering(1)).astype(int)
    for y in (75, 85, 95):
        for dx in (6, 12, 20):
            assert masked[y, 64 - dx, 0] > masked[y, 64 - dx, 2] + 30, "red on the left"
            assert masked[y, 64 + dx, 2] > masked[y, 64 + dx, 0] + 30, "blue on the right"


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("colour", [(0, 0, 0), (176, 48, 80), (255, 255, 255)])
def test_a_colour_and_a_picture_of_that_colour_are_the_same_mask(tmp_path, cut, colour):
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((60, 90, 3), colour[::-1], np.uint8))
    straps = (245, 245, 245)
    styles = MaskStyle(cut, colour, straps=straps), MaskStyle(cut, texture=tmp_path / "plain.png", straps=straps)
    one, other = (render_mask(flat(), turned(15, 5, 10), style, covering(2)).astype(int) for style in styles)
    assert changed(flat(), one).mean() > 0.1
    assert np.abs(one - other).max() <= 4, "roundings of the one and of the other"


def test_straps_have_the_colour_asked_for():
    points = turned(0, 0, 0, scale=0.6, at=(64, 40))
    images = [
        render_mask(flat((120, 120, 120)), points, MaskStyle("kn95", straps=straps), covering(0)).astype(int)
        for straps in ((255, 255, 255), (0, 0, 0))
    ]
    differ = np.abs(images[0] - images[1]).max(-1) > 60
    assert 20 < differ.sum() < 800
    assert np.abs(np.nonzero(differ)[1] - 64).min() > 20, "beside the mask, not on it"

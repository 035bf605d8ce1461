import cv2
import numpy as np
import pytest
import torch
from simplejpeg import encode_jpeg

from data.datasets import ImageLoader, TrainFaces, image_loader, train_loader
from data.loading.decode import decode_face
from data.samplers import PKBatchSampler, SampleKey
from data.tables.images import Images
from data.tables.text_array import ImagePaths
from data.tables.train_csv import FaceTable
from data.transforms import template
from runtime.errors import InputError

SIZE = 32


@pytest.fixture
def faces(tmp_path):
    """Eight PNGs of two people, each of one colour with a dark left half, and their table."""
    paths = []
    for i in range(8):
        image = np.full((SIZE, SIZE, 3), (10 * i, 100, 200), dtype=np.uint8)
        image[:, : SIZE // 2] //= 2
        paths.append(f"{i // 4}/{i}.png")
        (tmp_path / str(i // 4)).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / paths[-1]), image[..., ::-1])
    landmarks = np.repeat(template(SIZE)[None], 8, axis=0)
    table = FaceTable(ImagePaths.of(paths), np.arange(8) // 4, ["a", "b"], landmarks, np.arange(8) % 2 == 1)
    return tmp_path, table


def _set(faces, mask_probability=0.0, seed=0):
    root, table = faces
    images = Images(root, table.paths)
    return TrainFaces(images, table, SIZE, disk_size=SIZE, mask_probability=mask_probability, seed=seed)


def _decoded(path, size=SIZE):
    face = np.empty((size, size, 3), dtype=np.uint8)
    decode_face(path.read_bytes(), face)
    return face


def _keys(epoch=1, n=8):
    return [SampleKey(i, epoch, i) for i in range(n)]


def test_pixels_are_rgb_and_only_flipped(faces):
    batch = _set(faces).__getitems__(_keys())
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (8, SIZE, SIZE, 3)
    flipped = 0
    for i, image in enumerate(batch.images.numpy()):
        assert sorted({tuple(p) for p in image.reshape(-1, 3).tolist()}) == sorted(
            [(10 * i, 100, 200), (5 * i, 50, 100)]
        )
        flipped += bool(image[0, 0, 1] == 100)
    assert 0 < flipped < 8


def test_the_same_key_gives_the_same_face_and_another_place_another_draw(faces):
    dataset = _set(faces, mask_probability=1.0)
    again = [dataset.__getitems__([SampleKey(0, 1, 5)]).images for _ in range(2)]
    assert torch.equal(*again)
    draws = {dataset.__getitems__([SampleKey(0, e, p)]).images.numpy().tobytes() for e in (1, 2) for p in range(4)}
    assert len(draws) > 4


def test_masks_on_the_fly_cover_plain_faces_only(faces):
    plain, masked = (_set(faces, p).__getitems__(_keys()).images for p in (0.0, 1.0))
    changed = [(a != b).any().item() for a, b in zip(plain.sort(2).values, masked.sort(2).values, strict=True)]
    assert changed == [True, False] * 4


def test_a_run_draws_only_the_masks_it_names(faces):
    root, table = faces
    images = Images(root, table.paths)
    masks = {"disk_size": SIZE, "mask_probability": 1.0, "seed": 0}
    red = TrainFaces(images, table, SIZE, mask_kinds=["cloth:#ff0000"], **masks).__getitems__(_keys()).images.numpy()
    usual = TrainFaces(images, table, SIZE, **masks).__getitems__(_keys()).images.numpy()
    mouth = slice(SIZE * 70 // 100, SIZE * 80 // 100), slice(SIZE * 40 // 100, SIZE * 60 // 100)
    redness = [(batch[::2, *mouth].astype(int) @ [2, -1, -1]).mean((1, 2)) for batch in (red, usual)]
    assert (redness[0] > 60).all() and not (redness[1] > 60).any()
    with pytest.raises(InputError, match="unknown mask 'scarf'"):
        TrainFaces(images, table, SIZE, mask_kinds=["scarf"], **masks)
    with pytest.raises(InputError, match="mask_kinds is empty"):
        TrainFaces(images, table, SIZE, mask_kinds=[], **masks)


def test_a_run_fits_its_masks_as_it_says(faces):
    root, table = faces
    draws = {}
    for fit in ("varied", "fixed", "flat"):
        masks = {"mask_kinds": ["n95"], "mask_fit": fit, "mask_probability": 1.0}
        dataset = TrainFaces(Images(root, table.paths), table, SIZE, disk_size=SIZE, seed=0, **masks)
        draws[fit] = {
            dataset.__getitems__([SampleKey(0, 1, position)]).images.numpy().tobytes() for position in range(12)
        }
    assert len(draws["fixed"]) == 2, "the face and its mirror"
    assert len(draws["varied"]) > 6 and len(draws["flat"]) > 6


def test_a_run_moves_and_lights_faces_only_where_it_says_so(faces):
    root, table = faces
    options = {"disk_size": SIZE, "mask_probability": 0.0, "seed": 0}
    kept, changed = (
        TrainFaces(Images(root, table.paths), table, SIZE, jitter=jitter, **options).__getitems__(_keys()).images
        for jitter in (False, True)
    )
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) == 2 for image in kept.numpy())
    assert (kept != changed).any((1, 2, 3)).all()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(faces, workers):
    _, table = faces
    sampler = PKBatchSampler(table.targets, 2, 3, seed=1, epoch_mode="random")
    loader = train_loader(_set(faces, 0.5), sampler, workers=workers, pin_memory=False)
    alone = train_loader(_set(faces, 0.5), sampler, workers=0, pin_memory=False)
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        for got, expected in zip(loader, alone, strict=True):
            assert torch.equal(got.images, expected.images)
            assert torch.equal(got.labels, expected.labels)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 cut short", b"text named .jpg"])
def test_unreadable_files_are_left_out_and_named(faces, content):
    root, table = faces
    (root / table.paths[2]).write_bytes(content)
    batch = _set(faces).__getitems__(_keys())
    assert batch.unreadable == [table.paths[2]]
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert len(batch.images) == 7
    loader = image_loader(root, table.paths, SIZE, batch_size=3, workers=0)
    images = torch.cat(list(loader))
    assert loader.unreadable == {2}
    assert len(images) == 8


@pytest.mark.parametrize("side", [16, 32, 33, 63, 64, 100, 128, 300])
def test_jpegs_of_any_size_become_rgb_at_the_size_asked_for(tmp_path, side):
    # Red on the left, a blue bar below: channels, sides and places.
    image = np.zeros((side, side, 3), dtype=np.uint8)
    image[:, : side // 2, 0] = 250
    image[side // 2 :, side // 2 :, 2] = 250
    (tmp_path / "face.jpg").write_bytes(encode_jpeg(image, quality=95, colorsubsampling="444"))
    face = _decoded(tmp_path / "face.jpg").astype(int)
    for place, colour in (((8, 8), [250, 0, 0]), ((24, 8), [250, 0, 0]), ((24, 24), [0, 0, 250]), ((8, 24), [0, 0, 0])):
        assert np.abs(face[place] - colour).max() < 20


def test_a_large_jpeg_is_reduced_without_aliasing(tmp_path):
    # One-pixel stripes must become grey, not stripes of another width.
    image = np.zeros((4 * SIZE, 4 * SIZE, 3), dtype=np.uint8)
    image[:, ::2] = 255
    (tmp_path / "face.jpg").write_bytes(encode_jpeg(image, quality=100, colorsubsampling="444"))
    assert np.abs(_decoded(tmp_path / "face.jpg").astype(int) - 127).max() < 6


def test_grey_files_become_three_channels(tmp_path):
    for name in ("grey.jpg", "grey.png"):
        cv2.imwrite(str(tmp_path / name), np.full((SIZE, SIZE), 77, dtype=np.uint8))
        assert _decoded(tmp_path / name)[3, 3].tolist() == [77, 77, 77]


# ---- photographs with landmarks ----


def test_photographs_are_aligned_to_given_landmarks_at_their_own_size(tmp_path):
    """2,100 pixels are more than a picture is otherwise kept at, and would move the landmarks."""
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 70, 3), dtype=np.uint8), (2100, 180))
    cv2.imwrite(str(tmp_path / "wide.png"), picture)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    landmarks = np.stack([template(SIZE) + np.array([1900, 30])] * 3)
    landmarks[2] = landmarks[2, 0]
    images = Images(tmp_path, ["wide.png", "broken.png", "wide.png"])
    loader = ImageLoader(images, SIZE, batch_size=3, workers=0, landmarks=landmarks)
    (faces,) = loader
    expected = picture[30 : 30 + SIZE, 1900 : 1900 + SIZE, ::-1].astype(int)
    assert np.abs(faces[0].numpy().astype(int) - expected).max() <= 1
    assert loader.unreadable == {1, 2} and not faces[1:].any()


def test_masks_on_photographs_follow_from_the_seed_and_the_row_alone(tmp_path):
    picture = np.full((90, 80, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), picture)
    images, landmarks = Images(tmp_path, ["1.png"] * 4), np.stack([template(SIZE * 2) + 5] * 4)

    def masked(batch_size: int, **options) -> np.ndarray:
        loader = ImageLoader(images, SIZE, batch_size=batch_size, workers=0, landmarks=landmarks, **options)
        return np.concatenate([batch.numpy().copy() for batch in loader])

    bare, found = masked(4), masked(4, mask_seed=3)
    np.testing.assert_array_equal(masked(1, mask_seed=3), found)
    assert (masked(4, mask_seed=4) != found).any()
    assert (found[0] != found[1]).any()
    # The lower half of the face is covered, the eyes are not.
    changed = (found != bare).any(axis=-1).mean(axis=0)
    assert changed[SIZE * 2 // 3 : SIZE * 5 // 6, SIZE // 3 : SIZE * 2 // 3].mean() > 0.8
    assert changed[: SIZE // 3].mean() < 0.2

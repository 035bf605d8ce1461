"""The readers side by side on the same files: what prepares photographs, what trains, and what compares them."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.datasets import image_loader
from data.loading.decode import decode_face
from data.sources import read_image as reading
from data.sources.headers import is_plain, lies_upright
from data.sources.read_image import decode_image

SIDE = 48


def scene(mode: str = "RGB") -> Image.Image:
    """A picture whose four corners and both of whose axes differ."""
    rng = np.random.default_rng(7)
    image = cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = Image.fromarray(image)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(np.linspace(0, 255, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8)))
    return picture.convert(mode)


def encoded(mode: str, form: str, orientation: int = 1, **options) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    more = {"exif": exif} if orientation != 1 else {}
    scene(mode).save(file, form, **more, **options)
    return file.getvalue()


TURNED = [("RGB", form, turn) for form in ("JPEG", "PNG", "WEBP", "TIFF") for turn in (2, 3, 5, 6, 8)]
SEEN_THROUGH = [("RGBA", "PNG", 1), ("LA", "PNG", 1), ("RGBA", "WEBP", 1), ("RGBA", "TIFF", 1), ("RGBA", "PNG", 6)]
COLOURS = [("L", "JPEG", 1), ("CMYK", "JPEG", 1), ("P", "PNG", 1), ("1", "PNG", 1), ("I;16", "PNG", 1), ("P", "GIF", 1)]


@pytest.mark.parametrize(("mode", "form", "orientation"), [*TURNED, *SEEN_THROUGH, *COLOURS])
def test_all_readers_see_the_same(tmp_path, mode, form, orientation):
    if mode == "I;16":
        data = cv2.imencode(".png", np.asarray(scene("L"), np.uint16) * 257)[1].tobytes()
    else:
        data = encoded(mode, form, orientation, **({"quality": 95} if form in ("JPEG", "WEBP") else {}))
    photograph, training = decode_image(data).astype(int), np.empty((SIDE, SIDE, 3), np.uint8)
    decode_face(data, training)
    (tmp_path / "face").write_bytes(data)
    evaluation = image_loader(tmp_path, ["face"], SIDE, batch_size=1, workers=0).faces([0])[0]
    # The photographs' JPEG decoder takes the quicker, coarser DCT.
    assert np.abs(photograph - training).max() <= (6 if form == "JPEG" else 0)
    np.testing.assert_array_equal(training, evaluation)
    packed = np.empty_like(training)
    decode_face(memoryview(data), packed)
    np.testing.assert_array_equal(training, packed)


def test_a_turned_jpeg_is_the_upright_one(tmp_path):
    upright, turned = np.empty((2, SIDE, SIDE, 3), np.uint8)
    decode_face(encoded("RGB", "PNG"), upright)
    for orientation, undo in ((6, Image.ROTATE_90), (3, Image.ROTATE_180), (8, Image.ROTATE_270)):
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        scene().transpose(undo).save(file, "JPEG", quality=98, exif=exif, subsampling=0)
        decode_face(file.getvalue(), turned)
        assert np.abs(turned.astype(int) - upright).max() < 12


@pytest.mark.parametrize("exif", [b"XXXXXXXXXXXX", b"II*\0", b"", b"II*\0\xff\xff\xff\x7f"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_whole_picture_with_damaged_exif_is_read(form, exif):
    whole, face = io.BytesIO(), np.zeros((64, 64, 3), np.uint8)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, face.shape, dtype=np.uint8))
    image.save(whole, form, dpi=(72, 72), exif=b"Exif\0\0" + exif)
    decode_face(whole.getvalue(), face)
    assert np.array_equal(face, decode_image(whole.getvalue())) and face.std() > 40


def test_a_jpeg_with_exif_that_is_too_large_for_pillow_is_no_crash(monkeypatch):
    whole = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 60)).save(whole, "JPEG", exif=turned)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="square"):
        decode_face(whole.getvalue(), np.empty((64, 64, 3), np.uint8))


@pytest.mark.parametrize("size", [64, 40])
def test_a_whole_jpeg_with_a_field_that_some_phones_write_wrong_is_read(size):
    whole = io.BytesIO()
    small = np.random.default_rng(0).integers(60, 220, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)).save(whole, "JPEG", quality=95)
    data = bytearray(whole.getvalue())
    scan = data.index(b"\xff\xda")
    last = scan + 6 + 2 * data[scan + 4]  # the end of the spectral selection, 63 in every sequential JPEG
    assert data[last] == 63
    data[last] = 0
    right, odd = np.empty((2, size, size, 3), np.uint8)
    decode_face(whole.getvalue(), right)
    decode_face(bytes(data), odd)
    assert np.array_equal(odd, right)
    assert np.array_equal(decode_image(bytes(data)), decode_image(whole.getvalue()))
    with pytest.raises(ValueError, match="Premature end|truncated"):
        decode_face(bytes(data[:-200]), odd)


def test_without_exif_pillow_is_not_asked(monkeypatch):
    """The search for EXIF ends at the first table: nothing is paid for what isn't there."""
    files = [encoded("RGB", "JPEG"), encoded("L", "JPEG"), encoded("RGB", "PNG"), encoded("RGB", "WEBP")]
    icc = encoded("RGB", "JPEG", icc_profile=b"x" * 300)

    def asked(*_):
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(Image, "open", asked)
    for data in (*files, icc):
        decode_face(data, np.empty((SIDE, SIDE, 3), np.uint8))
    assert lies_upright(icc) and is_plain(files[2]) and is_plain(files[3]) and not is_plain(encoded("RGBA", "PNG"))


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 20, 21, 40])
def test_headers_that_end_early_are_unreadable_and_no_crash(cut):
    for form in ("JPEG", "PNG", "WEBP"):
        with pytest.raises(ValueError, match=r"."):
            decode_face(encoded("RGB", form)[:cut], np.empty((SIDE, SIDE, 3), np.uint8))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_picture_that_is_not_square_is_no_aligned_face(form):
    file = io.BytesIO()
    scene().resize((SIDE, SIDE + 16)).save(file, form)
    with pytest.raises(ValueError, match="48×64 pixels: no aligned face"):
        decode_face(file.getvalue(), np.empty((SIDE, SIDE, 3), np.uint8))


def test_no_other_decoder_stands_in_the_readers():
    """A new way to read pictures would need the same rules."""
    folder = Path(reading.__file__).parents[1]
    calls = ("imdecode", "imread(", "Image.open", "decode_jpeg(")
    found = {
        path.name for path in folder.rglob("*.py") if any(call in path.read_text().split('"""', 2)[2] for call in calls)
    }
    assert found == {"decode.py", "read_image.py", "headers.py", "draw.py", "unaligned.py", "hide.py"}

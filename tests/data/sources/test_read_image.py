"""Pictures as people have them on disk."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data.sources.read_image import MAX_SIDE, UnreadableImage, read_image


def rgb(path: Path) -> np.ndarray:
    return read_image(path).astype(int)


COLOUR = (200, 120, 40)


def plain_picture(mode: str) -> Image.Image:
    return Image.new("RGB", (40, 30), COLOUR).convert(mode)


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        ("RGB", "a.jpg", COLOUR),
        ("RGB", "a.webp", COLOUR),
        ("RGB", "a.bmp", COLOUR),
        ("CMYK", "a.jpg", COLOUR),
        ("L", "a.jpg", (135, 135, 135)),
        ("L", "a.png", (135, 135, 135)),
        ("P", "a.png", COLOUR),
        ("P", "a.gif", COLOUR),
        ("RGBA", "a.png", COLOUR),
        ("1", "a.png", None),
    ],
)
def test_any_colour_mode_becomes_rgb(tmp_path, mode, name, expected):
    plain_picture(mode).save(tmp_path / name)
    image = rgb(tmp_path / name)
    assert image.shape == (30, 40, 3)
    if expected:
        # Palettes and chroma compression are not exact.
        assert np.abs(image.mean((0, 1)) - expected).max() < 12


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path):
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(tmp_path / "a.png")
    assert rgb(tmp_path / "a.png").mean() == pytest.approx(40_000 / 65535 * 255, abs=1)


def test_transparency_is_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (rgb(tmp_path / "a.png") == 255).all()


def test_a_transparent_colour_of_a_palette_is_white(tmp_path):
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([255, 0, 0, 10, 20, 200])
    picture.paste(0, (0, 0, 4, 8))
    picture.save(tmp_path / "a.png", transparency=0)
    image = rgb(tmp_path / "a.png")
    assert (image[:, :4] == 255).all() and (image[:, 4:] == [10, 20, 200]).all()


def test_sixteen_bit_colour_keeps_its_colours(tmp_path):
    blue_green_red = [v * 257 for v in COLOUR[::-1]]
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 40, 3), blue_green_red, np.uint16))
    assert np.abs(rgb(tmp_path / "a.png") - COLOUR).max() <= 1


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_an_animation_gives_its_first_frame(tmp_path, ending):
    frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    assert np.abs(rgb(tmp_path / f"a.{ending}") - [255, 0, 0]).max() < 5


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_followed(tmp_path, orientation, corner):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = rgb(tmp_path / "a.jpg")
    assert upright.shape == ((32, 48, 3) if orientation in (1, 3) else (48, 32, 3))
    assert upright[corner].min() > 200 and upright.mean() < 120


def test_huge_pictures_are_reduced(tmp_path):
    Image.new("RGB", (5000, 100), COLOUR).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (40, MAX_SIDE, 3)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT" + b"x" * 13)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("side", [20_000, 65_500])
def test_a_jpeg_of_20_000_pixels_is_refused_and_not_decoded(tmp_path, monkeypatch, side):
    """A small file whose header states a huge picture."""
    plain_picture("RGB").save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    size = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(data[:size] + struct.pack(">HH", side, side) + data[size + 4 :])

    def decoded(*_, **__):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    monkeypatch.setattr(Image.Image, "load", decoded)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        read_image(tmp_path / "a.jpg")


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read_image(tmp_path / "none.jpg")

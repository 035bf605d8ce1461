"""Pictures as people have them on disk: any common format, colour mode and orientation → uint8 RGB."""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from data.sources.headers import is_jpeg, lies_upright, orientation

# A picture this large is no portrait, and may be a decompression bomb; it is refused from its header alone.
MAX_PIXELS = 100_000_000
# Faces need no more; larger pictures are reduced, so that a batch of them fits into memory.
MAX_SIDE = 2_000

IMAGE_SUFFIXES = frozenset((".heic", ".heif")) | frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif")
)

# What a HEIC file, an iPhone's photograph, begins with: its kind, from byte 8 on.
_HEIC_KINDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name: ._1.jpg is what macOS notes of 1.jpg."""
    return not name.startswith("._") and Path(name).suffix.lower() in IMAGE_SUFFIXES


class UnreadableImage(ValueError):
    """A file that gives no picture; the message says why, in a few words."""


def read_image(path: Path) -> np.ndarray:
    """The picture in ``path``, uint8 (H, W, 3) RGB, upright by its EXIF, its longer side at most MAX_SIDE.

    Grey, palette, 16-bit, CMYK and transparent pictures become RGB (transparency over white); of an animation it is
    the first frame. Raises UnreadableImage.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from None
    return decode_image(data)


def decode_image(data: bytes) -> np.ndarray:
    """``read_image`` of a file's content."""
    return reduced(decode_whole(data))


def decode_whole(data: bytes) -> np.ndarray:
    """``decode_image`` at the picture's own size, in which somebody has measured points."""
    if not data:
        raise UnreadableImage("empty file")
    try:
        with warnings.catch_warnings():
            # The size is checked below; Pillow's own limit only warns.
            warnings.simplefilter("ignore")
            return _decode(data)
    except UnreadableImage:
        raise
    except Image.DecompressionBombError:
        raise UnreadableImage("too many pixels") from None
    except Exception as error:
        # Decoders raise whatever a damaged file leads them to (struct.error, SyntaxError, KeyError, ...).
        raise UnreadableImage(" ".join(str(error).split())[:120] or type(error).__name__) from None


def _decode(data: bytes) -> np.ndarray:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_KINDS:
        _learn_heic()
    try:
        picture = Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"too many pixels ({width}×{height})")
    if is_jpeg(data) and picture.mode in ("RGB", "L") and lies_upright(data):
        try:
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
        except ValueError as error:
            if not is_harmless(error):
                raise
    return np.array(_to_rgb(picture if orientation(picture) == 1 else ImageOps.exif_transpose(picture)))


def is_harmless(error: ValueError) -> bool:
    """Whether simplejpeg refuses a whole JPEG: for a field that means nothing, and that some phones write wrong."""
    return "Invalid SOS parameters" in str(error)


def _learn_heic() -> None:
    """Let Pillow read HEIC. Raises UnreadableImage where the package for it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImage("HEIC: pip install pillow-heif, or turn it into JPEG") from None
    pillow_heif.register_heif_opener()


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        # 16-bit greys come as integers; smaller ranges are 8-bit ones in a wide container.
        scale = 255 / 65535 if values.max(initial=0) > 255 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def reduced(image: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3), made smaller if its longer side is over MAX_SIDE."""
    height, width = image.shape[:2]
    if max(height, width) <= MAX_SIDE:
        return image
    scale = MAX_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

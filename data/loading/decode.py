"""Encoded images → aligned faces as uint8 RGB at the size asked for, by the rules of ``data.sources.read_image``."""

import cv2
import numpy as np
import simplejpeg

from data.sources.headers import is_jpeg, is_plain, lies_upright
from data.sources.read_image import decode_image, is_harmless
from data.transforms import resize_face

# What a damaged image raises: simplejpeg ValueError, OpenCV its own; and OSError where there is no file.
UNREADABLE = (OSError, ValueError, cv2.error)


def decode_face(data: bytes | memoryview, face: np.ndarray) -> None:
    """Decode into ``face``, uint8 (S, S, 3) RGB in one piece; another size on disk is resized: the template stays.

    A JPEG of at least twice the size is reduced within the decoder (by the DCT), which spares most of its work.
    Raises ValueError or cv2.error where ``data`` is no whole image, or is not square: then it is no aligned face.
    """
    if not is_jpeg(data):
        _resize(_decode_other(data), face)
        return
    size = len(face)
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    if colours in ("CMYK", "YCCK") or not lies_upright(data):
        _resize(decode_image(bytes(data)), face)
        return
    try:
        if height == width == size:
            simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False, buffer=face)
        else:
            _resize(simplejpeg.decode_jpeg(data, "RGB", False, False, size, size, 2), face)
    except ValueError as error:
        if not is_harmless(error):
            raise
        _resize(decode_image(bytes(data)), face)


def _decode_other(data: bytes | memoryview) -> np.ndarray:
    if not is_plain(data):
        return decode_image(bytes(data))
    # OpenCV gives the same pixels in two thirds of the time.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("no image")
    return image


def _resize(image: np.ndarray, face: np.ndarray) -> None:
    height, width = image.shape[:2]
    if height != width:
        raise ValueError(f"{width}×{height} pixels: no aligned face, which is square")
    face[:] = resize_face(image, len(face))

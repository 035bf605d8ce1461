"""Encoded images → aligned faces as uint8 RGB at the size asked for."""

import cv2
import numpy as np
import simplejpeg

# What a damaged image raises: simplejpeg ValueError, OpenCV its own; and OSError where there is no file.
UNREADABLE = (OSError, ValueError, cv2.error)


def decode_face(data: bytes | memoryview, face: np.ndarray) -> None:
    """Decode into ``face``, uint8 (S, S, 3) RGB in one piece; another size on disk is resized: the template stays.

    A JPEG of at least twice the size is reduced within the decoder (by the DCT), which spares most of its work.
    Raises ValueError or cv2.error where ``data`` is no whole image.
    """
    size = len(face)
    if data[:2] != b"\xff\xd8":
        _resize(_decode_other(data), face)
    elif simplejpeg.decode_jpeg_header(data)[:2] == (size, size):
        simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False, buffer=face)
    else:
        _resize(simplejpeg.decode_jpeg(data, "RGB", False, False, size, size, 2), face)


def _decode_other(data: bytes | memoryview) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if len(data) else None
    if image is None:
        raise ValueError("no image")
    return image


def _resize(image: np.ndarray, face: np.ndarray) -> None:
    size = len(face)
    if image.shape[:2] == (size, size):
        face[:] = image
    else:
        shrink = image.shape[0] > size
        face[:] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)

"""Putting a mask into the picture: lit as the face under it is lit, with a shadow at its rim."""

import cv2
import numpy as np

# Typical grey value of well-lit skin: what the light on the face is measured against.
_LIT_SKIN = 125.0
# Mean skin's colour as factors of its own grey.
_SKIN_TINT = np.array([1.24, 0.95, 0.81])
# Light is measured over cells of the mask's window, with coordinates −1 … 1.
_CELLS = 6
# Draws the slopes towards 0 where little of the face is to be seen.
_RIDGE = 0.01
_COORDINATES = np.stack(np.meshgrid(*[(np.arange(_CELLS) + 0.5) * 2 / _CELLS - 1] * 2)).reshape(2, -1)


def composite(face: np.ndarray, cover: np.ndarray, *, brightness: float, shadow: float, reach: int) -> None:
    """Blend a mask into ``face``, uint8 (h, w, 3) RGB, in place.

    ``cover`` uint8 (h, w, 4): the mask under plain light, premultiplied. ``shadow`` is the share of light that is
    lost beside the rim, out to ``reach`` pixels.
    """
    alpha = cover[..., 3] * np.float32(1 / 255)
    light, colourful = _light(face, alpha, brightness)
    colour = cv2.cvtColor(cover, cv2.COLOR_RGBA2RGB)
    if colourful < 1:
        grey = cv2.cvtColor(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        colour = cv2.addWeighted(colour, colourful, grey, 1 - colourful, 0)
    size = max(3, reach | 1)
    dark = cv2.blur(cv2.blur(alpha, (size, size)), (size, size))
    under = (1 - np.float32(shadow) * dark) * (1 - alpha)
    light = cv2.resize(light, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    blend = cv2.multiply(face, cv2.merge([under] * 3), dtype=cv2.CV_32F)
    blend += cv2.multiply(colour, light, dtype=cv2.CV_32F)
    # Rounds and saturates to 0 … 255.
    cv2.convertScaleAbs(blend, face)


def _light(face: np.ndarray, alpha: np.ndarray, brightness: float) -> tuple[np.ndarray, float]:
    """The light on the mask per cell and channel: float32 (cells, cells, 3), about 1 for a well-lit face; and how
    colourful the picture is, 0 for grey ones to 1.

    A plane through the brightness of the face under the mask, as a share of lit skin: a gradient follows the light
    and leaves out mouths, beards and other marks. A dark skin in a bright picture is not a dark light, so that the
    picture's own bright parts count too.
    """
    small, weight = _cells(face).astype(np.float32).reshape(-1, 3), _cells(alpha).ravel()
    cells = small @ np.full(3, 1 / 3, np.float32)
    # Black is no skin but the border of an aligned picture.
    weight = weight * (cells > 4) + 1e-4
    weight /= weight.sum()
    mean = weight @ small
    grey = max(float(mean.sum()) / 3, 1.0)
    relief = np.minimum(np.maximum(_relief(weight, cells / grey), 0.45), 1.4)
    lit = float(np.sqrt(weight @ (cells * cells)))
    level = (0.65 * lit + 0.35 * max(lit, 0.7 * float(cells.max()))) / _LIT_SKIN
    # A photograph without colour may still have a cast of its paper.
    saturation = float(weight @ (small.max(1) - small.min(1))) / grey
    colourful = min(max((saturation - 0.05) / 0.10, 0.0), 1.0)
    # Half of the light's colour.
    tint = 0.7 + 0.3 / grey * mean / (1 + colourful * (_SKIN_TINT - 1))
    tint = np.minimum(np.maximum(tint, 0.75), 1.15)
    light = np.minimum(np.maximum(brightness * level * relief, 0.04), 1.03)
    return (light[:, None] * tint).astype(np.float32).reshape(_CELLS, _CELLS, 3), colourful


def _relief(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """1 + the slopes of the weighted least-squares plane through ``values``, drawn towards 0 where little is seen."""
    x, y = _COORDINATES - (_COORDINATES @ weight)[:, None]
    wx, wy = weight * x, weight * y
    xx, xy, yy = float(wx @ x) + _RIDGE, float(wx @ y), float(wy @ y) + _RIDGE
    xv, yv = float(wx @ values), float(wy @ values)
    determinant = xx * yy - xy * xy
    return 1 + (yy * xv - xy * yv) / determinant * x + (xx * yv - xy * xv) / determinant * y


def _cells(picture: np.ndarray) -> np.ndarray:
    """Mean over _CELLS × _CELLS cells; a remainder at the lower and right edge is left out."""
    height, width = (max(n // _CELLS, 1) * _CELLS for n in picture.shape[:2])
    return cv2.resize(picture[:height, :width], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)

"""Match a mask to a picture's sharpness and light, and blend it in, with a shadow at the mask's rim."""

import math

import cv2
import numpy as np

# Typical grey value of well-lit skin: what the light on the face is measured against.
_LIT_SKIN = 125.0
# Mean skin's colour as factors of its own grey.
_SKIN_TINT = (1.24, 0.95, 0.81)
# Light is measured over cells of the mask's window, with coordinates −1 … 1.
_CELLS = 6
# Draws the slopes towards 0 where little of the face is to be seen.
_RIDGE = 0.01
# 1, x and y of each cell, and their products with x and y, which a weighted plane is fitted by.
_PLANE = np.stack([np.ones((_CELLS, _CELLS)), *np.meshgrid(*[(np.arange(_CELLS) + 0.5) * 2 / _CELLS - 1] * 2)])
_PLANE = _PLANE.reshape(3, -1).astype(np.float32)
_PRODUCTS = np.concatenate([_PLANE, _PLANE[1] * _PLANE[1:], _PLANE[2:] ** 2])
# The light on a mask, 0 to about 1.2, is kept in bytes, which OpenCV enlarges and multiplies faster than floats.
_LIGHT_UNIT = 210.0
# Of a picture's differences from pixel to pixel, as a share of those over four pixels, to the blur (sigma in pixels)
# that brings sharp photographs of faces to that share: measured on 60 of them.
_STEEPNESS, _BLUR = (0.277, 0.285, 0.297, 0.31, 0.33, 0.375), (1.6, 1.3, 1.0, 0.8, 0.6, 0.5)


def measure_blur(face: np.ndarray) -> float:
    """How blurred a picture uint8 (h, w, 3) RGB is: sigma in pixels, from 0.5 to 1.6."""
    grey = cv2.cvtColor(face[::2], cv2.COLOR_RGB2GRAY)
    near, far = (_mean_difference(grey[:, n:], grey[:, :-n]) for n in (1, 4))
    # Where there is nothing to see, sharp.
    return float(np.interp((near + 0.19) / (far + 0.5), _STEEPNESS, _BLUR))


def _mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return cv2.norm(a, b, cv2.NORM_L1) / a.size if a.size else 0.0


def composite(
    face: np.ndarray, mask: np.ndarray, alpha: np.ndarray, *, brightness: float, shadow: float, reach: int
) -> None:
    """Blend a mask into ``face``, uint8 (h, w, 3) RGB, in place.

    ``mask`` uint8 (h, w, 3): the mask under plain light, premultiplied by ``alpha`` uint8 (h, w). ``shadow`` is the
    share of light that is lost beside the rim, out to ``reach`` pixels.
    """
    light, colourful = _light(face, alpha, brightness)
    if colourful < 1:
        grey = cv2.cvtColor(cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        mask = cv2.addWeighted(mask, colourful, grey, 1 - colourful, 0)
    size = max(3, reach | 1)
    dark = cv2.blur(cv2.blur(alpha, (size, size)), (size, size))
    lit = cv2.convertScaleAbs(dark, alpha=-shadow, beta=255)
    under = cv2.cvtColor(cv2.multiply(lit, cv2.bitwise_not(alpha), scale=1 / 255), cv2.COLOR_GRAY2RGB)
    light = cv2.resize(light, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    mask = cv2.multiply(mask, light, scale=1 / _LIGHT_UNIT)
    cv2.add(cv2.multiply(face, under, scale=1 / 255), mask, face)


def _light(face: np.ndarray, alpha: np.ndarray, brightness: float) -> tuple[np.ndarray, float]:
    """The light on the mask per cell and channel: uint8 (cells, cells, 3), about _LIGHT_UNIT for a well-lit face; and
    how colourful the picture is, 0 for grey ones to 1.

    A plane through the brightness of the face under the mask, as a share of lit skin: a gradient follows the light
    and leaves out mouths, beards and other marks. A dark skin in a bright picture is not a dark light, so that the
    picture's own bright parts count too.
    """
    small = _cells(face).reshape(-1, 3).T.astype(np.float32, order="C")
    reds, greens, blues = small
    greys = (reds + greens + blues) * np.float32(1 / 3)
    # Black is no skin but the border of an aligned picture.
    weight = _cells(alpha).ravel() * (greys > 4) + np.float32(0.02)
    moments = (_PRODUCTS @ weight).tolist()
    total = moments[0]
    red, green, blue = mean = [value / total for value in (small @ weight).tolist()]
    grey = max((red + green + blue) / 3, 1.0)
    weighted = weight * greys
    plane = _plane([m / total for m in moments], [m / (total * grey) for m in (_PLANE @ weighted).tolist()])
    lit = math.sqrt(float(weighted @ greys) / total)
    level = brightness * (0.65 * lit + 0.35 * max(lit, 0.7 * float(greys.max()))) / _LIT_SKIN
    # Slopes within bounds, and neither pitch black nor brighter than the fabric itself.
    least, most = (min(max(level * bound, 0.04), 1.03) for bound in (0.45, 1.4))
    light = (level * np.array(plane, np.float32)) @ _PLANE
    light = np.minimum(np.maximum(light, np.float32(least)), np.float32(most))
    # A photograph without colour may still have a cast of its paper.
    colours = np.maximum(np.maximum(reds, greens), blues) - np.minimum(np.minimum(reds, greens), blues)
    saturation = float(weight @ colours) / (total * grey)
    colourful = min(max((saturation - 0.05) / 0.10, 0.0), 1.0)
    # Half of the light's colour.
    skin = (1 + colourful * (factor - 1) for factor in _SKIN_TINT)
    tint = [
        _LIGHT_UNIT * min(max(0.7 + 0.3 * value / grey / own, 0.75), 1.15)
        for value, own in zip(mean, skin, strict=True)
    ]
    return (light[:, None] * np.array(tint, np.float32)).astype(np.uint8).reshape(_CELLS, _CELLS, 3), colourful


def _plane(moments: list[float], with_value: list[float]) -> tuple[float, float, float]:
    """The factors of 1, x and y in the weighted least-squares plane through values of mean 1; its slopes are
    drawn towards 0 where little is seen.

    ``moments``: the weighted means of 1, x, y, x², xy and y²; ``with_value``: those of the values, and their products
    with x and y.
    """
    _, x, y, xx, xy, yy = moments
    value, x_value, y_value = with_value
    xx, xy, yy = xx - x * x + _RIDGE, xy - x * y, yy - y * y + _RIDGE
    xv, yv = x_value - x * value, y_value - y * value
    determinant = xx * yy - xy * xy
    along_x, along_y = (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant
    return 1 - along_x * x - along_y * y, along_x, along_y


def _cells(picture: np.ndarray) -> np.ndarray:
    """Mean over _CELLS × _CELLS cells; a remainder at the lower and right edge is left out."""
    height, width = (max(n // _CELLS, 1) * _CELLS for n in picture.shape[:2])
    return cv2.resize(picture[:height, :width], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)

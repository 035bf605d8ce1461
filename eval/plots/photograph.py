"""A photograph with boxes and names: who is known and who is not is told apart by colour, line and label alike.

Okabe and Ito's colours, as in all plots. Small photographs are enlarged, so that names are legible at half the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from eval.plots.style import DIFFERENT, INK, SAME

# Side to which smaller photographs are enlarged, and by how much at most.
_SIDE, _MOST_LARGER = 720, 4.0
# Height of the letters as a share of the longer side, in pixels, and as a share of the faces' width.
_LETTERS, _SMALLEST, _LARGEST, _OF_FACES = 1 / 40, 12, 44, 0.3


@dataclass(frozen=True)
class NamedBox:
    """``box`` (left, top, right, bottom) in pixels of the photograph, what to call the face in it, a ``note`` in thin
    letters behind that, and whether the person is ``known``."""

    box: np.ndarray
    name: str
    note: str = ""
    known: bool = True


def draw_names(image: np.ndarray, faces: Sequence[NamedBox]) -> np.ndarray:
    """The photograph, uint8 (H, W, 3) RGB, with a box and a name for each face; small ones come out larger."""
    scale = float(np.clip(_SIDE / max(image.shape[:2]), 1, _MOST_LARGER))
    if scale > 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    picture = Image.fromarray(image)
    if not faces:
        return np.asarray(picture)
    boxes = np.stack([face.box for face in faces]).astype(float) * scale
    letters = _letters(max(picture.size), np.median(boxes[:, 2] - boxes[:, 0]))
    pen = ImageDraw.Draw(picture)
    for face, box in zip(faces, boxes, strict=True):
        _draw_box(pen, box, letters, face.known)
    taken = np.empty((0, 4))
    # From the middle outwards, so that those at the edge, which have the least choice, come last and see the others.
    for number in np.argsort(np.abs(boxes[:, [0, 2]].mean(1) - picture.width / 2), kind="stable"):
        label = _Label(faces[number], letters, picture.width)
        place = _place(boxes[number], label.size, picture.size, np.delete(boxes, number, 0), taken, letters)
        label.draw(pen, place)
        taken = np.concatenate([taken, [[*place, place[0] + label.size[0], place[1] + label.size[1]]]])
    return np.asarray(picture)


def _letters(side: int, face: float) -> int:
    """Height of the letters in pixels."""
    return round(max(min(side * _LETTERS, _LARGEST, max(face * _OF_FACES, _SMALLEST)), _SMALLEST))


@cache
def _font(size: int, weight: str) -> ImageFont.FreeTypeFont:
    """The plots' own typeface."""
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=weight)), size)


def _draw_box(pen: ImageDraw.ImageDraw, box: np.ndarray, letters: int, known: bool) -> None:
    """A line with a white rim, so that it is seen on any ground; corners alone for those who are not known."""
    line = max(2, round(letters / 7))
    radius = 2 * line
    edge, rim = box.tolist(), (box + np.array([-1, -1, 1, 1])).tolist()
    if known:
        pen.rounded_rectangle(rim, radius, outline="white", width=line + 2)
        pen.rounded_rectangle(edge, radius, outline=SAME, width=line)
        return
    left, top, right, bottom = edge
    long_x, long_y = 0.3 * (right - left), 0.3 * (bottom - top)
    for x, sx in ((left, 1), (right, -1)):
        for y, sy in ((top, 1), (bottom, -1)):
            corner = [(x + sx * long_x, y), (x, y), (x, y + sy * long_y)]
            pen.line(corner, "white", line + 2, joint="curve")
            pen.line(corner, DIFFERENT, line, joint="curve")


class _Label:
    """A name on a tag: white on blue for the known, black on white with a vermillion rim for the others."""

    def __init__(self, face: NamedBox, letters: int, room: int) -> None:
        self._known, self._pad = face.known, max(3, round(letters * 0.35))
        self._bold, self._thin = _font(letters, "bold"), _font(round(letters * 0.8), "normal")
        self._note = f" {face.note}" if face.note else ""
        note = self._thin.getlength(self._note)
        self._name = _fitted(face.name, self._bold, room - 2 * self._pad - note)
        self._gap = self._bold.getlength(self._name)
        self._above, below = self._bold.getmetrics()
        self.size = round(self._gap + note + 2 * self._pad), self._above + below + self._pad

    def draw(self, pen: ImageDraw.ImageDraw, place: tuple[float, float]) -> None:
        """``place``: its upper left corner."""
        x, y = place
        ground, ink, rim = (SAME, "white", "white") if self._known else ("white", INK, DIFFERENT)
        box = [x, y, x + self.size[0] - 1, y + self.size[1] - 1]
        pen.rounded_rectangle(box, self._pad, fill=ground, outline=rim, width=max(1, self._pad // 4))
        line = y + self._pad / 2 + self._above
        pen.text((x + self._pad, line), self._name, ink, self._bold, anchor="ls")
        pen.text((x + self._pad + self._gap, line), self._note, ink, self._thin, anchor="ls")


def _fitted(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """``text``, or as much of it as there is room for, and an ellipsis."""
    if font.getlength(text) <= room:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if font.getlength(text[:n] + "…") <= room), 1)
    return text[:kept] + "…"


def _place(
    box: np.ndarray, size: tuple[int, int], room: tuple[int, int], faces: np.ndarray, labels: np.ndarray, letters: int
) -> tuple[float, float]:
    """The upper left corner of a label: below its face, above, beside, or in it, where it hides the least."""
    (left, top, right, bottom), (wide, high) = box, size
    gap = letters * 0.25
    middle = (left + right - wide) / 2, (top + bottom - high) / 2
    wanted = np.array(
        [
            (middle[0], bottom + gap),
            (middle[0], top - gap - high),
            (right + gap, middle[1]),
            (left - gap - wide, middle[1]),
            (middle[0], bottom - high),
            (left, bottom + gap),
            (right - wide, bottom + gap),
            *((middle[0], bottom + gap + row * (high + gap)) for row in (1, 2)),
            *((middle[0], top - (row + 1) * (gap + high)) for row in (1, 2)),
        ]
    )
    # Never cut off at the border: moved inwards instead.
    corners = np.clip(wanted, 0, np.maximum(np.array(room) - size - 1.0, 0))
    places = np.concatenate([corners, corners + size], axis=1)
    own = _shared(places, box[None])
    hidden = 4 * _shared(places, labels) + 2 * _shared(places, faces) + own
    return tuple(corners[int(np.argmin(np.round(hidden, 3)))].tolist())


def _shared(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many pixels of each of ``places`` (L, 4) lie in ``others`` (F, 4): (L,)."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2).sum(1)

"""A film on disk, frame by frame, and one to write. Decoder and encoder are OpenCV's own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.sources.read_image import MAX_PIXELS, reduced
from runtime.errors import InputError
from runtime.files import writing

# Else FFmpeg reports every damaged frame on stderr. It reads this once, when the first film is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# OpenCV's wheels encode MPEG-4, VP8 and VP9 without further libraries. At 960×640 pixels VP9 takes 280 ms a frame.
_CODEC, _USUAL_RATE, _RATES = "mp4v", 25.0, (1.0, 240.0)
# A film ends in the middle if more of its frames are missing: containers count a few too many.
_MISSING, _MISSING_SHARE = 2, 0.02


@dataclass(frozen=True)
class Frame:
    """Frame ``number``, from 0, ``seconds`` after the film's start: uint8 (H, W, 3) RGB, its longer side at most
    ``read_image.MAX_SIDE``."""

    number: int
    seconds: float
    image: np.ndarray


class Film:
    """``rate``: frames a second; ``expected``: how many frames its header names, 0 if none; and after it was read to
    its end ``read``, how many came, and ``seconds``, when the last one is shown."""

    def __init__(self, path: Path) -> None:
        """Raises InputError if OpenCV can't decode the file, or its pictures are too large."""
        self.path, self.read, self.seconds = path, 0, 0.0
        capture = self._open()
        self.rate = capture.get(cv2.CAP_PROP_FPS)
        if not _RATES[0] <= self.rate <= _RATES[1]:
            self.rate = _USUAL_RATE
        self.expected = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()

    def frames(self, every: float = 0.0) -> Iterator[Frame | None]:
        """The frames in order; of those less than ``every`` seconds after the last one, None."""
        capture, number, due = self._open(), 0, 0.0
        try:
            while capture.grab():
                # Not all containers keep a time for each frame.
                seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or number / self.rate
                self.read, self.seconds = number + 1, seconds
                # Half a frame early: times are rounded.
                if seconds < due - 0.5 / self.rate:
                    yield None
                else:
                    due = seconds + every
                    good, image = capture.retrieve()
                    yield Frame(number, seconds, reduced(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))) if good else None
                number += 1
        finally:
            capture.release()

    @property
    def cut_short(self) -> bool:
        """Whether the file held fewer frames than its header names, once it was read to its end."""
        return self.expected - self.read > max(_MISSING, _MISSING_SHARE * self.expected)

    def _open(self) -> cv2.VideoCapture:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        # FFmpeg alone: other decoders take a name such as 1%02d.mp4 for a series of pictures.
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(
                f"{self.path} is no film that OpenCV can decode, or was cut off before its index; give another file, "
                "or convert it to MP4 with H.264"
            )
        width, height = (capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            raise InputError(f"{self.path} has pictures of {width:.0f}×{height:.0f} pixels, which is too large")
        return capture


class FilmWriter:
    """An MP4 (MPEG-4 Part 2, no sound) of ``rate`` frames a second, as large as the first frame."""

    def __init__(self, path: Path, rate: float) -> None:
        # OpenCV writes a rate as a whole number over 1, 10, 100 or 1000. Where the number is above 65535, which MPEG-4
        # does not hold, it takes another rate in silence: 119.88 for 239.766.
        self._path, self._rate, self._frames = path, round(rate, 3 if rate < 65 else 2), 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, image: np.ndarray) -> None:
        """One more frame, uint8 (H, W, 3) RGB."""
        # The codec takes even sides alone.
        height, width = (side - side % 2 for side in image.shape[:2])
        if self._writer is None:
            codec = cv2.VideoWriter_fourcc(*_CODEC)
            self._writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, codec, self._rate, (width, height))
            self._size = width, height
        image = image[:height, :width]
        if (width, height) != self._size:  # browsers' recordings change it; OpenCV would drop the frame
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file. Raises RuntimeError if it is not whole: OpenCV itself keeps silent about a full disk."""
        if self._writer is None:
            return
        self._writer.release()
        written = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        found = max(written.get(cv2.CAP_PROP_FRAME_COUNT), 0)
        written.release()
        if found != self._frames:
            raise RuntimeError(f"{self._path} has {found:.0f} of {self._frames} frames")


@contextmanager
def new_film(path: Path, rate: float) -> Iterator[FilmWriter]:
    """Write a film in a folder that is being made. Raises InputError if the disk refuses."""
    with writing(path):
        writer = FilmWriter(path, rate)
        yield writer
        writer.close()

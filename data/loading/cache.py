"""Decoded faces in memory: one copy, which the process and all its loader workers read and fill."""

import mmap
import os
from pathlib import Path

import numpy as np

from runtime.errors import InputError

# The network, the batches and everybody else on the machine need memory too.
_SHARE_OF_FREE = 0.8

_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


class FaceCache:
    """Room for ``images`` faces, uint8 (size, size, 3), filled as they are first decoded.

    The memory is shared by forking: workers see what the others have put there. Pages are taken from the system when
    they are first written. Under torchrun each process has a cache of its own. Raises InputError if the faces do
    not fit into the memory that is free.
    """

    def __init__(self, images: int, size: int):
        needed, free = images * size * size * 3, free_memory()
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        if needed * processes > _SHARE_OF_FREE * free:
            each = f" in each of {processes} processes" if processes > 1 else ""
            raise InputError(
                f"cache memory needs {needed / 1e9:.1f} GB for {images:,} faces of {size} pixels{each}, "
                f"{free / 1e9:.1f} GB are free; set cache to none and pack the CSV (python -m data.pack)"
            )
        self._faces = np.frombuffer(mmap.mmap(-1, needed), np.uint8).reshape(images, size, size, 3)
        self._filled = np.frombuffer(mmap.mmap(-1, images), np.uint8)

    def __reduce__(self):
        raise InputError(
            "cache memory is shared with workers by forking, which this system does not do; set cache to none, or "
            "workers to 0"
        )

    def get(self, image: int, face: np.ndarray) -> bool:
        """Copy an image's pixels into ``face``; False if they are not here yet."""
        if not self._filled[image]:
            return False
        face[:] = self._faces[image]
        return True

    def put(self, image: int, face: np.ndarray) -> None:
        """Keep an image's pixels. Two workers may do so at once: they write the same."""
        self._faces[image] = face
        # Last: whoever sees the mark finds the whole face.
        self._filled[image] = 1


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its container where that is less."""
    try:
        free = _numbers(_MACHINE)["MemAvailable:"] * 1024
    except (OSError, KeyError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit, used = (int((_CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        files = _numbers(_CONTAINER / "memory.stat")
    except (OSError, ValueError):
        # No container, or one without a limit ("max").
        return free
    # Files that were read stay in memory until somebody needs it, and count as used here.
    return min(free, limit - used + files.get("active_file", 0) + files.get("inactive_file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """The numbers of a file of the system's, by the names before them."""
    return {name: int(number) for name, number, *_ in map(str.split, path.read_text().splitlines())}

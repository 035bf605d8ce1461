"""Memory for batches that is used again and again, and that workers fill where the trainer reads it.

A fresh page costs the system about as much as decoding 4 % of a face (4 µs of 90 where this was measured), and a batch
in new shared memory is made of fresh pages: 40 µs a face of 128 pixels. In these slots a batch costs none, and on its
way from the worker only the slot's number travels.
"""

import itertools
import mmap
import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

# One that is being filled, two that wait (a DataLoader's prefetch), one in the trainer's hands.
_SLOTS = 4

_numbers = itertools.count()
_memories: "weakref.WeakValueDictionary[int, BatchMemory]" = weakref.WeakValueDictionary()


class BatchMemory:
    """Slots for batches of up to ``faces`` uint8 (size, size, 3), some for each of ``workers`` (0: this process).

    Shared by forking. A slot is free again when the last tensor on it is let go, however long that takes: a worker
    with no free slot takes ordinary memory, and nobody's batch is written over.
    """

    def __init__(self, workers: int, faces: int, size: int):
        slots = _SLOTS * max(workers, 1)
        bytes_each = faces * size * size * 3
        memory = np.frombuffer(mmap.mmap(-1, slots * bytes_each), np.uint8)
        self._slots = memory.reshape(slots, faces, size, size, 3)
        self._taken = np.frombuffer(mmap.mmap(-1, slots), np.uint8)
        self._number = next(_numbers)
        _memories[self._number] = self

    def room(self, count: int) -> "Room":
        """Room for a batch of ``count`` faces."""
        worker = get_worker_info()
        first = _SLOTS * (worker.id if worker else 0)
        for slot in range(first, first + _SLOTS):
            if not self._taken[slot] and count <= self._slots.shape[1]:
                self._taken[slot] = 1
                return Room(self._slots[slot, :count], self._number, slot)
        return Room(np.empty((count, *self._slots.shape[2:]), np.uint8))

    def tensor(self, slot: int, count: int) -> Tensor:
        """The first faces of a slot, which is free when the tensor and all views of it are gone."""
        faces = self._slots[slot, :count]
        weakref.finalize(faces, self._taken.__setitem__, slot, 0)
        return torch.from_numpy(faces)


class Room:
    """A batch in the making: fill ``faces``, uint8 (B, S, S, 3), then send ``images``."""

    def __init__(self, faces: np.ndarray, memory: int | None = None, slot: int | None = None):
        self.faces, self._memory, self._slot = faces, memory, slot

    def images(self, count: int) -> "Tensor | Sent":
        """The first ``count`` faces as a tensor; from a worker, what becomes one in the trainer."""
        if self._slot is None:
            return torch.from_numpy(self.faces[:count])
        if get_worker_info() is None:
            return _received(self._memory, self._slot, count)
        return Sent(_received, self._memory, self._slot, count)


def _received(memory: int, slot: int, count: int) -> Tensor:
    return _memories[memory].tensor(slot, count)


class Sent:
    """In a worker's message, what ``make(*arguments)`` gives in the process that receives it."""

    def __init__(self, make: Callable, *arguments: object):
        self._make, self._arguments = make, arguments

    def __reduce__(self) -> tuple:
        return self._make, self._arguments


def send_array(array: np.ndarray) -> "Tensor | Sent":
    """A small array as a tensor; a worker sends its bytes, which is quicker than shared memory of its own."""
    return torch.from_numpy(array) if get_worker_info() is None else Sent(torch.from_numpy, array)

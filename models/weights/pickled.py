"""Pickled networks of other people, read without running any of their code.

Names in a file give one of two things: for what a file of tensors needs (ALLOWED), a function of this module; for
classes of networks, a stand-in. See ``runtime/inert_pickle.py``.
"""

import io
import pickle
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from runtime.checkpoints.archive import refuse_bomb
from runtime.errors import InputError
from runtime.inert_pickle import NUMPY, Function, InertUnpickler, PlainOrderedDict, Refused, encoded, stand_in

# The first two numbers of a file of torch.save before version 1.6; newer files are zip archives.
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# Installed packages whose names may stand in a file of a network; what is not installed at all is its author's own.
_NETWORKS = (
    "torch.nn.",
    "torch.optim.",
    "torchvision.",
    "timm.",
    "facenet_pytorch.",
    "efficientnet_pytorch.",
    "pretrainedmodels.",
    "pytorch_lightning.",
    "lightning.",
)
_PLAIN = {
    *(f"torch.{name}" for name in ("device", "float16", "float32", "float64", "bfloat16", "int64", "strided")),
    "torch.serialization._get_layout",
    "functools.partial",
    "argparse.Namespace",
    "pathlib.PosixPath",
    *NUMPY,
}


def read_pickled(path: Path) -> object:
    """The content of a file of ``torch.save``: plain containers and values, CPU tensors, and StandIns for all objects.

    Zip archives and the format before torch 1.6, saved on any device. Raises InputError: no such file, damaged, not
    of torch.save, or a name in it that no network needs (nothing of the file has run then).
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        if zipfile.is_zipfile(path):
            refuse_bomb(path)
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive)
        with path.open("rb") as file:
            return _read_legacy(file, path.stat().st_size)
    except Refused as refused:
        raise InputError(
            f"{path} names {refused}, which no network needs: refused, and nothing of it was run; "
            "don't load this file with torch.load"
        ) from None
    except Exception as error:  # a damaged pickle can fail with anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged or no file of torch.save ({reason}); get it again") from None


def _load(file: BinaryIO, storage: Callable[..., Tensor] | None = None) -> object:
    """The next pickle of a file."""
    unpickler = _Unpickler(file, storage)
    content = unpickler.load()
    if max(unpickler.memo, default=0) > file.tell():
        raise pickle.UnpicklingError("a memo larger than the file")
    return content


class _Unpickler(InertUnpickler):
    def __init__(self, file: BinaryIO, storage: Callable[..., Tensor] | None = None) -> None:
        super().__init__(file)
        self._storage = storage

    def meaning(self, name: str) -> object | None:
        if name in ALLOWED:
            return ALLOWED[name]
        module, _, last = name.rpartition(".")
        if module in ("torch", "torch.cuda") and last in _DTYPES:
            return _DTYPES[last]
        wanted = name in _PLAIN or name.startswith(_NETWORKS) or _is_the_authors(module)
        return stand_in(name) if wanted else None

    def persistent_load(self, saved: tuple) -> object:
        kind, *values = saved
        if kind == "module":  # old files keep a container's source beside its class
            return values[0]
        if kind != "storage" or self._storage is None or not isinstance(values[0], torch.dtype):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return self._storage(*values)


def _is_the_authors(module: str) -> bool:
    root = module.partition(".")[0]
    return root not in sys.stdlib_module_names and root not in _installed()


@cache
def _installed() -> frozenset[str]:
    return frozenset(packages_distributions())


# ==== what a pickle may call ====


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    """A view into a storage, as large as the file says; torch refuses one that leaves it."""
    return storage.as_strided(tuple(size), tuple(stride), storage.storage_offset() + offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


ALLOWED: dict[str, object] = {
    "torch._utils._rebuild_tensor": Function(_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch._utils._rebuild_parameter": Function(_parameter),
    "torch._utils._rebuild_parameter_with_state": Function(_parameter),
    "torch.Size": Function(tuple),
    "collections.OrderedDict": PlainOrderedDict,
    "collections.Counter": Function(Counter),
    "collections.defaultdict": Function(lambda *_: {}),
    "builtins.set": Function(set),
    "builtins.dict": Function(dict),
    "builtins.bytes": Function(encoded),
    "_codecs.encode": Function(encoded),
}


# ==== the two formats ====


def _read_zip(archive: zipfile.ZipFile) -> object:
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in names):
        raise pickle.UnpicklingError("a zip archive, but none of torch.save; TorchScript is not read")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "byteorder" in names and archive.read(folder + "byteorder") != b"little":
        raise pickle.UnpicklingError("written on a big-endian machine")
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, device: str, count: int, *_: object) -> Tensor:
        if key not in storages:
            data = bytearray(archive.read(f"{folder}data/{key}"))
            if len(data) < count * dtype.itemsize:
                raise pickle.UnpicklingError(f"the storage {key} has a wrong length")
            storages[key] = torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
        return storages[key]

    return _load(io.BytesIO(archive.read(pickles[0])), storage)


def _read_legacy(file: BinaryIO, file_size: int) -> object:
    """Pickles one after the other: magic number, protocol, machine, content, names of storages; then their bytes."""
    if _load(file) != _LEGACY_MAGIC or _load(file) != _LEGACY_PROTOCOL:
        raise pickle.UnpicklingError("a pickle, but none of torch.save")
    if not _load(file)["little_endian"]:
        raise pickle.UnpicklingError("written on a big-endian machine")
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, device: str, count: int, view: tuple | None = None) -> Tensor:
        if key not in storages:
            if not 0 <= count * dtype.itemsize <= file_size:
                raise pickle.UnpicklingError(f"the storage {key} has a wrong length")
            storages[key] = torch.empty(count, dtype=dtype)
        if view is None:
            return storages[key]
        _, start, length = view
        return storages[key][start : start + length]

    content = _load(file, storage)
    for key in _load(file):
        _fill(file, storages.pop(key))
    if storages:
        raise pickle.UnpicklingError("storages without content")
    return content


def _fill(file: BinaryIO, storage: Tensor) -> None:
    count = int.from_bytes(file.read(8), "little")
    data = file.read(storage.nbytes)
    if count != len(storage) or len(data) != storage.nbytes:
        raise pickle.UnpicklingError("the file ends too early")
    if count:
        storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))

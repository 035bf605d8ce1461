"""A small file that would fill the memory is refused wherever a zip archive of tensors is read."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.identify.enrolment import Enrolment
from models.weights.pickled import read_pickled
from models.weights.read import recognise_file
from runtime.checkpoints.file import load_checkpoint, save_checkpoint
from runtime.errors import InputError

READERS = {"checkpoint": load_checkpoint, "weights": recognise_file, "pickled": read_pickled}


def compressed(path: Path) -> None:
    """The same archive, its parts deflated."""
    whole = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def overlapping(path: Path) -> None:
    """Every tensor's name points to the same bytes, which stand in the file once."""
    whole = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        first = None
        for part in old.infolist():
            if first is None or "/data/" not in part.filename:
                new.writestr(part.filename, old.read(part))
                first = first or (new.infolist()[-1] if "/data/" in part.filename else None)
                continue
            twin = zipfile.ZipInfo(part.filename)
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(twin, name, getattr(first, name))
            new.filelist.append(twin)


@pytest.mark.parametrize("make", [compressed, overlapping])
@pytest.mark.parametrize("reader", READERS)
def test_a_bomb_is_refused_in_one_line(tmp_path, make, reader):
    path = tmp_path / "bomb.pt"
    content = {f"w{i}": torch.zeros(50_000) for i in range(10)}
    save_checkpoint(path, {"model": content}) if reader == "checkpoint" else torch.save(content, path)
    READERS[reader](path)
    size = path.stat().st_size
    make(path)
    assert path.stat().st_size < size / 5
    torch.load(path, weights_only=True)  # it is a bomb indeed
    with pytest.raises(InputError, match=r"bomb.pt") as error:
        READERS[reader](path)
    assert "\n" not in str(error.value)


def test_an_enrolment_that_is_a_bomb_is_refused(tmp_path):
    rows = {"person": np.array(["a"]), "picture": np.array(["b"]), "embeddings": np.zeros((1, 10_000))}
    np.savez_compressed(tmp_path / "people.npz", network=np.array("x"), **rows)
    with pytest.raises(InputError, match="no enrolment"):
        Enrolment.load(tmp_path / "people.npz", "x")

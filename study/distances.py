"""The distances of a finished run, without pictures or names, so that a table can get another arm without retraining.

Whoever has the same evaluation faces has the same pairs, and can match the distances to them.
"""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from eval.finished_run import PAIR_COLUMNS
from runtime.errors import InputError
from runtime.files import replace_file

FILE = "distances.npz"
# The same network's distances differ less than this between machines; with other alignment they differ more.
_NOISE = 0.02


def write_distances(folder: Path, pairs: pd.DataFrame, untouched: pd.DataFrame) -> None:
    """Write FILE: the distances of ``pairs``, and those of the untouched network, which show its reader whether the
    faces are the same. Both are as ``read_pair_file`` gives them. Raises InputError if it can't be written."""
    distances = {"distances": pairs["distance"].to_numpy(np.float32), "untouched": _of(untouched).astype(np.float16)}
    with replace_file(folder / FILE) as part, part.open("wb") as file:
        np.savez_compressed(file, pairs=_digest(pairs), **distances)


def read_distances(folder: Path, untouched: pd.DataFrame) -> pd.DataFrame:
    """The pairs of ``untouched``, with their distances in the published run in ``folder``.

    Raises InputError if the file is damaged, or was written for other pairs or other faces.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            digest, distances, before = (file[name] for name in ("pairs", "distances", "untouched"))
            same_pairs = str(digest) == _digest(untouched) and distances.shape == before.shape == (len(untouched),)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read ({type(error).__name__}); remove it and train the run again") from None
    if not same_pairs or np.abs(_of(untouched) - before).max() > _NOISE:
        thing = "faces" if same_pairs else "pairs"
        raise InputError(
            f"{path} has the distances of other {thing} than --eval; give the faces it was made with, or another "
            "folder (--results)"
        )
    return untouched.assign(distance=distances)


def _of(pairs: pd.DataFrame) -> np.ndarray:
    return pairs["distance"].to_numpy(float)


def _digest(pairs: pd.DataFrame) -> str:
    columns = [name for name in PAIR_COLUMNS if name != "distance"]
    return hashlib.sha256(pairs[columns].to_csv(index=False).encode()).hexdigest()

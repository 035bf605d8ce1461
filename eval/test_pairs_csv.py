"""The distance of every test pair, as ``test_pairs.csv`` of a run folder: for plots, comparisons and a spreadsheet.

Columns: path, pair_path, same (0 or 1), condition, person and pair_person (numbers, equal for a same pair), distance.
It names faces, so it stays in the run folder and is never published.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from eval.metrics.evaluation import Evaluation
from runtime.errors import InputError, in_one_line
from runtime.files import write_file

PAIR_FILE = "test_pairs.csv"
_COLUMNS = ["path", "pair_path", "same", "condition", "person", "pair_person", "distance"]


def write_pair_file(run: Path, evaluation: Evaluation, paths: np.ndarray, name: str = PAIR_FILE) -> None:
    """Write the run's ``test_pairs.csv``; ``paths`` (N,) are the images that the pairs number."""
    pairs = evaluation.pairs
    columns = (
        paths[pairs.left], paths[pairs.right], pairs.same.astype(int), pairs.condition,
        *pairs.people.T, evaluation.distances.astype(np.float32),
    )  # fmt: skip
    write_file(run / name, pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True))).to_csv(index=False))


def read_pair_file(run: Path, name: str = PAIR_FILE) -> pd.DataFrame:
    """The run's test pairs. Raises InputError where it has none (not tested, or by an older version)."""
    path = run / name
    try:
        text = {"path": str, "pair_path": str, "condition": str}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{run} has no {name}: let the run finish its test, or train it again") from None
    except (OSError, ValueError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path} can't be read as a CSV ({in_one_line(error, 100)}); test the run again") from None
    if list(frame.columns) != _COLUMNS:
        raise InputError(f"{path} has other columns than {', '.join(_COLUMNS)}; test the run again")
    numbers = frame[["same", "person", "pair_person", "distance"]]
    if not all(map(pd.api.types.is_numeric_dtype, numbers.dtypes)) or not np.isfinite(numbers.to_numpy(float)).all():
        raise InputError(f"{path}: same, person, pair_person and distance must be numbers; test the run again")
    return frame.astype({"same": bool})

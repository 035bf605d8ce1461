"""Finders of lists of pairs: InsightFace's ``.bin``, LFW, CALFW and CPLFW, MFR2, pair CSVs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from data.sources.file_names import as_on_disk
from data.sources.mask_words import says_masked
from data.sources.pair_lists import (
    Face,
    find_faces,
    list_folds,
    read_flagged_pairs,
    read_mask_labels,
    read_pairs_file,
)
from data.sources.source_file import SourceFile
from data.sources.verification_bin import list_verification_bin
from data.tables.card import read_dataset_card
from data.tables.pair_csv import CONDITIONS, read_pair_csvs
from eval.benchmark.contract import BenchmarkSet
from eval.benchmark.sets.listing import files_in, folders_in
from eval.benchmark.sets.pair_benchmark import PairBenchmark
from eval.benchmark.sets.pair_set import PairSet, people_of, unknown_condition
from eval.metrics.accuracy import FOLDS
from eval.metrics.published_folds import consecutive_folds
from runtime.errors import InputError

# Test sets whose faces wear masks although their name has no word for it.
_MASKED_SETS = ("mlfw",)
# So many of a list's pictures are looked for in a folder before it is said to hold none of them.
_TRIED = 50


def find_bin(path: Path) -> list[BenchmarkSet]:
    """An InsightFace verification set."""
    return [PairBenchmark(read_bin(path))] if path.suffix == ".bin" else []


def find_csv(path: Path) -> list[BenchmarkSet]:
    """A pair CSV."""
    return [PairBenchmark(read_csv(path))] if path.suffix == ".csv" and _is_pair_csv(path) else []


def find_lists(folder: Path) -> list[BenchmarkSet]:
    """LFW, CALFW, CPLFW or MFR2: a folder with pairs.txt or pairs_CALFW.txt."""
    files = files_in(folder)
    two_lines = [path for path in files if re.fullmatch(r"pairs_C[AP]LFW\.txt", path.name, re.IGNORECASE)]
    if two_lines:
        return [PairBenchmark(read_two_line_list(path)) for path in two_lines]
    return [PairBenchmark(read_list(path)) for path in files if path.name == "pairs.txt"]


# ==== InsightFace's .bin ====


def read_bin(path: Path) -> PairSet:
    """Pictures are numbered as they lie in the file, two a pair. Raises InputError as ``list_verification_bin``, and
    for fewer than ten pairs."""
    source = list_verification_bin(path)
    pairs = len(source.pairs)
    if pairs < FOLDS:
        raise InputError(f"{path} has {pairs} pairs, which make no {FOLDS} folds; copy the file again")
    left = np.arange(0, 2 * pairs, 2)
    masked = path.stem.lower() in _MASKED_SETS or says_masked(path.stem)
    return PairSet(
        path.stem,
        path,
        "InsightFace .bin",
        [picture.path for picture in source.pictures],
        source.pictures,
        left,
        left + 1,
        np.array([pair.same for pair in source.pairs]),
        np.full(pairs, CONDITIONS[2]) if masked else unknown_condition(pairs),
        consecutive_folds(pairs),
        aligned=True,
    )


# ==== LFW and MFR2 ====


def read_list(path: Path) -> PairSet:
    """A list in LFW's format, with the folds that its head line counts, or without a head and with a file of labels
    beside it or its pictures, as MFR2 has it.

    Raises InputError: unreadable, fewer pairs than its head says, no picture in the folder.
    """
    pairs = read_pairs_file(path)
    folds = list_folds(path, pairs)
    people = sorted({name.rpartition("/")[0] for pair in pairs for name in (pair.name, pair.pair_name)})
    root = _root(path.parent, people)
    labels = _labels(path.parent) or _labels(root)
    faces = find_faces(root, people, labels)
    names, left, right = _numbered((pair.name, pair.pair_name) for pair in pairs)
    found = [faces[name][0] if name in faces else None for name in names]
    return PairSet(
        _folder_name(path),
        path,
        "LFW's list" if folds is not None else "list of pairs",
        names,
        [_source_file(root, face) for face in found],
        left,
        right,
        np.array([pair.same for pair in pairs]),
        _conditions(found, left, right) if labels else unknown_condition(len(pairs)),
        folds,
        people_of([name.rpartition("/")[0] for name in names], left, right),
        _card_says_aligned(root),
    )


def _labels(folder: Path) -> Mapping[str, str]:
    files = [path for path in files_in(folder) if path.suffix == ".txt" and "labels" in path.name]
    return read_mask_labels(files[0]) if files else {}


def _conditions(faces: Sequence[Face | None], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    masked = np.array([face is not None and face.masked for face in faces])
    return np.array(CONDITIONS)[masked[left].astype(int) + masked[right]]


def _source_file(root: Path, face: Face | None) -> SourceFile | None:
    return None if face is None else _picture(root, face.path)


def _picture(root: Path, path: str) -> SourceFile:
    return SourceFile(path, Path(path).parent.name, path, "", root)


def _named(root: Path, name: str) -> SourceFile | None:
    """The picture under ``root`` that a list names, None if there is none."""
    path = as_on_disk(root, name)
    return _picture(root, path) if path is not None and (root / path).is_file() else None


def _folder_name(path: Path) -> str:
    return path.resolve().parent.name


# ==== CALFW and CPLFW ====


def read_two_line_list(path: Path) -> PairSet:
    """Two lines ``file flag`` a pair: flag 0 is a different pair, any other the fold of a same one.

    Different pairs are dealt to the folds in the list's order, as many to each. Raises InputError: unreadable, an odd
    number of lines, two flags in a pair, a fold too few, no picture in the folder.
    """
    pairs = read_flagged_pairs(path)
    flags = np.array([pair.flag for pair in pairs])
    names, left, right = _numbered((pair.name, pair.pair_name) for pair in pairs)
    root = _root(path.parent, names)
    return PairSet(
        path.stem.lower().removeprefix("pairs_"),
        path,
        "two-line list",
        names,
        [_named(root, name) for name in names],
        left,
        right,
        flags > 0,
        unknown_condition(len(flags)),
        _flagged_folds(flags, path),
        people_of([re.sub(r"_\d+$", "", Path(name).stem) for name in names], left, right),
        _card_says_aligned(root),
    )


def _flagged_folds(flags: np.ndarray, path: Path) -> np.ndarray:
    same = flags > 0
    there = np.unique(flags[same]).tolist()
    if there != list(range(1, FOLDS + 1)) or (~same).sum() < FOLDS:
        raise InputError(f"{path} has same pairs of the folds {there}, not of 1 to {FOLDS}; get the list again")
    folds = flags.astype(np.int64) - 1
    folds[~same] = consecutive_folds(int((~same).sum()))
    return folds


# ==== pair CSVs ====


def _is_pair_csv(path: Path) -> bool:
    """By its head line."""
    try:
        columns = set(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError):  # empty, another encoding, no CSV
        return False
    return {"path", "pair_path"} <= columns and bool({"same", "target"} & columns)


def read_csv(path: Path) -> PairSet:
    """Raises InputError as ``read_pair_csvs``, and if the folder has none of its pictures."""
    pairs = read_pair_csvs([path], path_prefix=None)
    root = _root(path.parent, pairs.paths)
    return PairSet(
        path.stem,
        path,
        "pair CSV",
        pairs.paths.tolist(),
        [_named(root, name) for name in pairs.paths.tolist()],
        pairs.left,
        pairs.right,
        pairs.same,
        pairs.condition,
        folds=pairs.folds,
        people=pairs.people if pairs.names is not None else _people_of_folders(pairs.paths, pairs),
        aligned=_card_says_aligned(root),
        left_out={str(reason): int(n) for reason, n in pairs.left_out["reason"].value_counts().items()},
    )


def _people_of_folders(paths: Sequence[str], pairs) -> np.ndarray | None:
    """The people by the pictures' folders, if these agree with which pairs are the same."""
    people = people_of([Path(path).parent.name for path in paths], pairs.left, pairs.right)
    return people if ((people[:, 0] == people[:, 1]) == pairs.same).all() else None


# ==== pictures ====


def _numbered(pairs: Iterable[tuple[str, str]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct names in order, and the numbers of both sides."""
    codes, names = pd.factorize(np.array([name for pair in pairs for name in pair], dtype=object))
    left, right = codes.reshape(-1, 2).T.astype(np.int64)
    return names.tolist(), left, right


def _root(folder: Path, wanted: Sequence[str]) -> Path:
    """The folder that the names start from: this one or one under it, whichever holds one of the first names.

    Raises InputError if none does.
    """
    below = folders_in(folder)
    deeper = (path for parent in below for path in folders_in(parent))
    tried = list(wanted[:_TRIED])
    for place in (folder, *below, *islice(deeper, 200)):
        if any((place / name).exists() for name in tried):
            return place
    raise InputError(f"{folder} holds a list, but none of its pictures, such as {tried[0]}; unpack them there")


def _card_says_aligned(root: Path) -> bool | None:
    card = read_dataset_card(root)
    return None if card is None else card.get("crop") == "arcface5"

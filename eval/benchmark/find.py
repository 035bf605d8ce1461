"""Which test sets lie in a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from eval.benchmark import ijb, mask_plain
from eval.benchmark.contract import BenchmarkSet
from eval.benchmark.pair_lists import find_bins, find_csvs, find_lists
from runtime.errors import InputError

Finder = Callable[[Path], list[BenchmarkSet]]

# Of sets that are a folder: it belongs to the first that recognises it, with all folders under it.
FOLDER_FINDERS: Sequence[Finder] = (ijb.find, find_lists, mask_plain.find)
# Of sets that are a file among others.
FILE_FINDERS: Sequence[Finder] = (find_bins, find_csvs)

# Sets lie in the folder itself, or one or two levels down.
_DEPTH = 2


def find_sets(folder: Path, only: Sequence[str] = ()) -> list[BenchmarkSet]:
    """The sets of a folder, by name, those named in ``only`` alone unless it is empty.

    Raises InputError: no such folder, no set in it, two of one name, a damaged one, a name in ``only`` that none has.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that holds the test sets")
    found: dict[str, BenchmarkSet] = {}
    for each in _walk(folder, _DEPTH):
        if each.name in found:
            raise InputError(f"{folder} holds two sets named {each.name}; rename one of them, or move it elsewhere")
        found[each.name] = each
    if not found:
        raise InputError(f"no test set in {folder}; docs/benchmarks.md says how the folder of each set looks")
    unknown = [name for name in only if name not in found]
    if unknown:
        raise InputError(f"--only {unknown[0]}: no such set in {folder}, which holds {', '.join(sorted(found))}")
    return [found[name] for name in sorted(found) if not only or name in only]


def _walk(folder: Path, depth: int) -> list[BenchmarkSet]:
    files = [each for find in FILE_FINDERS for each in find(folder)]
    for find in FOLDER_FINDERS:
        if sets := find(folder):
            return sets + files
    if depth:
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            files += _walk(below, depth - 1)
    return files

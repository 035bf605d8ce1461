"""Which test sets lie in a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from eval.benchmark.contract import BenchmarkSet
from eval.benchmark.sets import ijb, mask_plain
from eval.benchmark.sets.listing import files_in, folders_in
from eval.benchmark.sets.pair_lists import find_bin, find_csv, find_lists
from runtime.errors import InputError, in_one_line

Finder = Callable[[Path], list[BenchmarkSet]]

# Of sets that are a folder: it belongs to the first that recognises it, with that of its pictures and all under this.
FOLDER_FINDERS: Sequence[Finder] = (ijb.find, find_lists, mask_plain.find)
# Of sets that are a file among others.
FILE_FINDERS: Sequence[Finder] = (find_bin, find_csv)

# Sets lie in the folder itself, or one or two levels down.
_DEPTH = 2


def find_sets(folder: Path, only: Sequence[str] = ()) -> list[BenchmarkSet]:
    """The sets of a folder, by name, those named in ``only`` (in any case) alone unless it is empty.

    A damaged set is passed over, with a line, if all that ``only`` names are there. Raises InputError: no such folder,
    no set in it, two wanted ones of one name, a damaged one, a name in ``only`` that none has.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that holds the test sets")
    damaged: list[InputError] = []
    found: dict[str, BenchmarkSet] = {}
    wanted = {name.casefold() for name in only}
    for each in _walk(folder, _DEPTH, damaged):
        name = each.name.casefold()
        if name in found and (not only or name in wanted):
            raise InputError(f"{folder} holds two sets named {each.name}; rename one of them, or move it elsewhere")
        found[name] = each
    unknown = [name for name in only if name.casefold() not in found]
    if damaged and (unknown or not only):
        raise damaged[0]
    for error in damaged:
        print(in_one_line(f"passed over: {error}"))
    if not found:
        raise InputError(f"no test set in {folder}; docs/benchmarks.md says how the folder of each set looks")
    if unknown:
        names = ", ".join(sorted(each.name for each in found.values()))
        raise InputError(f"--only {unknown[0]}: no such set in {folder}, which holds {names}")
    return [found[name] for name in sorted(found) if not only or name in wanted]


def _walk(folder: Path, depth: int, damaged: list[InputError]) -> list[BenchmarkSet]:
    """The sets of a folder and of those under it; what is wrong with others goes to ``damaged``."""
    files = [each for path in files_in(folder) for find in FILE_FINDERS for each in _try(find, path, damaged)]
    sets: list[BenchmarkSet] = []
    for find in FOLDER_FINDERS:
        sets = sets or _try(find, folder, damaged)
    taken = {each.folder for each in sets}
    others = (path for path in folders_in(folder) if not any(one.is_relative_to(path) for one in taken))
    if depth and folder not in taken:
        files += [each for path in others for each in _walk(path, depth - 1, damaged)]
    return sets + files


def _try(find: Finder, place: Path, damaged: list[InputError]) -> list[BenchmarkSet]:
    try:
        return find(place)
    except InputError as error:
        damaged.append(error)
    except OSError as error:
        damaged.append(InputError(f"{place} can't be read ({error.strerror or error})"))
    return []

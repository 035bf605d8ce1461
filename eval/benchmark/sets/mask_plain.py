"""Folders with masked and plain pictures of each person: every masked one against every plain one.

That is the protocol of the masked face recognition challenge at ICCV 2021 (Deng et al. 2021, arXiv:2108.08191), whose
figure is TAR at FAR 1e-4.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.sources.folders import list_folder
from data.sources.mask_words import says_masked
from data.sources.source_file import SourceFile
from data.tables.card import read_dataset_card
from eval.benchmark.contract import PLAIN_MASKED, Figure, Result, Work
from eval.benchmark.set_pictures import SetPictures, picture_notes
from eval.benchmark.sets.listing import folders_in
from eval.benchmark.sets.tar_figures import drawn_over, tar_figures, tar_name
from eval.metrics.distances import unit_rows
from eval.metrics.error_curves import errors_along
from eval.metrics.many_pairs.every_pair import blocks_of, near_of_every_pair
from eval.metrics.many_pairs.tar_intervals import NearPairs
from eval.metrics.roc import tar_within_far
from runtime.errors import InputError

PROTOCOL = "ICCV 2021 challenge, mask–plain"
OFFICIAL = "1e-4"
RATES = {f"1e-{n}": 10.0**-n for n in range(6, 1, -1)}
# People whose folders are looked into before a folder is said to be of another kind.
_TRIED = 20


def find(folder: Path) -> list["MaskPlainSet"]:
    """The set that the folder is: plain and masked pictures in two folders of people, or in two folders of each."""
    if not (_kinds_above_people(folder) or _kinds_below_people(folder)):
        return []
    source = list_folder(folder)
    worn = {file.masked for file in source.pictures}
    return [MaskPlainSet(folder, source.pictures)] if worn == {True, False} else []


def _kinds_above_people(folder: Path) -> bool:
    """Whether half of the people under folders with a mask in their name are under another one, too."""
    masked, plain = set(), set()
    # A folder with a list of pairs is a set of its own: LFW beside its masked copy is not one of both.
    for kind in (each for each in folders_in(folder) if not any(each.glob("pairs*.txt"))):
        (masked if says_masked(kind.name) else plain).update(person.name for person in folders_in(kind))
    return bool(masked) and 2 * len(masked & plain) >= len(masked)


def _kinds_below_people(folder: Path) -> bool:
    """Whether half of the people have a folder of pictures with a mask in its name, and another."""
    people = [folders_in(person) for person in folders_in(folder)[:_TRIED]]
    both = sum(map(_are_kinds, people))
    return bool(both) and 2 * both >= len(people)


def _are_kinds(folders: Sequence[Path]) -> bool:
    masked = [kind for kind in folders if says_masked(kind.name)]
    # What holds folders is no person's: people lie below it.
    return 0 < len(masked) < len(folders) and not any(folders_in(kind) for kind in masked)


class MaskPlainSet:
    """A ``BenchmarkSet`` of one such folder."""

    def __init__(self, folder: Path, pictures: Sequence[SourceFile]) -> None:
        self.name, self.folder = folder.resolve().name, folder
        card = read_dataset_card(folder)
        aligned = None if card is None else card.get("crop") == "arcface5"
        self.pictures = SetPictures(self.name, dict(enumerate(pictures)), len(pictures), aligned)
        self.names = [file.path for file in pictures]
        self.masked = np.array([file.masked for file in pictures])
        people = [file.person for file in pictures]
        self.person = np.unique(people, return_inverse=True)[1].astype(np.int64)

    def describe(self) -> str:
        """Pictures, people and pairs."""
        masked, plain = int(self.masked.sum()), int((~self.masked).sum())
        people = len(np.unique(self.person))
        return f"{masked:,} masked and {plain:,} plain pictures of {people:,} people, {masked * plain:,} pairs"

    def seconds(self, work: Work) -> float:
        """About how long ``run`` takes."""
        return self.pictures.seconds(work, self.pictures.options(work, twins=False))

    def run(self, work: Work) -> list[Result]:
        """One result. Raises InputError if there is no face of a masked or of a plain picture."""
        options = self.pictures.options(work, twins=False)
        found = self.pictures.embedded(work, options).plain
        there = ~np.isin(np.arange(len(self.masked)), list(found.lost))
        if not (there & self.masked).any() or not (there & ~self.masked).any():
            raise InputError(f"{self.name}: no face was found in its masked pictures, or none in its plain ones")
        near = self._near_pairs(found.sums, there)
        pairs = near.curve()
        own = tar_figures(pairs, RATES, lambda _: near)
        lost = int((~there).sum())
        same, different = int(near.same.sum()), int(near.different_of.sum()) // 2
        listed = int(self.masked.sum() * (~self.masked).sum())
        alignment = self.pictures.alignment(work, options, None)
        return [
            Result(
                set=self.name,
                condition=PLAIN_MASKED,
                protocol=PROTOCOL,
                official=[Figure(tar_name(OFFICIAL), tar_within_far(pairs, RATES[OFFICIAL]))],
                own=own,
                intervals_over=drawn_over(own),
                alignment="as the pictures came" if alignment is None else alignment.found,
                faces=len(there),
                lost_faces=lost,
                pairs=same + different,
                lost_pairs=listed - same - different,
                not_comparable=f"{listed - same - different:,} of {listed:,} pairs are missing" if lost else "",
                notes=[*picture_notes(alignment, found.lost, self.names, work.network), *_few(different)],
                curve=errors_along(self.name, pairs, None),
                details={"same_pairs": same, "different_pairs": different},
            )
        ]

    def _near_pairs(self, sums: np.ndarray, there: np.ndarray) -> NearPairs:
        """The nearest of every masked face against every plain one."""
        rows = unit_rows(sums)
        # People whose pictures are all lost are nobody to draw.
        person = np.unique(np.where(there, self.person, self.person[there][0]), return_inverse=True)[1]
        masked, plain = there & self.masked, there & ~self.masked
        blocks = tqdm(blocks_of(int(masked.sum())), desc=f"{self.name}: pairs", unit="block", leave=False)
        return near_of_every_pair(
            rows[masked], rows[plain], (person[masked], person[plain]), max(RATES.values()), blocks
        )


def _few(different: int) -> list[str]:
    """What to say of an official figure that rests on few pairs."""
    if different >= 10 / RATES[OFFICIAL]:
        return []
    accepted = int(different * RATES[OFFICIAL])
    return [f"a FAR of {OFFICIAL} accepts {accepted} of {different:,} different pairs: its TAR is unreliable"]

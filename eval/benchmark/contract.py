"""What a test set offers, what it is given, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from eval.benchmark.network import FaceNetwork
from eval.metrics.error_curves import Errors

PLAIN, PLAIN_MASKED, MASKED_MASKED = "plain-plain", "plain-masked", "masked-masked"
# Of a set whose faces wear real masks, or of which nobody says who does.
AS_LISTED = "as listed"
# The protocol of lists of pairs with ten folds.
TEN_FOLDS = "10 folds, flip-sum"

Twins = Literal["none", "before", "after", "both"]


@dataclass(frozen=True)
class Work:
    """``network`` under test; ``detector`` that finds faces in photographs; ``seed`` of the masked twins, and which are
    wanted (``twins``: those of photographs masked before or after alignment); ``processes`` that find faces, 0: one per
    core."""

    network: FaceNetwork
    detector: str
    seed: int
    twins: Twins
    processes: int


@dataclass(frozen=True)
class Figure:
    """A share 0 … 1, such as "accuracy" or "TAR at FAR 1e-4"; None if it can't be given. ``std``: standard deviation
    of the folds; ``interval``: 95 %, low and high."""

    name: str
    value: float | None
    std: float | None = None
    interval: list[float] | None = None


@dataclass(frozen=True)
class Result:
    """A row of the table.

    ``set``: the set's name; ``condition``: PLAIN, PLAIN_MASKED, MASKED_MASKED or AS_LISTED; ``protocol``: a short name
    of how ``official`` figures are calculated, the same for all sets that share it (empty where the field has none).
    ``masks``: when simulated masks were put on, "before alignment" or "after alignment", empty without any.
    ``intervals_over``: what the intervals of ``own`` figures were drawn over: "people", "pairs", or "" without any.
    ``alignment``: how the faces were found and aligned, in words; ``faces``: how many were looked for; ``lost_faces``:
    how many of them can't count; ``pairs`` and ``lost_pairs`` alike. ``not_comparable``: why the official figures are
    not those of the whole set, empty where they are. ``notes``: sentences for the reader. ``curve``: for the plot.
    ``details``: plain values for the JSON.
    """

    set: str
    condition: str
    protocol: str
    official: Sequence[Figure]
    own: Sequence[Figure]
    intervals_over: str
    alignment: str
    faces: int
    lost_faces: int
    pairs: int
    lost_pairs: int
    masks: str = ""
    not_comparable: str = ""
    notes: Sequence[str] = ()
    curve: Errors | None = None
    details: dict = field(default_factory=dict)


class BenchmarkSet(Protocol):
    """A test set that was found; nothing of its pictures has been read yet. ``name``: unique, what --only names;
    ``folder``: where its pictures lie, which belongs to it alone."""

    name: str
    folder: Path

    def describe(self) -> str:
        """What was found, in a line without the name: "6,000 pairs of 7,701 photographs in ten folds; 3 missing"."""

    def seconds(self, work: Work) -> float:
        """About how long ``run`` takes."""

    def run(self, work: Work) -> list[Result]:
        """Embed the faces and evaluate. Raises InputError on what the user can mend."""

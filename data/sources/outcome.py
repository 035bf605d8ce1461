"""The outcome of one input file: written, or why not."""

import re
from dataclasses import dataclass

WRITTEN, NO_FACE, UNREADABLE, TOO_SMALL, NO_PICTURE = (
    "written",
    "no face found",
    "unreadable",
    "too small",
    "not a picture",
)

STATUSES = (WRITTEN, NO_FACE, UNREADABLE, TOO_SMALL, NO_PICTURE)

NO_MASK, WORN = "none", "worn"

# Why a written face has no masked copy: the detector missed it, or took something else for it.
LOST_UNDER_MASK = "not found under the mask"

# What the other faces of a picture are called, where all are kept: of Ann/0001.jpg Ann/0001_face2.jpg.
FURTHER_FACE = re.compile(r"(.+)_face\d+\.jpg")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the source's file ``path``: one of STATUSES and the reason; for a written face its ``name``
    under plain/ and masked/, its ``person``, the ten numbers of its landmarks in the aligned image (none where they
    were not searched), and its ``mask``: NO_MASK (plain/ only), WORN (masked/ only), or the kind of the simulated
    one (both). ``masked_landmarks``: where the same ten numbers lie in the masked copy, if that was aligned by itself.
    ``side``: of the face's box in the photograph, in pixels; 0 where the face was not searched in one. ``more``: the
    other faces of the picture, where all are kept.
    """

    path: str
    stamp: str
    status: str
    reason: str = ""
    name: str = ""
    person: str = ""
    landmarks: tuple[float, ...] = ()
    mask: str = NO_MASK
    masked_landmarks: tuple[float, ...] = ()
    side: float = 0.0
    more: tuple["Outcome", ...] = ()

    @property
    def faces(self) -> tuple[str, ...]:
        """The paths of the face, relative to the output folder, the plain one first."""
        if self.status != WRITTEN:
            return ()
        plain, masked = f"plain/{self.name}", f"masked/{self.name}"
        return {NO_MASK: (plain,), WORN: (masked,)}.get(self.mask, (plain, masked))

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all faces of the picture."""
        return self.faces + tuple(path for other in self.more for path in other.faces)

"""How faces were aligned: what found them, what found their points, and what came first, the mask or the alignment."""

from dataclasses import asdict, dataclass
from typing import Literal

Landmarks = Literal["detector", "network"]
MaskOrder = Literal["before alignment", "after alignment"]

# Whose points are taken unless somebody says otherwise.
LANDMARKS: Landmarks = "network"


@dataclass(frozen=True)
class Alignment:
    """The ``detector`` (mtcnn, yunet, or the name of an ONNX file), whose ``landmarks`` count, and whether simulated
    ``masks`` were put on before faces were detected and aligned, as in use, or after.

    The values that nothing is said of are those of all faces and networks from before there was a choice.
    """

    detector: str = "mtcnn"
    landmarks: Landmarks = "detector"
    masks: MaskOrder = "after alignment"

    @classmethod
    def of(cls, card: dict | None) -> "Alignment":
        """What a card or a checkpoint's preprocessing says."""
        return cls(**(card or {}).get("alignment", {}))

    def to_dict(self) -> dict[str, str]:
        """Plain values, for a card."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.found}; simulated masks were put on {self.masks}"

    @property
    def found(self) -> str:
        """What found faces and points, in words."""
        points = "its own points" if self.landmarks == "detector" else "the landmark network's points"
        return f"{self.detector}, aligned by {points}"

    def finds_as(self, other: "Alignment") -> bool:
        """Whether a bare face comes out alike, whenever a mask was put on: the landmark network has learned MTCNN's
        points."""
        return self._points() == other._points()

    def _points(self) -> str:
        return "mtcnn" if self.landmarks == "network" else self.detector

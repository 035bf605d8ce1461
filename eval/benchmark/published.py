"""Figures of papers that may stand beside a result: only if set, condition, protocol and figure are the same."""

from dataclasses import dataclass

from eval.benchmark.contract import AS_LISTED, TEN_FOLDS, Result


@dataclass(frozen=True)
class PublishedFigure:
    """What a paper gives: a share 0 … 1 of ``set``, by its name in this project, with a ``network`` and its source."""

    set: str
    condition: str
    protocol: str
    figure: str
    network: str
    value: float
    source: str


def _mlfw(network: str, value: float) -> PublishedFigure:
    return PublishedFigure("mlfw", AS_LISTED, TEN_FOLDS, "accuracy", network, value, "arXiv:2109.05804")


PUBLISHED = (
    _mlfw("ArcFace, R50, VGGFace2", 0.8595),
    _mlfw("ArcFace, R100, MS1MV2", 0.9057),
    _mlfw("CurricularFace, R100, MS1MV2", 0.9043),
    _mlfw("SFace, R100, MS1MV2", 0.9157),
)


def published_beside(result: Result) -> list[PublishedFigure]:
    """The papers' figures on the same set by the same protocol; none beside a result that is not comparable."""
    if result.not_comparable:
        return []
    mine = (result.set.lower(), result.condition, result.protocol)
    names = {figure.name for figure in result.official}
    return [each for each in PUBLISHED if (each.set, each.condition, each.protocol) == mine and each.figure in names]

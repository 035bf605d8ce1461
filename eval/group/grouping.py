"""Faces without names, grouped by person, and how right groups are. NumPy, SciPy and scikit-learn. N faces."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering

from eval.metrics.distances import distances_of_cosines
from runtime.errors import InputError

_BLOCK = 8_000_000
# Average linkage holds all distances of faces that hang together: 20,000 of them fill 3 GB.
MOST_TOGETHER = 20_000


def group_faces(embeddings: np.ndarray, photo: np.ndarray, threshold: float) -> np.ndarray:
    """The group of each face, int (N,), the largest group 0: average linkage, as long as the mean distance of two
    groups' faces is at most ``threshold``.

    ``embeddings`` float32 (N, D), unit rows; ``photo`` int (N,): faces of one photograph are different people, so they
    count as far apart as two faces can be. Average linkage joins no two faces between which there is no chain of steps
    of at most ``threshold``: so it is done for each such chain by itself, in the memory that it needs.
    Raises InputError if too many faces hang together.
    """
    chains = _chains(embeddings, threshold)
    groups = np.empty(len(embeddings), int)
    found = 0
    order = np.argsort(chains, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(chains[order])) + 1):
        inside = _linked(embeddings[members], photo[members], threshold)
        groups[members] = found + inside
        found += int(inside.max()) + 1
    return _largest_first(groups)


def _chains(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """The connected component of each face, where two are joined within ``threshold``; a little too many are."""
    least = 1 - threshold**2 / 2 - 1e-5
    count = len(embeddings)
    step, chains = max(1, _BLOCK // max(count, 1)), np.arange(count)
    for start in range(0, count, step):
        rows, columns = np.nonzero(embeddings[start : start + step] @ embeddings[start:].T >= least)
        links = chains[rows + start], chains[columns + start]
        graph = coo_matrix((np.ones(len(rows), bool), links), shape=(count, count))
        chains = connected_components(graph, directed=False)[1][chains]
    return chains


def _linked(embeddings: np.ndarray, photo: np.ndarray, threshold: float) -> np.ndarray:
    """Average linkage of faces that hang together: int (n,) from 0 on."""
    if len(embeddings) == 1:
        return np.zeros(1, int)
    if len(embeddings) > MOST_TOGETHER:
        raise InputError(
            f"{len(embeddings):,} faces hang together, and at most {MOST_TOGETHER:,} can be grouped at once; give "
            "fewer photographs, or a smaller --threshold"
        )
    distances = distances_of_cosines(embeddings @ embeddings.T)
    distances[(photo[:, None] == photo) & ~np.eye(len(photo), dtype=bool)] = 2
    linkage = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=np.nextafter(threshold, 3)
    )
    return linkage.fit_predict(distances)


def _largest_first(groups: np.ndarray) -> np.ndarray:
    """The same groups, numbered by size; of equal ones the one whose first face comes first."""
    _, first, codes, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(first), int)
    rank[np.lexsort((first, -sizes))] = np.arange(len(first))
    return rank[codes]


def grouping_figures(people: np.ndarray, groups: np.ndarray) -> dict[str, float | int]:
    """How right ``groups`` int (N,) are of faces of ``people`` (N,): shares from 0 to 1.

    ``pair_precision``: of the pairs that are in one group, those of one person; ``pair_recall``: of the pairs of one
    person, those that are in one group; 1 where there are none. ``bcubed_precision`` and ``bcubed_recall`` (Bagga and
    Baldwin 1998): for the mean face, the share of its group that is its person, and of its person that is in its
    group. ``…_f``: harmonic means.
    """
    _, person = np.unique(people, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    both, together = np.unique(np.stack([person, group]), axis=1, return_counts=True)
    of_person, of_group = np.bincount(person), np.bincount(group)
    pairs = [float((n * (n - 1) // 2).sum()) for n in (together, of_group, of_person)]
    found = {"faces": len(people), "people": len(of_person), "groups": len(of_group)}
    for name, precision, recall in (
        ("pair", pairs[0] / pairs[1] if pairs[1] else 1.0, pairs[0] / pairs[2] if pairs[2] else 1.0),
        (
            "bcubed",
            float((together**2 / of_group[both[1]]).sum() / len(people)),
            float((together**2 / of_person[both[0]]).sum() / len(people)),
        ),
    ):
        found[f"{name}_precision"], found[f"{name}_recall"] = precision, recall
        found[f"{name}_f"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return found

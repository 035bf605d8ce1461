"""Templates: several pictures of one person as one embedding, and how near pairs of them are (IJB-B, IJB-C).

A template's embedding is the sum over its media (a photograph, a video) of the mean embedding of each one's pictures,
of length 1 in the end (Whitelam et al. 2017; Maze et al. 2018, as InsightFace reads them). NumPy and SciPy.

N images, D embedding, T templates, P pairs of templates.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from eval.metrics.distances import distances_of_cosines, unit_rows
from runtime.errors import InputError

# Rows at a time: 16,384 × 512 float64 are 64 MB, and so are 256 against 32,768 templates.
_IMAGES_AT_ONCE = 16_384
_TEMPLATES_AT_ONCE = 256


def template_embeddings(
    embeddings: np.ndarray, weights: np.ndarray | None, template: np.ndarray, media: np.ndarray, templates: int
) -> np.ndarray:
    """Unit rows float64 (T, D); a row of zeros for a template without images, or whose images outweigh each other.

    ``embeddings`` float (N, D); each is multiplied by its ``weights`` (N,) before the mean, as with the detector's
    score. ``template`` int (N,) in 0 … T−1 and ``media`` int (N,); an equal medium of two templates is two. Raises
    InputError on embeddings that are not finite.
    """
    order = np.lexsort((media, template))
    template, media = template[order], media[order]
    shares = _shares_of_media(template, media)
    if weights is not None:
        shares = shares * np.asarray(weights, np.float64)[order]
    sums = np.zeros((templates, embeddings.shape[1]))
    for part in _whole_templates(template):
        first, last = template[part.start], template[part.stop - 1]
        entries = shares[part], (template[part] - first, np.arange(part.stop - part.start))
        mixed = csr_array(entries, shape=(last - first + 1, part.stop - part.start))
        sums[first : last + 1] = mixed @ embeddings[order[part]].astype(np.float64)
    broken = int((~np.isfinite(sums)).any(axis=1).sum())
    if broken:
        raise InputError(
            f"{broken} of {templates} templates have embeddings that are not finite; the network is broken"
        )
    return unit_rows(sums)


def _shares_of_media(template: np.ndarray, media: np.ndarray) -> np.ndarray:
    """1 / the number of pictures of each picture's medium in its template; both are sorted. Float64 (N,)."""
    starts = np.flatnonzero((np.diff(template, prepend=-1) != 0) | (np.diff(media, prepend=media[:1]) != 0))
    counts = np.diff(starts, append=len(template))
    return np.repeat(1 / counts, counts)


def _whole_templates(template: np.ndarray) -> Iterator[slice]:
    """Stretches of sorted templates of about _IMAGES_AT_ONCE images, none of which is cut."""
    start = 0
    while start < len(template):
        last = template[min(start + _IMAGES_AT_ONCE, len(template)) - 1]
        stop = int(np.searchsorted(template, last, side="right"))
        yield slice(start, stop)
        start = stop


class TemplatePairs:
    """A list of pairs of templates: ``left`` and ``right`` int (P,) in 0 … T−1.

    Sorted once, so that the distances of all pairs are products of matrices, whatever the embeddings: of IJB-C's 15.7
    million pairs ten times as quick as one pair after the other.
    """

    def __init__(self, left: np.ndarray, right: np.ndarray, templates: int):
        self._order = np.argsort(left, kind="stable")
        self._left, self._right = left[self._order], right[self._order]
        self.templates = templates

    def blocks(self) -> Iterator[slice]:
        """Stretches of the sorted pairs, of _TEMPLATES_AT_ONCE left templates each."""
        firsts = np.arange(0, self.templates, _TEMPLATES_AT_ONCE)
        ends = np.searchsorted(self._left, [*firsts, self.templates])
        yield from (slice(int(a), int(b)) for a, b in pairwise(ends) if b > a)

    def distances(
        self, left_rows: np.ndarray, right_rows: np.ndarray, blocks: Iterable[slice] | None = None
    ) -> np.ndarray:
        """L2 distances of the pairs, in the order of the list: unit rows float64 (T, D) → float64 (P,) in [0, 2].

        ``left_rows``, ``right_rows``: the templates as they are on either side of a pair; ``blocks``: those of
        ``blocks()``, perhaps behind a progress bar.
        """
        found = np.empty(len(self._order))
        for part in self.blocks() if blocks is None else blocks:
            lefts, left = _used(self._left[part], self.templates)
            rights, right = _used(self._right[part], self.templates)
            cosines = left_rows[lefts] @ right_rows[rights].T
            found[self._order[part]] = cosines[left, right]
        return distances_of_cosines(found)


def _used(templates: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct templates (U,), and the place of each (P,) among them."""
    there = np.zeros(count, dtype=bool)
    there[templates] = True
    places = np.cumsum(there) - 1
    return np.flatnonzero(there), places[templates]


def people_of_templates(left: np.ndarray, right: np.ndarray, same: np.ndarray, templates: int) -> np.ndarray | None:
    """A number for the person of each template, int64 (T,): those whom same pairs connect are one person.

    None where a different pair lies within one person, so that the list contradicts itself.
    """
    links = coo_array((np.ones(int(same.sum()), np.int8), (left[same], right[same])), shape=(templates, templates))
    person = connected_components(links, directed=False)[1].astype(np.int64)
    return None if (person[left[~same]] == person[right[~same]]).any() else person

"""Which faces make a batch. The order of an epoch is a function of (seed, epoch) alone."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from runtime.errors import InputError

EpochMode = Literal["all", "random"]


class SampleKey(NamedTuple):
    """The key of a sample: an image, and its place in the epoch's order, from which randomness derives."""

    index: int
    epoch: int
    position: int


class _EpochBatchSampler(Sampler[list[SampleKey]]):
    """Batches of keys that ``_indices(rng)`` draws anew each epoch."""

    def __init__(self, batch_size: int, batches: int, seed: int):
        self.batch_size = batch_size
        self.batches = batches
        self.seed = seed
        self.epoch = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch to draw next; ``first_batch`` skips what a resumed run has already seen."""
        self.epoch = epoch
        self.first_batch = first_batch

    def __len__(self) -> int:
        return self.batches - self.first_batch

    def __iter__(self) -> Iterator[list[SampleKey]]:
        batches = self._indices(np.random.default_rng([self.seed, self.epoch]))
        # What a resumed run has seen is drawn all the same: the draws after it depend on it.
        for batch, indices in itertools.islice(enumerate(batches), self.first_batch, self.batches):
            start = batch * self.batch_size
            yield [SampleKey(index, self.epoch, start + i) for i, index in enumerate(indices.tolist())]

    def _indices(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """The images of each batch, drawn when they are asked for."""
        raise NotImplementedError


class ShuffledBatchSampler(_EpochBatchSampler):
    """Every image once per epoch in random order; a last batch smaller than half the size is left out.

    A handful of images would give BatchNorm a poor estimate and a loss of high variance.
    """

    def __init__(self, images: int, batch_size: int, seed: int):
        if images < 2:
            raise InputError(f"{images} training image can't make a batch; at least two are needed")
        batch_size = min(batch_size, images)
        rest = images % batch_size
        super().__init__(batch_size, images // batch_size + (1 if rest > 1 and 2 * rest >= batch_size else 0), seed)
        self.images = images

    def check_ranks(self, ranks: int) -> None:
        """Raises InputError if so many processes can't share each batch, with two images each at the least."""
        _check_equal_parts("batch_size", self.batch_size, ranks)
        smallest = min(self.batch_size, self.images - (self.batches - 1) * self.batch_size)
        if smallest < 2 * ranks:
            raise InputError(
                f"the smallest batch of an epoch has {smallest} images, too few for {ranks} processes, each of which "
                "needs two; choose another batch_size, or fewer processes"
            )

    def _indices(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        order = rng.permutation(self.images)
        return (order[start : start + self.batch_size] for start in range(0, self.images, self.batch_size))


class BalancedBatchSampler(ShuffledBatchSampler):
    """As many images an epoch as there are, but of every identity equally many: rare ones come again, frequent ones
    show a part.

    Identities take turns in random order; each gives its images in random order, and begins anew when all have come.
    """

    def __init__(self, targets: np.ndarray, batch_size: int, seed: int):
        super().__init__(len(targets), batch_size, seed)
        self.counts = np.bincount(targets)
        self.by_target = _rows_by_target(targets)

    def _indices(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        turns = -(-self.images // len(self.counts))
        identities = np.concatenate([rng.permutation(len(self.counts)) for _ in range(turns)])
        decks = np.split(self.by_target, np.cumsum(self.counts)[:-1])
        dealt = [_deal(deck, turns, rng) for deck in decks]
        turn = np.repeat(np.arange(turns), len(self.counts))
        order = np.stack(dealt)[identities, turn][: self.images]
        return (order[start : start + self.batch_size] for start in range(0, self.images, self.batch_size))


def _rows_by_target(targets: np.ndarray) -> np.ndarray:
    """The rows of identity 0, then those of 1, …, each in their order: int64 (N,)."""
    # Numbers of 16 bits, enough for 65,536 identities, are sorted by radix, in a quarter of the time.
    return np.argsort(targets.astype(np.min_scalar_type(targets.max())), kind="stable")


def _deal(deck: np.ndarray, cards: int, rng: np.random.Generator) -> np.ndarray:
    """So many cards from a deck that is shuffled anew whenever it is empty."""
    rounds = -(-cards // len(deck))
    return np.concatenate([rng.permutation(deck) for _ in range(rounds)])[:cards]


class PKBatchSampler(_EpochBatchSampler):
    """P identities × K images a batch (Hermans et al. 2017, arXiv:1703.07737), groups never cut apart.

    ``epoch_mode`` ``all``: every identity once per epoch; where C is no multiple of P the last batch is filled with
    identities of the same epoch drawn again, so that none is dropped. ``random``: ⌈N / (P·K)⌉ batches of random
    identities. An identity with fewer than K images gives each of them, then repeats some (never fewer than two
    distinct ones: a positive pair must exist).

    ``names`` are the identities', for a message. Raises InputError: fewer identities than P, or an identity with a
    single image.
    """

    def __init__(
        self,
        targets: np.ndarray,
        people: int,
        images: int,
        seed: int,
        epoch_mode: EpochMode = "all",
        names: Sequence[str] = (),
    ):
        self.counts = np.bincount(targets)
        self._check(people, images, names)
        self.people, self.images, self.epoch_mode = people, images, epoch_mode
        self.by_target = _rows_by_target(targets)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        wanted = len(self.counts) if epoch_mode == "all" else len(targets) / images
        super().__init__(people * images, math.ceil(wanted / people), seed)

    def check_ranks(self, ranks: int) -> None:
        """Raises InputError if the identities of a batch can't be shared out evenly over so many processes."""
        _check_equal_parts("people_per_batch", self.people, ranks)

    def _check(self, people: int, images: int, names: Sequence[str]) -> None:
        if people < 2 or images < 2:
            raise InputError(f"P×K needs at least 2 people × 2 images per batch, not {people} × {images}")
        if people > len(self.counts):
            raise InputError(
                f"people_per_batch is {people}, but the training CSV has {len(self.counts)} identities; lower it"
            )
        single = np.flatnonzero(self.counts == 1)
        if len(single):
            first = names[single[0]] if names else f"number {single[0]}"
            raise InputError(
                f"{len(single)} identities have one image only (first: {first}); triplets need two: leave them out of "
                "the training CSV, or set --least-images 2"
            )

    def _indices(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        identities = self._identities(rng).reshape(self.batches, self.people)
        return (self._images_of(chosen, rng).reshape(-1) for chosen in identities)

    def _identities(self, rng: np.random.Generator) -> np.ndarray:
        """Identities of the epoch in order, (batches · P,), no identity twice in a batch."""
        total, classes = self.batches * self.people, len(self.counts)
        if self.epoch_mode == "all":
            order = rng.permutation(classes)
            missing = total - classes
            # The fill must not repeat an identity of the last batch: it comes from those before it, or from the
            # front of the same permutation where that batch is the only one.
            return np.concatenate([order, rng.permutation(order[: classes - (self.people - missing)])[:missing]])
        return np.concatenate([rng.choice(classes, self.people, replace=False) for _ in range(self.batches)])

    def _images_of(self, identities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """K image indices of each identity, (len(identities), K), without repeats as long as there are enough."""
        chosen = np.empty((len(identities), self.images), dtype=np.int64)
        for row, identity in enumerate(identities):
            start = self.starts[identity]
            chosen[row] = _deal(self.by_target[start : start + self.counts[identity]], self.images, rng)
        return chosen


class UnnamedBatchSampler(Sampler[list[SampleKey]]):
    """The batches of another sampler, with faces without a name mixed into each, which no objective sees.

    They are about ``share`` of the larger batch, a multiple of the number of processes (``ranks``), and spread evenly
    over it, so that these get equally many. In an epoch they come in random order, all before one comes again.
    ``rows`` int64 (U,) are theirs. Raises InputError if the share isn't above 0 and below 1, or is less than one face
    of a batch for each process.
    """

    def __init__(self, batches: _EpochBatchSampler, rows: np.ndarray, share: float, ranks: int = 1):
        if not 0 < share < 1:
            raise InputError(f"unnamed_share is {share}; it must lie above 0 and below 1")
        self.batches, self.rows, self.share, self.ranks = batches, rows, share, ranks
        self.added = self._added(batches.batch_size)
        if not self.added:
            raise InputError(
                f"unnamed_share {share} of a batch is less than one face beside {batches.batch_size} named ones; raise "
                "it, or set it to 0 to leave these faces out"
            )
        self.batch_size = batches.batch_size + self.added

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """As that of the other sampler."""
        self.batches.set_epoch(epoch, first_batch)

    def check_ranks(self, ranks: int) -> None:
        """Raises InputError if so many processes can't share each batch."""
        self.batches.check_ranks(ranks)
        _check_equal_parts("the batch with unnamed_share of faces without a name", self.batch_size, ranks)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, first = self.batches.epoch, self.batches.first_batch
        # A generator of its own: the named faces come as they would alone.
        deck = _deal(self.rows, self.batches.batches * self.added, np.random.default_rng([self.batches.seed, epoch, 1]))
        for batch, named in enumerate(self.batches, first):
            added = deck[batch * self.added :][: self._added(len(named))].tolist()
            start = batch * self.batch_size
            rows = _spread([key.index for key in named], added)
            yield [SampleKey(row, epoch, start + i) for i, row in enumerate(rows)]

    def _added(self, named: int) -> int:
        return round(named * self.share / (1 - self.share) / self.ranks) * self.ranks


def _spread(many: list[int], few: list[int]) -> list[int]:
    """Both lists in one, each in its order and evenly over the whole."""
    places = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in (many, few)])
    return np.array(many + few)[np.argsort(places, kind="stable")].tolist()


def _check_equal_parts(name: str, value: int, ranks: int) -> None:
    if value % ranks:
        raise InputError(f"{name} is {value}, which {ranks} processes can't share evenly; choose a multiple of {ranks}")


class RankBatchSampler(Sampler[list[SampleKey]]):
    """One process's part of each batch of ``batches``: the parts of all ``ranks``, in order, are the whole batch.

    Parts are contiguous and differ by at most one image, in an epoch's last, smaller batch only. The keys keep their
    positions, so that flips and masks are those of one process too. Raises InputError if the batch can't be cut
    into equal parts, or where a part of the last batch would be too small for BatchNorm; so too where a process
    can't compute its part in ``accumulate_steps`` of two images or more.
    """

    def __init__(
        self, batches: _EpochBatchSampler | UnnamedBatchSampler, rank: int, ranks: int, accumulate_steps: int = 1
    ):
        self.batches, self.rank, self.ranks = batches, rank, ranks
        batches.check_ranks(ranks)
        self.batch_size = batches.batch_size // ranks
        if self.batch_size < 2 * accumulate_steps:
            raise InputError(
                f"accumulate_steps is {accumulate_steps}, but a batch of {self.batch_size} images must have two for "
                "each part; lower it"
            )

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """As that of the whole batches."""
        self.batches.set_epoch(epoch, first_batch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for batch in self.batches:
            yield batch[len(batch) * self.rank // self.ranks : len(batch) * (self.rank + 1) // self.ranks]

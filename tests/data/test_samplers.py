from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.samplers import (
    BalancedBatchSampler,
    PKBatchSampler,
    RankBatchSampler,
    ShuffledBatchSampler,
    UnnamedBatchSampler,
)
from runtime.errors import InputError


def _epoch(sampler, epoch, first_batch=0):
    sampler.set_epoch(epoch, first_batch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


targets_lists = st.lists(st.integers(2, 9), min_size=2, max_size=12).map(
    lambda counts: np.repeat(np.arange(len(counts)), counts)
)


@settings(deadline=None)
@given(targets=targets_lists, data=st.data(), mode=st.sampled_from(["all", "random"]), seed=st.integers(0, 3))
def test_pk_batches_hold_p_identities_of_k_images_each(targets, data, mode, seed):
    identities = len(set(targets.tolist()))
    people = data.draw(st.integers(2, identities))
    images = data.draw(st.integers(2, 12))
    shuffled = np.random.default_rng(seed).permutation(targets)
    sampler = PKBatchSampler(shuffled, people, images, seed, mode)
    counts = np.bincount(targets)
    reached = set()
    for batch in _epoch(sampler, 1):
        assert len(batch) == people * images
        groups = [[key.index for key in batch[i : i + images]] for i in range(0, len(batch), images)]
        names = [{int(shuffled[i]) for i in group} for group in groups]
        assert all(len(name) == 1 for name in names), "a group holds one identity"
        assert len(set.union(*names)) == people, "no identity twice in a batch"
        for group, (name,) in zip(groups, names, strict=True):
            assert len(set(group)) == min(images, counts[name]), "images repeat only where there are too few"
            assert max(Counter(group).values()) <= -(-images // counts[name]), "and then evenly"
        reached |= set.union(*names)
    if mode == "all":
        assert reached == set(range(identities)), "every identity once an epoch, the last one too"
        assert len(sampler) == -(-identities // people)
    else:
        assert len(sampler) == -(-len(targets) // (people * images))


@settings(deadline=None)
@given(images=st.integers(2, 40), batch_size=st.integers(2, 16), seed=st.integers(0, 3))
def test_shuffled_batches_give_each_image_at_most_once(images, batch_size, seed):
    batches = _epoch(ShuffledBatchSampler(images, batch_size, seed), 1)
    seen = Counter(key.index for batch in batches for key in batch)
    assert max(seen.values()) == 1
    size, rest = min(images, batch_size), images % min(images, batch_size)
    assert len(seen) == images - (rest if rest < 2 or 2 * rest < size else 0)
    assert all(len(batch) == size for batch in batches[:-1])


@settings(deadline=None)
@given(targets=targets_lists, batch_size=st.integers(2, 16), seed=st.integers(0, 3))
def test_balanced_batches_give_each_identity_equally_often_and_its_images_in_turn(targets, batch_size, seed):
    shuffled = np.random.default_rng(seed).permutation(targets)
    sampler = BalancedBatchSampler(shuffled, batch_size, seed)
    assert len(sampler) == len(ShuffledBatchSampler(len(targets), batch_size, seed))
    images = [key.index for batch in _epoch(sampler, 1) for key in batch]
    people = Counter(int(shuffled[i]) for i in images)
    times = [people[c] for c in range(len(set(targets.tolist())))]
    assert max(times) - min(times) <= 1
    seen = Counter(images)
    for identity, count in enumerate(np.bincount(targets)):
        own = [seen[i] for i in np.flatnonzero(shuffled == identity).tolist()]
        assert len(own) == count and max(own) - min(own) <= 1, "none comes again before all have come"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ShuffledBatchSampler(37, 8, 5),
        lambda: BalancedBatchSampler(np.arange(37) % 5, 8, 5),
        lambda: PKBatchSampler(np.arange(60) % 12, 5, 3, 5),
    ],
)
def test_order_depends_on_seed_and_epoch_alone_and_a_skipped_start_leaves_the_rest_equal(make):
    whole = _epoch(make(), 3)
    assert _epoch(make(), 3) == whole
    assert _epoch(make(), 4) != whole
    assert _epoch(make(), 3, first_batch=2) == whole[2:]
    positions = [key.position for batch in whole for key in batch]
    assert positions == list(range(len(positions)))
    assert {key.epoch for batch in whole for key in batch} == {3}


def test_another_seed_is_another_order():
    assert _epoch(ShuffledBatchSampler(37, 8, 5), 1) != _epoch(ShuffledBatchSampler(37, 8, 6), 1)


@pytest.mark.parametrize(
    ("targets", "people", "images", "said"),
    [
        ([0, 0, 1, 1], 3, 2, "people_per_batch is 3, but the training CSV has 2 identities"),
        ([0, 0, 1], 2, 2, r"1 identities have one image only \(first: number 1\)"),
        ([0, 0, 1, 1], 1, 2, "at least 2 people × 2 images"),
        ([0, 0, 1, 1], 2, 1, "at least 2 people × 2 images"),
    ],
)
def test_impossible_groups_are_refused(targets, people, images, said):
    with pytest.raises(InputError, match=said):
        PKBatchSampler(np.array(targets), people, images, 0)


@pytest.mark.parametrize(
    "make", [lambda: ShuffledBatchSampler(53, 12, 5), lambda: PKBatchSampler(np.arange(70) % 14, 6, 3, 5)]
)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_parts_of_all_processes_in_order_are_the_whole_batch(make, ranks):
    parts = [_epoch(RankBatchSampler(make(), rank, ranks), 3, first_batch=1) for rank in range(ranks)]
    whole = _epoch(make(), 3, first_batch=1)
    assert [sum(pieces, []) for pieces in zip(*parts, strict=True)] == whole  # noqa: RUF017  three short lists
    sizes = [len(piece) for pieces in zip(*parts, strict=True) for piece in pieces]
    assert min(sizes) >= 2
    sampler = RankBatchSampler(make(), 0, ranks)
    assert (sampler.batch_size, len(sampler)) == (len(whole[0]) // ranks, len(make()))


def test_a_process_gets_every_image_of_its_people():
    targets = np.arange(70) % 14
    for rank in range(3):
        for batch in _epoch(RankBatchSampler(PKBatchSampler(targets, 6, 3, 5), rank, 3), 1):
            assert set(Counter(targets[key.index] for key in batch).values()) == {3}


@pytest.mark.parametrize(
    ("make", "ranks", "said"),
    [
        (lambda: ShuffledBatchSampler(53, 12, 5), 5, "batch_size is 12, which 5 processes can't share evenly"),
        (lambda: ShuffledBatchSampler(19, 12, 5), 4, "smallest batch of an epoch has 7 images, too few for 4"),
        (lambda: ShuffledBatchSampler(48, 4, 5), 4, "smallest batch of an epoch has 4 images, too few for 4"),
        (lambda: PKBatchSampler(np.arange(70) % 14, 6, 3, 5), 4, "people_per_batch is 6, which 4 processes"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(make, ranks, said):
    with pytest.raises(InputError, match=said):
        RankBatchSampler(make(), 0, ranks)


def test_a_batch_too_small_for_its_parts_is_refused():
    batches = ShuffledBatchSampler(48, 12, 5)
    assert RankBatchSampler(batches, 0, 2, accumulate_steps=3).batch_size == 6
    with pytest.raises(InputError, match="accumulate_steps is 4, but a batch of 6 images"):
        RankBatchSampler(batches, 0, 2, accumulate_steps=4)


def test_an_identity_with_one_image_is_named():
    with pytest.raises(InputError, match=r"first: Bob\).*--least-images 2"):
        PKBatchSampler(np.array([0, 0, 1]), 2, 2, 0, names=["Ann", "Bob"])


# ==== faces without a name ====


def _with_unnamed(share=0.25, unnamed=10):
    named = ShuffledBatchSampler(25, 6, seed=3)  # four batches of 6
    return named, UnnamedBatchSampler(ShuffledBatchSampler(25, 6, seed=3), np.arange(25, 25 + unnamed), share)


def test_unnamed_faces_join_each_batch_and_the_named_ones_come_as_alone():
    alone, both = _with_unnamed()
    added = Counter()
    for named, batch in zip(_epoch(alone, 2), _epoch(both, 2), strict=True):
        assert len(batch) == both.batch_size == 8
        assert [key.index for key in batch if key.index < 25] == [key.index for key in named]
        added += Counter(key.index for key in batch if key.index >= 25)
    assert len(added) == 8 and added.total() == 8, "none twice before all have come"
    positions = [key.position for batch in _epoch(both, 2) for key in batch]
    assert positions == list(range(32)), "randomness derives from the place"
    assert _epoch(both, 2) == _epoch(both, 2) != _epoch(both, 3)


@pytest.mark.parametrize("first", [1, 3])
def test_a_resumed_run_gets_the_rest_of_the_same_epoch_with_unnamed_faces(first):
    _, both = _with_unnamed(0.4, unnamed=3)
    whole = _epoch(both, 5)
    assert _epoch(both, 5, first) == whole[first:]


def test_processes_share_unnamed_faces_evenly_and_together_have_the_batch():
    named = PKBatchSampler(np.repeat(np.arange(6), 4), 4, 4, seed=0)
    both = UnnamedBatchSampler(named, np.arange(24, 40), 0.2)
    parts = [RankBatchSampler(both, rank, 2) for rank in range(2)]
    whole = _epoch(both, 1)
    for batch, *own in zip(whole, *(_epoch(part, 1) for part in parts), strict=True):
        assert own[0] + own[1] == batch and len(batch) == 20
        assert [sum(key.index >= 24 for key in part) for part in own] == [2, 2]
    with pytest.raises(InputError, match="the batch with unnamed_share of faces without a name is 21"):
        RankBatchSampler(UnnamedBatchSampler(named, np.arange(24, 40), 0.24), 0, 2)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_the_usual_batches_with_unnamed_faces_can_be_shared(ranks):
    targets = np.repeat(np.arange(64), 4)
    for named in (ShuffledBatchSampler(256, 32, seed=0), PKBatchSampler(targets, 16, 4, seed=0)):
        both = UnnamedBatchSampler(named, np.arange(256, 300), 0.25, ranks)
        parts = [RankBatchSampler(both, rank, ranks) for rank in range(ranks)]
        for batch, *own in zip(_epoch(both, 1), *(_epoch(part, 1) for part in parts), strict=True):
            assert [key for part in own for key in part] == batch and len({len(part) for part in own}) == 1
            assert abs(sum(key.index >= 256 for key in batch) / len(batch) - 0.25) < 0.06


def test_a_share_of_less_than_one_face_or_all_is_refused():
    with pytest.raises(InputError, match="unnamed_share 0.01 of a batch is less than one face beside 6 named ones"):
        _with_unnamed(0.01)
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match="above 0 and below 1"):
            _with_unnamed(share)

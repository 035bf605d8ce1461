import itertools
from collections import Counter
from pathlib import PurePosixPath

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.prepare.pairs import PAIR_COLUMNS, sample_pairs
from data.prepare.split import split_people
from runtime.errors import InputError


def faces(counts: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """People with so many plain and masked images; equal numbers are the same photo."""
    rows = [
        (f"{kind}/{person}/{i}.jpg", person, masked)
        for person, numbers in counts.items()
        for masked, (kind, number) in enumerate(zip(("plain", "masked"), numbers, strict=True))
        for i in range(number)
    ]
    return pd.DataFrame(rows, columns=["path", "target", "masked"])


many = faces({f"p{i}": (4, 4) for i in range(30)})
some_people = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1)


@settings(max_examples=150, deadline=None)
@given(some_people, st.integers(1, 40), st.integers(0, 99), st.booleans(), st.integers(1, 9))
def test_every_constraint_holds_on_any_set(counts, pairs, seed, same, cap):
    drawn = sample_pairs(faces(counts), pairs, seed, same, cap)
    assert list(drawn.columns) == PAIR_COLUMNS
    assert len(drawn) <= pairs
    unordered = [frozenset(p) for p in zip(drawn["path"], drawn["pair_path"], strict=True)]
    assert all(len(p) == 2 for p in unordered) and len(set(unordered)) == len(unordered)
    assert ((drawn["target"] == drawn["pair_target"]) == same).all()
    times = Counter()
    for row in drawn.itertuples():
        times.update({row.target, row.pair_target})
        assert row.path.startswith("masked/" if row.masked else "plain/")
        assert row.pair_path.startswith("masked/" if row.pair_masked else "plain/")
        assert row.path.split("/")[1] == row.target and row.pair_path.split("/")[1] == row.pair_target
        if same:
            assert PurePosixPath(row.path).name != PurePosixPath(row.pair_path).name
    assert not times or max(times.values()) <= cap


@pytest.mark.parametrize("same", [True, False])
def test_conditions_in_equal_parts(same):
    drawn = sample_pairs(many, 90, 0, same, 12)
    assert Counter(zip(drawn["masked"], drawn["pair_masked"], strict=True)) == {(0, 0): 30, (0, 1): 30, (1, 1): 30}


def test_without_masked_images_plain_pairs_fill_up():
    drawn = sample_pairs(faces({"a": (5, 0), "b": (5, 0)}), 9, 0, True, 99)
    assert len(drawn) == 9 and not drawn["masked"].any() and not drawn["pair_masked"].any()


def test_asked_for_all_same_pairs_gives_exactly_all():
    counts = {"a": (3, 3), "b": (2, 1)}
    expected = set()
    for person, (plain, masked) in counts.items():
        images = [("plain", i) for i in range(plain)] + [("masked", i) for i in range(masked)]
        expected |= {
            frozenset(f"{kind}/{person}/{i}.jpg" for kind, i in pair)
            for pair in itertools.combinations(images, 2)
            if pair[0][1] != pair[1][1]
        }
    drawn = sample_pairs(faces(counts), 1000, 3, True, 1000)
    assert {frozenset(p) for p in zip(drawn["path"], drawn["pair_path"], strict=True)} == expected


def test_all_different_pairs_of_two_people_are_found():
    drawn = sample_pairs(faces({"a": (3, 0), "b": (3, 0)}), 1000, 0, False, 1000)
    assert len(drawn) == 9


def test_people_take_turns():
    counts = {"rich": (40, 40), **{f"p{i}": (3, 3) for i in range(9)}}
    drawn = sample_pairs(faces(counts), 30, 0, True, 1000)
    assert Counter(drawn["target"]).most_common(1)[0][1] == 3


def test_depends_on_the_seed_and_not_on_the_order_of_rows():
    first = sample_pairs(many, 60, 5, True, 9)
    shuffled = sample_pairs(many.sample(frac=1, random_state=1), 60, 5, True, 9)
    pd.testing.assert_frame_equal(first, shuffled)
    assert not first.equals(sample_pairs(many, 60, 6, True, 9))


@given(st.integers(6, 200), st.integers(0, 50))
def test_split_gives_everybody_to_one_part_with_its_share(people, seed):
    names = [f"n{i}" for i in range(people)]
    parts = split_people(names * 2, {"train": 0.9, "eval": 0.05, "test": 0.05}, seed)
    together = [name for part in parts.values() for name in part]
    assert sorted(together) == sorted(names)
    assert min(len(part) for part in parts.values()) >= 2
    assert abs(len(parts["train"]) - 0.9 * people) <= 4


def test_split_can_put_all_into_one_part():
    parts = split_people(["a", "b", "c"], {"train": 1.0, "eval": 0.0, "test": 0.0}, 0)
    assert parts == {"train": ["a", "b", "c"], "eval": [], "test": []}


def test_split_depends_on_the_seed():
    names = [str(i) for i in range(40)]
    halves = {"a": 0.5, "b": 0.5}
    assert split_people(names, halves, 1) == split_people(names[::-1], halves, 1)
    assert split_people(names, halves, 1) != split_people(names, halves, 2)


@given(st.integers(0, 50))
def test_people_who_may_be_one_are_never_parted_nor_called_different(seed):
    names = [name for i in range(12) for name in (f"Ann{chr(97 + i)} Lee", f"lee_ann{chr(97 + i)}")]
    for part in split_people(names, {"train": 0.5, "eval": 0.25, "test": 0.25}, seed).values():
        assert len({name.replace("_", " ").split()[name[0] == "l"].lower() for name in part}) * 2 == len(part)
    drawn = sample_pairs(faces(dict.fromkeys(names[:4], (2, 0))), 200, seed, False, 200)
    assert len(drawn) == 16  # two spellings of two people, two pictures each: 2·2·2·2 pairs, and none of spellings
    same = {frozenset(names[:2]), frozenset(names[2:4])}
    assert not same & {frozenset(pair) for pair in zip(drawn["target"], drawn["pair_target"], strict=True)}


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.5, "b": -0.5}])
def test_split_refuses_impossible_shares(shares):
    with pytest.raises(InputError, match="add up to 1"):
        split_people(["x", "y"], shares, 0)


def test_split_refuses_too_few_people():
    with pytest.raises(InputError, match="5 people"):
        split_people("abcde", {"train": 0.9, "eval": 0.05, "test": 0.05}, 0)


def test_refuses_no_pairs():
    with pytest.raises(InputError, match="1 or more"):
        sample_pairs(many, 0, 0, True, 5)

"""The interpreter beside Python's own pickle: the same values, whatever the protocol; and nothing by name."""

import io
import os
import pickle
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.inert_pickle import (
    Function,
    InertUnpickler,
    LazyUnpickler,
    PlainOrderedDict,
    Refused,
    StandIn,
    Stretch,
    encoded,
    stand_in,
)

MEANINGS = {
    "_codecs.encode": Function(encoded),
    "collections.OrderedDict": PlainOrderedDict,
    "builtins.bytes": Function(encoded),
    "builtins.set": Function(set),
    "builtins.object": stand_in("builtins.object"),
    "copyreg._reconstructor": Function(lambda made, *_: made()),  # how protocols 0 and 1 make objects
    "builtins.frozenset": Function(frozenset),
    "builtins.bytearray": Function(lambda *args: bytearray(*args[:1])),
    f"{__name__}.Thing": stand_in(f"{__name__}.Thing"),
}


class Reader(InertUnpickler):
    def meaning(self, name):
        return MEANINGS.get(name)


class LazyReader(LazyUnpickler):
    def meaning(self, name):
        return None


class Thing:
    def __init__(self) -> None:
        self.kept = [1]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers())
    ),
    max_leaves=12,
)


@given(plain, st.integers(0, 5))
def test_plain_values_are_those_of_python(value, protocol):
    assert Reader(io.BytesIO(pickle.dumps(value, protocol))).load() == value


@pytest.mark.parametrize("protocol", range(6))
def test_shared_and_circular_values(protocol):
    one = [1]
    one.append(one)
    found = Reader(io.BytesIO(pickle.dumps([one, one, OrderedDict(a=one)], protocol))).load()
    assert found[0] is found[1] is found[0][1] is found[2]["a"]


@pytest.mark.parametrize("protocol", range(6))
def test_an_object_is_a_stand_in_with_its_state(protocol):
    found = Reader(io.BytesIO(pickle.dumps(Thing(), protocol))).load()
    assert isinstance(found, StandIn) and found.state == {"kept": [1]} and found.named.endswith(".Thing")


@pytest.mark.parametrize("protocol", range(6))
def test_a_name_without_meaning_ends_the_reading(protocol):
    with pytest.raises(Refused, match="getcwd"):
        Reader(io.BytesIO(pickle.dumps(os.getcwd, protocol))).load()


@given(st.lists(st.binary(max_size=400)), st.integers(3, 5))
def test_lazy_bytes_lie_where_they_are_said_to_be(blobs, protocol):
    data = pickle.dumps([bytes(blob) for blob in blobs], protocol)
    for found, blob in zip(LazyReader(io.BytesIO(data), len(data)).load(), blobs, strict=True):
        assert isinstance(found, Stretch) and data[found.offset : found.offset + found.length] == blob

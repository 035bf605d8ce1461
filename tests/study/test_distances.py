"""Published distances, matched to the pairs of whoever has the faces."""

import numpy as np
import pandas as pd
import pytest

from runtime.errors import InputError
from study.distances import FILE, read_distances, write_distances

RNG = np.random.default_rng(0)


def _pairs(**changed):
    names = [f"{person}.jpg" for person in range(40)]
    pairs = {"path": names, "pair_path": names[::-1], "same": [True, False] * 20, "condition": "all"}
    pairs |= {"person": range(40), "pair_person": range(40), "distance": np.linspace(0.2, 1.6, 40)}
    return pd.DataFrame({**pairs, **changed})


def test_distances_come_back_in_the_order_of_the_pairs(tmp_path):
    trained = _pairs(distance=RNG.random(40))
    write_distances(tmp_path, trained, _pairs())
    noise = RNG.uniform(-0.005, 0.005, 40)  # of another machine
    read = read_distances(tmp_path, _pairs(distance=np.linspace(0.2, 1.6, 40) + noise))
    np.testing.assert_array_equal(read["distance"], trained["distance"].astype(np.float32))
    assert list(read["path"]) == list(trained["path"])
    assert b".jpg" not in (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (_pairs(path=[f"a{n}.jpg" for n in range(40)]), "other pairs"),
        (_pairs(same=[False, True] * 20), "other pairs"),
        (_pairs().iloc[:-1], "other pairs"),
        (_pairs(distance=np.linspace(0.2, 1.6, 40) + 0.05), "other faces"),  # the same names, aligned in another way
    ],
)
def test_other_pairs_or_faces_are_refused(tmp_path, other, says):
    write_distances(tmp_path, _pairs(), _pairs())
    with pytest.raises(InputError, match=says):
        read_distances(tmp_path, other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"distances\.npz can't be read"):
        read_distances(tmp_path, _pairs())

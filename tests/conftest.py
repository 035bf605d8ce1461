import os

import pytest
import torch
from hypothesis import settings

from data.synthetic import FaceSet, make_faces

# A busy machine is no failure: no test asserts time.
settings.register_profile("no_clock", deadline=None)
settings.load_profile("no_clock")


# Each of pytest's processes has a core, and so has what it starts. Equal bits need equal numbers of threads.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def drawn_faces(tmp_path_factory):
    """A small made data folder: 6 people to train on, 4 to evaluate, 4 to test, 3 pictures each, 64 px."""
    folder = tmp_path_factory.mktemp("faces") / "drawn"
    make_faces(
        folder,
        FaceSet(
            train_people=6,
            eval_people=4,
            test_people=4,
            images_per_person=3,
            seed=5,
            size=64,
            eval_pairs=40,
            test_pairs=40,
        ),
    )
    return folder

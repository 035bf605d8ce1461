"""Decoded faces kept in memory, and the memory of batches: shared with workers, never written over."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from data.datasets import TrainFaces, train_loader
from data.loading import cache
from data.loading.batch_memory import BatchMemory
from data.loading.cache import FaceCache, free_memory
from data.samplers import PKBatchSampler
from data.tables.images import Images
from data.tables.train_csv import read_train_csv
from runtime.errors import InputError

SIZE = 8


def _face(value):
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def test_what_one_process_puts_another_gets():
    faces = FaceCache(3, SIZE)
    worker = multiprocessing.get_context("fork").Process(target=faces.put, args=(2, _face(7)))
    worker.start()
    worker.join()
    out = _face(0)
    assert not faces.get(0, out) and (out == 0).all()
    assert faces.get(2, out) and (out == 7).all()


def test_faces_that_do_not_fit_are_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(cache, "free_memory", lambda: 10**9)
    FaceCache(800_000_000 // (100 * 100 * 3), 100)
    with pytest.raises(InputError, match=r"needs 0\.9 GB for 30,000 faces of 100 pixels, 1\.0 GB are free"):
        FaceCache(30_000, 100)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"needs 0\.3 GB for 10,000 faces of 100 pixels in each of 4 processes"):
        FaceCache(10_000, 100)
    monkeypatch.undo()
    assert 10**6 < free_memory() < 10**15


def test_a_container_frees_the_files_that_it_has_read(tmp_path, monkeypatch):
    """A data set that was read once fills the container's memory with its files; they make room for the cache."""
    monkeypatch.setattr(cache, "_CONTAINER", tmp_path)
    monkeypatch.setattr(cache, "_MACHINE", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:  9000000 kB\nMemAvailable:  8000000 kB\nHugePages_Total:  0\n")
    assert free_memory() == 8_000_000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3900000000\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\nfile 3500000000\nshmem 0\ninactive_file 3000000000\n"
                                          "active_file 500000000\n")  # fmt: skip
    assert free_memory() == 8_000_000 * 1024
    (tmp_path / "memory.max").write_text("4000000000\n")
    assert free_memory() == 3_600_000_000
    (tmp_path / "meminfo").write_text("MemAvailable:  1000000 kB\n")
    assert free_memory() == 1_000_000 * 1024


def test_a_cache_that_would_be_copied_is_refused():
    with pytest.raises(InputError, match="set cache to none, or workers to 0"):
        pickle.dumps(FaceCache(3, SIZE))


def test_a_slot_is_used_again_when_the_last_view_of_its_batch_is_gone():
    memory = BatchMemory(0, 4, SIZE)

    def batch(value):
        room = memory.room(3)
        room.faces[:] = value
        return room.images(2)

    first = batch(1)
    place, view = first.data_ptr(), first[:1, :2]
    del first
    # The view is still there: the place must not be given away, in however many batches.
    others = [batch(value) for value in range(2, 12)]
    assert place not in {other.data_ptr() for other in others}
    assert [int(other.unique()) for other in others] == list(range(2, 12))
    assert (view == 1).all()
    del view, others
    assert place in {batch(value).data_ptr() for value in range(9)}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_that_are_kept_stay_as_they_were(drawn_faces, workers, monkeypatch):
    table = read_train_csv(drawn_faces / "train.csv")

    def loader(workers):
        faces = TrainFaces(Images(drawn_faces, table.paths), table, 64, disk_size=64, mask_probability=0, seed=0)
        sampler = PKBatchSampler(table.targets, 2, 2, seed=0, epoch_mode="random")
        return train_loader(faces, sampler, workers=workers, pin_memory=False)

    kept = list(loader(workers))
    # Without slots every batch has memory of its own.
    monkeypatch.setattr(TrainFaces, "share_memory", lambda *_: None)
    expected = list(loader(0))
    assert len(kept) == len(expected) > 8
    for got, wanted in zip(kept, expected, strict=True):
        assert torch.equal(got.images, wanted.images)
        assert torch.equal(got.labels, wanted.labels)
        assert got.images.dtype == torch.uint8 and got.labels.dtype == torch.int64
        got.images.add_(1)  # the trainer's to change

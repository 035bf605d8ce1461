import errno
import hashlib
import multiprocessing
import resource
import shutil
import signal

import pytest
import torch

from runtime.checkpoints.file import load_checkpoint
from runtime.checkpoints.store import CheckpointStore, Position
from runtime.errors import InputError
from runtime.run_folder import RunFolder


def _store(tmp_path, positions=(), keep=2, also_keep=()):
    store = CheckpointStore(tmp_path / "checkpoints")
    for position in positions:
        store.save({"at": list(position)}, Position(*position), keep=keep, also_keep=also_keep)
    return store


def _kept(store):
    return sorted(store.load(Position(e, b))["at"] for e in range(5) for b in range(5) if store.load(Position(e, b)))


def test_the_newest_are_kept_and_the_one_that_is_asked_for(tmp_path):
    store = _store(tmp_path, [(0, 0), (0, 3), (1, 0), (1, 2)], also_keep={Position(0, 0)})
    assert _kept(store) == [[0, 0], [1, 0], [1, 2]]
    assert load_checkpoint(store.newest())["at"] == [1, 2]
    assert len(list(store.folder.iterdir())) == 3


def test_epoch_ends_are_kept_however_many_checkpoints_lie_between_them(tmp_path):
    """As many as asked for; of those within an epoch, what is among the newest."""
    within = [(epoch, batch) for epoch in range(4) for batch in range(1, 4)]
    store = _store(tmp_path, sorted([*within, (1, 0), (2, 0), (3, 0), (4, 0)]), keep=3)
    assert _kept(store) == [[2, 0], [3, 0], [3, 2], [3, 3], [4, 0]]
    assert list(store.epoch_ends()) == [2, 3, 4]
    every = _store(tmp_path / "all", sorted([*within, (1, 0), (2, 0), (3, 0), (4, 0)]), keep=4)
    assert list(every.epoch_ends()) == [1, 2, 3, 4]


def test_an_older_position_saved_again_ends_the_course_beyond_it(tmp_path):
    store = _store(tmp_path, [(1, 0), (1, 2), (1, 4)], keep=3)
    store.save({"at": "changed"}, Position(1, 0), keep=3)
    assert load_checkpoint(store.newest())["at"] == "changed"
    assert len(list(store.folder.iterdir())) == 1


@pytest.mark.parametrize("damage", ["one bit", "cut", "empty"])
def test_a_damaged_checkpoint_is_passed_over_with_a_line(tmp_path, capsys, damage):
    store = _store(tmp_path, [(1, 0), (1, 2)])
    path = store.newest()
    data = bytearray(path.read_bytes())
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    path.write_bytes({"one bit": data, "cut": data[: len(data) // 2], "empty": b""}[damage])
    assert load_checkpoint(store.newest())["at"] == [1, 0]
    assert f"{path} is damaged" in capsys.readouterr().out
    assert load_checkpoint(_store(tmp_path).newest())["at"] == [1, 0]


def test_a_checkpoint_that_the_disk_has_lost_is_passed_over(tmp_path, monkeypatch):
    store = _store(tmp_path, [(1, 0), (1, 2)])
    lost, real = store.newest(), hashlib.file_digest

    def digest(file, name):
        if file.name == str(lost):
            raise OSError(errno.EIO, "Input/output error")
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    assert load_checkpoint(store.newest())["at"] == [1, 0]


def test_a_file_under_a_checkpoints_name_that_is_half_written_does_not_count(tmp_path):
    store = _store(tmp_path, [(1, 0)])
    (store.folder / "draft.pt").write_bytes(b"half")
    (store.folder / ".draft.pt.77.tmp").write_bytes(b"half")
    assert load_checkpoint(store.newest())["at"] == [1, 0]


def test_nothing_there_is_a_start_and_nothing_whole_is_an_error(tmp_path):
    store = _store(tmp_path)
    assert store.newest() is None
    _store(tmp_path, [(1, 0)]).newest().write_bytes(b"")
    with pytest.raises(InputError, match="--resume never"):
        store.newest()


def _save_on_a_small_disk(folder, answer):
    """In a process of its own: no file may pass 100 kB, as on a disk that is about to be full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        CheckpointStore(folder).save({"weights": torch.zeros(100_000)}, Position(2, 0), keep=1)
    except InputError as error:
        answer.send(str(error))
    else:
        answer.send("written")


def test_a_full_disk_keeps_the_last_good_checkpoint_and_says_so(tmp_path):
    store = _store(tmp_path, [(1, 0)])
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_save_on_a_small_disk, args=(store.folder, sender))
    child.start()
    said = receiver.recv()
    child.join()
    assert "can't write" in said and "draft.pt" in said
    assert "more than 0.1 MB needed" in said and "MB free" in said
    assert "epoch0001_batch000000" in said
    assert "\n" not in said
    assert load_checkpoint(store.newest())["at"] == [1, 0]
    assert len(list(store.folder.iterdir())) == 1


def test_a_run_that_was_deleted_ends_in_a_line_and_is_not_made_anew(tmp_path):
    run = RunFolder.create(tmp_path, "run", {})
    run.store.save({}, Position(1, 0), keep=1)
    shutil.rmtree(run.path)
    with pytest.raises(InputError, match="was deleted while the run trained"):
        run.store.save({}, Position(2, 0), keep=1)
    assert not run.path.exists()

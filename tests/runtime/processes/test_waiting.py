"""What is said while a file does not come."""

import os
import threading
import time

from runtime.processes import waiting
from runtime.processes.waiting import named_while_waiting


def test_a_file_that_does_not_come_is_named_until_it_comes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.2)
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", 0.1)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)

    def write():
        time.sleep(1)
        pipe.write_bytes(b"face")

    writer = threading.Thread(target=write)
    writer.start()
    with named_while_waiting("pipe.jpg"):
        assert pipe.read_bytes() == b"face"
    writer.join()
    said = capsys.readouterr().err.splitlines()
    assert 1 <= len(said) <= 3  # after 0.2, 0.4 and 0.8 seconds; fewer on a busy machine
    assert said[0].startswith("reading pipe.jpg has taken ") and said[0].endswith("see whether the disk answers")


def test_what_comes_at_once_is_not_named(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.2)
    monkeypatch.setattr(waiting, "_SECONDS_BETWEEN_LOOKS", 0.1)
    with named_while_waiting("face.jpg"):
        pass
    time.sleep(0.5)
    assert capsys.readouterr().err == ""

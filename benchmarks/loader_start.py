"""The process that ``benchmarks.loader`` starts and times: read a train CSV or pack, take a P×K batch from two workers.

It imports what the main scripts import; the network, which they build in between, is not part of it. Arguments: the
table, its root, the time of the start. Prints a line of JSON: ``seconds`` since the start, ``cpu_seconds``, and
``worker_mb`` and ``parent_mb``: the private memory of the larger worker, and all memory of this process (Linux;
elsewhere 0).
"""

import json
import sys
import time
from pathlib import Path

import configs  # noqa: F401  what a main script loads counts
import data.faces  # noqa: F401
import eval.after_epoch
import eval.final_test  # noqa: F401
import losses  # noqa: F401
import models  # noqa: F401
import teacher.targets  # noqa: F401
import train  # noqa: F401
from data.datasets import TrainFaces, train_loader
from data.samplers import PKBatchSampler
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.paths import require_files
from data.tables.train_csv import read_train_csv

PEOPLE, IMAGES, SIZE = 20, 30, 128


def main(table_path: Path, root: Path, started: float) -> None:
    table = read_train_csv(table_path)
    packs = [Pack(table_path)] if table_path.suffix == SUFFIX else []
    if not packs:
        require_files(root, table.paths.distinct.tolist(), str(table_path))
    faces = TrainFaces(Images(root, table.paths, packs), table, SIZE, disk_size=SIZE, mask_probability=0.0, seed=0)
    sampler = PKBatchSampler(table.targets, PEOPLE, IMAGES, seed=0, epoch_mode="random")
    loader = train_loader(faces, sampler, workers=2, pin_memory=False)
    batches = iter(loader)
    first = next(batches)
    assert len(first.labels) == PEOPLE * IMAGES
    seconds, cpu_seconds = time.time() - started, time.process_time()
    for _ in range(20):
        next(batches)
    workers = [memory_mb(worker.pid, "Private") for worker in loader._iterator._workers]
    result = {"seconds": seconds, "cpu_seconds": cpu_seconds, "worker_mb": max(workers)}
    print(json.dumps(result | {"parent_mb": memory_mb("self", "Rss")}))


def memory_mb(process: int | str, kind: str) -> float:
    """Resident memory of the lines that begin with ``kind``: Private (this process alone), or Rss (all)."""
    path = Path(f"/proc/{process}/smaps_rollup")
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))

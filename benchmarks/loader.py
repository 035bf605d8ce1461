"""Images per second per core from files to batches, compared with the JPEG decoder alone and a PIL + torchvision data
set; and the time to the first batch of 2.5 million rows.

    python -m benchmarks.loader [--quick] [--check] [--json FILE]

All read the same built-in faces, 128×128 JPEGs of quality 95. The process is pinned to one core and measures twice:
loading in the process itself, and with one worker on the same core (Linux; elsewhere without the pin). Everything is
running before the clock starts; a round measures one after the other, and each ratio is the median of the rounds'.
"""

import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.harness.table import Options, Report, run_command
from data.datasets import TrainFaces, train_loader
from data.loading.cache import FaceCache
from data.masks.render import random_mask_kind, render_mask
from data.samplers import ShuffledBatchSampler
from data.synthetic.draw import draw_face
from data.tables.images import Images
from data.tables.pack_file import Pack
from data.tables.train_csv import LANDMARK_COLUMNS, read_train_csv
from data.tables.write_pack import pack_csv

SIZE, BATCH, QUALITY = 128, 128, 95
# So many rows over the same files that no epoch ends while the clock runs.
ROWS = 2_000_000
# Seconds in which a worker on the same core fills two batches with masks, twice over.
REST = 0.6
START_ROWS, START_PEOPLE = 2_500_000, 19_216
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DECODE, PLAIN, MASK = "decode from memory", "plain PIL + torchvision", "mask alone"


# ==== the faces ====


@dataclass(frozen=True)
class Faces:
    """Files on disk, as bytes, decoded, and their landmarks."""

    root: Path
    encoded: list[bytes]
    decoded: list[np.ndarray]
    landmarks: list[np.ndarray]


def draw_faces(root: Path, count: int) -> Faces:
    """Draw ``count`` faces of count // 10 people and a train.csv that names each many times."""
    drawn = [draw_face(i // 10, i % 10, size=SIZE) for i in range(count)]
    encoded = [simplejpeg.encode_jpeg(np.ascontiguousarray(d.image), QUALITY, "RGB", "444") for d in drawn]
    rows = []
    for i, data in enumerate(encoded):
        path = f"{i // 10:04d}/{i:04d}.jpg"
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(data)
        rows.append([path, i // 10, *drawn[i].landmarks.ravel().tolist()])
    with (root / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["path", "target", *LANDMARK_COLUMNS], *rows])
    return Faces(root, encoded, [d.image for d in drawn], [d.landmarks for d in drawn])


# ==== what is measured: each is an endless stream that says how many images are done ====


def decode(faces: Faces) -> Iterator[int]:
    """The limit: libjpeg-turbo from memory."""
    while True:
        for start in range(0, len(faces.encoded) - BATCH + 1, BATCH):
            for data in faces.encoded[start : start + BATCH]:
                simplejpeg.decode_jpeg(data, "RGB")
            yield BATCH


def draw_masks(faces: Faces) -> Iterator[int]:
    """Masks on decoded faces."""
    rng = np.random.default_rng(0)
    while True:
        for image, landmarks in zip(faces.decoded, faces.landmarks, strict=True):
            render_mask(image, landmarks, random_mask_kind(rng), rng)
            yield 1


class PlainFaces(Dataset):
    """The usual data set: PIL, then torchvision's flip, ToTensor and Normalize, image by image."""

    def __init__(self, faces: Faces, repeats: int):
        table = read_train_csv(faces.root / "train.csv")
        self.rows = [(faces.root / path, target) for path, target in zip(table.paths, table.targets, strict=True)]
        self.repeats = repeats
        steps = [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.rows) * self.repeats

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self.rows[index % len(self.rows)]
        return self.transform(Image.open(path).convert("RGB")), int(target)


def plain(faces: Faces, workers: int) -> Iterator[int]:
    """Batches of the plain data set."""
    dataset = PlainFaces(faces, ROWS // len(faces.encoded))
    for _, labels in DataLoader(dataset, BATCH, shuffle=True, num_workers=workers):
        yield len(labels)


def ours(faces: Faces, workers: int, source: str, mask_probability: float) -> Iterator[int]:
    """Batches of this project's loader from ``source``: csv, pack or cache."""
    table = read_train_csv(faces.root / "train.csv")
    rows = np.tile(np.arange(len(table.targets)), ROWS // len(table.targets))
    table = type(table)(table.paths.take(rows), table.targets[rows], table.names, table.landmarks[rows], None)
    packs = [Pack(faces.root / "train.pack")] if source == "pack" else []
    cache = FaceCache(len(faces.encoded), SIZE) if source == "cache" else None
    train_faces = TrainFaces(
        Images(faces.root, table.paths, packs),
        table,
        SIZE,
        disk_size=SIZE,
        mask_probability=mask_probability,
        seed=0,
        cache=cache,
    )
    loader = train_loader(train_faces, ShuffledBatchSampler(len(rows), BATCH, 0), workers=workers, pin_memory=False)
    for _, labels, *_ in loader:
        yield len(labels)


# ==== measuring ====


def contenders(faces: Faces, workers: int) -> dict[str, Iterator[int]]:
    """Every stream by its name, with so many loader processes."""
    streams = {DECODE: decode(faces), PLAIN: plain(faces, workers), MASK: draw_masks(faces)}
    for source, masked in itertools.product(("csv", "pack", "cache"), (0.0, 1.0)):
        streams[name(source, masked)] = ours(faces, workers, source, masked)
    return streams


def name(source: str, masked: float) -> str:
    """How a loader is called in the table."""
    return f"{source}, masks" if masked else source


def measure(streams: dict[str, Iterator[int]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images a second of each stream in each round."""
    rates = {key: [] for key in streams}
    for key, stream in streams.items():
        # The cache must be full before it is measured.
        take(stream, images=10_000 if key == "cache" else 1_000)
    for _ in range(rounds):
        for key, stream in streams.items():
            # The workers of the one before still fill its next two batches; and what this one's have got ready while
            # others were measured does not count.
            time.sleep(REST)
            take(stream, images=4 * BATCH)
            rates[key].append(take(stream, seconds=seconds))
    return rates


def take(stream: Iterator[int], images: int = 0, seconds: float = 0.0) -> float:
    """Take at least so many images, for at least so long; images a second."""
    started, done = time.perf_counter(), 0
    while done < images or time.perf_counter() - started < seconds:
        done += next(stream)
    return done / (time.perf_counter() - started)


def report_rates(report: Report, rates: dict[str, list[float]], how: str) -> None:
    """Rows and bars of one way to load."""

    def ratio(value: Callable[[dict[str, float]], float]) -> float:
        return median(value({k: r[i] for k, r in rates.items()}) for i in range(len(rates[DECODE])))

    for key, values in rates.items():
        of_decode, of_plain = (ratio(lambda r, k=key, o=other: r[k] / r[o]) for other in (DECODE, PLAIN))
        report.add(
            loading=how, what=key, **{"images/s/core": median(values), "of decode": of_decode, "of plain": of_plain}
        )
    slowest, fastest = min(rates[DECODE]), max(rates[DECODE])
    report.note(f"{how}: the decoder alone did {slowest:,.0f} to {fastest:,.0f} images/s: how quiet the machine was")
    for source in ("csv", "pack", "cache"):
        report.at_least(f"{how}, {source}: of plain", ratio(lambda r, s=source: r[s] / r[PLAIN]), 3.5)
        report.at_least(f"{how}, {source}: of decode", ratio(lambda r, s=source: r[s] / r[DECODE]), 0.5)
        masks = ratio(lambda r, s=source: r[name(s, 1)] * (1 / r[s] + 1 / r[MASK]))
        report.at_least(f"{how}, {source}: with masks, of 1/(1/loader + 1/mask)", masks, 0.8)


# ==== the start ====


def write_large_csv(path: Path, rows: int, images: list[Path]) -> None:
    """A CSV of so many rows, identities in random order, each at least twice and each with a link to one image."""
    rng = np.random.default_rng(0)
    people = np.concatenate([np.tile(np.arange(START_PEOPLE), 2), rng.integers(START_PEOPLE, size=rows)])[:rows]
    links = path.parent / "people"
    links.mkdir()
    for person in range(START_PEOPLE):
        (links / f"n{person:06d}.jpg").symlink_to(images[person % len(images)])
    lines = (f"people/n{person:06d}.jpg,n{person:06d}\n" for person in rng.permutation(people).tolist())
    with path.open("w") as file:
        file.write("path,target\n")
        file.writelines(lines)


def report_start(report: Report, faces: Faces, rows: int) -> None:
    """Start a process that reads a large CSV and takes a P×K batch, on two cores."""
    table = faces.root / "large.csv"
    write_large_csv(table, rows, sorted(faces.root.rglob("*.jpg")))
    pack_csv(table, faces.root / "large.pack", root=faces.root)
    for path in (table, faces.root / "large.pack"):
        command = [sys.executable, "-m", "benchmarks.loader_start", str(path), str(faces.root), str(time.time())]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        first = json.loads(done.stdout.splitlines()[-1])
        what = f"{rows / 1e6:.2g} M rows, {path.suffix[1:]}"
        report.note(
            f"{what}: first P×K batch after {first['seconds']:.1f} s ({first['cpu_seconds']:.1f} s of them computing), "
            f"a worker takes {first['worker_mb']:.0f} MB of its own beside a parent of {first['parent_mb']:.0f} MB"
        )
        report.at_most(f"{what}: seconds to the first batch", first["seconds"], 10)
        report.at_most(f"{what}: MB of a worker beyond the parent", first["worker_mb"], 400)


def main(options: Options) -> int:
    """Measure rates on one core, then the start on two."""
    report = Report("loader")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        faces = draw_faces(Path(folder), 256 if options.quick else 1_000)
        pack_csv(faces.root / "train.csv", faces.root / "train.pack", root=faces.root)
        if cores:
            os.sched_setaffinity(0, cores[-1:])
        for workers, how in ((0, "in process"), (1, "1 worker")):
            rates = measure(contenders(faces, workers), 3 if options.quick else 5, 0.2 if options.quick else 0.5)
            report_rates(report, rates, how)
        if cores:
            os.sched_setaffinity(0, cores[:2])
        report_start(report, faces, START_ROWS // 10 if options.quick else START_ROWS)
    mean = sum(map(len, faces.encoded)) / len(faces.encoded)
    report.note(
        f"{len(faces.encoded):,} JPEGs of {mean / 1e3:.1f} kB; batches of {BATCH} with flip; masks: a fresh one on "
        "every image; ratios are medians of those of each round"
    )
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, Options, __doc__)

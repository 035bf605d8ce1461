"""Speed of the preparation compared with MaskTheFace, faces that it loses, and how a fixed network rates its faces.

    python -m benchmarks.prepare [--quick] [--check] [--json FILE]
    python -m benchmarks.prepare --faces FOLDER --judge WEIGHTS.safetensors

Without FOLDER the built-in faces are drawn into pictures of LFW's size. FOLDER holds raw photos: dev/<person>/ with
dev_pairs.csv (path,pair_path,same) and train/<person>/, 250×250 pixels as LFW's or tight crops as CFP's; of a person's
fourteen tight crops the first ten are frontal. The judge is MobileFaceNet.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.harness.table import Options, Report, run_command
from data.alignment.finder import open_finder
from data.masks.render import MASK_KINDS, render_mask
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.sources.folders import list_folder
from data.sources.read_image import read_image
from data.synthetic.draw import draw_face
from data.tables.train_csv import LANDMARK_COLUMNS
from data.transforms import Preprocessing
from eval.embed import embed
from eval.metrics.accuracy import fold_accuracies
from eval.metrics.distances import pair_distances
from models.trained_model import TrainedModel, open_model
from runtime.errors import InputError

# MaskTheFace (github.com/aqeelanwar/MaskTheFace) on one core, LFW's 250×250 pictures, images a second: from file to
# masked file, and its drawing of the mask alone. Measured once; its dlib needs a compiler, so it is not run here.
REFERENCE_WHOLE, REFERENCE_MASK = 17.0, 70.0
LFW_SIZE, CFP_FRONTAL, CFP_PICTURES = 250, 10, 14
# Creating a file may take a disk's file system longer than the face in it takes to be aligned, and another time
# nothing: the rate without it stands beside that of the disk.
RAM_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class PrepareOptions(Options):
    """Measure python -m data.prepare."""

    faces: Path | None = None
    """Folder of raw photos; otherwise built-in faces."""
    judge: Path | None = None
    """Weights of MobileFaceNet; with faces only."""


# ==== speed ====


def measure_speed(report: Report, source: Path, work: Path, repeats: int) -> None:
    """Images a second of one process from file to file, and on how much a second run looks again."""
    cpu = _end_to_end(report, "the disk", source, work, repeats)
    if RAM_DISK.is_dir():
        with tempfile.TemporaryDirectory(dir=RAM_DISK) as folder:
            _end_to_end(report, "a RAM disk", source, Path(folder), repeats)
    report.add(what="MaskTheFace", value=REFERENCE_WHOLE, unit="images/s")
    report.at_least("end to end a core, times MaskTheFace's", cpu / REFERENCE_WHOLE, 5)
    started = time.perf_counter()
    again = prepare(_speed_settings(source, work / "speed0"), lambda: _refuse)
    report.add(what="a second run on the same", value=time.perf_counter() - started, unit="s")
    kept = again["kept_from_before"] + again["unreadable"]  # which are tried again, without a detector
    report.at_least("second run: files kept, share", kept / again["files"], 1)


def _end_to_end(report: Report, place: str, source: Path, folder: Path, repeats: int) -> float:
    """Two rows: images a second of all, and by the processor's time, whose median is returned."""
    # The networks are loaded once, however many pictures there are: not counted.
    settings = _speed_settings(source, folder)
    detector = open_finder(settings.detector, settings.landmarks)
    rates = []
    for run in range(repeats):
        started, cpu = time.perf_counter(), time.process_time()
        files = prepare(_speed_settings(source, folder / f"speed{run}"), lambda: detector)["files"]
        rates.append((files / (time.perf_counter() - started), files / (time.process_time() - cpu)))
    wall, cpu = zip(*rates, strict=True)
    report.add(what=f"end to end, {files} pictures, one process, to {place}", **_cells(wall), unit="images/s")
    report.add(what="the same, by the processor's time", **_cells(cpu), unit="images/s")
    return statistics.median(cpu)


def _cells(rates: Sequence[float]) -> dict[str, float]:
    """The median, and the fastest beside it: other guests of a shared machine only ever slow a run down."""
    return {"value": statistics.median(rates), "fastest": max(rates)}


def _speed_settings(source: Path, out: Path) -> PrepareSettings:
    return PrepareSettings(str(source), out, size=112, jobs=1, train_share=1.0)


def _refuse(images: list[np.ndarray]) -> list:
    if images:
        raise AssertionError("a second run looked at pictures again")
    return []


def measure_masks(report: Report, folder: Path, seconds: float) -> None:
    """Masks a second on one core at 128×128, all kinds, on prepared faces."""
    cv2.setNumThreads(1)
    rows = pd.read_csv(folder / "train.csv").query("masked == 0").head(200)
    size = read_image(folder / rows["path"].iloc[0]).shape[0]
    faces = [cv2.resize(read_image(folder / path), (128, 128)) for path in rows["path"]]
    points = rows[LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2) * (128 / size)
    rng = np.random.default_rng(0)
    kinds = itertools.cycle(MASK_KINDS)
    rates = []
    until = time.process_time() + seconds
    while len(rates) < 4 or time.process_time() < until:
        started = time.process_time()
        for face, landmarks in zip(faces, points, strict=True):
            render_mask(face, landmarks, next(kinds), rng)
        rates.append(len(faces) / (time.process_time() - started))
    rates = rates[1:]  # the first pass makes textures
    report.add(what="masks at 128×128, one core, by the processor's time", **_cells(rates), unit="masks/s")
    report.add(what="MaskTheFace's masks", value=REFERENCE_MASK, unit="masks/s")
    report.at_least("masks/s on one core at 128×128", statistics.median(rates), 2000)


def drawn_source(folder: Path, people: int) -> Path:
    """Built-in faces in the middle of 250×250 pictures, two of each person."""
    side = 126
    border = (LFW_SIZE - side) // 2
    for person, number in itertools.product(range(people), range(2)):
        face = draw_face(person, number, size=side).image
        path = folder / f"person_{person:03d}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cv2.copyMakeBorder(face, *[border] * 4, cv2.BORDER_REPLICATE)).save(path, quality=95)
    return folder


def some_of(source: Path, folder: Path, count: int) -> Path:
    """Links to ``count`` pictures of a folder, evenly spread."""
    files = list_folder(source).pictures
    for i in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int):
        link = folder / files[i].path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / files[i].path).resolve())
    return folder


# ==== losses ====


def measure_losses(report: Report, faces: Path, work: Path) -> None:
    """Prepare all of FOLDER with all cores; what is lost of LFW's pictures and of the others."""
    files, lost = {True: 0, False: 0}, {True: 0, False: 0}
    seconds = 0.0
    for part, train_share in (("dev", 0.0), ("train", 1.0)):
        settings = PrepareSettings(str(faces / part), work / part, size=112, train_share=train_share)
        summary = prepare(settings)
        seconds += summary["seconds"]
        failed = set(pd.read_csv(work / part / "failures.csv")["path"])
        for file in list_folder(faces / part).pictures:
            with Image.open(faces / part / file.path) as picture:
                is_lfw = picture.size == (LFW_SIZE, LFW_SIZE)
            files[is_lfw] += 1
            lost[is_lfw] += file.path in failed
    total = sum(files.values())
    report.add(what=f"end to end, all {total} pictures, all cores", value=total / seconds, unit="images/s")
    for is_lfw, name, limit in ((True, f"{LFW_SIZE}×{LFW_SIZE}", 0.5), (False, "tight crops", 2.0)):
        share = 100 * lost[is_lfw] / files[is_lfw]
        report.add(what=f"lost of {files[is_lfw]} {name}", value=lost[is_lfw], unit="pictures")
        report.at_most(f"lost of the {name}, %", share, limit)


# ==== judge ====


@dataclass(frozen=True)
class Judge:
    """A network and its embeddings of faces, each embedded once."""

    opened: TrainedModel

    def embed(self, paths: list[Path]) -> np.ndarray:
        """(N, D), the mirrored face summed."""
        self.opened.model.to(memory_format=torch.channels_last)
        normalise = Preprocessing.from_dict(self.opened.preprocessing).normalise
        return embed(self.opened.model, _batches(paths), device="cpu", normalise=normalise, mirror=True)


def _batches(paths: list[Path]) -> Iterator[torch.Tensor]:
    for start in range(0, len(paths), 64):
        yield torch.from_numpy(np.stack([read_image(path) for path in paths[start : start + 64]]))


def measure_judge(report: Report, judge: Judge, faces: Path, work: Path) -> None:
    """Accuracy on dev_pairs.csv, plain and masked, and the frontal pairs of CFP that look like two people."""
    pairs = pd.read_csv(faces / "dev_pairs.csv")
    names = pd.unique(pd.concat([pairs["path"], pairs["pair_path"]]))
    for kind in ("plain", "masked"):
        here = np.array([(work / "dev" / kind / name).is_file() for name in names])
        known = {name: row for row, name in enumerate(names[here])}
        embeddings = judge.embed([work / "dev" / kind / name for name in known])
        whole = pairs[pairs["path"].isin(known) & pairs["pair_path"].isin(known)]
        distances = _distances(embeddings, known, whole["path"], whole["pair_path"])
        by_fold = fold_accuracies(distances, whole["same"].to_numpy(bool))
        if by_fold is None:
            raise InputError(f"{faces / 'dev_pairs.csv'} has fewer than 10 same or different pairs of {kind} faces")
        accuracy = 100 * float(by_fold.mean())
        report.add(what=f"judge: {kind}–{kind}, {len(whole)} pairs, 10-fold accuracy", value=accuracy, unit="%")
        if kind == "plain":
            report.at_least("judge: plain–plain, %", accuracy, 99.2)
        else:
            report.at_least("judge: masked–masked, %", accuracy, 92)
            report.at_most("judge: masked–masked, %", accuracy, 97)
    paths, left, right = frontal_pairs(faces / "train", work / "train")
    known = {path: row for row, path in enumerate(paths)}
    embeddings = judge.embed([work / "train" / "plain" / path for path in paths])
    distances = _distances(embeddings, known, left, right)
    share = 100 * float((1 - distances**2 / 2 < 0.3).mean())
    report.add(what=f"judge: {len(left)} frontal same pairs of tight crops under cosine 0.3", value=share, unit="%")
    report.at_most("judge: frontal same pairs under cosine 0.3, %", share, 4)


def _distances(embeddings: np.ndarray, known: dict[str, int], left: list[str], right: list[str]) -> np.ndarray:
    return pair_distances(embeddings, *(np.array([known[name] for name in side]) for side in (left, right)))


def frontal_pairs(source: Path, prepared: Path) -> tuple[list[str], list[str], list[str]]:
    """The prepared faces among each person's frontal tight crops, and all pairs of one person among them."""
    people: dict[str, list[str]] = {}
    for file in list_folder(source).pictures:
        with Image.open(source / file.path) as picture:
            if picture.size != (LFW_SIZE, LFW_SIZE):
                people.setdefault(file.person, []).append(file.name)
    frontal = [names[:CFP_FRONTAL] for names in people.values() if len(names) == CFP_PICTURES]
    there = [[name for name in names if (prepared / "plain" / name).is_file()] for names in frontal]
    pairs = [pair for names in there for pair in itertools.combinations(names, 2)]
    return list(itertools.chain(*there)), [one for one, _ in pairs], [other for _, other in pairs]


# ==== the command ====


def main(options: PrepareOptions) -> int:
    """Run all of it and print the table."""
    if options.judge and not options.faces:
        raise InputError("the judge needs real faces: set --faces, too")
    report = Report("prepare")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        count = 200 if options.quick else 500
        if options.faces:
            source = some_of(options.faces / "dev", work / "sample", count)
        else:
            source = drawn_source(work / "sample", 60 if options.quick else 150)
        measure_speed(report, source, work, repeats=1 if options.quick else 3)
        measure_masks(report, work / "speed0", seconds=1 if options.quick else 10)
        if options.faces and not options.quick:
            measure_losses(report, options.faces, work)
            if options.judge:
                measure_judge(report, Judge(open_model(str(options.judge), "mobilefacenet")), options.faces, work)
    report.note("MaskTheFace's figures were measured once on one core, LFW's 250×250 pictures; it is not run here")
    report.note("bars of speed rest on the processor's time, so that other programs do not matter")
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, PrepareOptions, __doc__)

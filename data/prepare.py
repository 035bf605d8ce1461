"""From a folder of raw faces to what the training scripts read: ``python -m data.prepare SOURCE --out DIR``.

Every face is detected, aligned, written plain and with a simulated mask; then the CSVs, the card, a summary that
accounts for every input file, and a contact sheet are made. Run again, it goes on where it stopped.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import pandas as pd
import simplejpeg
import torch
import tyro
from tqdm import tqdm

from data.align import Detection, FaceDetector, align_face
from data.journal import NO_FACE, NO_PICTURE, STATUSES, TOO_SMALL, UNREADABLE, WRITTEN, Journal, Outcome
from data.mask import random_mask_kind, render_mask
from data.pairs import sample_pairs, split_people
from data.preview import contact_sheet
from data.read_image import UnreadableImage, read_image
from data.sources import Source, SourceFile, list_source
from data.tables import LANDMARK_COLUMNS, write_dataset_card, write_table
from data.transforms import Crop
from runtime.errors import InputError, one_line_errors
from runtime.files import replace_file

JPEG_QUALITY = 95
SIZES = (112, 128, 160)
# Side of the detector's box in the source. Below it there are too few pixels to tell people apart.
MIN_FACE_PIXELS = 20
_BATCH = 32
_PREVIEW_FACES = 32

Detector = Callable[[Sequence[np.ndarray]], list[Detection | None]]


@dataclass(frozen=True)
class PrepareSettings:
    """Turn a folder of raw faces, one sub-folder a person, into aligned, masked faces with CSVs."""

    source: Annotated[Path, tyro.conf.Positional]
    """Folder with one sub-folder a person; may be nested deeper."""
    out: Path
    """Folder to make, or to go on with."""
    size: int = 128
    """Side of the aligned faces in pixels: 112, 128 or 160."""
    crop: Crop = "arcface5"
    """arcface5: five landmarks to the ArcFace template. mtcnn_box: the detector's box, as facenet-pytorch's weights
    were made on."""
    seed: int = 0
    """Seed of masks, people and pairs."""
    train_share: float = 0.9
    """Share of the people for training, 0 to 1."""
    eval_share: float = 0.5
    """Share of the other people for evaluation, 0 to 1; the rest are for the test."""
    eval_pairs: int = 3_000
    """Most evaluation pairs, half of the same person."""
    test_pairs: int = 6_000
    """Most test pairs, half of the same person."""
    pairs_per_person: int = 24
    """Most same pairs a person may be in; twice as many different ones, as each of those has two people."""
    jobs: int = 0
    """Processes; 0: one for each core."""


def prepare(settings: PrepareSettings, make_detector: Callable[[], Detector] = FaceDetector) -> dict:
    """Do the whole preparation and return the summary, as in summary.json.

    ``make_detector`` is called once in each process. Raises InputError: see ``list_source`` and ``Journal``; an
    impossible setting; a folder that can't be written; no usable face at all.
    """
    _check(settings)
    started = time.monotonic()
    source = list_source(settings.source)
    made_with = {"size": settings.size, "crop": settings.crop, "seed": settings.seed}
    try:
        journal = Journal(settings.out, made_with)
        kept = _forget_changed(journal, source, settings.out)
        work = [file for file in source.pictures if file.path not in journal.outcomes]
        if kept:
            print(f"{kept} files were done before and are kept; {len(work)} to go")
        _run(settings, make_detector, journal, work, kept)
        return _finish(settings, journal, source, kept, time.monotonic() - started)
    except OSError as error:
        raise InputError(f"can't write to {settings.out}: {error.strerror or error}") from None


def _check(settings: PrepareSettings) -> None:
    if settings.size not in SIZES:
        raise InputError(f"size must be one of {', '.join(map(str, SIZES))}, not {settings.size}")
    for name in ("train_share", "eval_share"):
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f"{name} must be from 0 to 1, not {getattr(settings, name):g}")
    for name in ("eval_pairs", "test_pairs"):
        if getattr(settings, name) < 2:
            raise InputError(f"{name} must be 2 or more, not {getattr(settings, name)}")
    if settings.pairs_per_person < 1 or settings.jobs < 0:
        raise InputError("pairs_per_person must be 1 or more, and jobs 0 or more")
    source, out = settings.source.resolve(), settings.out.resolve()
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise InputError(f"{settings.out} and the source {settings.source} lie one in the other; keep them apart")
    if out.exists() and not out.is_dir():
        raise InputError(f"{settings.out} is a file; name a folder")


def _forget_changed(journal: Journal, source: Source, out: Path) -> int:
    """Drop outcomes whose input is gone or another one, or whose faces are missing. How many stay."""
    wanted = {file.path: file for file in source.pictures}
    written = {
        kind: {str(p.relative_to(out / kind)) for p in (out / kind).rglob("*.jpg")} for kind in ("plain", "masked")
    }
    for path, outcome in list(journal.outcomes.items()):
        file = wanted.get(path)
        stale = file is None or file.stamp != outcome.stamp
        if not stale and outcome.status == WRITTEN:
            stale = file.name != outcome.name or any(outcome.name not in names for names in written.values())
        if stale:
            del journal.outcomes[path]
    return len(journal.outcomes)


# ==== detect, align, mask: one batch of files at a time, in any process ====


@dataclass(frozen=True)
class _Job:
    settings: PrepareSettings
    files: list[SourceFile]


_detector: Detector


def _start_worker(make_detector: Callable[[], Detector]) -> None:
    """One thread a process: the processes share the cores. Ctrl-C is the parent's business."""
    global _detector
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _detector = make_detector()


def _run(
    settings: PrepareSettings,
    make_detector: Callable[[], Detector],
    journal: Journal,
    work: list[SourceFile],
    kept: int,
) -> None:
    if not work:
        return
    jobs = [_Job(settings, work[i : i + _BATCH]) for i in range(0, len(work), _BATCH)]
    bar = tqdm(total=kept + len(work), initial=kept, unit="img", desc="faces", smoothing=0.05)
    lost = 0
    with bar:
        for outcomes in _in_processes(jobs, settings.jobs, make_detector):
            journal.add(outcomes)
            lost += sum(o.status != WRITTEN for o in outcomes)
            bar.set_postfix(lost=lost, refresh=False)
            bar.update(len(outcomes))


def _in_processes(jobs: list[_Job], wanted: int, make_detector: Callable[[], Detector]) -> Iterator[list[Outcome]]:
    processes = min(wanted or len(os.sched_getaffinity(0)), len(jobs))
    if processes == 1:
        _start_worker(make_detector)
        yield from map(_prepare_batch, jobs)
        return
    with _process_context().Pool(processes, _start_worker, (make_detector,)) as pool:
        yield from pool.imap_unordered(_prepare_batch, jobs)


def _process_context() -> multiprocessing.context.BaseContext:
    """Workers that share no threads with this process; where there is a fork server, torch is imported only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.align", "data.mask"])
    return context


def _prepare_batch(job: _Job) -> list[Outcome]:
    outcomes: list[Outcome] = []
    images, files = [], []
    for file in job.files:
        try:
            images.append(read_image(job.settings.source / file.path))
            files.append(file)
        except UnreadableImage as error:
            outcomes.append(Outcome(file.path, file.stamp, UNREADABLE, str(error)))
    for file, image, detection in zip(files, images, _detector(images), strict=True):
        outcomes.append(_prepare_face(job.settings, file, image, detection))
    return outcomes


def _prepare_face(
    settings: PrepareSettings, file: SourceFile, image: np.ndarray, detection: Detection | None
) -> Outcome:
    height, width = image.shape[:2]
    if detection is None:
        status = TOO_SMALL if min(height, width) < MIN_FACE_PIXELS else NO_FACE
        return Outcome(file.path, file.stamp, status, f"picture of {width}×{height} pixels")
    side = float(min(detection.box[2] - detection.box[0], detection.box[3] - detection.box[1]))
    if side < MIN_FACE_PIXELS:
        return Outcome(file.path, file.stamp, TOO_SMALL, f"face of {side:.0f} pixels")
    plain, landmarks = align_face(image, detection, settings.size, settings.crop)
    # From the seed and the name: the same mask in whatever order the files come.
    rng = np.random.default_rng([settings.seed, zlib.crc32(file.name.encode())])
    masked = render_mask(plain, landmarks, random_mask_kind(rng), rng)
    _write_jpeg(settings.out / "plain" / file.name, plain)
    _write_jpeg(settings.out / "masked" / file.name, masked)
    numbers = tuple(round(float(v), 2) for v in landmarks.ravel())
    return Outcome(file.path, file.stamp, WRITTEN, "", file.name, file.person, numbers)


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    """Whole or not at all; without a flush to disk for each of the many files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=JPEG_QUALITY))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# ==== CSVs, card, summary, preview ====


def _finish(settings: PrepareSettings, journal: Journal, source: Source, kept: int, seconds: float) -> dict:
    outcomes = [journal.outcomes[file.path] for file in source.pictures]
    outcomes += [Outcome(path, "", NO_PICTURE, reason) for path, reason in source.other]
    failures = [(o.path, o.status, o.reason) for o in outcomes if o.status != WRITTEN]
    write_table(pd.DataFrame(failures, columns=["path", "status", "reason"]), settings.out / "failures.csv")
    written = [o for o in outcomes if o.status == WRITTEN]
    counts = Counter(o.status for o in outcomes)
    summary = {
        "files": len(outcomes),
        **{status.replace(" ", "_"): counts[status] for status in STATUSES},
        "kept_from_before": kept,
        "seconds": round(seconds, 1),
    }
    if written:
        summary |= _write_tables(settings, written)
        card = {"source": settings.source.resolve().name, "seed": settings.seed, "jpeg_quality": JPEG_QUALITY}
        write_dataset_card(settings.out, settings.crop, settings.size, **card)
        _write_preview(settings, written)
    with replace_file(settings.out / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n")
    if not written:
        raise InputError(f"none of the {len(outcomes)} files gave a face; see {settings.out / 'failures.csv'}")
    return summary


def _write_tables(settings: PrepareSettings, written: list[Outcome]) -> dict:
    faces = pd.DataFrame(
        [
            (f"{kind}/{o.name}", o.person, masked, *o.landmarks)
            for o in written
            for masked, kind in enumerate(("plain", "masked"))
        ],
        columns=["path", "target", "masked", *LANDMARK_COLUMNS],
    )
    rest = 1 - settings.train_share
    shares = {
        "train": settings.train_share,
        "eval": rest * settings.eval_share,
        "test": rest * (1 - settings.eval_share),
    }
    people = split_people(faces["target"], shares, settings.seed)
    part = {name: faces[faces["target"].isin(names)] for name, names in people.items()}
    write_table(part["train"], settings.out / "train.csv")
    same, different = _both_pairs(part["eval"], settings.eval_pairs, settings)
    write_table(same, settings.out / "eval_same.csv")
    write_table(different, settings.out / "eval_diff.csv")
    test = pd.concat(_both_pairs(part["test"], settings.test_pairs, settings), ignore_index=True)
    write_table(test, settings.out / "test.csv")
    return {
        "people": {name: len(names) for name, names in people.items()},
        "train_faces": len(part["train"]),
        "eval_pairs": {"same": len(same), "different": len(different)},
        "test_pairs": len(test),
    }


def _both_pairs(faces: pd.DataFrame, pairs: int, settings: PrepareSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As many different as same pairs; where there are no same pairs at all, half of ``pairs`` different ones."""
    same = sample_pairs(faces, pairs // 2, settings.seed, True, settings.pairs_per_person)
    count = len(same) or pairs // 2
    return same, sample_pairs(faces, count, settings.seed, False, 2 * settings.pairs_per_person)


def _write_preview(settings: PrepareSettings, written: list[Outcome]) -> None:
    chosen = [written[i] for i in np.linspace(0, len(written) - 1, min(len(written), _PREVIEW_FACES)).astype(int)]
    triples = [
        (
            read_image(settings.source / o.path),
            read_image(settings.out / "plain" / o.name),
            read_image(settings.out / "masked" / o.name),
        )
        for o in chosen
    ]
    sheet = contact_sheet(triples)
    with replace_file(settings.out / "preview.png") as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _report(settings: PrepareSettings, summary: dict) -> None:
    lost = ", ".join(f"{summary[s.replace(' ', '_')]} {s}" for s in STATUSES[1:])
    done = summary["files"] - summary["kept_from_before"]
    print(f"{summary['written']} of {summary['files']} files written; {lost}")
    print(f"{done} files in {summary['seconds']:.0f} s ({done / max(summary['seconds'], 1e-3):.0f} a second)")
    print(f"people: {', '.join(f'{n} {name}' for name, n in summary['people'].items())}")
    pairs = summary["eval_pairs"]
    print(f"pairs: {pairs['same']} + {pairs['different']} evaluation, {summary['test_pairs']} test")
    print(f"look at {settings.out / 'preview.png'}; what was lost and why: {settings.out / 'failures.csv'}")


def main() -> None:
    """The command."""
    settings = tyro.cli(PrepareSettings, prog="python -m data.prepare")
    with one_line_errors():
        try:
            _report(settings, prepare(settings))
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from here", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    main()

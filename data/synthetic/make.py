"""The built-in faces as a data folder: plain and masked JPEGs, the four CSVs and the card, made once and cached."""

import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from tqdm import tqdm

from data.masks.render import random_mask_kind, render_mask
from data.prepare.pairs import sample_pairs
from data.synthetic.draw import draw_face
from data.tables.card import read_dataset_card, write_dataset_card
from data.tables.rows import write_table
from data.tables.train_csv import LANDMARK_COLUMNS
from runtime.errors import InputError
from runtime.files import replace_folder, write_file
from runtime.processes.children import end_with_parent

SOURCE = "built-in faces"
_JPEG_QUALITY = 95
# Below this many pictures the start of worker processes takes longer than drawing.
_ALONE = 400


def drawing_version() -> str:
    """Digest of the code that decides the pixels and the pairs, so that a change of it draws the faces anew."""
    room = Path(__file__).parents[1]
    sources = [*sorted(room.glob("synthetic/*.py")), *sorted(room.glob("masks/*.py"))]
    sources += [room / "prepare" / "split.py", room / "prepare" / "pairs.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class FaceSet:
    """How many built-in faces, and which. Raises InputError if a number is too small.

    Each picture comes plain and with a random mask, under the same file name. Train, evaluation and test people are
    different ones, and the test and evaluation people stay the same whatever ``train_people``. ``eval_pairs`` and
    ``test_pairs`` are half of the same person, half of different people. ``size`` is the pictures' side in pixels.
    """

    train_people: int
    eval_people: int
    test_people: int
    images_per_person: int
    seed: int
    size: int
    eval_pairs: int
    test_pairs: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = {"seed": 0, "size": 32}.get(name, 2)
            if value < least:
                raise InputError(f"{name} is {value}, but built-in faces need at least {least}")


def ensure_faces(folder: Path, wanted: FaceSet) -> None:
    """``make_faces`` unless ``folder`` already holds just these faces.

    Built-in faces with other numbers, or drawn by other code, are replaced. Raises InputError if the folder holds
    anything else.
    """
    card = read_dataset_card(folder) if folder.is_dir() else None
    if card is not None and card.get("source") == SOURCE:
        if {**asdict(wanted), "version": drawing_version()}.items() <= card.items():
            return
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else than built-in faces; name another folder, or move it away")
    make_faces(folder, wanted)


def make_faces(folder: Path, wanted: FaceSet) -> None:
    """Draw people who don't exist into ``folder``, with all cores; it appears whole or not at all.

    Raises InputError if the folder can't be written or a process dies.
    """
    parts = {"test": wanted.test_people, "eval": wanted.eval_people, "train": wanted.train_people}
    ends = np.cumsum(list(parts.values())).tolist()
    with replace_folder(folder) as draft:
        drawn = _draw_all(draft, ends[-1], wanted)
        faces = {
            part: drawn[drawn["number"].between(end - people, end - 1)].drop(columns="number")
            for (part, people), end in zip(parts.items(), ends, strict=True)
        }
        write_table(faces["train"], draft / "train.csv")
        same, different = _pairs(faces["eval"], wanted.eval_pairs, wanted.seed)
        write_table(same, draft / "eval_same.csv")
        write_table(different, draft / "eval_diff.csv")
        test = _pairs(faces["test"], wanted.test_pairs, wanted.seed + 1)
        write_table(pd.concat(test, ignore_index=True), draft / "test.csv")
        write_dataset_card(draft, "arcface5", source=SOURCE, version=drawing_version(), **asdict(wanted))


def _pairs(faces: pd.DataFrame, pairs: int, seed: int) -> list[pd.DataFrame]:
    """Pairs of the same person and of different people, half of ``pairs`` each."""
    often = 4 * (pairs // faces["target"].nunique() + 1)
    return [sample_pairs(faces, pairs // 2, seed, same, often) for same in (True, False)]


def _draw_all(draft: Path, people: int, wanted: FaceSet) -> pd.DataFrame:
    """Draw and write everybody; one row a file: path, target, masked, mask_kind, landmarks and the person's number."""
    jobs = [(draft, person, wanted) for person in range(people)]
    pictures = people * wanted.images_per_person
    rows = []
    with tqdm(total=pictures, desc="drawing the built-in faces", unit="face") as bar:
        for done in _in_parallel(jobs, pictures):
            rows += done
            bar.update(wanted.images_per_person)
    columns = ["path", "target", "masked", "mask_kind", *LANDMARK_COLUMNS, "number"]
    return pd.DataFrame(rows, columns=columns).sort_values("path", ignore_index=True)


def _in_parallel(jobs: list[tuple], pictures: int) -> Iterator[list[tuple]]:
    workers = min(os.cpu_count() or 1, len(jobs))
    if pictures < _ALONE or workers == 1:
        yield from map(_draw_person, jobs)
        return
    # A fork spares each worker the import of torch; OpenCV's threads would not survive it, so they end first.
    start = "fork" if sys.platform == "linux" else "spawn"
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context(start), _start_worker) as pool:
            yield from pool.map(_draw_person, jobs, chunksize=4)
    except BrokenProcessPool:
        raise InputError(
            "a process that draws the built-in faces died, perhaps for want of memory; give the command again"
        ) from None
    finally:
        cv2.setNumThreads(threads)


def _start_worker() -> None:
    """Ctrl-C is the parent's business."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _draw_person(job: tuple[Path, int, FaceSet]) -> list[tuple]:
    """Write one person's pictures, plain and masked; their rows."""
    draft, person, wanted = job
    name = f"person_{person:06d}"
    rows = []
    for image in range(wanted.images_per_person):
        face = draw_face(person, image, wanted.seed, wanted.size)
        rng = np.random.default_rng((wanted.seed, 2, person, image))
        kind = random_mask_kind(rng)
        masked = render_mask(face.image, face.landmarks, kind, rng)
        landmarks = np.round(face.landmarks.ravel().astype(float), 2).tolist()
        for side, pixels, worn in (("plain", face.image, ""), ("masked", masked, kind)):
            path = f"{side}/{name}/{image:03d}.jpg"
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY, "RGB", "444")
            write_file(draft / path, data, flush=False)
            rows.append((path, name, int(side == "masked"), worn, *landmarks, person))
    return rows

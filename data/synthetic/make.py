"""The built-in faces as a data folder: plain and masked JPEGs, the four CSVs and the card, made once and cached."""

import hashlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from tqdm import tqdm

from data.mask import random_mask_kind, render_mask
from data.pairs import sample_pairs
from data.synthetic.draw import draw_face
from data.tables import LANDMARK_COLUMNS, read_dataset_card, write_dataset_card, write_table
from runtime.errors import InputError

SOURCE = "built-in faces"
_JPEG_QUALITY = 95
# Below this many pictures the start of worker processes takes longer than drawing.
_ALONE = 400


def drawing_version() -> str:
    """Digest of the code that decides the pixels and the pairs, so that a change of it draws the faces anew."""
    here = Path(__file__).parent
    drawing = sorted(path for path in here.glob("*.py") if path.name != "gallery.py")
    sources = [*drawing, *sorted(here.parent.glob("mask*.py")), here.parent / "pairs.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def ensure_faces(
    folder: Path,
    *,
    train_people: int,
    eval_people: int,
    test_people: int,
    images_per_person: int,
    seed: int,
    size: int,
    eval_pairs: int,
    test_pairs: int,
) -> None:
    """``make_faces`` unless ``folder`` already holds just these faces.

    Built-in faces with other numbers, or drawn by other code, are replaced. Raises InputError where the folder holds
    anything else.
    """
    wanted = {
        "train_people": train_people,
        "eval_people": eval_people,
        "test_people": test_people,
        "images_per_person": images_per_person,
        "seed": seed,
        "size": size,
        "eval_pairs": eval_pairs,
        "test_pairs": test_pairs,
    }
    card = read_dataset_card(folder) if folder.is_dir() else None
    if card is not None and card.get("source") == SOURCE:
        if {**wanted, "version": drawing_version()}.items() <= card.items():
            return
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something else than built-in faces; name another folder, or move it away")
    make_faces(folder, **wanted)


def make_faces(
    folder: Path,
    *,
    train_people: int,
    eval_people: int,
    test_people: int,
    images_per_person: int,
    seed: int,
    size: int,
    eval_pairs: int,
    test_pairs: int,
) -> None:
    """Draw people who don't exist into ``folder``, with all cores; it appears whole or not at all.

    Each picture comes plain and with a random mask, under the same file name. Train, evaluation and test people are
    different ones, and the test and evaluation people stay the same whatever ``train_people``. ``eval_pairs`` and
    ``test_pairs`` are half of the same person, half of different people. Raises InputError where a number is too
    small, or the folder can't be written.
    """
    _check_numbers(train_people, eval_people, test_people, images_per_person, size, eval_pairs, test_pairs)
    ends = np.cumsum([test_people, eval_people, train_people])
    people = {
        part: range(end - n, end)
        for part, end, n in zip(
            ("test", "eval", "train"), ends.tolist(), (test_people, eval_people, train_people), strict=True
        )
    }
    with _new_folder(folder) as draft:
        faces = _draw_all(draft, int(ends[-1]), images_per_person, seed, size)
        write_table(faces[faces["number"].isin(people["train"])].drop(columns="number"), draft / "train.csv")
        same, different = _pairs(faces[faces["number"].isin(people["eval"])], eval_pairs, seed)
        write_table(same, draft / "eval_same.csv")
        write_table(different, draft / "eval_diff.csv")
        test = _pairs(faces[faces["number"].isin(people["test"])], test_pairs, seed + 1)
        write_table(pd.concat(test, ignore_index=True), draft / "test.csv")
        write_dataset_card(
            draft,
            "arcface5",
            size,
            source=SOURCE,
            version=drawing_version(),
            train_people=train_people,
            eval_people=eval_people,
            test_people=test_people,
            images_per_person=images_per_person,
            seed=seed,
            eval_pairs=eval_pairs,
            test_pairs=test_pairs,
        )


def _check_numbers(
    train_people: int, eval_people: int, test_people: int, images: int, size: int, eval_pairs: int, test_pairs: int
) -> None:
    for name, value, least in (
        ("train_people", train_people, 2),
        ("eval_people", eval_people, 2),
        ("test_people", test_people, 2),
        ("images_per_person", images, 2),
        ("size", size, 32),
        ("eval_pairs", eval_pairs, 2),
        ("test_pairs", test_pairs, 2),
    ):
        if value < least:
            raise InputError(f"{name} is {value}, but built-in faces need at least {least}")


def _pairs(faces: pd.DataFrame, pairs: int, seed: int) -> list[pd.DataFrame]:
    """Pairs of the same person and of different people, half of ``pairs`` each."""
    often = 4 * (pairs // faces["target"].nunique() + 1)
    return [sample_pairs(faces, pairs // 2, seed, same, often) for same in (True, False)]


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A hidden sibling to fill, which takes the place of ``folder`` at the end; removed on an error."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.making")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"can't make the built-in faces in {folder.parent}: {error.strerror}") from None
    try:
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _draw_all(draft: Path, people: int, images: int, seed: int, size: int) -> pd.DataFrame:
    """Draw and write everybody; one row a file: path, target, masked, the landmarks and the person's number."""
    jobs = [(draft, person, images, seed, size) for person in range(people)]
    rows = []
    with tqdm(total=people * images, desc="drawing the built-in faces", unit="face") as bar:
        for done in _in_parallel(jobs, people * images):
            rows += done
            bar.update(images)
    columns = ["path", "target", "masked", *LANDMARK_COLUMNS, "number"]
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
        with multiprocessing.get_context(start).Pool(workers, cv2.setNumThreads, (1,)) as pool:
            yield from pool.imap_unordered(_draw_person, jobs, chunksize=4)
    finally:
        cv2.setNumThreads(threads)


def _draw_person(job: tuple[Path, int, int, int, int]) -> list[tuple]:
    """Write one person's pictures, plain and masked; their rows."""
    draft, person, images, seed, size = job
    name = f"person_{person:06d}"
    rows = []
    for kind in ("plain", "masked"):
        (draft / kind / name).mkdir(parents=True)
    for image in range(images):
        face = draw_face(person, image, seed, size)
        rng = np.random.default_rng((seed, 2, person, image))
        masked = render_mask(face.image, face.landmarks, random_mask_kind(rng), rng)
        landmarks = np.round(face.landmarks.ravel().astype(float), 2).tolist()
        for kind, pixels in (("plain", face.image), ("masked", masked)):
            path = f"{kind}/{name}/{image:03d}.jpg"
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY, "RGB", "444")
            (draft / path).write_bytes(data)
            rows.append((path, name, int(kind == "masked"), *landmarks, person))
    return rows

"""Small test sets in the field's formats, of faces of coarse noise, with the pairs that are meant."""

import io
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE, PEOPLE, EACH = 64, 24, 3


class Pair(NamedTuple):
    """Numbers of two pictures, whether they are of one person, and the fold, 0 … 9."""

    left: int
    right: int
    same: bool
    fold: int


def faces(seed: int = 0, people: int = PEOPLE, each: int = EACH) -> np.ndarray:
    """``each`` pictures of each person, one person after the other: uint8 (people · each, SIZE, SIZE, 3)."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(people):
        own = rng.integers(0, 256, (6, 6, 3))
        for _ in range(each):
            coarse = np.clip(own + rng.normal(0, 60, own.shape), 0, 255).astype(np.uint8)
            made.append(np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return np.stack(made)


def meant_pairs(per_fold: int = 2, seed: int = 1) -> list[Pair]:
    """Ten folds of ``per_fold`` same pairs, then as many different ones; no two are alike."""
    rng, people = np.random.default_rng(seed), np.arange(PEOPLE)
    pairs = []
    for same in (True, False):
        one = rng.permutation(people)[: 10 * per_fold]
        other = one if same else (one + 1) % PEOPLE
        i, j = rng.integers(EACH, size=(2, 10 * per_fold))
        j = np.where(same & (i == j), (j + 1) % EACH, j)
        folds = np.repeat(np.arange(10), per_fold)
        rows = zip(one * EACH + i, other * EACH + j, folds, strict=True)
        pairs += [Pair(int(left), int(right), same, int(fold)) for left, right, fold in rows]
    return sorted(pairs, key=lambda pair: pair.fold)


def name(number: int) -> str:
    return f"Person_{number // EACH:02d}"


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_bin(path: Path, images: np.ndarray, pairs: list[Pair]) -> None:
    """Two pictures a pair, and the flags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    both = [_png(images[number]) for pair in pairs for number in (pair.left, pair.right)]
    path.write_bytes(pickle.dumps((both, [pair.same for pair in pairs])))


def write_people(folder: Path, images: np.ndarray, form: str = "{person}/{person}_{number:04d}.png") -> None:
    """The pictures, one folder per person or as the form says."""
    for number, image in enumerate(images):
        path = folder / form.format(person=name(number), number=number % EACH + 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(image))


def lfw_lines(pairs: list[Pair]) -> list[str]:
    lines = []
    for left, right, same, _ in pairs:
        first = f"{name(left)}\t{left % EACH + 1}"
        lines.append(f"{first}\t{right % EACH + 1}" if same else f"{first}\t{name(right)}\t{right % EACH + 1}")
    return lines


def write_lfw(folder: Path, images: np.ndarray, pairs: list[Pair]) -> None:
    """pairs.txt with its head line, and a folder of people beside it."""
    write_people(folder / "images", images)
    lines = [f"10\t{len(pairs) // 20}", *lfw_lines(pairs)]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")


def write_two_lines(folder: Path, images: np.ndarray, pairs: list[Pair], kind: str = "CPLFW") -> None:
    """Two lines a pair, the file and its flag, and the pictures in one folder."""
    write_people(folder / "aligned images", images, "{person}_{number:04d}.png")
    flags = [pair.fold + 1 if pair.same else 0 for pair in pairs]
    files = [(f"{name(n)}_{n % EACH + 1:04d}.png", flag) for p, flag in zip(pairs, flags, strict=True) for n in p[:2]]
    (folder / f"pairs_{kind}.txt").write_text("".join(f"{file} {flag}\n" for file, flag in files))


def write_mfr2(folder: Path, images: np.ndarray, pairs: list[Pair]) -> list[bool]:
    """pairs.txt without a head, and labels; who wears a mask: each person's last picture."""
    write_people(folder, images)
    masked = [number % EACH == EACH - 1 for number in range(len(images))]
    (folder / "pairs.txt").write_text("\n".join(lfw_lines(pairs)) + "\n")
    labels = [f"{name(n)}, {n % EACH + 1}, {'surgical' if worn else 'no-mask'}" for n, worn in enumerate(masked)]
    (folder / "mfr2_labels.txt").write_text("\n".join(labels) + "\n")
    return masked


def write_csv(path: Path, images: np.ndarray, pairs: list[Pair]) -> None:
    """path, pair_path and same; the pictures in a folder beside it."""
    write_people(path.parent / "pictures", images)
    files = [f"{name(n)}/{name(n)}_{n % EACH + 1:04d}.png" for n in range(len(images))]
    rows = [f"{files[left]},{files[right]},{int(same)}" for left, right, same, _ in pairs]
    path.write_text("\n".join(["path,pair_path,same", *rows]) + "\n")

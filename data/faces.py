"""Everything a run reads: the tables of a folder of faces, checked before training starts."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs.settings import BUILT_IN, Settings
from data.alignment.alignment import Alignment
from data.alignment.errors import AlignmentErrors
from data.alignment.unaligned import raw_photographs, refuse_not_square, sides_of
from data.synthetic import FaceSet, ensure_faces
from data.synthetic.make import SOURCE
from data.tables.card import check_card, read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.pair_csv import PairTable, read_pair_csvs, without_missing
from data.tables.pair_faults import reasons
from data.tables.paths import require_files
from data.tables.train_csv import FaceTable, choose_faces, read_train_csv
from data.transforms import Preprocessing, make_preprocessing, template
from runtime.errors import InputError
from runtime.processes.distributed import first_goes_ahead, is_first

# Enough pairs that a point of accuracy is more than chance, few enough that an evaluation takes seconds.
EVALUATION_PEOPLE = 60
TEST_PEOPLE = 120
EVALUATION_PAIRS = 1_500
TEST_PAIRS = 3_000


@dataclass(frozen=True)
class FaceData:
    """The three tables of a run, the images of their rows, and how these become the network's input.

    ``disk_size`` is the side of the training faces on disk in pixels, on which their landmarks rest;
    ``alignment_errors``, by how much masks moved the alignment of these faces, where that was measured.
    """

    preprocessing: Preprocessing
    disk_size: int
    train: FaceTable
    train_images: Images
    evaluation: PairTable
    evaluation_images: Images
    test: PairTable
    test_images: Images
    alignment_errors: AlignmentErrors | None = None


def faces_for(settings: Settings, weights: dict | None = None) -> FaceData:
    """All faces of a run, checked: the built-in ones (drawn on first use), or those of the settings' CSVs or packs.

    The CSVs' names are relative to their folder or the working one. ``weights`` is the preprocessing of the
    pre-trained weights, if there are any.

    Raises InputError on the first thing that is wrong with a CSV, on missing images (counted, the first ten named),
    and if the folder's card or the pre-trained weights say another crop than the settings.
    """
    preprocessing = make_preprocessing(
        size=settings.image_size, crop=settings.crop, normalisation=settings.normalisation, weights=weights
    )
    root = Path(settings.data_root)
    if settings.data_root == BUILT_IN:
        with first_goes_ahead():
            root = built_in_faces(settings.builtin_people, settings.builtin_images, settings.image_size)
    train_path = _table(root, settings.train_csv)
    train = _chosen(read_train_csv(train_path, settings.path_prefix), settings)
    packs = _packs([train_path])
    stated_size = _check_cards(root, packs, preprocessing.crop)
    if train.unnamed and not settings.teacher:
        raise InputError(
            f"{settings.train_csv}: {train.unnamed:,} rows have an empty target (first: "
            f"{train.paths[len(train.named_targets)]}), and faces without a name can only be used with a teacher; set "
            "--teacher, or leave them out with --unnamed-share 0"
        )
    if settings.needs_both_looks:
        _refuse_one_look(train, settings)
    if not packs:
        require_files(root, train.paths.distinct.tolist(), settings.train_csv)
    train_images = Images(root, train.paths, packs)
    disk_size = stated_size or _size_of_landmarks(train, train_images, preprocessing.size)
    if settings.mask_probability > 0:
        _refuse_masks_without_landmarks(train, settings, disk_size)
    preprocessing = replace(preprocessing, alignment=alignment_of(train_images) or Alignment())
    refuse_not_square(train_images, settings.train_csv)
    if stated_size is None and preprocessing.crop == "arcface5":
        _name_photographs(train, train_images, settings.train_csv)
    eval_root = Path(settings.eval_root) if settings.eval_root else root
    how = preprocessing.crop, preprocessing.alignment
    evaluation, evaluation_images = open_pairs(eval_root, settings.eval_csvs, settings.path_prefix, *how)
    _refuse_one_kind(evaluation, settings.eval_csvs)
    test, test_images = open_pairs(eval_root, (settings.test_csv,), settings.path_prefix, *how)
    for name, pairs in (("evaluation", evaluation), ("test", test)):
        if len(pairs.left_out):
            print(f"{name} pairs left out: {reasons(pairs.left_out)}", flush=True)
    errors = AlignmentErrors.read(root)
    return FaceData(
        preprocessing, disk_size, train, train_images, evaluation, evaluation_images, test, test_images, errors
    )


def _chosen(table: FaceTable, settings: Settings) -> FaceTable:
    chosen = choose_faces(table, settings.train_faces, settings.most_images, settings.least_images)
    if not settings.unnamed_share:
        chosen = chosen.rows(np.arange(len(chosen.named_targets)))
    lost = len(table.names) - len(chosen.names)
    if settings.least_images and lost and is_first():
        print(f"{settings.train_csv}: {lost} of {len(table.names)} identities left out for too few faces", flush=True)
    return chosen


def _name_photographs(train: FaceTable, images: Images, csv: str) -> None:
    """Say so if faces that no card speaks of don't lie as aligned ones: in a mask the detector is not to be trusted."""
    rows = np.arange(len(images)) if train.masked is None else np.flatnonzero(~train.masked)
    raw, found, first = raw_photographs(images, rows)
    if 2 * raw > found and is_first():
        print(
            f"{csv}: {raw} of {found} faces looked at don't lie as aligned faces do (such as {first}); align "
            "photographs with python -m data.prepare",
            flush=True,
        )


def _size_of_landmarks(train: FaceTable, images: Images, size: int) -> int:
    """The side in pixels on which landmarks rest that no card speaks of: that of the pictures, or the network's
    ``size`` if they lie nearer to its template."""
    if train.landmarks is None:
        return size
    plain = train.landmarks if train.masked is None else train.landmarks[~train.masked]
    if not len(plain):
        return size
    mean = plain.mean(0)
    return min((size, *sides_of(images)), key=lambda side: float(np.abs(mean - template(side)).mean()))


def _refuse_masks_without_landmarks(train: FaceTable, settings: Settings, disk_size: int) -> None:
    """A fresh mask is fitted to the landmarks of a plain face."""
    plain = np.arange(len(train.targets)) if train.masked is None else np.flatnonzero(~train.masked)
    if train.landmarks is None and len(plain):
        raise InputError(
            f"mask_probability is {settings.mask_probability}, but {settings.train_csv} has no landmarks to fit to "
            "(columns x1, y1 … x5, y5); prepare the faces with python -m data.prepare, or set mask_probability to 0"
        )
    unfit = plain[~_lie_in_pictures(train.landmarks[plain], disk_size)] if len(plain) else plain
    if len(unfit):
        raise InputError(
            f"{settings.train_csv}: the landmarks of {len(unfit):,} plain faces (first: {train.paths[unfit[0]]}) are "
            f"one point, or lie outside a picture of {disk_size} pixels (the size in dataset.json, else that of the "
            "pictures or image_size, whichever fits better), so that no mask fits; mend them, or set mask_probability "
            "to 0"
        )


def _refuse_one_look(train: FaceTable, settings: Settings) -> None:
    masked = 0.0 if train.masked is None else float(train.masked[: len(train.named_targets)].mean())
    drawn = settings.mask_probability
    if masked == 1 or drawn == 1 or masked == drawn == 0:
        look = "masked" if masked == 1 or drawn == 1 else "plain"
        raise InputError(
            f"mining self_restrained compares masked faces with plain ones, but all training faces are {look}; "
            "see train_faces and mask_probability"
        )


def _lie_in_pictures(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Of (N, 5, 2) points in pixels, bool (N,): whether their middle lies in the picture, and they are not all one."""
    middle, apart = landmarks.mean(1), landmarks.min(1) < landmarks.max(1)
    return ((middle >= 0) & (middle <= size)).all(1) & apart.any(1)


def _refuse_one_kind(pairs: PairTable, csvs: tuple[str, ...]) -> None:
    if pairs.same.all() or not pairs.same.any():
        kind = "same" if pairs.same.all() else "different"
        raise InputError(f"{', '.join(csvs)}: all pairs are {kind}-person pairs; both kinds are needed")


def open_pairs(
    root: Path, names: tuple[str, ...], path_prefix: str, crop: str, alignment: Alignment | None = None
) -> tuple[PairTable, Images]:
    """One list of pairs from CSVs or packs, and its distinct images; raises InputError as ``faces_for`` does.

    ``alignment``: that of the network's training faces, for a warning if these were aligned otherwise.
    """
    tables = [_table(root, name) for name in names]
    pairs, packs = read_pair_csvs(tables, path_prefix), _packs(tables)
    _check_cards(root, packs, crop, alignment)
    if not packs:
        pairs = without_missing(pairs, root, ", ".join(names))
    images = Images(root, pairs.paths, packs)
    if packs and images.loose:
        require_files(root, images.loose, ", ".join(names))
    return pairs, images


def _packs(tables: list[Path]) -> list[Pack]:
    return [Pack(table) for table in tables if table.suffix == SUFFIX]


def _check_cards(root: Path, packs: list[Pack], crop: str, alignment: Alignment | None = None) -> int | None:
    """The size that the packs' cards state, or that of the folder where there is no pack."""
    sizes = [check_card(card, place, crop, alignment) for card, place in _cards(root, packs)]
    return sizes[0]


def _cards(root: Path, packs: list[Pack]) -> list[tuple[dict | None, Path]]:
    return [(pack.card, pack.path) for pack in packs] or [(read_dataset_card(root), root)]


def alignment_of(images: Images) -> Alignment | None:
    """How the faces of a table were aligned, by their (first) card; None if they have none, or were drawn."""
    card, _ = _cards(images.root, list(images.packs))[0]
    return None if card is None or card.get("source") == SOURCE else Alignment.of(card)


def built_in_faces(people: int, images: int, image_size: int) -> Path:
    """The folder of the built-in faces, drawn on first use (more people for evaluation and test come on top)."""
    folder = Path("datasets") / f"builtin-{people}x{images}-{image_size}px"
    ensure_faces(
        folder,
        FaceSet(
            train_people=people,
            eval_people=EVALUATION_PEOPLE,
            test_people=TEST_PEOPLE,
            images_per_person=images,
            seed=0,
            size=image_size,
            eval_pairs=EVALUATION_PAIRS,
            test_pairs=TEST_PAIRS,
        ),
    )
    return folder


def _table(root: Path, name: str) -> Path:
    in_root = root / name
    return in_root if in_root.is_file() or not Path(name).is_file() else Path(name)

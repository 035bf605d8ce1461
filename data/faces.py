"""Everything a run reads: the tables of a folder of faces, checked before training starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.synthetic import FaceSet, ensure_faces
from data.tables.card import read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.pair_csv import PairTable, read_pair_csvs, without_missing
from data.tables.pair_faults import reasons
from data.tables.paths import require_files
from data.tables.train_csv import FaceTable, choose_faces, read_train_csv
from data.transforms import Preprocessing
from runtime.errors import InputError

# Enough pairs that a point of accuracy is more than chance, few enough that an evaluation takes seconds.
EVALUATION_PEOPLE = 60
TEST_PEOPLE = 120
EVALUATION_PAIRS = 1_500
TEST_PAIRS = 3_000


@dataclass(frozen=True)
class FaceData:
    """The three tables of a run, and the images of their rows.

    ``disk_size`` is the side of the training faces on disk in pixels, on which their landmarks rest.
    """

    disk_size: int
    train: FaceTable
    train_images: Images
    evaluation: PairTable
    evaluation_images: Images
    test: PairTable
    test_images: Images


def open_faces(
    root: Path,
    *,
    eval_root: Path,
    train_csv: str,
    train_faces: Literal["all", "plain", "masked"],
    most_images: int = 0,
    eval_csvs: tuple[str, ...],
    test_csv: str,
    path_prefix: str,
    preprocessing: Preprocessing,
) -> FaceData:
    """Read the CSVs (or packs) and see that every image is there; their names are relative to their folder or the
    working one.

    ``root`` is the folder of the training faces, ``eval_root`` that of the evaluation and test pairs.

    Raises InputError on the first thing that is wrong with a CSV, on missing images (counted, the first ten named),
    and where the folder's card says another crop than the network's.
    """
    train_path = _table(root, train_csv)
    train = choose_faces(read_train_csv(train_path, path_prefix), train_faces, most_images)
    packs = _packs([train_path])
    disk_size = _check_cards(root, packs, preprocessing.crop) or preprocessing.size
    if not packs:
        require_files(root, train.paths.distinct.tolist(), train_csv)
    train_images = Images(root, train.paths, packs)
    evaluation, evaluation_images = open_pairs(eval_root, eval_csvs, path_prefix, preprocessing.crop)
    if evaluation.same.all() or not evaluation.same.any():
        kind = "same" if evaluation.same.all() else "different"
        raise InputError(f"{', '.join(eval_csvs)}: all pairs are {kind}-person pairs; both kinds are needed")
    test, test_images = open_pairs(eval_root, (test_csv,), path_prefix, preprocessing.crop)
    for name, pairs in (("evaluation", evaluation), ("test", test)):
        if len(pairs.left_out):
            print(f"{name} pairs left out: {reasons(pairs.left_out)}", flush=True)
    return FaceData(disk_size, train, train_images, evaluation, evaluation_images, test, test_images)


def open_pairs(root: Path, names: tuple[str, ...], path_prefix: str, crop: str) -> tuple[PairTable, Images]:
    """One list of pairs from CSVs or packs, and its distinct images; raises InputError as ``open_faces`` does."""
    tables = [_table(root, name) for name in names]
    pairs, packs = read_pair_csvs(tables, path_prefix), _packs(tables)
    _check_cards(root, packs, crop)
    if not packs:
        pairs = without_missing(pairs, root, ", ".join(names))
    images = Images(root, pairs.paths, packs)
    if packs and images.loose:
        require_files(root, images.loose, ", ".join(names))
    return pairs, images


def _packs(tables: list[Path]) -> list[Pack]:
    return [Pack(table) for table in tables if table.suffix == SUFFIX]


def _check_cards(root: Path, packs: list[Pack], crop: str) -> int | None:
    """The size that the packs' cards state, or that of the folder where there is no pack."""
    cards = [(pack.card, pack.path) for pack in packs] or [(read_dataset_card(root), root)]
    sizes = [check_card(card, place, crop) for card, place in cards]
    return sizes[0]


def check_card(card: dict | None, place: Path, crop: str) -> int | None:
    """The size in pixels that the card of the faces at ``place`` states, None where they have none.

    Raises InputError where the card states another crop than ``crop``.
    """
    if card is None:
        return None
    if card["crop"] != crop:
        raise InputError(
            f"the faces in {place} were cropped as {card['crop']}, but {crop} was asked for; "
            "set crop, or prepare the faces again"
        )
    return card["size"]


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

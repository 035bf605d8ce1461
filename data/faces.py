"""Everything a run reads: the tables of a folder of faces, checked before training starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.synthetic import FaceSet, ensure_faces
from data.tables import (
    FaceTable,
    PairTable,
    choose_faces,
    read_dataset_card,
    read_pair_csvs,
    read_train_csv,
    require_files,
)
from data.transforms import Preprocessing
from runtime.errors import InputError

# Enough pairs that a point of accuracy is more than chance, few enough that an evaluation takes seconds.
EVALUATION_PEOPLE = 60
TEST_PEOPLE = 120
EVALUATION_PAIRS = 1_500
TEST_PAIRS = 3_000


@dataclass(frozen=True)
class FaceData:
    """The three tables of a run, and the folders that their paths start from.

    ``disk_size`` is the side of the training faces on disk in pixels, on which their landmarks rest.
    """

    root: Path
    eval_root: Path
    disk_size: int
    train: FaceTable
    evaluation: PairTable
    test: PairTable


def open_faces(
    root: Path,
    *,
    eval_root: Path,
    train_csv: str,
    train_faces: Literal["all", "plain", "masked"],
    eval_csvs: tuple[str, ...],
    test_csv: str,
    path_prefix: str,
    preprocessing: Preprocessing,
) -> FaceData:
    """Read the CSVs and see that every image is there; CSV names are relative to their folder or the working one.

    ``root`` is the folder of the training faces, ``eval_root`` that of the evaluation and test pairs.

    Raises InputError on the first thing that is wrong with a CSV, on missing images (counted, the first ten named),
    and where the folder's card says another crop than the network's.
    """
    disk_size = check_card(root, preprocessing.crop) or preprocessing.size
    train = choose_faces(read_train_csv(_csv(root, train_csv), path_prefix), train_faces)
    check_card(eval_root, preprocessing.crop)
    evaluation = read_pair_csvs([_csv(eval_root, name) for name in eval_csvs], path_prefix)
    if evaluation.same.all() or not evaluation.same.any():
        kind = "same" if evaluation.same.all() else "different"
        raise InputError(f"{', '.join(eval_csvs)}: all pairs are {kind}-person pairs; both kinds are needed")
    test = read_pair_csvs([_csv(eval_root, test_csv)], path_prefix)
    require_files(root, train.paths, train_csv)
    require_files(eval_root, evaluation.paths, ", ".join(eval_csvs))
    require_files(eval_root, test.paths, test_csv)
    return FaceData(root, eval_root, disk_size, train, evaluation, test)


def check_card(root: Path, crop: str) -> int | None:
    """The size in pixels that the folder's card states, None where it has no card.

    Raises InputError where the card states another crop than ``crop``.
    """
    card = read_dataset_card(root)
    if card is None:
        return None
    if card["crop"] != crop:
        raise InputError(
            f"the faces in {root} were cropped as {card['crop']}, but {crop} was asked for; "
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


def _csv(root: Path, name: str) -> Path:
    in_root = root / name
    return in_root if in_root.is_file() or not Path(name).is_file() else Path(name)

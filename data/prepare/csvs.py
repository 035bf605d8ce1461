"""The CSVs of a prepared folder: training faces, evaluation and test pairs of other people, a verification list."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from data.prepare.pairs import sample_pairs
from data.prepare.proposals import apply_proposals, read_proposals
from data.prepare.settings import PrepareSettings
from data.prepare.split import split_people
from data.sources.outcome import Outcome
from data.sources.pair_lists import Face, pair_list
from data.sources.source_file import SourcePair
from data.tables.pair_csv import SIDE_COLUMN
from data.tables.rows import write_table
from data.tables.train_csv import LANDMARK_COLUMNS
from runtime.errors import InputError


def write_people_tables(settings: PrepareSettings, written: Sequence[Outcome]) -> dict:
    """train.csv, eval_same.csv, eval_diff.csv and test.csv; returns what the summary says of them."""
    faces, applied = _face_table([one for o in written for one in (o, *o.more)]), {}
    if settings.proposals is not None:
        faces, used = apply_proposals(faces, read_proposals(settings.proposals))
        applied = {"proposals_applied": used}
    unnamed, faces = faces[faces["target"] == ""], faces[faces["target"] != ""]
    rest = 1 - settings.train_share
    shares = {
        "train": settings.train_share,
        "eval": rest * settings.eval_share,
        "test": rest * (1 - settings.eval_share),
    }
    people = split_people(faces["target"].unique(), shares, settings.seed)
    part = {name: faces[faces["target"].isin(names)] for name, names in people.items()}
    write_table(pd.concat([part["train"], unnamed]), settings.out / "train.csv")
    # Of several faces in a picture the first is the one that its folder is named after.
    further = {path for o in written for other in o.more for path in other.faces}
    part |= {name: part[name][~part[name]["path"].isin(further)] for name in ("eval", "test")}
    same, different = _both_pairs(part["eval"], settings.eval_pairs, settings)
    write_table(same, settings.out / "eval_same.csv")
    write_table(different, settings.out / "eval_diff.csv")
    test = pd.concat(_both_pairs(part["test"], settings.test_pairs, settings), ignore_index=True)
    write_table(test, settings.out / "test.csv")
    _require_same_pairs({name: part[name] for name in ("eval", "test")}, faces)
    return {
        "people": {name: len(names) for name, names in people.items()},
        "train_faces": len(part["train"]),
        "eval_pairs": {"same": len(same), "different": len(different)},
        "test_pairs": len(test),
        **({"unnamed_faces": len(unnamed)} if len(unnamed) else {}),
        **applied,
    }


def _require_same_pairs(parts: dict[str, pd.DataFrame], faces: pd.DataFrame) -> None:
    """Raise InputError if nobody of a part has two photographs: then there is no pair of the same person."""
    for name, part in parts.items():
        if len(part) and not _with_two_photos(part):
            where = {"eval": "evaluation", "test": "test"}[name]
            people, two = faces["target"].nunique(), _with_two_photos(faces)
            remedy = "set other shares or another seed" if two else "add pictures"
            raise InputError(
                f"no {where} person has two pictures, so that there is no {where} pair of the same person ({two} of "
                f"all {people} people have two); {remedy}, or set --train-share 1 if these faces are for training alone"
            )


def _with_two_photos(faces: pd.DataFrame) -> int:
    """People with two photographs: a masked copy is none of its own."""
    photos = faces.assign(photo=faces["path"].map(lambda path: PurePosixPath(path).stem))
    return int((photos.groupby("target")["photo"].nunique() > 1).sum())


def write_pair_table(settings: PrepareSettings, written: Sequence[Outcome], pairs: Sequence[SourcePair]) -> dict:
    """pairs.csv of a verification set; returns what the summary says of it."""
    faces = {
        o.name: [
            Face(path, *((True, o.mask) if path.startswith("masked/") else (False, "")), o.side) for path in o.faces
        ]
        for o in written
    }
    table, lost = pair_list(pairs, faces)
    write_table(table, settings.out / "pairs.csv")
    return {"pairs": len(pairs), "lost_pairs": lost, "pair_rows": len(table)}


def _face_table(written: Sequence[Outcome]) -> pd.DataFrame:
    """A row for each face on disk, the plain one before its masked copy."""
    paths = [path for o in written for path in o.faces]
    times = [len(o.faces) for o in written]
    masked = np.array([path.startswith("masked/") for path in paths], dtype=int)
    kinds = np.repeat([o.mask for o in written], times)
    table = {
        "path": paths,
        "target": np.repeat(np.array([o.person for o in written], dtype=object), times),
        "masked": masked,
        "mask_kind": np.where(masked == 1, kinds, ""),
    }
    if any(o.side for o in written):
        table[SIDE_COLUMN] = np.repeat([o.side or np.nan for o in written], times)
    if any(o.landmarks for o in written):
        unknown = (np.nan,) * len(LANDMARK_COLUMNS)
        landmarks = np.repeat(np.array([o.landmarks or unknown for o in written]), times, axis=0)
        # A masked copy that was aligned by itself has the points elsewhere; it is the face's second file.
        by_itself = np.repeat([bool(o.masked_landmarks) for o in written], times) & (masked == 1)
        moved = [o.masked_landmarks for o in written if o.masked_landmarks]
        landmarks[by_itself] = np.array(moved).reshape(-1, len(LANDMARK_COLUMNS))
        table |= dict(zip(LANDMARK_COLUMNS, landmarks.T, strict=True))
    return pd.DataFrame(table)


def _both_pairs(faces: pd.DataFrame, pairs: int, settings: PrepareSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As many different as same pairs; where there are no same pairs at all, half of ``pairs`` different ones."""
    same = sample_pairs(faces, pairs // 2, settings.seed, True, settings.pairs_per_person)
    count = len(same) or pairs // 2
    return same, sample_pairs(faces, count, settings.seed, False, 2 * settings.pairs_per_person)

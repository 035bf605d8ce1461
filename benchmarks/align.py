"""What masks do to alignment: points that move, faces that are lost, and what that costs a network that stays as it is.

    python -m benchmarks.align --faces FOLDER [--judge WEIGHTS.safetensors RUN …] [--yunet FILE.onnx] [--check]

FOLDER holds raw photos: dev/<person>/ with dev_pairs.csv (path,pair_path,same), and train/<person>/ with tight crops
among them (all that are not 250×250 pixels). Masks are put on the photographs first; then each door finds and aligns
what it sees. "bare" is what no door has: the masked photograph, aligned by the bare one's landmarks. To a judge, which
is a trained network, a lost face is nobody's.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
import tyro
from PIL import Image

from benchmarks.harness.table import Options, Report, run_command
from data.alignment.align import align_face, eye_distance
from data.alignment.alignment import LANDMARKS
from data.alignment.detectors.detection import Detection
from data.alignment.detectors.mtcnn import FaceDetector
from data.alignment.finder import MTCNN, open_finder
from data.masks.pose import fit_pose
from data.masks.render import MASK_KINDS, check_mask_kinds, render_mask
from data.sources.folders import list_folder
from data.sources.read_image import read_image
from data.transforms import Preprocessing
from eval.embed import embed
from eval.metrics.accuracy import FOLDS, fold_accuracies
from models.trained_model import open_model
from runtime.errors import InputError

# MTCNN's three searches alone, as all faces were found before there was a choice; what a command does unless it is told
# otherwise; and the same with --detector yunet.
TODAY, DEFAULT, YUNET = "mtcnn of old", "default", "yunet"
BARE = "bare"
_BATCH, _LFW_SIZE = 32, 250
# Degrees of yaw from which a head is turned.
_TURNED = 25.0
# A face that is lost is as far from everybody as faces can be.
_NOBODY = 2.0
_PARTS = {"eyes": [0, 1], "nose": [2], "mouth": [3, 4]}


@dataclass(frozen=True)
class AlignOptions(Options):
    """Measure how masked faces are found and aligned."""

    faces: Path = tyro.MISSING
    """Folder of raw photos."""
    judge: tuple[Path, ...] = ()
    """Trained networks: run folders, or weights of MobileFaceNet. The first one's results must pass."""
    yunet: Path | None = None
    """YuNet's file; without it mtcnn alone is measured."""
    photos: int = 0
    """Most photographs of either kind; 0: all."""
    mask_kinds: tuple[str, ...] = MASK_KINDS
    """Masks that the photographs get in turn."""


Door = Callable[[list[np.ndarray]], list[Detection | None]]


@dataclass(frozen=True)
class Photo:
    """A photograph in which the bare face was found: ``kind`` of the mask it gets, and its ``number``, which decides
    how that sits."""

    path: Path
    bare: Detection
    kind: str
    number: int

    @property
    def turned(self) -> bool:
        """Whether the head is turned."""
        return bool(abs(np.rad2deg(fit_pose(self.bare.landmarks.astype(np.float64)).yaw)) > _TURNED)

    def masked(self) -> np.ndarray:
        """The photograph with the mask on it."""
        rng = np.random.default_rng(self.number)
        return render_mask(read_image(self.path), self.bare.landmarks, self.kind, rng)


def open_doors(yunet: Path | None) -> dict[str, Door]:
    """Name → what finds faces."""
    doors: dict[str, Door] = {TODAY: FaceDetector(), DEFAULT: open_finder(MTCNN, LANDMARKS)}
    if yunet:
        doors[YUNET] = open_finder(str(yunet), LANDMARKS)
        if LANDMARKS == "network":
            doors["yunet, its own points"] = open_finder(str(yunet), "detector")
    return doors


def bare_photos(paths: list[Path], detector: Door, kinds: Sequence[str] = MASK_KINDS) -> list[Photo]:
    """The photographs in which today's detector finds the bare face, ``kinds`` of masks in turn."""
    photos = []
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        for path, found in zip(batch, detector([read_image(path) for path in batch]), strict=True):
            if found is not None:
                photos.append(Photo(path, found, kinds[len(photos) % len(kinds)], len(photos)))
    return photos


# ==== landmarks ====


@dataclass(frozen=True)
class Seen:
    """What a door saw in each masked photograph, and its images a second on one core."""

    found: list[Detection | None]
    rate: float


def look(photos: list[Photo], door: Door) -> Seen:
    """All masked photographs through a door."""
    found: list[Detection | None] = []
    seconds = 0.0
    for start in range(0, len(photos), _BATCH):
        images = [photo.masked() for photo in photos[start : start + _BATCH]]
        started = time.process_time()
        found += door(images)
        seconds += time.process_time() - started
    return Seen(found, len(photos) / seconds)


def errors(photos: list[Photo], seen: Seen) -> np.ndarray:
    """(N, 5): how far each point is from the bare face's, in distances of the eyes; infinite where it is lost."""
    off = np.full((len(photos), 5), np.inf)
    for row, (photo, found) in enumerate(zip(photos, seen.found, strict=True)):
        if found is not None:
            bare = photo.bare.landmarks
            off[row] = np.linalg.norm(found.landmarks - bare, axis=1) / eye_distance(bare)
    return off


def _poses(photos: list[Photo]) -> dict[str, np.ndarray]:
    """Name → whether each photograph (N,) belongs to it."""
    turned = np.array([photo.turned for photo in photos])
    return {"all": np.ones(len(photos), bool), "turned": turned, "frontal": ~turned}


def failed(off: np.ndarray) -> np.ndarray:
    """(N,): lost, or off by more than half the eyes' distance on the mean."""
    return off.mean(1) > 0.5


def report_landmarks(report: Report, name: str, photos: list[Photo], seen: Seen) -> None:
    """A row for all photographs, each kind of mask, and each pose."""
    off = errors(photos, seen)
    own = np.array([found is not None and not found.refined for found in seen.found])
    kinds = np.array([photo.kind for photo in photos])
    for what, rows in (_poses(photos) | {kind: kinds == kind for kind in dict.fromkeys(kinds.tolist())}).items():
        report.add(
            door=name,
            faces=f"{what} ({rows.sum()})",
            lost=100 * float(np.isinf(off[rows, 0]).mean()),
            failed=100 * float(failed(off[rows]).mean()),
            **{part: 100 * float(np.median(off[rows][:, points])) for part, points in _PARTS.items()},
            own=100 * float(own[rows].mean()),
            rate=seen.rate if what == "all" else None,
        )


def measure_landmarks(
    report: Report, photos: list[Photo], tight: list[Photo], doors: dict[str, Door]
) -> dict[str, Seen]:
    """Errors and losses on ordinary photographs and on tight crops; what each door saw of the former."""
    seen = {name: look(photos, door) for name, door in doors.items()}
    for name, saw in seen.items():
        report_landmarks(report, name, photos, saw)
        bar = {DEFAULT: 1.5, YUNET: 0.3}.get(name)
        if bar:
            report.at_most(f"{name}: lost, or off by half the eyes, %", 100 * failed(errors(photos, saw)).mean(), bar)
        if tight:
            wrong = failed(errors(tight, look(tight, doors[name])))
            for what, rows in _poses(tight).items():
                share = 100 * float(wrong[rows].mean()) if rows.any() else None
                report.add(door=name, faces=f"tight crops, {what} ({rows.sum()})", failed=share)
            if name in (DEFAULT, YUNET):
                report.at_most(f"{name}: tight crops lost, or off by half the eyes, %", 100 * float(wrong.mean()), 3)
    return seen


# ==== judge ====


class Judge:
    """A trained network's distances of pairs of photographs. Raises InputError if these are too few."""

    def __init__(self, path: Path, photos: list[Photo], pairs: pd.DataFrame, root: Path) -> None:
        opened = open_model(str(path), "mobilefacenet")
        self.name, self._photos = path.stem, photos
        self._model = opened.model.to(memory_format=torch.channels_last)
        self._preprocessing = Preprocessing.from_dict(opened.preprocessing)
        rows = {str(photo.path.relative_to(root)): row for row, photo in enumerate(photos)}
        whole = pairs[pairs["path"].isin(rows) & pairs["pair_path"].isin(rows)]
        self._left = whole["path"].map(rows).to_numpy()
        self._right = whole["pair_path"].map(rows).to_numpy()
        self._same = whole["same"].to_numpy(bool)
        same, different = int(self._same.sum()), int((~self._same).sum())
        if min(same, different) < FOLDS:
            raise InputError(
                f"the photographs with a face form {same} same and {different} different pairs, but a judge needs "
                f"{FOLDS} of either; set --photos higher"
            )

    def __len__(self) -> int:
        return len(self._same)

    def embeddings(self, found: list[Detection | None], masked: bool) -> np.ndarray:
        """(N, D), NaN for lost faces."""
        there = [row for row, face in enumerate(found) if face is not None]
        batches = self._crops([(self._photos[row], found[row]) for row in there], masked)
        known = embed(self._model, batches, device="cpu", normalise=self._preprocessing.normalise, mirror=True)
        rows = np.full((len(found), known.shape[1]), np.nan, np.float32)
        rows[there] = known
        return rows

    def accuracy(self, left: np.ndarray, right: np.ndarray) -> float:
        """10-fold accuracy in percent."""
        distances = np.linalg.norm(left[self._left] - right[self._right], axis=1).astype(np.float64)
        return 100 * float(fold_accuracies(np.nan_to_num(distances, nan=_NOBODY), self._same).mean())

    def _crops(self, faces: list[tuple[Photo, Detection]], masked: bool) -> Iterator[torch.Tensor]:
        for start in range(0, len(faces), _BATCH):
            crops = [
                align_face(photo.masked() if masked else read_image(photo.path), found, self._preprocessing.size)[0]
                for photo, found in faces[start : start + _BATCH]
            ]
            yield torch.from_numpy(np.stack(crops))


def measure_judge(
    report: Report, judge: Judge, bare: list[Detection], seen: dict[str, Seen], seen_plain: dict[str, list], bars: bool
) -> None:
    """Accuracy by door, and what share of today's loss each wins back; ``bars``: whether that must pass."""
    plain = {BARE: judge.embeddings(bare, masked=False)}
    masked = {BARE: judge.embeddings(bare, masked=True)}
    for name, saw in seen.items():
        masked[name] = judge.embeddings(saw.found, masked=True)
        plain[name] = plain[BARE] if name == TODAY else judge.embeddings(seen_plain[name], masked=False)
    both = {name: judge.accuracy(rows, rows) for name, rows in masked.items()}
    bare_pairs = {name: judge.accuracy(rows, rows) for name, rows in plain.items()}
    for name in masked:
        won = None if name in (BARE, TODAY) else _won_back(both[name], both[TODAY], both[BARE])
        report.add(
            door=name,
            faces=f"judge {judge.name}, {len(judge)} pairs, %",
            masked_masked=both[name],
            masked_plain=judge.accuracy(masked[name], plain[name]),
            plain_plain=bare_pairs[name],
            won_back=won,
        )
        bar = {DEFAULT: 70, YUNET: 80}.get(name)
        if bars and bar:
            report.at_least(f"{name}: masked–masked won back of today's loss, %", won, bar)
            report.at_least(f"{name}: plain–plain over today's, points", bare_pairs[name] - bare_pairs[TODAY], -0.15)


def _won_back(door: float, today: float, bare: float) -> float:
    """The percentage of today's loss that a door wins back; where today loses nothing, all or nothing."""
    if today < bare:
        return 100 * (door - today) / (bare - today)
    return 100.0 if door >= bare else 0.0


def _plain(photos: list[Photo], door: Door) -> list[Detection | None]:
    batches = (photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH))
    return list(itertools.chain(*(door([read_image(photo.path) for photo in batch]) for batch in batches)))


# ==== the command ====


def _is_tight(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.size != (_LFW_SIZE, _LFW_SIZE)


def _some(paths: list[Path], most: int) -> list[Path]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(most or len(paths), len(paths))).astype(int)]


def main(options: AlignOptions) -> int:
    """Run all of it and print the table."""
    check_mask_kinds(options.mask_kinds)
    report = Report("align")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    doors = open_doors(options.yunet)
    most = options.photos or (100 if options.quick else 0)
    pairs = pd.read_csv(options.faces / "dev_pairs.csv")
    # Whole pairs, so that there is something to judge.
    pairs = pairs.iloc[np.unique(np.linspace(0, len(pairs) - 1, most // 2 or len(pairs)).astype(int))]
    listed = [options.faces / "dev" / name for name in pd.unique(pd.concat([pairs["path"], pairs["pair_path"]]))]
    photos = bare_photos(listed, doors[TODAY], options.mask_kinds)
    train = [options.faces / "train" / file.path for file in list_folder(options.faces / "train").pictures]
    crops = _some([path for path in _some(train, 4 * most) if _is_tight(path)], most)
    tight = bare_photos(crops, doors[TODAY], options.mask_kinds)
    judges = [Judge(path, photos, pairs, options.faces / "dev") for path in options.judge]
    seen = measure_landmarks(report, photos, tight, doors)
    if judges:
        bare = [photo.bare for photo in photos]
        seen_plain = {name: _plain(photos, door) for name, door in doors.items() if name != TODAY}
        for judge in judges:
            measure_judge(report, judge, bare, seen, seen_plain, bars=judge is judges[0])
    report.note("lost, failed (lost, or off by more than half the eyes' distance on the mean), own: % of the faces;")
    report.note("eyes, nose, mouth: median error, % of the eyes' distance; own: aligned by the detector's own points")
    report.note(f"points of the default: the {LANDMARKS}'s")
    return report.finish(options)


if __name__ == "__main__":
    run_command(main, AlignOptions, __doc__)

"""Find likely errors in a set of faces with a trained network, for a person to look at.

    python -m eval.audit results/RUN DIR/train.csv DIR/eval_same.csv DIR/test.csv --root DIR --out AUDIT

It looks for one person under two names, two people under one name, the same picture twice, and the same person in a
train and a pair CSV. AUDIT gets proposals.csv and a sheet of faces, side by side, for each kind. Delete the rows that
you disagree with, and apply the rest: python -m data.prepare SOURCE --out DIR --proposals AUDIT/proposals.csv

Masked faces are left out where the CSV says who wears one: their plain originals stand for them.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import tyro

from data.prepare.proposals import COLUMNS
from data.tables.card import check_card, read_dataset_card
from data.tables.images import Images
from data.tables.pack_file import SUFFIX, Pack
from data.tables.paths import relative_paths, require_files
from data.tables.people import names_of, part_of
from data.tables.rows import read_flags, read_rows, write_table
from data.tables.targets import is_number
from eval.evaluators import embed_images
from eval.metrics.distances import unit_means
from eval.metrics.suspects import DUPLICATE_DISTANCE, levels, near_pairs, same_picture, split_of
from eval.plots.style import FAINT, headline, house_style, new_figure, save
from eval.text import counted
from models.trained_model import TrainedModel, open_model
from runtime.devices import pick_device
from runtime.errors import InputError, one_line_errors
from runtime.files import require_writable

RENAMED, TWO_NAMES, TWO_PEOPLE, TWICE, LEAK = (
    "one picture under two names",
    "one person under two names",
    "two people under one name",
    "one picture twice",
    "one person in train and pairs",
)
_SHEETS = {
    RENAMED: "renamed",
    TWO_NAMES: "two_names",
    TWO_PEOPLE: "two_people",
    TWICE: "twice",
    LEAK: "train_and_pairs",
}
_FACES_A_SIDE, _ROWS_A_SHEET = 4, 12

# Row → its face, uint8 (H, W, 3).
Pixels = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class AuditSettings:
    """Which network looks at which faces."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    csvs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="CSV")]
    """Train CSVs (path,target) and pair CSVs (path,target,pair_path,pair_target), or packs of them."""
    root: Path
    """Folder that the CSVs' paths start from."""
    path_prefix: str = ""
    """OLD=NEW maps absolute paths of the CSVs under root."""
    out: Path = Path("audit")
    """Folder for proposals.csv and the sheets."""
    most: int = 200
    """Maximum number of findings of a kind, the surest first."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One proposal, its ``distance``, and the rows of the faces that show it."""

    kind: str
    action: str
    path: str
    target: str
    new_target: str
    distance: float
    left: list[int]
    right: list[int]


class Faces:
    """Distinct faces of some CSVs: ``path``, ``label`` (person), ``sides`` ("train", "pairs") of each of ``people``;
    ``renamed``: (row, name) of a face that stands there under a second name."""

    def __init__(self, csvs: tuple[Path, ...], path_prefix: str) -> None:
        listed = _listed(csvs, path_prefix)
        first = listed.drop_duplicates("path")
        if first["name"].nunique() < 2:
            raise InputError(f"{', '.join(map(str, csvs))}: faces of two people at least are needed")
        self.path = first["path"].to_numpy(str)
        self.people, self.label = np.unique(first["name"].to_numpy(str), return_inverse=True)
        row = pd.Index(first["path"]).get_indexer(listed["path"])
        by_face, names = first.iloc[row].reset_index(drop=True), listed["name"]
        sides = pd.concat([listed[["name", "side"]], by_face[["name"]].assign(side=listed["side"])])
        self.sides = sides.groupby("name")["side"].agg(set).to_dict()
        # Of two lists that number their people, one picture has two numbers and no second name.
        renamed = (names != by_face["name"]) & ((listed["list"] == by_face["list"]) | ~(listed["own"] | by_face["own"]))
        self.renamed = list(dict.fromkeys(zip(row[renamed].tolist(), names[renamed], strict=True)))

    def of(self, person: int) -> np.ndarray:
        """Rows of a person's faces."""
        return np.flatnonzero(self.label == person)


def _listed(csvs: tuple[Path, ...], path_prefix: str) -> pd.DataFrame:
    """Path, name, side and list of each plain face of the CSVs, more than once where it has several names.

    Of several lists the numbers are told apart (``own``), as each may count anew: ``names_of``.
    """
    lists: dict[tuple[str, str], list[pd.DataFrame]] = defaultdict(list)
    for csv in csvs:
        rows, side = _rows(csv, path_prefix)
        lists[side, part_of(csv) if side == "pairs" else csv.stem].append(rows)
    tables = []
    for (side, part), frames in lists.items():
        rows = pd.concat(frames, ignore_index=True).drop_duplicates()
        name = names_of(rows, part) if len(lists) > 1 else rows["target"]
        own = rows["target"].map(is_number) & (name != rows["target"]) & name.str.endswith(f" of {part}")
        tables.append(rows.assign(side=side, list=f"{side} {part}", name=name, own=own))
    return pd.concat(tables, ignore_index=True)


def _rows(csv: Path, path_prefix: str) -> tuple[pd.DataFrame, str]:
    """Path and target of the plain faces of a CSV or pack, and its side."""
    frame = read_rows(csv, ["path"])
    side = "pairs" if "pair_path" in frame else "train"
    faces = []
    for prefix in ("", "pair_") if side == "pairs" else ("",):
        lacking = [name for name in (f"{prefix}path", f"{prefix}target") if name not in frame]
        if lacking:
            raise InputError(f"{csv} lacks the column {', '.join(lacking)}: an audit needs to know who is who")
        masked = f"{prefix}masked"
        plain = frame[~read_flags(frame, masked, csv)] if masked in frame else frame
        plain = plain.dropna(subset=[f"{prefix}path", f"{prefix}target"])
        paths = relative_paths(plain[f"{prefix}path"], csv, path_prefix)
        faces.append(pd.DataFrame({"path": paths, "target": plain[f"{prefix}target"].to_numpy()}))
    return pd.concat(faces, ignore_index=True), side


def audit(settings: AuditSettings) -> list[Finding]:
    """Embed every face once and return the findings, surest first within each kind; writes the files.

    Raises InputError: a CSV that is not as it should be, missing images, another crop than the network's, or files that
    can't be written.
    """
    proposals = settings.out / "proposals.csv"
    require_writable(proposals)
    faces = Faces(settings.csvs, settings.path_prefix)
    embeddings, pixels = _embedded(settings, faces)
    centres = unit_means(embeddings, faces.label, len(faces.people))
    level = levels(embeddings, faces.label, centres)
    twice = _twice(faces, embeddings, centres, pixels)
    findings = [
        *_renamed(faces)[: settings.most],
        *_two_names(faces, centres, level.one_person)[: settings.most],
        *_by_name(faces)[: settings.most],
        *_two_people(faces, embeddings, centres, level)[: settings.most],
        *twice[: settings.most],
    ]
    rows = [{**{name: getattr(f, name) for name in (*COLUMNS, "kind")}, "distance": f.distance} for f in findings]
    write_table(pd.DataFrame(rows, columns=[*COLUMNS, "kind", "distance"]).round(4), proposals)
    for kind, name in _SHEETS.items():
        chosen = [f for f in findings if f.kind == kind]
        if chosen:
            draw_sheet(settings.out / f"{name}.png", kind, chosen, faces, pixels)
    return findings


def _embedded(settings: AuditSettings, faces: Faces) -> tuple[np.ndarray, Pixels]:
    """Embeddings of the faces, float32 (N, D), and what gives the pixels of a row of them."""
    opened = open_model(settings.model, settings.backbone)
    images = _images(settings, faces, opened)
    device = pick_device(settings.device)
    embeddings, loader = embed_images(opened, images, device=device, mirror=opened.mirror, title="embedding")
    if loader.unreadable:
        first = images.name(min(loader.unreadable))
        raise InputError(f"{len(loader.unreadable)} faces can't be read (the first is {first}); take them out")
    # Read when they are looked at: a set may be larger than the memory.
    return embeddings, lambda row: loader.faces([row])[0].copy()


def _images(settings: AuditSettings, faces: Faces, opened: TrainedModel) -> Images:
    """The images of the faces: in the packs among the CSVs, else under the root."""
    packs = [Pack(csv) for csv in settings.csvs if csv.suffix == SUFFIX]
    images = Images(settings.root, faces.path, packs)
    for pack in packs:
        check_card(pack.card, pack.path, opened.preprocessing["crop"])
    if images.loose:
        check_card(read_dataset_card(settings.root), settings.root, opened.preprocessing["crop"])
        require_files(settings.root, images.loose, ", ".join(map(str, settings.csvs)))
    return images


# ==== the kinds of findings ====


def _two_names(faces: Faces, centres: np.ndarray, limit: float) -> list[Finding]:
    """People as near to each other as the halves of one person; in a train and a pair CSV that is a leak."""
    found = []
    for a, b, distance in near_pairs(centres, limit):
        # The larger name takes the smaller one in.
        keep, merged = sorted((a, b), key=lambda person: -len(faces.of(person)))
        names = faces.people[merged], faces.people[keep]
        apart = not faces.sides[names[0]] & faces.sides[names[1]]
        shown = faces.of(merged).tolist(), faces.of(keep).tolist()
        found.append(Finding(LEAK if apart else TWO_NAMES, "merge", "", *names, distance, *shown))
    return found


def _renamed(faces: Faces) -> list[Finding]:
    """A face that stands in the CSVs under two names gets the one that it had first."""
    return [
        Finding(RENAMED, "move", str(faces.path[row]), name, str(faces.people[person]), 0.0, [row], rows)
        for row, name in faces.renamed
        for person in [faces.label[row]]
        for rows in [faces.of(person).tolist()]
    ]


def _by_name(faces: Faces) -> list[Finding]:
    """The same person, or picture, in a train and a pair CSV: the pictures leave the training."""
    both = [p for p, name in enumerate(faces.people) if len(faces.sides[name]) > 1]
    return [
        Finding(LEAK, "remove", faces.path[row], faces.people[p], "", 0.0, [int(row)], faces.of(p).tolist())
        for p in both
        for row in faces.of(p)
    ]


def _two_people(faces: Faces, embeddings: np.ndarray, centres: np.ndarray, level) -> list[Finding]:
    """A person's faces that fall into two groups as far apart as two people."""
    found = []
    for person in range(len(faces.people)):
        rows = faces.of(person)
        if len(rows) < 3:
            continue
        smaller, apart = split_of(embeddings[rows])
        alone = smaller.sum() == 1
        if apart > (level.face_and_stranger if alone else level.two_people):
            other = unit_means(embeddings[rows[smaller]], np.zeros(smaller.sum(), int), 1)[0]
            distances = np.linalg.norm(centres - other, axis=1)
            distances[person] = np.inf
            nearest = int(distances.argmin())
            known = distances[nearest] <= level.one_person
            name = str(faces.people[person])
            target = str(faces.people[nearest]) if known else "" if alone else f"{name}__2"
            shown = rows[smaller].tolist(), rows[~smaller].tolist()
            action = "move" if target else "remove"
            found += [
                Finding(TWO_PEOPLE, action, str(faces.path[row]), name, target, apart, *shown) for row in shown[0]
            ]
    return sorted(found, key=lambda finding: -finding.distance)


def _twice(faces: Faces, embeddings: np.ndarray, centres: np.ndarray, pixels: Pixels) -> list[Finding]:
    """Two files of one picture; the one that fits its name less goes."""
    found = []
    for a, b, distance in near_pairs(embeddings, DUPLICATE_DISTANCE):
        if same_picture(pixels(a), pixels(b)):
            fit = [np.linalg.norm(embeddings[row] - centres[faces.label[row]]) for row in (a, b)]
            keep, gone = (a, b) if fit[0] <= fit[1] else (b, a)
            name = str(faces.people[faces.label[gone]])
            found.append(Finding(TWICE, "remove", str(faces.path[gone]), name, "", distance, [gone], [keep]))
    return found


# ==== sheets ====


@house_style()
def draw_sheet(path: Path, kind: str, findings: list[Finding], faces: Faces, pixels: Pixels) -> None:
    """The surest findings of a kind, a row each: the faces in question to the left, those beside them to the right."""
    shown = list({(tuple(f.left), tuple(f.right)): f for f in findings}.values())[:_ROWS_A_SHEET]
    figure = new_figure(10, 0.9 + 1.45 * len(shown))
    count = f"{len(shown)} of {counted(len(findings), 'proposal')}, the surest first"
    between = "between the faces: distance, and what is proposed for those to the left"
    headline(figure, kind[0].upper() + kind[1:], f"{count}   ·   {between}")
    grid = figure.subplots(len(shown), 2 * _FACES_A_SIDE + 1, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for line, finding in zip(grid, shown, strict=True):
        for rows, cells in ((finding.left, line[:_FACES_A_SIDE]), (finding.right, line[_FACES_A_SIDE + 1 :])):
            for row, cell in zip(rows, cells, strict=False):
                cell.imshow(pixels(row))
            name = str(faces.people[faces.label[rows[0]]])
            cells[0].set_title(f"{name[:30]} ({len(rows)})", fontsize=9, loc="left", parse_math=False)
        proposed = f"{finding.distance:.2f}\n{finding.action}"
        line[_FACES_A_SIDE].text(0.5, 0.5, proposed, ha="center", va="center", color=FAINT)
    save(figure, path)


def main() -> None:
    """The command."""
    settings = tyro.cli(AuditSettings, description=__doc__)
    findings = audit(settings)
    for kind in _SHEETS:
        count = len({(f.target, f.new_target, *f.left) for f in findings if f.kind == kind})
        print(f"{kind:30s} {count}")
    proposals = settings.out / "proposals.csv"
    print(f"look at the sheets in {settings.out}, and delete the proposals that are wrong from {proposals}")


if __name__ == "__main__":
    with one_line_errors():
        main()

"""1:N identification: enrol people from plain photos, recognise them with a mask, count false accepts.

    python -m eval.identify results/RUN --gallery PLAIN --probe MASKED
    python -m eval.identify results/RUN --remove Ann            forget a person
    python -m eval.identify results/RUN --probe MASKED          those who were enrolled before
    python -m eval.identify results/RUN --photos PARTY 1.jpg    who is on these photographs? (files, folders)
    python -m eval.identify results/RUN --photos DOOR.mp4       who is in this film, and when?

PLAIN and MASKED hold one sub-folder per person: photos, or faces made by data.prepare (its plain/ and masked/).
People of MASKED who are not in PLAIN are not enrolled: they count for the false accepts. The enrolment is kept in a
file (--people), is extended by each --gallery, and is never touched by --probe and --photos. A picture is known by its
content, whatever its file is called. PARTY holds photographs of any number of people, and no names: each comes out with
boxes and names, and faces.csv has a row for each face. For a film, tracks.csv has one row for each uninterrupted
appearance of a person, and the best face of each is kept as a picture.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import tyro

from data.tables.card import prepared_as
from eval.embed import Embedder
from eval.identify.door import figures_by_condition, write_door
from eval.identify.enrolment import Enrolment
from eval.identify.labelled_pictures import Embedded, embed_pictures, list_pictures, picture_table
from eval.identify.named_films import TABLE as TRACKS
from eval.identify.named_films import name_films
from eval.identify.named_photographs import TABLE as FACES
from eval.identify.named_photographs import name_photographs, named_picture, summary
from eval.identify.naming import look_alikes
from eval.metrics.choose_threshold import checked_threshold
from eval.metrics.distances import distances_of_cosines
from eval.metrics.identification import Probes, identification_figures
from eval.photographs.files import is_film, list_photographs, refuse_to_overwrite
from models.trained_model import network_digest
from runtime.errors import InputError, in_one_line, one_line_errors
from runtime.files import require_writable, write_file, write_json
from runtime.spreadsheet import csv_for_people

_MOST_LOOKS = 1_000


@dataclasses.dataclass(frozen=True)
class IdentifySettings:
    """Which network, whom to enrol, whom to recognise."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    gallery: Path | None = None
    """Folder of people to enrol, one sub-folder per person."""
    probe: Path | None = None
    """Folder of people to recognise, one sub-folder per person."""
    photos: tuple[Path, ...] = ()
    """Photographs and films without names, and folders of them, in which to look for the enrolled people."""
    looks_per_second: float = 5.0
    """Frames of a film searched for faces, per second; 0: every frame."""
    photos_out: Path | None = None
    """Folder for the photographs and films with boxes and names, and their tables; otherwise named_photos beside the
    enrolment."""
    people: Path | None = None
    """File of the enrolment; otherwise enrolment.npz in the run folder, or in the working folder."""
    pictures: int = 0
    """Enrol at most so many pictures of a person, in the order of their names; 0: all."""
    remove: tuple[str, ...] = ()
    """People to forget before anything else."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    threshold: float | None = None
    """Distance up to which a face is accepted; otherwise the one stored in the checkpoint."""
    out: Path | None = None
    """JSON file of the figures, beside which a CSV of the same name has a row for each picture of --probe; otherwise
    identify.json beside the enrolment."""
    detector: str = "mtcnn"
    """What finds the faces: mtcnn, yunet, or an ONNX file of YuNet's kind."""
    least_face: int | None = None
    """Side in pixels of the smallest face that is taken from a photograph; 0: any, with a remark; otherwise what the
    network needs, if that was measured when its threshold was chosen."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def identify(settings: IdentifySettings) -> dict | None:
    """Remove, enrol, recognise, as far as asked for; the figures where there is a ``probe``.

    Raises InputError: nothing to do, no such folder, faces of another crop, nobody enrolled, or results that can't be
    written.
    """
    if not (settings.gallery or settings.probe or settings.photos or settings.remove):
        raise InputError("nothing to do: give --gallery, --probe, --photos or --remove")
    if settings.threshold is not None:
        checked_threshold(settings.threshold)
    if not 0 <= settings.looks_per_second <= _MOST_LOOKS:
        raise InputError(f"looks_per_second must be from 0 to {_MOST_LOOKS}, not {settings.looks_per_second:g}")
    if settings.out and settings.out.suffix in (".csv", ".html"):
        raise InputError(f"--out {settings.out} is the name of the table or page beside it; let it end in .json")
    for file in _files_to_write(settings):
        require_writable(file)
    path = enrolment_file(settings)
    photographs = _photographs(settings)
    # So that embeddings of two networks are never compared.
    enrolment = Enrolment.load(path, network_digest(settings.model, settings.backbone))
    for person in settings.remove:
        enrolment.remove(person)
    if settings.gallery or settings.probe or photographs:
        embedder = Embedder(settings.model, settings.backbone, settings.device, settings.detector, settings.least_face)
    if settings.gallery:
        _enrol(enrolment, embedder, settings.gallery, settings.pictures)
    if settings.gallery or settings.remove:
        enrolment.save(path)
        print(f"{len(enrolment.people)} people, {len(enrolment.person)} pictures enrolled in {path}")
    if not (settings.probe or photographs):
        return None
    if not enrolment.people:
        raise InputError(f"nobody is enrolled in {path}; enrol with --gallery")
    threshold = embedder.threshold if settings.threshold is None else settings.threshold
    if photographs:
        _name(embedder, enrolment, photographs, threshold, settings)
    if not settings.probe:
        return None
    figures, pictures = _recognise(embedder, enrolment, settings, threshold)
    out = output_file(settings)
    write_json(out, figures)
    write_file(out.with_suffix(".csv"), csv_for_people(pictures))
    return figures


def _files_to_write(settings: IdentifySettings) -> Iterator[Path]:
    """The first file in each place that this command writes to."""
    if settings.gallery or settings.remove:
        yield enrolment_file(settings)
    if settings.photos:
        yield _photos_out(settings) / FACES
    if settings.probe:
        yield output_file(settings)


def _photographs(settings: IdentifySettings) -> dict[str, Path]:
    """The photographs and films to put names to, by name; none of them will be written over."""
    if not settings.photos:
        return {}
    out = _photos_out(settings)
    found = list_photographs(settings.photos, apart_from=out, films=True)
    refuse_to_overwrite(found.values(), (named_picture(out, name) for name in found if not is_film(name)))
    return found


def _photos_out(settings: IdentifySettings) -> Path:
    """The folder of the photographs with names."""
    return settings.photos_out or enrolment_file(settings).with_name("named_photos")


def _name(
    embedder: Embedder,
    enrolment: Enrolment,
    files: dict[str, Path],
    threshold: float | None,
    settings: IdentifySettings,
) -> None:
    """Put names to the faces of unlabelled photographs and films."""
    if threshold is None:
        raise InputError(f"{settings.model} has no stored threshold; give --threshold, or choose one by eval.threshold")
    count, nearest = look_alikes(enrolment.templates(), threshold)
    if nearest:
        one, other, distance = enrolment.people[nearest[0]], enrolment.people[nearest[1]], nearest[2]
        more = f"; {count} such pairs" if count > 1 else ""
        print(in_one_line(f"{one} and {other} look alike (distance {distance:.3f}): one person enrolled twice?{more}"))
    out = _photos_out(settings)
    films = {name: path for name, path in files.items() if is_film(name)}
    photographs = {name: path for name, path in files.items() if name not in films}
    if photographs:
        table = name_photographs(embedder, enrolment, photographs, threshold, embedder.least_face, out)
        print("\n".join(summary(table, threshold, "photograph", "face")))
        print(f"every face: {out / FACES}; the photographs with names: {out}")
    if films:
        table = name_films(embedder, enrolment, films, threshold, settings.looks_per_second, out)
        print("\n".join(summary(table, threshold, "film", "track")))
        print(f"every track: {out / TRACKS}; the films with names, and best faces: {out}")


def _enrol(enrolment: Enrolment, embedder: Embedder, folder: Path, most: int) -> None:
    before, replaced = len(enrolment.person), []
    found = embed_pictures(embedder, folder, list_pictures(folder, most))
    for each, embedding in zip(found.pictures, found.rows, strict=True):
        person, picture = each.person, each.path.removeprefix(f"{each.person}/")
        if again := enrolment.add(person, picture, _digest(folder / each.path), embedding):
            replaced.append(again if again == f"{person}/{picture}" else f"{again} (now {person}/{picture})")
    added = len(enrolment.person) - before
    if before:
        more = ", …" if len(replaced) > 5 else ""
        again = f": {', '.join(map(in_one_line, replaced[:5]))}{more}" if replaced else ""
        print(f"{added} pictures added, {len(replaced)} were enrolled before and are replaced{again}")


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _contents(file: Path) -> set[str]:
    """Digests of a picture and, of a face made by data.prepare, of its plain original or masked copy.

    The masked copy of an enrolled photograph would be recognised by its background.
    """
    found, files = prepared_as(file), [file]
    if found and found[1]:
        folder, _, rest = found
        files = [folder / kind / rest for kind in ("plain", "masked")]
    return {_digest(each) for each in files if each.is_file()}


def enrolment_file(settings: IdentifySettings) -> Path:
    """The file of the enrolment."""
    folder = Path(settings.model) if Path(settings.model).is_dir() else Path()
    return settings.people or folder / "enrolment.npz"


def output_file(settings: IdentifySettings) -> Path:
    """The JSON file of the figures; the CSV of the pictures has its name and another ending."""
    return settings.out or enrolment_file(settings).with_name("identify.json")


def _recognise(
    embedder: Embedder, enrolment: Enrolment, settings: IdentifySettings, threshold: float | None
) -> tuple[dict, pd.DataFrame]:
    """The figures, and a row for each picture."""
    folder = settings.probe
    everything = list_pictures(folder)
    enrolled = {p for p in everything if enrolment.holds(p.person, p.path, _contents(folder / p.path))}
    listed = [picture for picture in everything if picture not in enrolled]
    if not listed:
        raise InputError(
            f"all pictures of {folder} are enrolled ones; recognise others, or enrol fewer (--pictures) in a new file "
            "(--people)"
        )
    found = embed_pictures(embedder, folder, listed)
    column = {name: number for number, name in enumerate(enrolment.people)}
    truth = np.array([column.get(picture.person, -1) for picture in found.pictures])
    cosines = np.stack(found.rows).astype(np.float64) @ enrolment.templates().T
    distances = distances_of_cosines(cosines)
    probes = Probes.of(distances, truth, np.array([picture.person for picture in found.pictures]))
    figures = identification_figures(probes, threshold)
    figures |= {"left_out_as_enrolled": len(enrolled), "without_face": len(found.left_out)}
    figures["door"] = _door(probes, found, embedder, settings)
    found.left_out |= dict.fromkeys(enrolled, "an enrolled picture")
    return figures, picture_table(found, distances, enrolment.people, threshold)


def _door(probes: Probes, found: Embedded, embedder: Embedder, settings: IdentifySettings) -> dict[str, dict]:
    """The door's figures, and its page; a picture counts as plain unless its folder says that a mask is worn."""
    condition = np.array(["masked" if picture.masked else "plain" for picture in found.pictures])
    thresholds = {"the stored threshold": embedder.threshold, "the chosen threshold": settings.threshold}
    door = figures_by_condition(probes, condition, {name: at for name, at in thresholds.items() if at is not None})
    out = output_file(settings)
    page = write_door(out.parent, out.stem, probes, condition, door, Path(settings.model).resolve().name)
    print(f"read {page}")
    return door


def _lines(figures: dict) -> list[str]:
    """The figures in words."""
    shares = {name: "–" if figures.get(name) is None else f"{figures[name]:.2%}" for name in (*_SHARES,)}
    lines = [
        f"{figures['probes']:,} pictures of {figures['enrolled_people']:,} enrolled people and "
        f"{figures['strangers']:,} of others ({figures['left_out_as_enrolled']} left out as enrolled photographs, "
        f"{figures['without_face']} without a face)",
        *(f"{text:58s} {shares[name]:>8s}" for name, text in _SHARES.items()),
    ]
    threshold = figures["threshold"]
    lines.append(_NO_THRESHOLD if threshold is None else f"threshold {threshold:.4f}")
    return lines


_NO_THRESHOLD = "no threshold is stored (eval.threshold chooses one): no open-set figures"
_SHARES = {
    "rank_1": "the right person is the nearest (rank 1)",
    "rank_5": "the right person is among the five nearest (rank 5)",
    "recognised": "accepted under the right name (rank 1, within threshold)",
    "stranger_accepted": "people not enrolled, accepted as somebody (FPIR)",
    "without_own_accepted": "enrolled people, accepted as somebody else if left out",
}


def main() -> None:
    """The command."""
    settings = tyro.cli(IdentifySettings, description=__doc__)
    figures = identify(settings)
    if figures is None:
        return
    print("\n".join(_lines(figures)))
    out = output_file(settings)
    print(f"written to {out}, and picture by picture to {out.with_suffix('.csv')}")


if __name__ == "__main__":
    with one_line_errors():
        main()

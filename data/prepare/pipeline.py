"""The whole preparation: open the source, write the faces, then CSVs, card, summary and contact sheet."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from data.alignment.errors import FILE as ERRORS
from data.alignment.errors import error_quantiles, measure_errors
from data.alignment.finder import MTCNN, open_detector, open_finder
from data.prepare.csvs import write_pair_table, write_people_tables
from data.prepare.faces import JPEG_QUALITY, Detector, prepare_files
from data.prepare.journal import Journal
from data.prepare.preview import contact_sheet
from data.prepare.settings import DEFAULT_SIZE, SIZES, PrepareSettings
from data.sources.folders import list_folder, list_unnamed
from data.sources.open_source import open_source
from data.sources.outcome import FURTHER_FACE, LOST_UNDER_MASK, STATUSES, UNREADABLE, WORN, WRITTEN, Outcome
from data.sources.pair_lists import apply_mask_labels
from data.sources.read_image import UnreadableImage, read_image
from data.sources.source_file import Source, SourceFile
from data.sources.spelling import spelled_twice
from data.tables.card import write_dataset_card
from data.tables.paths import missing_files
from data.tables.rows import write_table
from runtime.errors import InputError, in_one_line
from runtime.files import write_file
from runtime.spreadsheet import csv_for_people

_PREVIEW_FACES = 32
# Outcomes whose faces may have been on their way to the disk when the power went.
_RECENT = 50_000


def prepare(settings: PrepareSettings, make_detector: Callable[[], Detector] | None = None) -> dict:
    """Do the whole preparation and return the summary, as in summary.json.

    ``make_detector`` is called once in each process; None: what the settings name. Raises InputError: see
    ``open_source`` and ``Journal``; an impossible setting; a folder that can't be written; no usable face at all.
    """
    settings.check()
    if make_detector is None:
        make_detector = partial(open_finder, settings.detector, settings.landmarks)
        if settings.detector != MTCNN:
            # A file that is missing or damaged is named here; in a worker it would only end the process.
            open_detector(settings.detector)
    started = time.monotonic()
    name, source = _open(settings)
    settings = replace(settings, size=settings.size or _own_size(source))
    if settings.detections == "all":
        _refuse_names_of_faces(source)
    try:
        journal = Journal(settings.out, {"source": name, **settings.made_with()})
        _forget_changed(journal, source, settings.out)
        work = _work_left(journal, source)
        kept = len(source.pictures) - len(work)
        if kept:
            print(f"{kept} files were done before; {len(work)} to go")
        _run(settings, make_detector, journal, work, kept)
        return _finish(settings, journal, source, kept, time.monotonic() - started)
    except OSError as error:
        raise InputError(f"can't write to {settings.out}: {error.strerror or error}") from None


def _open(settings: PrepareSettings) -> tuple[str, Source]:
    """The source's own name, and all its pictures, those of people with real masks among them."""
    path, source = open_source(settings.source, settings.person_level)
    if source.layout:
        print(in_one_line(source.layout))
    if path.suffix in (".rec", ".bin") and path.is_file() and settings.align == "detect":
        print(f"the faces in {path.name} are mostly aligned already; --align landmarks keeps them as they are")
    if settings.mask_labels:
        source = apply_mask_labels(source, settings.mask_labels)
    for option in ("masked_source", "unnamed"):
        if source.pairs and getattr(settings, option):
            name = option.replace("_", "-")
            raise InputError(f"{path.name} is a list of test pairs; --{name} needs training photographs instead")
    if settings.masked_source:
        worn = list_folder(settings.masked_source, masked=True, person_level=settings.person_level)
        print(in_one_line(worn.layout))
        source = _with_more(source, worn, "worn")
    if settings.unnamed:
        source = _with_more(source, list_unnamed(settings.unnamed), "unnamed")
    return path.resolve().name, source


def _refuse_names_of_faces(source: Source) -> None:
    """Raise InputError if a picture has the name that another one's second face would get."""
    names = {file.name.lower() for file in source.pictures}
    for name in sorted(names):
        found = FURTHER_FACE.fullmatch(name)
        if found and f"{found[1]}.jpg" in names:
            raise InputError(f"{name} has the name that a further face of {found[1]}.jpg gets; rename it")


def _own_size(source: Source) -> int:
    """The side of the faces in an InsightFace file, which are aligned already, or DEFAULT_SIZE."""
    for file in source.pictures:
        if not file.stretches:
            break
        with contextlib.suppress(UnreadableImage):
            side = file.read().shape[0]
            return side if side in SIZES else DEFAULT_SIZE
    return DEFAULT_SIZE


def _with_more(source: Source, more: Source, kind: str) -> Source:
    pictures = _renamed(_told_apart(more.pictures, source), source, kind)
    return Source(source.pictures + pictures, source.other + more.other, source.pairs)


def _told_apart(pictures: list[SourceFile], source: Source) -> list[SourceFile]:
    """The pictures of another folder by paths that the source has none of: from as many folders further up as needed.

    A source with a sub-folder train and a masked source called train share their paths.
    """
    taken = {file.path for file in source.pictures}
    while any(file.path in taken for file in pictures) and pictures[0].root.name:
        pictures = [replace(file, path=f"{file.root.name}/{file.path}", root=file.root.parent) for file in pictures]
    return pictures


def _renamed(pictures: list[SourceFile], source: Source, kind: str) -> list[SourceFile]:
    """The pictures with other names where the source has the same one: both may lie in one folder."""
    taken = {file.name.lower() for file in source.pictures}
    renamed = []
    for file in pictures:
        name = file.name
        while name.lower() in taken:
            name = f"{name.removesuffix('.jpg')}_{kind}.jpg"
        taken.add(name.lower())
        renamed.append(replace(file, name=name))
    return renamed


def _work_left(journal: Journal, source: Source) -> list[SourceFile]:
    """The pictures without an outcome, then those that couldn't be read: a disk may answer again, or pillow-heif be
    installed now. These come last, so that the others share the batches of a run that was not stopped."""
    new = [file for file in source.pictures if file.path not in journal.outcomes]
    known = [file for file in source.pictures if file.path in journal.outcomes]
    return new + [file for file in known if journal.outcomes[file.path].status == UNREADABLE]


def _forget_changed(journal: Journal, source: Source, out: Path) -> None:
    """Drop outcomes whose input is gone or another one, with their faces, or whose faces are missing or empty."""
    wanted = {file.path: file for file in source.pictures}
    fitting = {
        path: outcome.files
        for path, outcome in journal.outcomes.items()
        if path in wanted and _fits(outcome, wanted[path])
    }
    faces = {face for files in fitting.values() for face in files}
    for path, outcome in journal.outcomes.items():
        # A picture may have got the name of one that is gone: Ann/1.png as Ann/1.jpg.
        for face in set(outcome.files) - faces if path not in fitting else ():
            (out / face).unlink(missing_ok=True)
    # A power cut leaves names without content, of what was written in the last half minute.
    recent = [face for path in list(journal.outcomes)[-_RECENT:] for face in fitting.get(path, ())]
    missing = {*missing_files(out, faces), *(face for face in recent if _is_empty(out / face))}
    journal.keep({path for path, files in fitting.items() if missing.isdisjoint(files)})


def _is_empty(file: Path) -> bool:
    return file.is_file() and not file.stat().st_size


def _fits(outcome: Outcome, file: SourceFile) -> bool:
    if outcome.stamp != file.stamp:
        return False
    wanted = file.name, file.person, file.masked
    return outcome.status != WRITTEN or (outcome.name, outcome.person, outcome.mask == WORN) == wanted


def _run(
    settings: PrepareSettings,
    make_detector: Callable[[], Detector],
    journal: Journal,
    work: list[SourceFile],
    kept: int,
) -> None:
    if not work:
        return
    lost = 0
    batches = contextlib.closing(prepare_files(work, settings, make_detector))
    bar = tqdm(total=kept + len(work), initial=kept, unit="img", desc="faces", smoothing=0.05)
    with batches as done, bar:
        for outcomes in done:
            journal.add(outcomes)
            lost += sum(o.status != WRITTEN for o in outcomes)
            bar.set_postfix(lost=lost, refresh=False)
            bar.update(len(outcomes))


# ==== CSVs, card, summary, preview ====


def _finish(settings: PrepareSettings, journal: Journal, source: Source, kept: int, seconds: float) -> dict:
    outcomes = [journal.outcomes[file.path] for file in source.pictures] + source.other
    failures = [(o.path, o.status, o.reason) for o in outcomes if o.reason or o.status != WRITTEN]
    failed = pd.DataFrame(failures, columns=["path", "status", "reason"])
    write_file(settings.out / "failures.csv", csv_for_people(failed))
    written = [o for o in outcomes if o.status == WRITTEN]
    counts = Counter(o.status for o in outcomes)
    summary = {
        "files": len(outcomes),
        **{status.replace(" ", "_"): counts[status] for status in STATUSES},
        "lost_under_mask": sum(o.reason == LOST_UNDER_MASK for o in outcomes),
        "kept_from_before": kept,
        "seconds": round(seconds, 1),
    }
    if written:
        summary |= _write_results(settings, source, written)
    if settings.detections == "all":
        summary["further_faces"] = sum(len(o.more) for o in written)
    write_file(settings.out / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    if not written:
        raise InputError(f"no face was found in any of the {len(outcomes)} files; see {settings.out / 'failures.csv'}")
    return summary


def _write_results(settings: PrepareSettings, source: Source, written: list[Outcome]) -> dict:
    """CSVs, card and contact sheet; returns what the summary says of them."""
    if source.pairs:
        more = write_pair_table(settings, written, source.pairs)
    else:
        more = write_people_tables(settings, written)
        more["perhaps_one_person"] = spelled_twice(o.person for o in written if o.person)
    card = {"source": Path(settings.source).resolve().name, "seed": settings.seed, "jpeg_quality": JPEG_QUALITY}
    card["alignment"] = settings.alignment.to_dict()
    if settings.alignment.masks == "before alignment":
        card["alignment_errors"] = _write_errors(settings, written)
    write_dataset_card(settings.out, settings.crop, settings.size, **card)
    _write_preview(settings, source, written)
    return more


def _write_errors(settings: PrepareSettings, written: list[Outcome]) -> dict:
    """By how much masks moved the alignment, for training to draw from; returns what the card says of it."""
    both = [o for o in written if o.masked_landmarks]
    bare, masked = (
        np.array([points for o in both for points in part(o)], np.float64).reshape(-1, 5, 2)
        for part in (lambda o: o.landmarks, lambda o: o.masked_landmarks)
    )
    table = measure_errors([o.mask for o in both], bare, masked, settings.size)
    write_table(table, settings.out / ERRORS)
    lost = sum(o.reason == LOST_UNDER_MASK for o in written)
    return {"faces": len(both), "lost": lost, "shift_of_eye_distance": error_quantiles(table)}


def _write_preview(settings: PrepareSettings, source: Source, written: list[Outcome]) -> None:
    files = {file.path: file for file in source.pictures}
    chosen = [written[i] for i in np.linspace(0, len(written) - 1, min(len(written), _PREVIEW_FACES)).astype(int)]
    triples = []
    for outcome in chosen:
        faces = {path.partition("/")[0]: _picture(partial(read_image, settings.out / path)) for path in outcome.faces}
        triples.append((_picture(files[outcome.path].read), faces.get("plain"), faces.get("masked")))
    sheet = contact_sheet(triples)
    write_file(settings.out / "preview.png", cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _picture(read: Callable[[], np.ndarray]) -> np.ndarray | None:
    with contextlib.suppress(UnreadableImage):
        return read()
    return None


def print_report(settings: PrepareSettings, summary: dict) -> None:
    lost = ", ".join(f"{summary[s.replace(' ', '_')]} {s}" for s in STATUSES[1:])
    done = summary["files"] - summary["kept_from_before"]
    print(f"{summary['written']} of {summary['files']} files written; {lost}")
    if "further_faces" in summary:
        print(f"{summary['further_faces']} further faces in the same pictures, used for training only")
    if done:
        print(f"{done} files in {summary['seconds']:.0f} s ({done / max(summary['seconds'], 1e-3):.0f} per second)")
    if "people" in summary:
        pairs = summary["eval_pairs"]
        print(f"people: {', '.join(f'{n} {name}' for name, n in summary['people'].items())}")
        if "unnamed_faces" in summary:
            print(f"faces without a name, for a teacher: {summary['unnamed_faces']:,}")
        print(f"pairs: {pairs['same']} + {pairs['different']} evaluation, {summary['test_pairs']} test")
        for names in summary["perhaps_one_person"][:10]:
            print(f"possibly one person under two names, kept separate: {in_one_line(', '.join(names))}")
        if len(summary["perhaps_one_person"]) > 10:
            print(f"… {len(summary['perhaps_one_person']) - 10} more in {settings.out / 'summary.json'}")
    else:
        print(f"pairs: {summary['pairs']}, {summary['lost_pairs']} of them left out: no face was found; see pairs.csv")
    print(f"look at {settings.out / 'preview.png'}; files that were lost, and why: {settings.out / 'failures.csv'}")

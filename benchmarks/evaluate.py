"""Evaluation: each image embedded once compared with both images of every pair; figures of many pairs.
Identification: from photographs to the nearest enrolled person, and the memory that takes.

    python -m benchmarks.evaluate [--quick] [--check] [--json FILE]

The pair list is of the original's kind: as many pairs as images, each image in two of them (there 64,811; here as many
as a CPU embeds in a minute). Both ways read JPEG files and run MobileFaceNet; they take turns, a slice of the list at a
time, and are compared by the CPU time of the process. Their distances must be equal. The figures are those of a test:
all conditions, with 95 % intervals over people from 1,000 resamples.

The photographs are drawn people of 250×250 pixels; MTCNN's default search, the landmark network and MobileFaceNet look
at every face. Eight photographs at once are compared with one after the other, as above.

The last row is a set of the size of IJB-C, made from a seed: 469,375 embeddings of 512 values, 23,124 templates of
3,531 people, 15,658,489 pairs; four test modes, TAR at six FARs. It needs 5 GB of memory (--quick: a hundredth of it).
"""

import mmap
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.harness.fresh_network import fresh_network
from benchmarks.harness.table import Options, Report, run_command
from data.company import draw_group
from data.datasets import image_loader
from data.sources.ijb import IjbLists
from data.tables.pair_csv import CONDITIONS, PairTable
from data.transforms import make_preprocessing
from eval.benchmark.sets import ijb
from eval.embed import Embedder, embed
from eval.identify.naming import nearest_people
from eval.metrics.distances import pair_distances
from eval.metrics.figures import figures
from eval.metrics.intervals import bootstrap
from eval.photographs.cut_outs import write_jpeg
from eval.photographs.stream import embedded_photographs
from runtime.checkpoints.file import save_checkpoint

SIDE = 112
LEAST_RATIO = 1.8
MOST_SECONDS = 30
PAIRS, PEOPLE = 1_000_000, 5_749  # as many people as LFW has
# Images, templates, people and pairs of IJB-C (Maze et al. 2018; InsightFace's lists).
IJBC = (469_375, 23_124, 3_531, 15_658_489)
VALUES = 512
MOST_TEMPLATE_SECONDS, MOST_GIGABYTES = 90, 6
# Slices of the list: enough that both ways see the same moods of the machine.
SLICES = 5
PORTRAITS, PHOTO = 20, 250
LEAST_PHOTOGRAPHS, MOST_GROWTH = 20, 50


def main(options: Options) -> int:
    """Both measurements and their bars."""
    torch.set_num_threads(1)
    report = Report("evaluate")
    with tempfile.TemporaryDirectory() as folder:
        embed_once(report, Path(folder), images=100 if options.quick else 600)
        names_of_photographs(report, Path(folder), 40 if options.quick else 200, 80 if options.quick else 2_000)
    figures_of_many(report)
    match_many(report)
    figures_of_templates(report, IJBC if not options.quick else [size // 100 for size in IJBC])
    report.note(
        "once, every pair: CPU seconds, the median of 5 slices of the list times 5; of photographs the sums, eight at "
        "once and one by one; growth: MB from a tenth of them to the end; figures: wall seconds; cpu: those of the "
        "processor (far fewer where others use it, too); repeated pairs: a naive bootstrap that repeats each pair as "
        "often as its people were drawn, from 2 of 1,000 resamples; "
        "templates: wall seconds of all figures, and with intervals; gigabytes: the most memory of the process, "
        "embeddings included"
    )
    return report.finish(options)


# ==== each image once, against both sides of every pair ====


def embed_once(report: Report, root: Path, images: int) -> None:
    """One row, and the bar on the ratio."""
    slices = [write_slice(root / str(part), images // SLICES, part) for part in range(SLICES)]
    model = fresh_network("mobilefacenet", SIDE).eval()
    every_pair(model, root / "0", slices[0])  # so that nothing is lazy later
    seconds: dict[str, list[float]] = {"once": [], "every": []}
    difference = 0.0
    for part, pairs in enumerate(slices):
        ways = {"once": each_image_once, "every": every_pair}
        order = list(ways) if part % 2 else list(ways)[::-1]
        found = {}
        for name in order:
            found[name], spent = cpu_seconds(lambda way=ways[name], p=part, ps=pairs: way(model, root / str(p), ps))
            seconds[name].append(spent)
        difference = max(difference, float(np.abs(found["once"] - found["every"]).max()))
    once, every = (float(np.median(seconds[name])) * SLICES for name in ("once", "every"))
    ratio = float(np.median(np.array(seconds["every"]) / np.array(seconds["once"])))
    report.add(what="embed", images=images, pairs=images, once=once, every_pair=every, times=ratio)
    report.at_least("each image once: speed, in that of both sides of every pair", ratio, LEAST_RATIO)
    report.at_most("largest difference of their distances", difference, 1e-4)


def write_slice(folder: Path, images: int, seed: int) -> PairTable:
    """JPEG files of noise on coarse shapes, and a ring of pairs: each image with the next."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(images):
        coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        face = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.jpg"), face, [cv2.IMWRITE_JPEG_QUALITY, 95])
    left = np.arange(images)
    right = (left + 1) % images
    return PairTable(
        paths=np.array([f"{number}.jpg" for number in range(images)]),
        left=left,
        right=right,
        same=left % 2 == 0,
        condition=np.full(images, "all"),
        people=np.stack([left, right], axis=1),
    )


def each_image_once(model: torch.nn.Module, root: Path, pairs: PairTable) -> np.ndarray:
    """This project's way: (P,) distances."""
    return pair_distances(embeddings_of(model, root, pairs.paths), pairs.left, pairs.right)


def every_pair(model: torch.nn.Module, root: Path, pairs: PairTable) -> np.ndarray:
    """The original's way: the left image of every pair, the right image of every pair, row by row."""
    sides = [embeddings_of(model, root, pairs.paths[side]) for side in (pairs.left, pairs.right)]
    return np.linalg.norm(sides[0] - sides[1], axis=1)


def embeddings_of(model: torch.nn.Module, root: Path, paths: np.ndarray) -> np.ndarray:
    """Read and embed a list of images."""
    loader = image_loader(root, paths, SIDE, batch_size=60, workers=0)
    return embed(model, loader, device="cpu", normalise=lambda x: x.permute(0, 3, 1, 2).float() / 127.5 - 1)


def cpu_seconds(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """The result of the work, and the processor's time that it took."""
    started = time.process_time()
    found = work()
    return found, time.process_time() - started


# ==== photographs, and who is on them ====


def names_of_photographs(report: Report, root: Path, count: int, many: int) -> None:
    """Rows on speed and memory, and their bars: ``count`` photographs for speed, ``many`` for memory."""
    for number in range(PORTRAITS):
        picture = draw_group([number], number, width=PHOTO, height=PHOTO, masked_share=number % 2)
        write_jpeg(root / f"{number}.jpg", picture.image)
    embedder = Embedder(str(write_fresh_run(root / "run")), device="cpu")
    together, alone = [], []
    for part in range(SLICES):
        files = {str(n): root / f"{n % PORTRAITS}.jpg" for n in range(part, count, SLICES)}
        found, seconds = cpu_seconds(lambda files=files: list(embedded_photographs(embedder, files)))
        together.append(seconds)
        one_by_one, seconds = cpu_seconds(
            lambda files=files: [embedder.every_face([embedder.open(file)])[0] for file in files.values()]
        )
        alone.append(seconds)
        assert [len(photo.faces) for photo in found] == [len(faces) for faces, _ in one_by_one]
    rate, ratio = count / sum(together), sum(alone) / sum(together)
    report.add(what="photographs to faces", images=count, once=sum(together), every_pair=sum(alone), times=ratio)
    report.at_least("photographs a second of one core", rate, LEAST_PHOTOGRAPHS)
    report.at_least("eight photographs at once: speed, in that of one by one", ratio, 1.0)
    files = {str(n): root / f"{n % PORTRAITS}.jpg" for n in range(many)}
    memory = [resident() for _ in embedded_photographs(embedder, files)]
    growth = memory[-1] - memory[many // 10]
    report.add(what="memory over photographs", images=many, growth=growth)
    report.at_most(f"memory over {many:,} photographs: growth in MB", growth, MOST_GROWTH)


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 1e6


def write_fresh_run(folder: Path) -> Path:
    """A run folder with an untrained MobileFaceNet."""
    shape = {"backbone": "mobilefacenet", "embedding_size": 128, "pooling": "backbone", "dropout": 0.0}
    preprocessing = make_preprocessing(size=SIDE, crop="arcface5", normalisation="symmetric", weights=None).to_dict()
    settings = shape | {"image_size": SIDE, "mirror": False}
    state = fresh_network("mobilefacenet", SIDE).state_dict()
    content = {"model": state, "settings": settings, "preprocessing": preprocessing, "epoch": 0, "threshold": 1.0}
    folder.mkdir()
    save_checkpoint(folder / "best.pt", content)
    return folder


def match_many(report: Report) -> None:
    """1,000 faces against 10,000 enrolled people of 512 dimensions."""
    rows = np.random.default_rng(0).normal(size=(11_000, 512)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    started = time.perf_counter()
    nearest_people(rows[:1_000], rows[1_000:])
    seconds = time.perf_counter() - started
    report.add(what="1,000 faces against 10,000 people", seconds=seconds)
    report.at_most("1,000 faces against 10,000 people: seconds", seconds, 1)


# ==== figures of a million pairs ====


def figures_of_many(report: Report) -> None:
    """Rows with and without intervals, beside the naive bootstrap, and the bar on the time."""
    distances, same, condition, people = many_pairs()
    print(f"figures of {PAIRS:,} pairs …", file=sys.stderr, flush=True)
    started = time.perf_counter()
    figures(distances, same, condition, 1.1)
    plain = time.perf_counter() - started
    started, spent = time.perf_counter(), time.process_time()
    figures(distances, same, condition, 1.1, people=people)
    with_intervals, spent = time.perf_counter() - started, time.process_time() - spent
    naive = bootstrap.RESAMPLES * repeated_pairs(distances, same, condition, people, resamples=2)
    report.add(what="figures", pairs=PAIRS, seconds=plain)
    row = {"seconds": with_intervals, "cpu": spent, "repeated_pairs": naive, "times": naive / with_intervals}
    report.add(what="figures with intervals", pairs=PAIRS, **row)
    report.at_most(f"figures of {PAIRS:,} pairs with intervals: seconds", with_intervals, MOST_SECONDS)


def many_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances as of a fair network, half same, three conditions, some people harder than others."""
    rng = np.random.default_rng(0)
    same = np.arange(PAIRS) < PAIRS // 2
    one = rng.integers(PEOPLE, size=PAIRS)
    other = np.where(same, one, (one + rng.integers(1, PEOPLE, PAIRS)) % PEOPLE)
    hard = rng.normal(0, 0.1, PEOPLE)
    distances = np.where(same, rng.normal(0.9, 0.2, PAIRS), rng.normal(1.3, 0.12, PAIRS)) + hard[one] + hard[other]
    condition = np.array(CONDITIONS)[rng.integers(3, size=PAIRS)]
    return np.clip(distances, 0, 2), same, condition, np.stack([one, other], axis=1)


def repeated_pairs(
    distances: np.ndarray, same: np.ndarray, condition: np.ndarray, people: np.ndarray, resamples: int
) -> float:
    """Seconds that one resample of the naive bootstrap takes: repeat the pairs, and take all figures of them."""
    started = time.perf_counter()
    for weights in bootstrap.PersonWeights(people, resamples):
        figures(np.repeat(distances, weights), np.repeat(same, weights), np.repeat(condition, weights), 1.1)
    return (time.perf_counter() - started) / resamples


# ==== templates and pairs of IJB-C's size ====


def figures_of_templates(report: Report, sizes: Sequence[int]) -> None:
    """The row, and the bars on time and memory."""
    images, templates, people, pairs = sizes
    print(f"figures of {pairs:,} pairs of templates …", file=sys.stderr, flush=True)
    lists, sums = many_templates(images, templates, people, pairs)
    started = time.perf_counter()
    results = ijb.evaluate("made", lists, ijb.Sides("plain", "", sums, sums), np.ones(images, dtype=bool))
    both = time.perf_counter() - started
    seconds = both - sum(result.details["seconds"]["intervals"] for result in results)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report.add(what="templates", images=images, pairs=pairs, seconds=seconds, with_intervals=both, gigabytes=gigabytes)
    report.at_most(f"figures of {pairs:,} pairs of templates: seconds", seconds, MOST_TEMPLATE_SECONDS)
    report.at_most("the most memory: gigabytes", gigabytes, MOST_GIGABYTES)


def many_templates(images: int, templates: int, people: int, pairs: int) -> tuple[IjbLists, np.ndarray]:
    """Templates of one picture or more, each person's first against all others; embeddings as of a fair network."""
    rng = np.random.default_rng(0)
    person = np.arange(templates) % people
    template = np.sort(np.concatenate([np.arange(templates), rng.integers(templates, size=images - templates)]))
    sums = rng.standard_normal((images, VALUES), dtype=np.float32)
    centres = rng.standard_normal((people, VALUES), dtype=np.float32) / 4
    for start in range(0, images, 10_000):
        sums[start : start + 10_000] += centres[person[template[start : start + 10_000]]]
    left = rng.integers(people, size=pairs).astype(np.int32)
    right = rng.integers(people, templates, size=pairs).astype(np.int32)
    # Each template but the first of a person is in one same pair at least.
    others = np.arange(people, templates)
    left[: len(others)], right[: len(others)] = person[others], others
    return IjbLists(
        paths=np.empty(images, object),
        landmarks=np.empty((images, 0, 2), np.float32),
        scores=rng.random(images, dtype=np.float32),
        template=template,
        media=rng.integers(5, size=images),
        templates=templates,
        left=left,
        right=right,
        same=person[left] == person[right],
        unknown_pairs=0,
    ), sums


if __name__ == "__main__":
    run_command(main, Options, __doc__)

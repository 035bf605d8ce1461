"""The field's test sets by their published protocols, plain and masked.

    python -m eval.benchmark results/RUN --sets DIR
    python -m eval.benchmark WEIGHTS.safetensors --sets DIR --only lfw cplfw
    python -m eval.benchmark FILE.onnx --sets DIR --out benchmark

DIR holds any of: InsightFace's .bin files, LFW with pairs.txt, CALFW and CPLFW with their lists, MFR2, IJB-B, IJB-C,
folders with masked and plain pictures of each person, pair CSVs; docs/benchmarks.md says where to get them. Says first
what was found and about how long it takes. Every set without real masks is evaluated again with simulated masks on one
side and on both. Writes benchmark.json, benchmark.html and plots.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from data.alignment.finder import MTCNN, check_detector
from eval.benchmark.contract import BenchmarkSet, Result, Twins, Work
from eval.benchmark.network import FaceNetwork
from eval.benchmark.outputs import JSON, results_table, row_words, to_plain
from eval.benchmark.page import PAGE, write_page
from eval.benchmark.sets.find import find_sets
from runtime.durations import in_words
from runtime.errors import InputError, in_one_line, one_line_errors
from runtime.files import require_writable, write_json


@dataclasses.dataclass(frozen=True)
class BenchmarkSettings:
    """The network, the sets, and where the results go."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A run folder (its best.pt), a checkpoint, an ONNX or weight file, hf:OWNER/NAME, or vggface2 (--backbone)."""
    sets: Path
    """Folder of test sets; docs/benchmarks.md says how each looks."""
    only: tuple[str, ...] = ()
    """Names of the sets to use; otherwise all that are found."""
    out: Path | None = None
    """Folder for the results; otherwise benchmark in the run folder, or in the working folder."""
    backbone: str = ""
    """For weights by name (vggface2, casia-webface): their network, inception_resnet_v1."""
    twins: Twins = "before"
    """Simulated masks on sets of plain faces: drawn before alignment, after it, both, or none. On pictures that are
    already aligned, masks can only be drawn after alignment."""
    seed: int = 0
    """Seed of the simulated masks."""
    detector: str = MTCNN
    """What finds the faces: mtcnn, yunet, or an ONNX file of YuNet's kind."""
    jobs: int = 0
    """Processes that find faces; 0: one per core."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""


def benchmark(settings: BenchmarkSettings) -> list[Result]:
    """Evaluate the sets, and write everything; a set that can't be evaluated is named and passed over.

    Raises InputError: no model, no set, a damaged one, none that could be evaluated, or results that can't be written.
    """
    if settings.jobs < 0 or settings.seed < 0:
        raise InputError("jobs and seed must be 0 or more")
    require_writable(output_folder(settings) / JSON)
    found = find_sets(settings.sets, settings.only)
    network = FaceNetwork(settings.model, settings.backbone, settings.device)
    check_detector(settings.detector, network.crop)
    work = Work(network, settings.detector, settings.seed, settings.twins, settings.jobs)
    _announce(found, work)
    results: list[Result] = []
    failed: dict[str, str] = {}
    for each in found:
        try:
            results += each.run(work)
        except InputError as error:
            failed[each.name] = str(error)
            print(in_one_line(f"{each.name} is passed over: {error}"))
        if results:  # after every set: the last may take hours
            write_json(output_folder(settings) / JSON, _plain(settings, network, results, failed))
    if not results:
        name, reason = next(iter(failed.items()))
        raise InputError(f"no set could be evaluated; {name}: {reason}")
    write_page(output_folder(settings), Path(settings.model).resolve().name, results, failed)
    return results


def output_folder(settings: BenchmarkSettings) -> Path:
    """Where the results go."""
    folder = Path(settings.model) if Path(settings.model).is_dir() else Path()
    return settings.out or folder / "benchmark"


def _announce(found: list[BenchmarkSet], work: Work) -> None:
    total = 0.0
    for each in found:
        print(in_one_line(f"{each.name}: {each.describe()}"), flush=True)
        seconds = max(each.seconds(work), 1)
        total += seconds
        print(f"    about {in_words(seconds)}", flush=True)
    if len(found) > 1:
        print(f"in all about {in_words(total)}", flush=True)


def _plain(settings: BenchmarkSettings, network: FaceNetwork, results: list[Result], failed: dict[str, str]) -> dict:
    return {
        "model": settings.model,
        "backbone": settings.backbone,
        "preprocessing": network.preprocessing,
        "detector": settings.detector,
        "seed": settings.seed,
        "results": [to_plain(result) for result in results],
        "passed_over": failed,
    }


def main() -> None:
    """The command."""
    settings = tyro.cli(BenchmarkSettings, description=__doc__)
    results = benchmark(settings)
    print(results_table(results))
    for result, words in zip(results, row_words(results), strict=True):
        doubts = [f"not comparable: {result.not_comparable}"] if result.not_comparable else []
        for line in (*doubts, *result.notes):
            print(in_one_line(f"{result.set}, {words}: {line}"))
    print(f"read {output_folder(settings) / PAGE}")


if __name__ == "__main__":
    with one_line_errors():
        main()

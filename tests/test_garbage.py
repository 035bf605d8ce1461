"""Garbage into every command: exit code 2, one short line, and nothing written.

Two kinds of garbage. Files that are not what their name says (empty, cut, random, another format) must be refused.
Those that are well formed, with a value changed, may be refused or serve, but nothing in between.
"""

import copy
import importlib
import json
import math
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data.tables.write_pack import pack_csv
from runtime.checkpoints.file import save_checkpoint
from runtime.errors import one_line_errors
from tests.models.onnx.graphs import network, write
from tests.processes import ROOT
from tests.small_run import write_small_run


@pytest.fixture(autouse=True)
def own_signals():
    """A command may set SIGTERM's handler for its process, which here is that of all tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


PUBLISHED = ROOT / "results" / "published"
LONGEST = 500

# Command → arguments, and the files of the scene that it reads: each in turn becomes garbage.
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "data.check": ("train.csv test.csv --root faces", ["train.csv"]),
    "data.pack": ("train.csv --root faces --out new.pack", ["train.csv", "faces/dataset.json"]),
    "data.pack check": ("test.pack", ["test.pack"]),
    "data.prepare": ("lfw.bin --out new --align none --masks none --jobs 1", ["lfw.bin"]),
    "data.prepare proposals": (
        "people --out new --align none --masks none --jobs 1 --size 64 --proposals proposals.csv",
        ["proposals.csv"],
    ),
    "data.protocols": ("pairs.txt --root people --out new.csv", ["pairs.txt"]),
    "eval.audit": ("run train.csv --root faces --out new", ["train.csv", "run/best.pt"]),
    "eval.benchmark": ("run --sets sets --out new --twins none --jobs 1", ["sets/agedb.bin", "run/best.pt"]),
    "eval.compare": ("tested other --out new", ["tested/config.json", "tested/metrics.json", "tested/log.jsonl"]),
    "eval.compare benchmarks": ("one.json two.json --out new", ["one.json"]),
    "eval.far_faces": ("run train.csv --root faces --out new.csv", ["train.csv", "run/best.pt"]),
    "eval.group": ("run people --out new", ["run/best.pt"]),
    "eval.identify": ("run --probe people --people people.npz", ["people.npz", "run/best.pt"]),
    "eval.identify photos": ("run --photos a.jpg --people people.npz", ["people.npz"]),
    "eval.publish": (
        "--publish tested --results new",
        ["tested/config.json", "tested/metrics.json", "tested/log.jsonl"],
    ),
    "eval.publish file": ("--publish other verified.json --results new", ["verified.json"]),
    "eval.report": ("tested", ["tested/config.json", "tested/metrics.json", "tested/log.jsonl"]),
    "eval.same": ("run a.jpg a.jpg --out new.png", ["a.jpg", "run/best.pt"]),
    "eval.threshold": ("run test.csv --root faces", ["test.csv", "run/best.pt"]),
    "eval.two_folds": ("run --root faces", ["run/config.json"]),
    "eval.verify": ("run test.csv --root faces --out new.json", ["test.csv", "run/best.pt", "faces/dataset.json"]),
    "eval.verify onnx": ("theirs.onnx test.csv --root faces --out new.json", ["theirs.onnx"]),
    "main_arcface": ("--data-root faces --train-csv ../train.csv --results-dir new", ["train.csv"]),
    "main_triplet": ("--data-root faces --test-csv ../test.pack --results-dir new", ["test.pack"]),
    "models.average": ("run run --out new", ["run/best.pt"]),
    "models.export": ("run --format safetensors --out new.safetensors", ["run/best.pt"]),
    "models.import_weights": ("theirs.pt --out new", ["theirs.pt"]),
}
# Where a changed value may serve they do all their work.
SLOW = ("eval.audit", "eval.group", "eval.same", "eval.threshold", "eval.verify", "main_arcface", "main_triplet")
# They read no file that a user gives them but photographs, or start other commands.
WITHOUT_FILES = {
    "data.company",
    "data.gallery",
    "data.landmarks",
    "study.means",
    "study.page",
    "study.run",
    "study.search",
}


@pytest.fixture(scope="module")
def scene(drawn_faces, tmp_path_factory) -> Path:
    """A file of each kind, whole."""
    folder = tmp_path_factory.mktemp("garbage") / "scene"
    shutil.copytree(drawn_faces, folder / "faces")
    shutil.copytree(folder / "faces" / "plain", folder / "people")
    for name in ("train.csv", "test.csv"):
        shutil.copy(drawn_faces / name, folder / name)
    pack_csv(folder / "test.csv", folder / "test.pack", root=folder / "faces")
    write_small_run(folder / "run")
    _give_centres(folder / "run" / "best.pt", sorted(set(pd.read_csv(folder / "train.csv")["target"])))
    shutil.copy(PUBLISHED / "demo_arcface_s0" / "config.json", folder / "run")
    write(network([("Sub", 127.5), ("Mul", 1 / 128)]), folder / "theirs.onnx")
    torch.save(torch.load(folder / "run/best.pt", weights_only=True)["model"], folder / "theirs.pt")
    for name, source in (("tested", "demo_arcface_s0"), ("other", "demo_arcface_s1")):
        shutil.copytree(PUBLISHED / source, folder / name)
    shutil.copy(next(PUBLISHED.glob("verify_*.json")), folder / "verified.json")
    images = sorted((folder / "people").glob("*/*.jpg"))
    shutil.copy(images[0], folder / "a.jpg")
    people = sorted({image.parent.name for image in images})
    (folder / "pairs.txt").write_text(f"{people[0]} 1 2\n{people[0]} 1 {people[1]} 1\n")
    (folder / "proposals.csv").write_text(f"action,path,target,new_target\nmerge,,{people[0]},{people[1]}\n")
    (folder / "lfw.bin").write_bytes(pickle.dumps(([path.read_bytes() for path in images[:2]], [True])))
    (folder / "sets").mkdir()
    (folder / "sets" / "agedb.bin").write_bytes(pickle.dumps(([images[0].read_bytes()] * 20, [True, False] * 5)))
    figures = {"official": [{"name": "accuracy", "value": 0.9, "std": 0.1, "interval": None}], "own": []}
    texts = dict.fromkeys(("condition", "protocol", "masks", "intervals_over", "alignment", "not_comparable"), "")
    counts = dict.fromkeys(("faces", "lost_faces", "pairs", "lost_pairs"), 1)
    details = {"details": {"seed": 0, "masks": {"parameters": "a"}}}
    for name in ("one", "two"):
        results = {"results": [{"set": "lfw", **figures, **texts, **counts, **details}]}
        (folder / f"{name}.json").write_text(json.dumps(results))
    rows = {"person": np.array(["a"]), "picture": np.array(["b"]), "embeddings": np.ones((1, 16), np.float32)}
    np.savez(folder / "people.npz", network=np.array("another"), **rows)
    return folder


def _give_centres(checkpoint: Path, people: list[str]) -> None:
    content = torch.load(checkpoint, weights_only=True)
    centres = torch.randn(2 * len(people), 16, generator=torch.Generator().manual_seed(0))
    content |= {"criterion": {"weight": centres}, "identities": people}
    save_checkpoint(checkpoint, {key: value for key, value in content.items() if key != "format"})


# ==== garbage ====

BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "zeros": lambda _: bytes(300),
    "random": lambda _: np.random.default_rng(0).bytes(500),
    "a page": lambda _: b"<html>404 \x1b[2J Not found</html>\n" * 3,
    "a list": lambda _: b"[1, 2]",
    "nested": lambda _: b"[" * 20_000,
    "long": lambda _: b"x" * 300_000,
    "no UTF-8": lambda _: b"path,target\n\xff\xfe,a\n",
}
STRANGE = [None, -1, 10**12, math.nan, math.inf, 0.5, "", "x" * 100_000, "\x1b[2J\n\0", [], {}, [[[]]], True]


def changed_value(value: object, rng: np.random.Generator) -> object:
    """One of the values in ``value``, at any depth, replaced by a strange one, or left out."""
    value = copy.deepcopy(value)
    holder = value
    while True:
        key = rng.choice(len(holder)) if isinstance(holder, list) else list(holder)[rng.choice(len(holder))]
        inside = holder[key]
        if not isinstance(inside, dict | list) or not inside or rng.random() < 0.25:
            break
        holder = inside
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = STRANGE[rng.choice(len(STRANGE))]
    return value


def change(path: Path, rng: np.random.Generator) -> None:
    """A well-formed file with something changed in it."""
    if path.suffix == ".json":
        path.write_text(json.dumps(changed_value(json.loads(path.read_text()), rng)))
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in changed_value(lines, rng)))
    elif path.name == "best.pt":
        save_checkpoint(path, changed_value(torch.load(path, weights_only=True), rng))
    elif path.suffix == ".csv":
        frame = pd.read_csv(path, dtype=object)
        frame.iloc[rng.choice(len(frame)), rng.choice(frame.shape[1])] = STRANGE[rng.choice(8)]
        frame.to_csv(path, index=False)
    else:
        data = bytearray(path.read_bytes())
        for place in rng.integers(min(len(data), 2_000), size=3):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)


# ==== what a command does ====


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def run(command: str, scene: Path, monkeypatch, capsys) -> int:
    """The exit code; anything but an answer or one short line fails the test."""
    module = command.split()[0]
    if not module.startswith("main_"):
        package = ROOT.joinpath(*module.split("."))
        module += ".__main__" if package.is_dir() else ""
    main = importlib.import_module(module).main
    monkeypatch.chdir(scene)
    monkeypatch.setattr("sys.argv", [command.split()[0], *COMMANDS[command][0].split()])
    before, code = files_of(scene), 0
    capsys.readouterr()
    try:
        with one_line_errors():
            code = main() or 0
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    if code == 2:
        last = said.rstrip("\n").rpartition("\n")[2].rpartition("\r")[2]
        assert last.startswith("error: ") and len(last) < LONGEST and last.isprintable(), said[-2000:]
        assert "Traceback" not in said
        assert files_of(scene) == before
    return code


def fresh(scene: Path, tmp_path: Path) -> Path:
    """A copy to spoil; large folders that nobody writes to are the same files."""
    return Path(shutil.copytree(scene, tmp_path / "scene", copy_function=shutil.copyfile))


CASES = [(command, name) for command, (_, names) in COMMANDS.items() for name in names]
# A file that several commands read gets all the garbage in the first one, and a part of it in the others.
FIRST = {name: command for command, name in reversed(CASES)}


@pytest.mark.parametrize(
    "command",
    [
        "data.pack",
        "eval.benchmark",
        "eval.compare",
        "eval.compare benchmarks",
        "eval.report",
        "eval.publish",
        "models.export",
    ],
)
def test_whole_files_serve(command, scene, tmp_path, monkeypatch, capsys):
    """Else the others would prove nothing; what takes longer has tests of its own."""
    assert run(command, fresh(scene, tmp_path), monkeypatch, capsys) == 0


@pytest.mark.parametrize(("command", "name"), CASES)
def test_files_that_are_not_what_they_should_be(command, name, scene, tmp_path, monkeypatch, capsys):
    own = fresh(scene, tmp_path)
    whole = (own / name).read_bytes()
    kinds = list(BROKEN) if FIRST[name] == command else ["random", "nested"]
    for kind in kinds:
        (own / name).write_bytes(BROKEN[kind](whole))
        assert run(command, own, monkeypatch, capsys) == 2, f"{name}: {kind}"


@pytest.mark.parametrize(("command", "name"), [case for case in CASES if case[0] not in SLOW])
def test_values_that_nobody_expects(command, name, scene, tmp_path, monkeypatch, capsys):
    own = fresh(scene, tmp_path)
    whole = (own / name).read_bytes()
    for seed in range(5 if name.endswith((".json", ".jsonl", ".pack")) else 2):
        (own / name).write_bytes(whole)
        change(own / name, np.random.default_rng(seed))
        code = run(command, own, monkeypatch, capsys)
        assert code in (0, 1, 2), f"{name}, seed {seed}: {code}"
        for made in own.glob("new*"):
            shutil.rmtree(made) if made.is_dir() else made.unlink()


def test_every_command_is_fed_garbage():
    commands = set()
    for path in ROOT.glob("*/**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] not in ("tests", "benchmarks") and "\nif __name__ == " in path.read_text():
            commands.add(".".join(parts).removesuffix(".__main__"))
    assert commands - WITHOUT_FILES <= {command.split()[0] for command in COMMANDS}

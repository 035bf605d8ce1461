"""Which way imports run, and where commands stand: the contract in pyproject.toml, held against the code."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import ROOT

SCRIPTS = ("main_arcface", "main_triplet")
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
ROOMS = LINTER["root_packages"]
(COMMANDS,) = (contract["protected_modules"] for contract in LINTER["contracts"] if contract["type"] == "protected")


def source_files() -> list[Path]:
    """The modules of the scripts and rooms, relative to the repository."""
    in_rooms = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in (*in_rooms, *ROOT.glob("*.py")))


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield node.module


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse((ROOT / path).read_text()) for path in source_files()}


def lint(root: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def test_the_contract_is_kept():
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("data/samplers.py", "import models.pooling", "Each room imports only what stands below it"),
        ("losses/focal.py", "from eval.text import counted", "Each room imports only what stands below it"),
        ("eval/metrics/roc.py", "import data.transforms", "Figures, plots and reports need neither networks nor faces"),
        ("eval/embed.py", "import eval.verify", "No one imports a command"),
        ("runtime/errors.py", "import train", "The scripts and the engine stand above all rooms"),
    ],
)
def test_a_planted_import_breaks_the_contract(tmp_path, file, line, contract):
    for path in (*source_files(), Path("pyproject.toml")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    with (tmp_path / file).open("a") as planted:
        planted.write(f"\n{line}\n")
    linted = lint(tmp_path)
    assert linted.returncode == 1 and f"{contract} BROKEN" in linted.stdout


def test_the_contract_sees_every_module():
    """A folder without __init__.py would be passed over."""
    folders = {path.parent for path in source_files()} - {Path()}
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_the_engine_imports_runtime_alone(trees):
    rooms = {name.split(".")[0] for name in imports(trees[Path("train.py")])} & {*ROOMS, *SCRIPTS}
    assert rooms == {"runtime"}


def test_commands_and_scripts_alone_are_run_as_programs(trees):
    guarded = [module_name(path) for path, tree in trees.items() if any(map(is_guard, ast.walk(tree)))]
    assert sorted(guarded) == sorted([*COMMANDS, *SCRIPTS])
    parts = [name for name in COMMANDS if name.count(".") > 1 and not name.endswith(".__main__")]
    assert not parts, "a command is a file at the top of its room, or the __main__ of a package"


def is_guard(node: ast.AST) -> bool:
    """Whether it is ``if __name__ …``."""
    return isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))


def required(name: str) -> set[str]:
    """The distributions that a requirements file and those that it takes in name."""
    found = set()
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= required(line[3:].strip())
        elif line.strip() and not line.startswith("#"):
            found.add(canonicalize_name(Requirement(line).name))
    return found


def lacking(trees: dict[Path, ast.Module], *files: str) -> dict[str, str]:
    """Packages that are imported and stand in none of the files, each with a module that does."""
    own = {*ROOMS, *SCRIPTS, "train", "tests", *sys.stdlib_module_names}
    imported = {name.split(".")[0]: str(path) for path, tree in trees.items() for name in imports(tree)}
    distributions, stated = packages_distributions(), set().union(*map(required, files))
    return {
        package: path
        for package, path in imported.items()
        if package not in own and not stated & set(map(canonicalize_name, distributions.get(package, [])))
    }


USER_FILES = ("requirements.txt", "requirements-extras.txt")


def test_every_package_imported_stands_in_a_requirements_file(trees):
    tests = {path: ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("*.py")}
    benchmarks = {path: tree for path, tree in trees.items() if path.parts[0] == "benchmarks"}
    assert lacking({path: tree for path, tree in trees.items() if path not in benchmarks}, *USER_FILES) == {}
    assert lacking(benchmarks | tests, "requirements-dev.txt") == {}  # peers to compare with, oracles


def test_a_package_that_stands_in_none_is_found():
    planted = {Path("data/here.py"): ast.parse("def f():\n    from hypothesis import given")}
    assert lacking(planted, *USER_FILES) == {"hypothesis": "data/here.py"}

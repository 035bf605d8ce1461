"""Nothing is written but through ``runtime/files.py``: every call that writes stands there, or within its doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOOR = "runtime/files.py"
# Each with its reason; a call is named by its file and what is called.
ALLOWED = {
    ("runtime/run_folder.py", "draft.rename"): "a folder takes a free name; the try around it makes a line of errors",
    ("study/search/storage.py", "draft.rename"): "the same",
    ("runtime/processes/distributed.py", "open"): "to os.devnull",
    ("models/export/formats.py", "torch.export.save"): "to memory",
    ("models/export/upstream.py", "torch.save"): "to memory",
    ("models/weights/known.py", "torch.hub.download_url_to_file"): "aside, then renamed; its errors become a line",
    ("data/alignment/detectors/yunet.py", "torch.hub.download_url_to_file"): "the same",
    ("data/tables/write_pack.py", "part.open"): "grows for hours and is gone on with: all within pack_csv's writing()",
    ("data/tables/write_pack.py", "journal.open"): "the same",
    ("data/tables/write_pack.py", "journal.write_bytes"): "the same",
    ("data/tables/write_pack.py", "part.touch"): "the same",
}
# Benchmarks make their inputs in temporary folders of their own; what they report goes through the door.
WITHOUT = ("tests", "benchmarks")

_METHODS = (
    {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "savefig", "imwrite", "tofile"}
    | {"to_parquet", "to_pickle", "to_excel", "savez", "savez_compressed", "savetxt", "save_file", "save_model"}
    | {"download_url_to_file", "SummaryWriter"}
)
_FUNCTIONS = {
    *("np.save", "numpy.save", "torch.save", "torch.export.save", "torch.jit.save", "json.dump", "pickle.dump"),
    *("os.rename", "os.replace", "os.link", "os.symlink", "os.renames"),
    *("shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copyfileobj", "shutil.copytree", "shutil.move"),
}
_DOORS = {"replace_file", "replace_folder", "writing"}


def writing_calls(source: str) -> Iterator[tuple[str, int]]:
    """What is called and its line, for each call that writes and stands in none of the doors."""
    yield from _outside(ast.parse(source), set())


def _outside(node: ast.AST, doors: set[str]) -> Iterator[tuple[str, int]]:
    """``doors``: the names that a door around ``node`` has given, "" for one that gives none."""
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        doors = set()  # it may be called from anywhere
    if isinstance(node, ast.With):
        for item in node.items:
            yield from _outside(item.context_expr, doors)
            doors = doors | _given(item, doors)
        for child in node.body:
            yield from _outside(child, doors)
        return
    if isinstance(node, ast.Call) and _writes(node) and not ("" in doors or _names(node) & doors):
        yield ast.unparse(node.func), node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _outside(child, doors)


def _given(item: ast.withitem, doors: set[str]) -> set[str]:
    """The names of the temporary path that a ``with`` gives, or of a file that it opens there."""
    name = item.optional_vars.id if isinstance(item.optional_vars, ast.Name) else ""
    call = item.context_expr
    if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in _DOORS:
        return {name}
    return {name} if name and _names(call) & doors else set()


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    method = name.rpartition(".")[2]
    if method == "open":
        return any(_is_mode_to_write(value) for value in [*call.args, *(k.value for k in call.keywords)])
    if name in _FUNCTIONS or (method == "save" and "Image." in name):
        return True
    if method in ("to_csv", "to_json", "to_html"):  # which give text where they get no path
        return bool(call.args) or any(k.arg == "path_or_buf" for k in call.keywords)
    if method in ("rename", "replace"):  # of a path; of a text it takes two, of a table and a dataclass names
        return isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords
    return method in _METHODS


def _is_mode_to_write(value: ast.expr) -> bool:
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return False
    return set(value.value) <= set("rwaxbt+") and bool(set(value.value) & set("wax+"))


def test_all_that_is_written_goes_through_the_one_door():
    found, used = [], set()
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if file == DOOR or file.startswith(".") or file.split("/")[0] in WITHOUT:
            continue
        for name, line in writing_calls(path.read_text()):
            if (file, name) in ALLOWED:
                used.add((file, name))
            else:
                found.append(f"{file}:{line} {name}")
    assert not found, f"use write_file, write_json, copy_file, replace_file or writing of {DOOR}: {', '.join(found)}"
    assert used == set(ALLOWED), f"no longer there: {set(ALLOWED) - used}"


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'w')",
        "path.open(mode='ab')",
        "path.open('r+b')",
        "path.write_text(x)",
        "np.savez(path, a=a)",
        "torch.save(x, path)",
        "figure.savefig(path)",
        "cv2.imwrite(name, x)",
        "frame.to_csv(path, index=False)",
        "json.dump(x, file)",
        "shutil.copy(a, b)",
        "path.rename(other)",
        "os.replace(a, b)",
        "temporary.replace(path)",
        "Image.fromarray(x).save(path)",
        "with replace_file(path) as temporary:\n    path.write_text(x)",
        "with replace_file(path) as temporary:\n    def later():\n        temporary.write_text(x)",
    ],
)
def test_the_guard_sees(code):
    assert len(list(writing_calls(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "open(path)",
        "path.open('rb')",
        "Image.open(path)",
        "text.replace('a', 'b')",
        "dataclasses.replace(settings, a=1)",
        "frame.rename(columns={})",
        "write_file(path, frame.to_csv(index=False))",
        "with replace_file(path) as temporary:\n    temporary.write_text(x)",
        "with replace_file(path) as temporary, temporary.open('wb') as file:\n    np.savez(file, a=a)",
        "with files.writing(path), path.open('a') as file:\n    file.write(x)",
    ],
)
def test_the_guard_lets_pass(code):
    assert not list(writing_calls(code))

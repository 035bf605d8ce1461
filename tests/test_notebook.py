"""docs/try_it.ipynb runs from top to bottom, with smaller numbers, and holds no outputs."""

import json
import os
import sys
from types import ModuleType

import pandas as pd
import pytest

from eval.plots import style
from tests.processes import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "try_it.ipynb").read_text())
NUMBERS, FEWER = "PEOPLE, EPOCHS, PICTURES = 150, 8, 6", "PEOPLE, EPOCHS, PICTURES = 6, 1, 1"


@pytest.fixture
def jupyter(tmp_path, monkeypatch):
    """An empty working folder, IPython's display without IPython, and what was displayed."""
    shown = []
    display = ModuleType("IPython.display")
    display.Image, display.display = lambda path, width: path, shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for setting in ("figure.dpi", "savefig.dpi"):
        monkeypatch.setitem(style._LOOK, setting, 40)
    return shown


def test_every_cell_runs(jupyter, tmp_path):
    cells = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert sum(NUMBERS in cell for cell in cells) == 1
    names = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell.replace(NUMBERS, FEWER), "try_it.ipynb", "exec"), names)
    folder = tmp_path / "try_it"
    assert os.path.samefile(os.getcwd(), folder)
    assert len(jupyter) == 4 and all((folder / path).is_file() for path in jupyter)
    assert set(pd.read_csv(folder / "named" / "faces.csv")["photo"]) == {"001.jpg"}
    assert (folder / "named_film" / "pan.mp4_named" / "film.mp4").is_file() and names["embedder"].size == 80


def test_it_is_a_notebook_of_short_cells_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        assert len(cell["source"]) <= 16 and max(map(len, cell["source"])) <= 125
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from torch import nn

from benchmarks import align
from data.transforms import make_preprocessing
from runtime.errors import InputError


def test_too_few_pairs_for_a_judge_are_one_line_before_the_work(monkeypatch):
    preprocessing = make_preprocessing(size=112, crop="arcface5", normalisation="imagenet", weights=None).to_dict()
    opened = SimpleNamespace(model=nn.Identity(), preprocessing=preprocessing)
    monkeypatch.setattr(align, "open_model", lambda *_: opened)
    root = Path("dev")
    photos = [SimpleNamespace(path=root / f"{number}.jpg") for number in range(40)]
    rows = [(f"{number}.jpg", f"{number + 20}.jpg", number % 2) for number in range(20)]
    pairs = pd.DataFrame(rows, columns=["path", "pair_path", "same"])
    assert len(align.Judge(Path("run"), photos, pairs, root)) == 20
    with pytest.raises(InputError, match="10 same and 9 different pairs"):
        align.Judge(Path("run"), photos[1:], pairs, root)

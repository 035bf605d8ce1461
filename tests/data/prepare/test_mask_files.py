"""Masks on files: ``python -m data.prepare`` draws the kinds it is told."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from data.alignment.detectors.detection import Detection
from data.prepare.pipeline import prepare
from data.prepare.settings import PrepareSettings
from data.transforms import template
from runtime.errors import InputError


def one_face(images):
    """A detector that sees each face where the template has it."""
    box = np.array([20, 10, 92, 110], np.float32)
    return [Detection(box, template(112), 1.0) for _ in images]


def settings(folder: Path, *kinds: str) -> PrepareSettings:
    return PrepareSettings(
        str(folder / "raw"), folder / "out", size=112, jobs=1, train_share=1.0, seed=0, mask_kinds=kinds
    )


@pytest.fixture
def photos(tmp_path) -> Path:
    for person in "abc":
        for i in range(4):
            (tmp_path / "raw" / person).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "raw" / person / f"{i}.png"), np.full((112, 112, 3), (125, 150, 200), np.uint8))
    return tmp_path


def test_prepared_faces_wear_the_masks_that_are_named(photos):
    prepare(settings(photos, "cloth:#b03050", "kn95"), lambda: one_face)
    rows = pd.read_csv(photos / "out" / "train.csv").query("masked == 1")
    assert set(rows["mask_kind"]) == {"cloth:#b03050", "kn95"}
    for path, kind in zip(rows["path"], rows["mask_kind"], strict=True):
        _, green, red = cv2.imread(str(photos / "out" / path))[82:90, 50:62].mean((0, 1))
        assert (red > 1.8 * green) == kind.startswith("cloth"), path


def test_unknown_masks_are_refused_before_anything_is_made(photos):
    with pytest.raises(InputError, match="unknown mask 'scarf'"):
        prepare(settings(photos, "scarf"), lambda: one_face)
    assert not (photos / "out").exists()


def test_a_folder_begun_with_other_masks_is_not_mixed(photos):
    prepare(settings(photos, "kn95"), lambda: one_face)
    with pytest.raises(InputError, match="begun with mask_kinds"):
        prepare(settings(photos, "n95"), lambda: one_face)

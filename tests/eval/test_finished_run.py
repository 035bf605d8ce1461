"""The objective of a run in words."""

import pytest

from eval.finished_run import objective_name

TEACHER = {"teacher": "results/teacher", "teacher_share": 0.5}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "ArcFace + focal"),  # of a run from before there was a choice
        ({"margin_kind": "cosface", "focal_gamma": 2.0, "teacher": "", "teacher_share": 0.5}, "CosFace + focal"),
        ({"margin_kind": "arcface", "focal_gamma": 0.0}, "ArcFace"),
        ({"margin_kind": "arcface", "sub_centres": 3, "focal_gamma": 0.0}, "sub-centre ArcFace"),
        ({"margin_kind": "adaface", "focal_gamma": 0.0}, "AdaFace"),
        ({"margin_kind": "magface", "focal_gamma": 2.0, "margin": 0.0}, "MagFace + focal"),
        ({"mining": "self_restrained"}, "self-restrained triplets"),
        ({"margin": 0.0, "focal_gamma": 1.0}, "cosine softmax + focal"),
        ({"margin_kind": "new", "focal_gamma": 0.0}, "new"),
        ({"focal_gamma": 1.0, **TEACHER}, "ArcFace + focal + teacher"),
        ({"focal_gamma": 1.0, **TEACHER, "teacher_share": 1.0}, "teacher alone"),
        ({"mining": "semi_hard"}, "semi-hard triplets"),
        ({"mining": "batch_all", **TEACHER}, "batch-all triplets + teacher"),
        ({"mining": "batch_hard", **TEACHER, "teacher_share": 1.0}, "teacher alone"),
        ({"mining": "batch_hard", **TEACHER, "teacher_share": 0.0}, "batch-hard triplets"),
    ],
)
def test_the_objective_is_named_truly(settings, name):
    assert objective_name(settings) == name

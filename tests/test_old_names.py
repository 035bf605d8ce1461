"""Commands that have moved: the old name gives the new one."""

import runpy

import pytest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("eval.table", "eval.publish"),
        ("data.synthetic.gallery", "data.gallery"),
        ("models.import_original", "models.import_weights"),
    ],
)
def test_an_old_name_answers_in_one_line_with_the_new_one(old, new, capsys):
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(old, run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {old} is {new} now: python -m {new}")

import io

import pandas as pd

from runtime.spreadsheet import csv_for_people


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers():
    names = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2", "\tx", "plain.jpg", None]
    frame = pd.DataFrame({"path": names, "=name": [1.5] * 7, "mixed": ["=a", -2, *[None] * 5]})
    text = csv_for_people(frame)
    found = pd.read_csv(io.StringIO(text))
    assert found["path"].tolist()[:6] == [*(f"'{name}" for name in names[:5]), "plain.jpg"]
    assert found["'=name"].tolist() == [1.5] * 7 and found["mixed"].tolist()[:2] == ["'=a", "-2"]
    assert frame["path"].tolist()[:6] == names[:6], "the table itself is not changed"

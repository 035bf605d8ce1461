"""What is said of a search's trials while it runs."""

import pytest

from study.search.records import Record, progress


def _record(number, state):
    return Record(number, f"trial_{number:03d}", {}, state, 0.5, 3, 300, 120.0, "")


@pytest.mark.parametrize(("others", "minutes"), [(0, 8), (1, 4), (3, 2)])
def test_processes_at_once_share_the_time_that_is_left(others, minutes):
    running = [_record(number, "running") for number in range(1, 1 + others)]
    said = progress([_record(0, "complete"), *running], wanted=5)
    assert said == f"1 of 5 trials done, best IOU 0.500 (trial 0), about {minutes} minutes left"

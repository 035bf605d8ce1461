from runtime.durations import in_words


def test_a_duration_reads_well():
    assert [in_words(s) for s in (3, 119, 120, 7199, 7200, 400_000)] == [
        "3 seconds", "119 seconds", "2.0 minutes", "120.0 minutes", "2.0 hours", "4.6 days"
    ]  # fmt: skip

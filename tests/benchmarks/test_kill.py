from benchmarks.kill import kill_and_compare


def test_a_run_killed_and_started_again_equals_one_left_in_peace(drawn_faces, tmp_path):
    """Kills in a step, a save, an evaluation and at any moment; the benchmark has more of them."""
    # With this seed a run of two epochs has room for all four.
    tally = kill_and_compare("main_arcface.py", drawn_faces, tmp_path, kills=4, epochs=2, seed=6)
    assert (tally.kills, tally.unequal, tally.failed) == (4, 0, 0)
    assert min(tally.steps, tally.saves, tally.evaluations) >= 1

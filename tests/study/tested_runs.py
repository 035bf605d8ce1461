"""Runs of the study that were tested on hand-made pairs, in whose results every error is chosen."""

import json

import pandas as pd

from eval.finished_run import FinishedRun
from eval.metrics.figures import figures

CONDITIONS = ("plain-plain", "plain-masked", "masked-masked")
THRESHOLD = 1.0


def run_with_errors(wrong, people=40):
    """A run with a same and a different pair a person and condition; ``wrong``: condition → people judged wrongly."""
    rows = []
    for condition in CONDITIONS:
        for person in range(people):
            error = person in wrong.get(condition, ())
            rows.append([f"{person}a", f"{person}b", True, condition, person, person, 1.5 if error else 0.5])
            rows.append([f"{person}a", "x", False, condition, person, (person + 1) % people, 1.5])
    columns = ["path", "pair_path", "same", "condition", "person", "pair_person", "distance"]
    return FinishedRun("run", {}, [], {"threshold": THRESHOLD}, pd.DataFrame(rows, columns=columns))


def write_tested_run(folder, *, wrong, threshold=1.0, iou=(0.1, 0.1), seed=0):
    """A run folder tested on two halves of 40 people each; ``wrong``: (half, condition) → people judged wrongly."""
    halves = [run_with_errors({c: wrong.get((half, c), set()) for c in CONDITIONS}).pairs for half in (0, 1)]
    for half, frame in enumerate(halves):
        frame["path"], frame["pair_path"] = frame["condition"] + frame["path"], f"{half}" + frame["pair_path"]
        frame[["person", "pair_person"]] += 40 * half
    pairs = pd.concat(halves, ignore_index=True)
    pairs["distance"] *= threshold  # the same judgements at any threshold
    found = figures(
        *(pairs[key].to_numpy() for key in ("distance", "same", "condition")),
        threshold,
        people=pairs[["person", "pair_person"]].to_numpy(),
        masks=None,
        sides=None,
        folds=None,
    )
    folds = [{"iou": of_half, "pairs": len(frame)} for of_half, frame in zip(iou, halves, strict=True)]
    folder.mkdir()
    (folder / "two_folds.json").write_text(json.dumps({**found, "by_mask": {}, "folds": folds}))
    pairs.astype({"same": int}).to_csv(folder / "two_folds.csv", index=False)
    line = {"epoch": 1, "images_seen": 640, "seconds": 50, "evaluation_seconds": 10}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "metrics.json").write_text(json.dumps({"stopped": None}))
    write_config(folder, seed, "finished")
    return folder


def write_config(folder, seed, ended):
    config = {"settings": {"seed": seed}, "gpus": [], "processor": "a CPU", "threads": 2, "ended": ended}
    (folder / "config.json").write_text(json.dumps(config))

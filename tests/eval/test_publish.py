import json
import shlex
from dataclasses import replace

import pandas as pd
import pytest

from configs.cli import parse_settings
from eval.publish import command_of, publish, write_tables
from main_arcface import SETTINGS
from runtime.errors import InputError


def _run(folder, accuracy, seed, mining=None):
    folder.mkdir(parents=True)
    settings = {
        "backbone": "mobilefacenet", "pretrained": "weights/face.safetensors", "data_root": "datasets/faces",
        "seed": seed, "precision": "auto", **({"mining": mining} if mining else {}),
    }  # fmt: skip
    config = {"settings": settings, "command": "main.py --seed 1", "gpus": [], "processor": "CPU", "threads": 1}
    config |= {"cores": 2} if seed else {}  # runs of older versions do not know
    conditions = {"plain-masked": {"accuracy": accuracy - 0.1}}
    metrics = {"pairs": 3000, "accuracy": accuracy, "auc": 0.97531, "eer": 0.05, "by_condition": conditions}
    log = [{"images_seen": 1000 * epoch, "seconds": 60.0, "evaluation_seconds": 30.0} for epoch in (1, 2)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    for name in ("iou", "train_loss", "test_result", "distribution_epoch1", "distribution_epoch2"):
        (folder / f"{name}.png").write_bytes(b"png")
    for name in ("best.pt", "report.html", "worst_pairs.png", "test_pairs.csv", "left_out_pairs.csv"):
        (folder / name).write_bytes(b"weights, faces or names of faces")


def test_published_runs_leave_weights_behind_and_fill_both_tables(tmp_path):
    results = tmp_path / "results"
    _run(results / "first", 0.925, 1)
    _run(results / "second", 0.95, 2, mining="semi_hard")
    for name in ("first", "second"):
        publish(results / name, results / "published")
    assert {p.name for p in (results / "published/first").iterdir()} == {
        "config.json", "log.jsonl", "metrics.json", "iou.png", "train_loss.png", "test_result.png",
        "distribution_epoch2.png",
    }  # fmt: skip
    write_tables(results)
    table = pd.read_csv(results / "results.csv")
    assert table["run"].tolist() == ["first", "second"]
    assert table["objective"].tolist() == ["ArcFace + focal", "semi-hard triplets"]
    assert table["minutes"].tolist() == [3.0, 3.0]
    assert table["images seen"].tolist() == [2000, 2000]
    assert table["hardware"].tolist() == ["CPU, 2 cores, PyTorch on 1 thread"] * 2
    page = (results / "README.md").read_text()
    for shown in ("92.50 %", "82.50 %", "0.9753", "3,000", "face.safetensors", "python main.py --seed 1"):
        assert shown in page


def test_the_command_repeats_the_run_with_todays_constants():
    settings = SETTINGS.to_dict() | {"epochs": 25, "mirror": not SETTINGS.mirror, "gone": 1, "run_name": "mine"}
    settings |= {"workers": 7, "preset": "demo"}
    del settings["lr"]  # as if it had come later
    config = {"settings": settings, "command": "main_arcface.py --preset demo --epochs 25"}
    script, *options = command_of(config).split()[1:]
    assert script == "main_arcface.py"
    assert parse_settings(SETTINGS, "", options) == replace(
        SETTINGS, epochs=25, mirror=not SETTINGS.mirror, run_name="mine"
    )
    assert len(options) == 5


def test_settings_with_several_values_and_with_none_are_repeated_too():
    settings = SETTINGS.to_dict() | {"eval_csvs": ["a b.csv", "c.csv"], "mask_kinds": [], "gpus": [0, 1]}
    command = command_of({"settings": settings, "command": "main_arcface.py"})
    found = parse_settings(SETTINGS, "", shlex.split(command)[2:])
    assert (found.eval_csvs, found.mask_kinds, found.gpus) == (("a b.csv", "c.csv"), (), (0, 1))


def test_weights_as_published_have_a_table_of_their_own(tmp_path):
    _run(tmp_path / "published" / "run", 0.9, 0)
    figures = {"fold_accuracy": 0.991, "auc": 0.999}
    check = {"model": "d/w.safetensors", "pairs_csv": "d/pairs.csv", "mirror": True, "by_condition": {}, **figures}
    (tmp_path / "verify.json").write_text(json.dumps(check))
    publish(tmp_path / "verify.json", tmp_path / "published")
    write_tables(tmp_path)
    assert "| w.safetensors | pairs.csv | True | 99.10 % | 0.9990 |" in (tmp_path / "README.md").read_text()


def test_runs_of_several_seeds_have_a_line_together_and_intervals_stand_beside_the_accuracy(tmp_path):
    for seed, accuracy in enumerate((0.92, 0.94, 0.99)):
        _run(tmp_path / "published" / f"net_s{seed}", accuracy, seed)
    _run(tmp_path / "published" / "other", 0.5, 0, mining="semi_hard")
    metrics = json.loads((tmp_path / "published/net_s0/metrics.json").read_text())
    (tmp_path / "published/net_s0/metrics.json").write_text(
        json.dumps({**metrics, "intervals": {"accuracy": [0.911, 0.929]}})
    )
    write_tables(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| net | 3 | 95.00 ± 3.61 % | 85.00 ± 3.61 % | 0.9753 ± 0.0000 | 5.00 ± 0.00 % |" in page
    assert "92.00 % (91.1–92.9)" in page and "| 94.00 % |" in page
    table = pd.read_csv(tmp_path / "results.csv").set_index("run")
    assert table.loc["net_s0", "hardware"] == "CPU, PyTorch on 1 thread"
    assert table.loc["net_s0", ["accuracy low", "accuracy high"]].tolist() == [0.911, 0.929]
    assert "| other | 1 |" not in page


def test_the_plots_of_newer_runs_are_published_too(tmp_path):
    _run(tmp_path / "run", 0.9, 0)
    (tmp_path / "run" / "roc.png").write_bytes(b"png")
    publish(tmp_path / "run", tmp_path / "published")
    assert (tmp_path / "published/run/roc.png").is_file() and not (tmp_path / "published/run/det.png").exists()


def test_an_untested_run_or_an_empty_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="no run yet"):
        write_tables(tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="publish it after its test"):
        publish(tmp_path / "run", tmp_path / "published")

"""Both scripts as a user runs them, on a handful of drawn faces."""

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

import train
from data.tables.pack_file import HEADER_BYTES
from data.tables.write_pack import pack_csv
from eval import verify
from eval.plots import style
from eval.two_folds.halves import TwoFoldSettings, two_folds
from runtime import precision
from runtime.errors import InputError
from tests.processes import start_script
from tests.small_run import write_small_run

SCRIPTS = ["main_arcface.py", "main_triplet.py"]
SMALL = {
    "main_arcface.py": ["--batch-size", "8"],
    "main_triplet.py": ["--people-per-batch", "3", "--images-per-person", "4"],
}
TIMED = {"images_per_second", "data_wait_share", "step_seconds", "seconds", "evaluation_seconds"}


@pytest.fixture(scope="module", autouse=True)
def coarse_plots():
    """Most of such small runs' time is drawing; how plots look is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for setting in ("figure.dpi", "savefig.dpi"):
            patch.setitem(style._LOOK, setting, 40)
        yield


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(script, *options)`` in an empty working folder → (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(script, *options):
        try:
            start_script(monkeypatch, script, *options)
            code = 0
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def interrupt_after(monkeypatch):
    """``interrupt_after(n)``: from here on Ctrl-C comes after n epochs; None: no more."""
    real = train.train_one_epoch

    def call(epochs):
        def interrupted(state, *arguments, **options):
            if state.epoch == epochs:
                raise KeyboardInterrupt
            return real(state, *arguments, **options)

        monkeypatch.setattr(train, "train_one_epoch", interrupted)

    return call


def _options(script, faces, name="run", epochs=2):
    return [
        "--data-root", faces, "--image-size", 64, "--backbone", "timm:mobilenetv3_small_050", "--embedding-size", 32,
        "--epochs", epochs, "--workers", 0, "--run-name", name, *SMALL[script],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def one_epoch(drawn_faces, tmp_path_factory):
    """The run folder of one epoch of main_arcface.py, to copy."""
    folder = tmp_path_factory.mktemp("one_epoch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        start_script(patch, "main_arcface.py", *_options("main_arcface.py", drawn_faces, epochs=1))
    return folder / "results/run"


def _log(run_folder):
    lines = (run_folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


@pytest.mark.parametrize(
    ("script", "objective", "figure"),
    [
        ("main_arcface.py", ["--margin-kind", "adaface", "--margin", "0.4"], "train_accuracy"),
        ("main_triplet.py", ["--mining", "self_restrained"], "restrained"),
    ],
)
def test_losses_of_lengths_and_masks_resume_bit_for_bit(run, drawn_faces, interrupt_after, script, objective, figure):
    more = [*objective, "--no-measure-least-face", "--accumulate-steps", "2"]
    assert run(script, *_options(script, drawn_faces, "whole"), *more)[0] == 0
    interrupt_after(1)
    run(script, *_options(script, drawn_faces, "half"), *more)
    interrupt_after(None)
    code, said, _ = run(script, *_options(script, drawn_faces, "half"), *more)
    assert code == 0 and "resuming after epoch 1" in said
    log = _log(Path("results/whole"))
    assert _log(Path("results/half")) == log
    assert all(line["length_plain"] > 0 and line["length_masked"] > 0 and figure in line for line in log)
    states = [torch.load(f"results/{name}/last.pt", weights_only=True) for name in ("whole", "half")]
    for part in ("model", "criterion"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name


def test_self_restrained_triplets_need_both_looks(run, drawn_faces):
    code, _, error = run(
        "main_triplet.py", *_options("main_triplet.py", drawn_faces), "--mining", "self_restrained",
        "--train-faces", "plain",
    )  # fmt: skip
    assert code == 2 and error.count("\n") == 1 and "all training faces are plain" in error


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_trains_selects_tests_and_leaves_everything_in_its_folder(run, drawn_faces, script):
    code, said, _ = run(script, *_options(script, drawn_faces))
    assert code == 0
    folder = Path("results/run")
    assert {p.name for p in folder.iterdir()} >= {
        "config.json", "log.jsonl", "best.pt", "last.pt", "distribution_epoch1.png", "distribution_epoch2.png",
        "iou.png", "train_loss.png", "test_result.png", "metrics.json", "report.html", "test_pairs.csv", "roc.png",
        "lengths.png", "det.png", "distances_by_condition.png", "worst_pairs.png",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['accuracy']:.2%}" in said
    assert set(metrics["by_condition"]) == {"plain-plain", "plain-masked", "masked-masked"}
    log = _log(folder)
    best = min(log, key=lambda line: (line["iou"], -line["auc"]))
    checkpoint = torch.load(folder / "best.pt", weights_only=True)
    assert (metrics["epoch"], metrics["threshold"]) == (best["epoch"], best["threshold"])
    assert checkpoint["threshold"] == best["threshold"]
    assert (
        checkpoint["least_face"] == metrics["least_face"]
        and f"smallest usable face: {metrics['least_face']} px" in said
    )
    assert checkpoint["identities"] == sorted(set(pd.read_csv(drawn_faces / "train.csv")["target"]))

    # The same figures come out of the stand-alone test of that checkpoint.
    options = verify.VerifySettings(model=str(folder), pairs=drawn_faces / "test.csv", root=drawn_faces)
    again = verify.verify(options)
    assert again["accuracy"] == pytest.approx(metrics["accuracy"])
    assert again["auc"] == pytest.approx(metrics["auc"])


def test_a_run_records_the_weights_it_started_from(run, drawn_faces, one_epoch):
    code, _, error = run(
        "main_arcface.py", *_options("main_arcface.py", drawn_faces, epochs=1), "--pretrained", one_epoch
    )
    assert code == 0, error
    start = json.loads(Path("results/run/config.json").read_text())["started_from"]
    digest = hashlib.sha256((one_epoch / "best.pt").read_bytes()).hexdigest()
    kind = "a run of this project with timm:mobilenetv3_small_050"
    assert start == {"file": "best.pt", "sha256": digest, "kind": kind}
    assert "started_from" not in json.loads((one_epoch / "config.json").read_text())


@pytest.mark.parametrize("script", SCRIPTS)
def test_interrupted_after_epoch_two_of_four_and_resumed_equals_uninterrupted(
    run, drawn_faces, interrupt_after, script
):
    masks = ["--mask-probability", 0.5, "--dropout", 0.2]
    assert run(script, *_options(script, drawn_faces, "whole", 4), *masks)[0] == 0

    interrupt_after(2)
    code, _, _ = run(script, *_options(script, drawn_faces, "cut", 4), *masks)
    assert (code, len(_log(Path("results/cut")))) == (130, 2)
    interrupt_after(None)
    # Another number of workers must not change a bit either.
    assert run(script, "--resume", "results/cut", "--workers", 1)[0] == 0

    assert _log(Path("results/cut")) == _log(Path("results/whole"))
    ends = [torch.load(f"results/{name}/last.pt", weights_only=True) for name in ("whole", "cut")]
    for part in ("model", "criterion"):
        assert all(torch.equal(ends[0][part][k], ends[1][part][k]) for k in ends[0][part])
    assert Path("results/cut/metrics.json").read_text() == Path("results/whole/metrics.json").read_text()


@pytest.mark.parametrize(("script", "share"), [("main_arcface.py", 1.0), ("main_triplet.py", 0.5)])
def test_a_student_learns_from_a_run_and_goes_on_where_it_stopped(run, drawn_faces, interrupt_after, script, share):
    write_small_run(Path("teacher"), embedding_size=32)
    options = ["--teacher", "teacher", "--teacher-share", share, "--train-faces", "plain"]
    options += [*_options(script, drawn_faces, "student"), "--mask-probability", 0.5]
    assert run(script, *options)[0] == 0
    log = _log(Path("results/student"))
    assert log[1]["teacher_cosine"] > log[0]["teacher_cosine"]
    assert ("positive_distance" in log[0]) == (script == "main_triplet.py")

    interrupt_after(1)
    assert run(script, *options, "--run-name", "cut")[0] == 130
    interrupt_after(None)
    assert run(script, *options, "--run-name", "cut")[0] == 0
    assert _log(Path("results/cut")) == log


@pytest.mark.parametrize(("script", "share"), [("main_arcface.py", 0.5), ("main_triplet.py", 0.5)])
def test_faces_without_a_name_count_for_the_teacher_and_resume(run, drawn_faces, interrupt_after, script, share):
    table = pd.read_csv(drawn_faces / "train.csv")
    nobody = table["target"] == table["target"].max()
    count = int((nobody & (table["masked"] == 0)).sum())
    table.assign(target=table["target"].mask(nobody, "")).to_csv("some.csv", index=False)
    options = [*_options(script, drawn_faces, "whole"), "--train-csv", Path("some.csv").absolute()]
    options += ["--train-faces", "plain", "--mask-probability", 0.5, "--least-images", 2]
    code, _, error = run(script, *options)
    assert code == 2 and error.count("\n") == 1
    assert f"{count} rows have an empty target (first: plain/" in error and "set --teacher, or leave" in error

    write_small_run(Path("teacher"), embedding_size=32)
    options += ["--teacher", "teacher", "--teacher-share", share, "--unnamed-share", 0.25]
    code, said, _ = run(script, *options)
    assert code == 0 and f"people and {count} without a name" in said
    log = _log(Path("results/whole"))
    assert {"teacher_cosine", "loss"} <= log[0].keys()
    interrupt_after(1)
    assert run(script, *options, "--run-name", "cut")[0] == 130
    interrupt_after(None)
    assert run(script, *options, "--run-name", "cut")[0] == 0
    assert _log(Path("results/cut")) == log


def test_fine_tuning_keeps_what_is_frozen_to_the_bit_and_resumes(run, drawn_faces, interrupt_after):
    write_small_run(Path("start"), embedding_size=32)
    frozen = ["conv_stem", "bn1", "blocks.0"]
    options = ["--pretrained", "start", "--freeze", *frozen, "--backbone-lr", 0.1, "--centres-from", "means"]
    interrupt_after(1)
    assert run("main_arcface.py", *_options("main_arcface.py", drawn_faces), *options)[0] == 130
    interrupt_after(None)
    assert run("main_arcface.py", "--resume", "results/run")[0] == 0
    assert len(_log(Path("results/run"))) == 2
    start, end = (torch.load(path, weights_only=True)["model"] for path in ("start/best.pt", "results/run/last.pt"))
    stay = {name for name in start if name.startswith(tuple(f"backbone.net.{part}." for part in frozen))}
    assert all(torch.equal(start[name], end[name]) for name in stay)
    assert not any(
        torch.equal(start[name], end[name]) for name in ("neck.linear.weight", "backbone.net.blocks.1.0.bn1.bias")
    )


def test_a_run_in_bf16_is_refused_on_a_processor_without_it_and_the_advice_works(
    run, drawn_faces, interrupt_after, monkeypatch
):
    monkeypatch.setitem(precision.BF16_ON_CPU, "timm:mobilenetv3_small_050", (1, 2))
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    interrupt_after(1)
    options = [*_options("main_arcface.py", drawn_faces), "--no-measure-least-face"]
    code, said, _ = run("main_arcface.py", *options)
    assert code == 130 and "parameters, on cpu in bf16 with " in said
    assert json.loads(Path("results/run/config.json").read_text())["precision"] == "bf16"
    interrupt_after(None)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    code, _, error = run("main_arcface.py", *options)
    assert code == 2 and error.count("\n") == 1
    advice = error.rpartition(" with ")[2].split()
    assert advice == ["--resume", "results/run", "--precision", "float32"]
    assert run("main_arcface.py", *advice)[0] == 0
    assert json.loads(Path("results/run/config.json").read_text())["precision"] == "float32"


def test_a_teacher_of_another_embedding_size_is_one_clear_line(run, drawn_faces):
    write_small_run(Path("teacher"), embedding_size=16)
    code, _, error = run("main_arcface.py", *_options("main_arcface.py", drawn_faces), "--teacher", "teacher")
    assert code == 2
    assert "the teacher's embeddings have 16 values" in error
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("script", "number", "code"), [(SCRIPTS[0], signal.SIGINT, 130), (SCRIPTS[1], signal.SIGTERM, 143)]
)
def test_a_signal_saves_exits_with_its_code_and_the_same_command_goes_on(
    run, drawn_faces, monkeypatch, script, number, code
):
    real, steps = train._step, []

    def step(*arguments):
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), number)
        return real(*arguments)

    monkeypatch.setattr(train, "_step", step)
    left, said, _ = run(script, *_options(script, drawn_faces, epochs=1))
    assert left == code
    assert "saved after epoch 0 and 2 batches of the next; the same command resumes from there" in said
    assert not Path("results/run/log.jsonl").exists()
    monkeypatch.setattr(train, "_step", real)
    code, said, _ = run(script, *_options(script, drawn_faces, epochs=1))
    assert code == 0
    assert "results/run: resuming after epoch 0 and 2 batches of the next" in said
    assert len(_log(Path("results/run"))) == 1


def test_more_identities_than_a_run_was_trained_on_are_refused_on_its_resume(run, broken_faces, interrupt_after):
    interrupt_after(1)
    assert run("main_arcface.py", *_options("main_arcface.py", broken_faces))[0] == 130
    interrupt_after(None)
    _rewrite(broken_faces / "train.csv", lambda f: f.assign(target=f["target"].where(f.index >= 3, "somebody new")))
    code, _, error = run("main_arcface.py", "--resume", "results/run")
    assert code == 2
    assert "other identities" in error and "--resume never" in error
    assert len(_log(Path("results/run"))) == 1


def test_evaluation_faces_may_lie_in_another_folder_than_the_training_faces(run, drawn_faces, one_epoch, tmp_path):
    apart = tmp_path / "apart"
    for name in ("eval_same.csv", "eval_diff.csv", "test.csv"):
        frame = pd.read_csv(drawn_faces / name)
        for path in {*frame["path"], *frame["pair_path"]}:
            (apart / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(drawn_faces / path, apart / path)
        frame.to_csv(apart / name, index=False)
    options = _options("main_arcface.py", drawn_faces, "apart", 1)
    assert run("main_arcface.py", *options, "--eval-root", apart)[0] == 0
    assert Path("results/apart/metrics.json").read_text() == (one_epoch / "metrics.json").read_text()


def test_two_folds_are_a_run_and_the_same_run_with_evaluation_and_test_people_swapped(run, drawn_faces):
    halves = {"first": ("eval_same.csv", "eval_diff.csv"), "second": ("test.csv",)}
    both = drawn_faces / "eval.csv"
    pd.concat([pd.read_csv(drawn_faces / name) for name in halves["first"]]).to_csv(both, index=False)
    options = [
        *_options("main_arcface.py", drawn_faces, "there", 3),
        "--keep-checkpoints",
        3,
        "--checkpoint-minutes",
        0,
    ]
    assert run("main_arcface.py", *options)[0] == 0
    swapped = ["--eval-csvs", "test.csv", "--test-csv", "eval.csv", "--run-name", "back"]
    assert run("main_arcface.py", *options, *swapped)[0] == 0
    both.unlink()
    found = two_folds(TwoFoldSettings(Path("results/there")))
    runs = [json.loads(Path(f"results/{name}/metrics.json").read_text()) for name in ("back", "there")]
    for fold, alone in zip(found["folds"], runs, strict=True):
        assert fold["epoch"] == alone["epoch"]
        for figure in ("threshold", "accuracy", "auc", "eer", "pairs"):
            assert fold[figure] == pytest.approx(alone[figure], abs=1e-6), figure
    right = sum(alone["accuracy"] * alone["pairs"] for alone in runs)
    assert found["accuracy"] == pytest.approx(right / found["pairs"])
    pairs = pd.read_csv("results/there/two_folds.csv")
    judged = (pairs["distance"] <= found["threshold"]) == pairs["same"]
    assert judged.mean() == pytest.approx(found["accuracy"], abs=1e-6)
    assert len(set(pairs["person"]) | set(pairs["pair_person"])) == found["people"] == 8


def test_two_folds_of_the_demo_find_its_drawn_faces(drawn_faces, one_epoch, tmp_path, monkeypatch):
    demo = shutil.copytree(one_epoch, tmp_path / "demo")
    expected = two_folds(TwoFoldSettings(demo))
    config = demo / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"data_root": "builtin", "builtin_people": 24}))
    folders = {(24, 6, 64): drawn_faces}
    monkeypatch.setattr("eval.two_folds.halves.built_in_faces", lambda *asked: folders[asked])
    assert two_folds(TwoFoldSettings(demo))["auc"] == expected["auc"]


def test_two_folds_of_a_run_that_has_not_kept_its_epochs_are_refused(run, drawn_faces):
    assert run("main_arcface.py", *_options("main_arcface.py", drawn_faces, "forgetful", 3))[0] == 0
    with pytest.raises(InputError, match="no checkpoint of 1 epochs.*--keep-checkpoints 3"):
        two_folds(TwoFoldSettings(Path("results/forgetful")))


@pytest.fixture
def broken_faces(drawn_faces, tmp_path):
    """A copy of the drawn faces to spoil."""
    return shutil.copytree(drawn_faces, tmp_path / "broken")


def _rewrite(csv, change):
    frame = pd.read_csv(csv)
    change(frame).to_csv(csv, index=False)


def _missing_images(folder):
    for path in pd.read_csv(folder / "train.csv")["path"][:12]:
        (folder / path).unlink()


def _one_image_each(folder):
    _rewrite(folder / "train.csv", lambda f: f.drop_duplicates("target"))


SPOILED = {
    "no train csv": (lambda d: (d / "train.csv").unlink(), "train.csv is not there"),
    "no pair csv": (lambda d: (d / "eval_diff.csv").unlink(), "eval_diff.csv is not there"),
    "a missing column": (lambda d: _rewrite(d / "train.csv", lambda f: f.drop(columns="target")), "lacks the column"),
    "an empty csv": (lambda d: _rewrite(d / "test.csv", lambda f: f[:0]), "no rows"),
    "one identity": (lambda d: _rewrite(d / "train.csv", lambda f: f[f.target == f.target[0]]), "one identity only"),
    "missing images": (_missing_images, "12 images are not under"),
    "a path outside": (
        lambda d: _rewrite(d / "test.csv", lambda f: f.assign(path="../" + f["path"])),
        "leaves the data folder",
    ),
    "another crop": (
        lambda d: (d / "dataset.json").write_text('{"crop": "mtcnn_box", "size": 64}'),
        "cropped as mtcnn_box",
    ),
    "one kind of pairs": (
        lambda d: shutil.copy(d / "eval_same.csv", d / "eval_diff.csv"),
        "all pairs are same-person pairs",
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("spoil", SPOILED)
def test_bad_data_is_one_clear_line_and_leaves_no_run(run, broken_faces, script, spoil):
    change, said = SPOILED[spoil]
    change(broken_faces)
    code, _, error = run(script, *_options(script, broken_faces))
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("script", "options", "said"),
    [
        ("main_arcface.py", ["--backbone", "resnet1"], "inception_resnet_v1"),
        ("main_arcface.py", ["--preset", "modle1"], "did you mean model1"),
        ("main_arcface.py", ["--resume", "results/none"], "results/none"),
        (
            "main_arcface.py",
            ["--backbone", "mobilefacenet", "--embedding-size", 128, "--pooling", "backbone", "--pretrained", "no.pt"],
            "no.pt",
        ),
        ("main_arcface.py", ["--backbone", "mobilefacenet", "--embedding-size", 128], "112"),
        ("main_arcface.py", ["--data-root", "nowhere"], "nowhere"),
        ("main_arcface.py", ["--gpus", 99], "gpus are 99"),
        ("main_arcface.py", ["--accumulate-steps", 5], "accumulate_steps is 5"),
        ("main_triplet.py", ["--margin", "2"], "margin"),
        ("main_triplet.py", ["--people-per-batch", "7"], "has 6 identities"),
    ],
)
def test_bad_settings_are_one_clear_line_and_leave_no_run(run, drawn_faces, script, options, said):
    code, _, error = run(script, *_options(script, drawn_faces), *options)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not Path("results").exists()


def test_an_identity_with_one_image_is_refused_under_pk(run, broken_faces):
    _one_image_each(broken_faces)
    code, _, error = run("main_triplet.py", *_options("main_triplet.py", broken_faces))
    assert code == 2
    assert "6 identities have one image only" in error


def test_unreadable_images_are_named_and_stop_the_run_past_the_share(run, broken_faces):
    path = pd.read_csv(broken_faces / "train.csv")["path"][0]
    (broken_faces / path).write_bytes(b"no image at all")
    options = _options("main_arcface.py", broken_faces, epochs=1)
    code, _, error = run("main_arcface.py", *options, "--max-unreadable", 0)
    assert code == 2
    assert path in error
    code, said, _ = run("main_arcface.py", *options, "--max-unreadable", 0.2, "--run-name", "second")
    assert code == 0
    assert f"unreadable image left out: {path}" in said
    assert _log(Path("results/second"))[0]["unreadable"] == 1


def test_pairs_of_unreadable_images_are_left_out_and_counted(run, broken_faces):
    test = pd.read_csv(broken_faces / "test.csv")
    lost = test["path"][0]
    (broken_faces / lost).write_bytes(b"")
    code, said, _ = run("main_arcface.py", *_options("main_arcface.py", broken_faces, epochs=1))
    assert code == 0
    with_it = int(((test["path"] == lost) | (test["pair_path"] == lost)).sum())
    metrics = json.loads(Path("results/run/metrics.json").read_text())
    assert (metrics["lost_pairs"], metrics["pairs"]) == (with_it, len(test) - with_it)
    assert f"{with_it} pairs left out" in said


def test_faulty_pairs_are_left_out_and_named_in_the_report(run, broken_faces):
    test = pd.read_csv(broken_faces / "test.csv", dtype=str)
    itself = test.iloc[[0]].assign(pair_path=test["path"][0], pair_target=test["target"][0])
    faulty = [test, test.iloc[[0]], itself, test.iloc[[1]].assign(target=None)]
    pd.concat(faulty).to_csv(broken_faces / "test.csv", index=False)
    code, said, _ = run("main_arcface.py", *_options("main_arcface.py", broken_faces, epochs=1))
    assert code == 0
    assert "test pairs left out: 1 × empty field" in said
    metrics = json.loads(Path("results/run/metrics.json").read_text())
    reasons = {"empty field": 1, "an image with itself": 1, "a pair listed before": 1}
    assert (metrics["pairs"], metrics["left_out"]) == (len(test), {"evaluation": {}, "test": reasons})
    report = Path("results/run/report.html").read_text()
    assert all(reason in report for reason in reasons) and f"test.csv line {len(test) + 2}" in report


def test_a_results_folder_that_cannot_be_written_is_said(run, drawn_faces):
    Path("results").write_text("a file in the way")
    code, _, error = run("main_arcface.py", *_options("main_arcface.py", drawn_faces))
    assert code == 2
    assert "can't write results" in error


def test_the_same_command_again_goes_on_with_what_is_unfinished_and_leaves_what_is_finished(
    run, drawn_faces, interrupt_after
):
    """In date-named folders, as without --run-name."""
    options = _options("main_arcface.py", drawn_faces, name="")
    interrupt_after(1)
    assert run("main_arcface.py", *options)[0] == 130
    (first,) = Path("results").iterdir()
    interrupt_after(0)
    assert run("main_arcface.py", *options, "--seed", 1)[0] == 130  # other settings: another run
    interrupt_after(None)
    (second,) = set(Path("results").iterdir()) - {first}
    assert len(_log(first)) == 1 and not (second / "log.jsonl").exists()
    code, said, _ = run("main_arcface.py", *options, "--checkpoint-minutes", 1)
    assert code == 0
    assert f"{first} is unfinished" in said
    assert len(_log(first)) == 2
    finished = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    interrupt_after(0)
    assert run("main_arcface.py", *options)[0] == 130
    assert len(set(Path("results").iterdir()) - {first, second}) == 1
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == finished


def test_a_run_name_that_is_taken_is_not_overwritten(run, drawn_faces):
    Path("results/run").mkdir(parents=True)
    code, _, error = run("main_arcface.py", *_options("main_arcface.py", drawn_faces))
    assert code == 2
    assert "--resume" in error
    assert list(Path("results/run").iterdir()) == []


def test_resuming_with_another_architecture_or_a_damaged_checkpoint_is_said(run, one_epoch):
    shutil.copytree(one_epoch, "results/run")
    before = Path("results/run/config.json").read_text()
    code, _, error = run("main_arcface.py", "--resume", "results/run", "--backbone", "timm:resnet10t")
    assert code == 2
    assert "another architecture" in error
    assert Path("results/run/config.json").read_text() == before
    for checkpoint in Path("results/run").rglob("*.pt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    code, said, error = run("main_arcface.py", "--resume", "results/run")
    assert code == 2
    assert "is damaged" in said
    assert "no checkpoint in results/run/checkpoints is intact" in error


def test_a_resumed_run_follows_changed_settings(run, one_epoch):
    shutil.copytree(one_epoch, "results/run")
    more = ["--epochs", 2, "--schedule", "constant", "--lr", 0.0123, "--batch-size", 7]
    assert run("main_arcface.py", "--resume", "results/run", *more)[0] == 0
    first, second = _log(Path("results/run"))
    assert first == _log(one_epoch)[0]
    assert second["lr"] == pytest.approx(0.0123)
    config = json.loads(Path("results/run/config.json").read_text())
    assert (config["settings"]["batch_size"], config["ended"]) == (7, "finished")


def test_packs_serve_in_place_of_csvs_and_a_corrupt_image_in_one_is_counted(run, drawn_faces):
    here = Path("packs")
    for name in ("train", "eval_same", "eval_diff", "test"):
        pack_csv(drawn_faces / f"{name}.csv", here / f"{name}.pack", root=drawn_faces)
    content = bytearray((here / "train.pack").read_bytes())
    content[HEADER_BYTES + 100] ^= 1
    (here / "train.pack").write_bytes(content)
    options = _options("main_arcface.py", here, epochs=1)
    options += ["--train-csv", "train.pack", "--test-csv", "test.pack", "--cache", "memory"]
    options += ["--eval-csvs", "eval_same.pack", "eval_diff.pack"]
    code, said, error = run("main_arcface.py", *options)
    assert code == 2
    assert "1 training images of this epoch can't be read" in error and "train.pack, bytes 65,536 to" in error
    code, said, _ = run("main_arcface.py", *options, "--max-unreadable", 0.05, "--run-name", "lenient")
    assert code == 0
    assert "1 images unreadable" in said
    assert _log(Path("results/lenient"))[0]["unreadable"] == 1

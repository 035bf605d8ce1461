"""python -m eval.verify end to end, with a network whose distances are known by hand."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eval import verify as command
from models import trained_model
from runtime.checkpoints.file import save_checkpoint
from tests.processes import ROOT

SETTINGS = {"backbone": "stub", "embedding_size": 3, "pooling": "average", "dropout": 0.0, "image_size": 8}
PREPROCESSING = {"size": 8, "crop": "arcface5", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
# Mean colours of the faces; their embeddings are the colours' directions, so each distance is an angle's chord.
FACES = {"anna/1.png": (200, 0, 0), "anna/2.png": (200, 20, 0), "bert/1.png": (0, 200, 0), "bert/2.png": (150, 150, 0)}
PAIRS = [("anna/1.png", "anna/2.png", 1), ("bert/1.png", "bert/2.png", 1)]
PAIRS += [("anna/1.png", "bert/1.png", 0), ("anna/2.png", "bert/2.png", 0)]


class MeanColour(nn.Module):
    """(B, 3, H, W) → the direction of the mean colour; one parameter, so that there is something to load."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return nn.functional.normalize(self.scale * x.mean((2, 3)))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder of faces, a pair CSV, a run folder with best.pt; build_model gives the stub."""
    for path, colour in FACES.items():
        target = tmp_path / "faces" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), np.full((8, 8, 3), colour[::-1], np.uint8))
    write_pairs(tmp_path / "pairs.csv", PAIRS)
    (tmp_path / "run").mkdir()
    write_checkpoint(tmp_path / "run" / "best.pt")
    built = []
    monkeypatch.setattr(trained_model, "build_model", lambda *a, **k: built.append(MeanColour()) or built[-1])
    monkeypatch.chdir(tmp_path)
    return built


def write_pairs(path, pairs):
    path.write_text("path,pair_path,same\n" + "".join(f"{a},{b},{s}\n" for a, b, s in pairs))


def write_checkpoint(path, **changes):
    content = {"model": MeanColour().state_dict(), "settings": SETTINGS, "preprocessing": PREPROCESSING}
    content |= {"threshold": 0.5, "threshold_metric": "balanced_accuracy", "epoch": 7, **changes}
    save_checkpoint(path, {k: x for k, x in content.items() if x is not None})


def run(*arguments: str, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["verify", *arguments, "--workers", "0", "--device", "cpu"])
    try:
        with command.one_line_errors():
            command.main()
    except SystemExit as end:
        return end.code
    return 0


def chord(a, b) -> float:
    a, b = (np.array(FACES[x], float) / np.linalg.norm(FACES[x]) for x in (a, b))
    return float(np.linalg.norm(a - b))


def test_figures_of_a_run_folder_are_printed_and_written(world, tmp_path, monkeypatch, capsys):
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())
    distances = [chord(a, b) for a, b, _ in PAIRS]
    assert [round(d, 2) for d in distances] == [0.1, 0.77, 1.41, 0.67]
    assert written["threshold"] == 0.5
    assert written["threshold_source"] == "balanced_accuracy on the evaluation pairs, epoch 7"
    assert written["confusion_matrix"] == [[1, 1], [0, 2]]
    assert written["accuracy"] == 0.75
    assert written["auc"] == 0.75  # only 0.77 (same) against 0.67 (different) is the wrong way round
    assert written["classification_report"]["same"]["precision"] == 1
    out = capsys.readouterr().out
    assert "4 pairs of 4 images" in out
    assert "75.00 %" in out and "threshold 0.5000" in out and "too few pairs" in out


def test_each_distinct_image_is_embedded_once_and_twice_with_mirror(world, tmp_path, monkeypatch):
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    assert run("run", "pairs.csv", "--root", "faces", "--mirror", monkeypatch=monkeypatch) == 0
    assert [model.seen for model in world] == [4, 8]


def test_a_given_threshold_goes_before_the_stored_one(world, tmp_path, monkeypatch):
    arguments = ("run/best.pt", "pairs.csv", "--root", "faces", "--threshold", "0.7", "--out", "figures.json")
    assert run(*arguments, monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "figures.json").read_text())
    assert (written["threshold"], written["threshold_source"], written["accuracy"]) == (0.7, "given", 0.5)


def test_without_a_threshold_none_is_applied_and_that_is_said(world, tmp_path, monkeypatch, capsys):
    write_checkpoint(tmp_path / "run" / "best.pt", threshold=None)
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())
    assert written["accuracy"] is None and written["confusion_matrix"] is None and written["auc"] == 0.75
    assert "no threshold was applied" in capsys.readouterr().out


def test_the_stored_threshold_for_a_false_accept_rate_is_taken(world, tmp_path, monkeypatch, capsys):
    stored = {"all pairs": {"balanced": 0.5, "1e-1": 0.6}}
    write_checkpoint(tmp_path / "run" / "best.pt", history=[{"epoch": 7, "thresholds": stored}])
    assert run("run", "pairs.csv", "--root", "faces", "--far", "1e-1", monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())
    assert (written["threshold"], written["threshold_source"]) == (0.6, "FAR 1e-1 on the evaluation pairs")
    assert run("run", "pairs.csv", "--root", "faces", "--far", "1e-3", monkeypatch=monkeypatch) == 2
    assert "no threshold for FAR 1e-3 (it has: 1e-1)" in capsys.readouterr().err


def test_the_mirror_of_the_run_is_kept_and_another_one_is_said(world, tmp_path, monkeypatch, capsys):
    write_checkpoint(tmp_path / "run" / "best.pt", settings={**SETTINGS, "mirror": True})
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "run" / "verify_pairs.json").read_text())["mirror"] is True
    assert world[-1].seen == 8 and "without the mirror" not in capsys.readouterr().out
    write_checkpoint(tmp_path / "run" / "best.pt")
    assert run("run", "pairs.csv", "--root", "faces", "--mirror", monkeypatch=monkeypatch) == 0
    assert "the threshold was chosen without the mirror" in capsys.readouterr().out


def test_faulty_rows_are_left_out_counted_and_named(world, tmp_path, monkeypatch, capsys):
    write_pairs(tmp_path / "pairs.csv", [*PAIRS, PAIRS[0], ("anna/1.png", "anna/1.png", 1), ("", "anna/1.png", 1)])
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())
    assert written["pairs"] == 4 and written["accuracy"] == 0.75
    assert written["left_out"] == {"empty field": 1, "an image with itself": 1, "a pair listed before": 1}
    out = capsys.readouterr().out
    assert "3 pairs left out" in out and "1 × an image with itself (the first: pairs.csv line 7)" in out
    named = pd.read_csv(tmp_path / "run" / "verify_pairs_left_out.csv")
    assert sorted(named["line"]) == [6, 7, 8]
    write_pairs(tmp_path / "pairs.csv", PAIRS)
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    assert not (tmp_path / "run" / "verify_pairs_left_out.csv").exists()


def test_masks_are_reported_apart(world, tmp_path, monkeypatch, capsys):
    kinds = ("N95", "cloth", "N95", "cloth")
    rows = [f"{a},{b},{s},0,1,,{kind}" for (a, b, s), kind in zip(PAIRS, kinds, strict=True)]
    header = "path,pair_path,same,masked,pair_masked,mask_kind,pair_mask_kind\n"
    (tmp_path / "pairs.csv").write_text(header + "\n".join(rows))
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    by_mask = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())["by_mask"]
    assert {kind: part["accuracy"] for kind, part in by_mask.items()} == {"N95": 1.0, "cloth": 0.5}
    assert re.search(r"all pairs +N95 +cloth", capsys.readouterr().out)


def test_sizes_of_the_faces_are_reported_apart(world, tmp_path, monkeypatch, capsys):
    sides = ("100,23.9", "40,59", "24,200", "130,")
    rows = [f"{a},{b},{s},{both}" for (a, b, s), both in zip(PAIRS, sides, strict=True)]
    (tmp_path / "pairs.csv").write_text("path,pair_path,same,face_side,pair_face_side\n" + "\n".join(rows))
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    by_size = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())["by_size"]
    # The smaller face of a pair counts; where one is not known the pair is in the table of all pairs alone.
    found = {name: (part["pairs"], part["accuracy"]) for name, part in by_size.items()}
    assert found == {"under 24 px": (1, 1.0), "24–39 px": (1, 1.0), "40–59 px": (1, 0.0)}
    assert re.search(r"all pairs +under 24 px +24–39 px +40–59 px", capsys.readouterr().out)


def test_a_side_that_is_no_number_of_pixels_is_one_line(world, tmp_path, monkeypatch, capsys):
    rows = "anna/1.png,anna/2.png,1,50,50\nanna/1.png,bert/1.png,0,50,large\n"
    (tmp_path / "pairs.csv").write_text("path,pair_path,same,face_side,pair_face_side\n" + rows)
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 2
    assert "pairs.csv, line 3: pair_face_side must be pixels above 0, or empty, not 'large'" in capsys.readouterr().err


def test_conditions_are_reported_apart(world, tmp_path, monkeypatch):
    rows = [f"{a},{b},{s},0,{i % 2}" for i, (a, b, s) in enumerate(PAIRS)]
    (tmp_path / "pairs.csv").write_text("path,pair_path,same,masked,pair_masked\n" + "\n".join(rows))
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    by_condition = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())["by_condition"]
    assert {name: f["accuracy"] for name, f in by_condition.items()} == {"plain-plain": 1.0, "plain-masked": 0.5}


def test_pairs_with_an_unreadable_image_are_left_out_and_counted(world, tmp_path, monkeypatch, capsys):
    (tmp_path / "faces" / "bert" / "2.png").write_bytes(b"no image")
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    written = json.loads((tmp_path / "run" / "verify_pairs.json").read_text())
    assert (written["lost_pairs"], written["pairs"], written["accuracy"]) == (2, 2, 1.0)
    out = capsys.readouterr().out
    assert "1 image can't be read (bert/2.png): 2 pairs left out" in out


def test_faces_of_the_stated_crop_are_taken_and_others_refused(world, tmp_path, monkeypatch, capsys):
    card = tmp_path / "faces" / "dataset.json"
    card.write_text(json.dumps({"crop": "arcface5", "size": 8}))
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 0
    assert "no dataset.json" not in capsys.readouterr().out
    card.write_text(json.dumps({"crop": "mtcnn_box", "size": 8}))
    assert run("run", "pairs.csv", "--root", "faces", "--out", "none.json", monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert "the faces in faces were cropped as mtcnn_box, but arcface5 crops are needed; prepare" in error
    assert not (tmp_path / "none.json").exists()
    assert world[-1].seen == 0  # refused before the first image


def test_missing_images_are_listed(world, tmp_path, monkeypatch, capsys):
    write_pairs(tmp_path / "pairs.csv", [*PAIRS, ("anna/1.png", "carl/1.png", 0)])
    assert run("run", "pairs.csv", "--root", "faces", monkeypatch=monkeypatch) == 2
    assert "1 images are not under faces: carl/1.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no checkpoint"),
        (("damaged.pt",), "damaged"),
        (("other.pt",), "of another architecture"),
        (("bare.pt",), "lacks settings, preprocessing"),
        (("weights.safetensors",), "damaged"),
        (("weights.safetensors", "--backbone", "seresnext101"), "damaged"),
        (("imagenet", "--backbone", "seresnext101"), "no published face weights"),
        (("run", "--out", "no/such/folder/x.json"), "can't write"),
    ],
)
def test_bad_models_end_in_one_line(world, tmp_path, monkeypatch, capsys, arguments, words):
    (tmp_path / "damaged.pt").write_bytes((tmp_path / "run" / "best.pt").read_bytes()[:300])
    write_checkpoint(tmp_path / "other.pt", model={"weight": torch.ones(2)})
    write_checkpoint(tmp_path / "bare.pt", settings=None, preprocessing=None)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    name, *options = arguments
    assert run(name, "pairs.csv", "--root", "faces", *options, monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*.json"))


def test_a_real_network_from_its_checkpoint(tmp_path):
    """No stub: the figures of a saved MobileFaceNet are those of the network itself."""
    settings = {
        **SETTINGS,
        "backbone": "mobilefacenet",
        "embedding_size": 128,
        "pooling": "backbone",
        "image_size": 112,
    }
    torch.manual_seed(0)
    model = trained_model.build_model(pretrained="none", **settings).eval()
    faces = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
    for number, face in enumerate(faces):
        cv2.imwrite(str(tmp_path / f"{number}.png"), face[:, :, ::-1])
    write_pairs(tmp_path / "pairs.csv", [("0.png", "1.png", 1), ("2.png", "3.png", 0)])
    preprocessing = {"size": 112, "crop": "arcface5", "mean": [0.5] * 3, "std": [0.5] * 3}
    x = torch.from_numpy(faces).permute(0, 3, 1, 2) / 255 * 2 - 1
    with torch.no_grad():
        a, b, c, d = model(x)
    same, different = (a - b).norm().item(), (c - d).norm().item()
    threshold = (same + different) / 2  # whichever is larger: both pairs are judged rightly, or both wrongly
    content = {"model": model.state_dict(), "settings": settings, "preprocessing": preprocessing}
    save_checkpoint(tmp_path / "m.pt", {**content, "threshold": threshold, "epoch": 1})
    wanted = command.VerifySettings(str(tmp_path / "m.pt"), tmp_path / "pairs.csv", tmp_path, workers=0, device="cpu")
    assert command.verify(wanted)["accuracy"] == float(same < different)


def test_the_shell_sees_one_line_and_an_exit_code(tmp_path):
    """As a process of its own, from the root of the repository."""
    command_line = [sys.executable, "-m", "eval.verify", "nowhere", "pairs.csv", "--root", str(tmp_path)]
    ended = subprocess.run(command_line, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there is no checkpoint nowhere") and ended.stderr.count("\n") == 1

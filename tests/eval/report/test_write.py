"""report.html of a healthy, a collapsed, a one-epoch and a perfect run: what it says, and that it stands alone."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from data.tables.pair_csv import read_pair_csvs
from eval.report.__main__ import ReportSettings
from eval.report.write import write_report
from runtime.errors import InputError
from runtime.training.collapse import ADVICE


class Text(HTMLParser):
    """The text of a page, and whatever a browser would ask for."""

    def __init__(self, page: str):
        super().__init__()
        self.words: list[str] = []
        self.asked: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)
        self.asked += [value for name, value in attributes if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # every tag is closed in its turn

    def handle_data(self, data):
        self.words.append(data.strip())


def read(run: Path) -> Text:
    text = Text((run / "report.html").read_text())
    assert text.open == []
    return text


def words(run: Path) -> str:
    return " | ".join(word for word in read(run).words if word)


def test_the_report_has_every_part_and_the_figures_of_the_run(finished_runs):
    run = finished_runs["healthy"]
    found, metrics = words(run), json.loads((run / "metrics.json").read_text())
    low, high = metrics["intervals"]["accuracy"]
    for text in (
        "healthy", "made-up", f"{metrics['accuracy'] * 100:.1f} % of 600 test pairs are classified correctly",
        f"{metrics['accuracy'] * 100:.2f} % | ({low * 100:.1f}–{high * 100:.1f})", "plain-masked", "too few pairs",
        "By mask", "cloth", "Confusion matrix", "FAR 1e-1 (10 %)", "Thresholds", "Worst pairs", "Training",
        "Settings", "Environment", "torch", "a pair listed before", "y<b>.jpg", "test.csv line 7",
    ):  # fmt: skip
        assert text in found, text
    for row in metrics["confusion_matrix"]:
        shares = [f"({count / sum(row) * 100:.1f} %)" for count in row]
        assert f"| {row[0]} | {shares[0]} | {row[1]} | {shares[1]} |" in found
    pictures = [asked for asked in read(run).asked if asked.startswith("data:image/png;base64,")]
    assert len(pictures) == 3 + 2 + 2 + 2  # test, worst pairs, curves, distances of the first epoch and of the one kept


def test_nothing_is_asked_of_any_network_and_nothing_runs(finished_runs):
    run = finished_runs["healthy"]
    assert all(asked.startswith("data:") for asked in read(run).asked)
    page = (run / "report.html").read_text()
    assert "<script" not in page and "@import" not in page and not re.search(r"url\(|https?://", page)
    assert "default-src 'none'" in page


def test_the_verdict_of_a_healthy_run_says_what_masks_cost(finished_runs):
    run = finished_runs["healthy"]
    found, metrics = words(run), json.loads((run / "metrics.json").read_text())
    parts = metrics["by_condition"]
    points = (parts["plain-plain"]["accuracy"] - parts["masked-masked"]["accuracy"]) * 100
    assert points > 3
    assert re.search(
        rf"masked-masked costs {points:.1f} points against plain \(95 % interval \d+\.\d to \d+\.\d\)", found
    )
    (_, rejected), (accepted, _) = metrics["confusion_matrix"]
    assert f"% of the {rejected + accepted} errors are" in found
    assert "At a threshold that accepts 10 % of the different-person pairs (FAR)" in found
    assert "Left out and named below: 1 test pair." in found
    assert "2 epochs, 200 images seen" in found


def test_the_report_of_a_collapsed_run_says_so_first(finished_runs):
    found = words(finished_runs["collapsed"])
    verdict = found[: found.index("| Test |")]
    assert re.search(
        r"\| The embeddings have collapsed .*say nothing about masks\. \| .*no better than chance\.", verdict
    )
    assert f"What may help: {ADVICE}." in verdict and "Training stopped early because of that." in verdict
    assert "costs" not in found and "At a threshold that accepts" not in found


def test_the_report_of_a_perfect_run_says_that_the_test_is_too_easy(finished_runs):
    found = words(finished_runs["perfect"])
    assert "100.0 % of 600 test pairs are classified correctly (too few errors for an interval)." in found
    assert "With 30 people the actual share of errors may still be 10.0 %." in found
    assert "No errors: the test is too easy" in found
    assert "errors are" not in found and "chance." not in found
    # Resampling can't tell how certain "no errors" is.
    assert "100.00 % | (–)" in found and "(–): too few errors for an interval" in found


def test_the_report_of_one_epoch_judges_no_trend(finished_runs):
    found = words(finished_runs["perfect"])
    assert "Trained for one epoch only" in found and "1 epoch, 100 images seen" in found
    assert "Distances of the evaluation pairs, the epoch kept" in found and "first epoch" not in found


def test_few_people_are_said_where_the_intervals_would_be(finished_runs, tmp_path):
    run = shutil.copytree(finished_runs["healthy"], tmp_path / "few")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "people": 6, "intervals": None}))
    write_report(run)
    found = words(run)
    assert "They show 6 people: too few to say how certain any result is." in found
    assert "No 95 % intervals: they need at least 10 people." in found and "In brackets" not in found


def test_a_run_of_an_older_version_has_a_report_of_what_it_has(finished_runs, tmp_path):
    run = shutil.copytree(finished_runs["healthy"], tmp_path / "old")
    metrics = json.loads((run / "metrics.json").read_text())
    new = {"intervals", "people", "by_mask", "operating_points", "left_out", "precision", "recall", "f1", "mirror"}
    keep = {key: value for key, value in metrics.items() if key not in new}
    keep["by_condition"] = {
        name: {key: value for key, value in part.items() if key not in new}
        for name, part in keep["by_condition"].items()
    }
    (run / "metrics.json").write_text(json.dumps(keep))
    for name in ("roc", "det", "distances_by_condition", "worst_pairs"):
        (run / f"{name}.png").unlink()
    write_report(run)
    assert f"{metrics['accuracy'] * 100:.2f} %" in words(run)


def test_the_pairs_of_the_test_are_in_a_csv_that_serves_as_a_pair_csv(finished_runs):
    run = finished_runs["healthy"]
    metrics = json.loads((run / "metrics.json").read_text())
    frame = pd.read_csv(run / "test_pairs.csv")
    right = (frame["distance"] <= metrics["threshold"]) == (frame["same"] == 1)
    assert right.mean() == pytest.approx(metrics["accuracy"], abs=1 / len(frame))
    assert (frame["same"] == (frame["person"] == frame["pair_person"])).all()
    again = read_pair_csvs([run / "test_pairs.csv"])
    assert len(again.same) + len(again.left_out) == len(frame)


def test_the_worst_pairs_are_drawn_and_left_out_pairs_are_named(finished_runs):
    run = finished_runs["healthy"]
    assert (run / "worst_pairs.png").stat().st_size > 10_000
    frame = pd.read_csv(run / "left_out_pairs.csv")
    assert frame[["list", "csv", "line", "reason"]].values.tolist() == [["test", "test.csv", 7, "a pair listed before"]]


def test_the_metrics_of_a_run_name_no_face(finished_runs):
    run = finished_runs["healthy"]
    for name in ("metrics.json", "log.jsonl", "config.json"):
        assert "somebody_" not in (run / name).read_text()


@pytest.mark.parametrize("lacking", ["config.json", "metrics.json", "log.jsonl"])
def test_a_folder_that_is_no_tested_run_is_said(finished_runs, tmp_path, lacking):
    run = shutil.copytree(finished_runs["perfect"], tmp_path / "run")
    (run / lacking).unlink()
    with pytest.raises(InputError, match=f"has no {lacking}"):
        write_report(run)


def test_the_command_takes_several_runs():
    assert ReportSettings((Path("a"), Path("b"))).runs == (Path("a"), Path("b"))


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: the report is not opened in a browser")
@pytest.mark.parametrize(("width", "dark"), [(1000, False), (390, True)])
def test_a_browser_opens_the_report_without_a_word_of_complaint(finished_runs, tmp_path, width, dark):
    # A frame of the phone's width: a headless window is never narrower than 500 pixels.
    probe = tmp_path / "probe.html"
    report = (finished_runs["healthy"] / "report.html").as_uri()
    probe.write_text(
        f"<iframe id=f src='{report}' style='width:{width}px;height:600px;border:0'></iframe>"
        "<script>onload=()=>{const d=document.getElementById('f').contentDocument;"
        "const images=[...d.images];document.body.dataset.seen=JSON.stringify({"
        "wide:d.documentElement.scrollWidth,images:images.length,"
        "broken:images.filter(i=>!i.complete||!i.naturalWidth).length,"
        "fit:d.querySelector('img.plot').width<=d.documentElement.clientWidth,"
        "larger:(i=>(i.click(),i.width))(d.querySelector('img.plot')),"
        "wideAfter:d.documentElement.scrollWidth,"
        "tallest:Math.max(...[...d.querySelector('tbody').rows].map(row=>row.offsetHeight)),"
        "paper:getComputedStyle(d.body).backgroundColor})}</script>"
    )
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    arguments += [
        "--enable-logging=stderr",
        "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000",
    ]
    if dark:
        arguments.append("--blink-settings=preferredColorScheme=0")
    command = [CHROMIUM, *arguments, probe.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seen = json.loads(re.search(r'data-seen="([^"]*)"', ended.stdout)[1].replace("&quot;", '"'))
    assert "CONSOLE" not in ended.stderr
    assert seen["images"] == 9 and seen["broken"] == 0
    assert seen["wide"] <= width and seen["wideAfter"] <= width and seen["fit"]
    assert seen["tallest"] < 70  # no name is broken into letters
    assert (seen["larger"] > width) is (width < 500)  # a tap on a phone
    assert (seen["paper"] == "rgb(255, 255, 255)") is not dark

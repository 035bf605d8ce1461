"""The page's tables from a hand-made answer."""

import json

import pytest

from runtime.errors import InputError
from study.marked_tables import rewrite
from study.page import fill
from study.plot import draw_answer

PAGE = "Before.\n<!-- table masks -->\nold\n<!-- end -->\nAfter.\n"
BY_MASK = "<!-- table masks by mask -->\nold\n<!-- end -->\n"


def _parts(accuracy):
    return dict.fromkeys(("plain-plain", "plain-masked", "masked-masked"), accuracy)


def _arm(name, accuracies, stopped=None):
    return {
        "name": name,
        "seeds": [0, 1],
        "images_seen": 51200,
        "minutes": [2.0, 3.4],
        "hardware": ["a GPU", "a CPU"],
        "collapsed": [None, stopped],
        "accuracy": _parts(accuracies),
        "by_mask": {"n95": accuracies, "cloth": [0.5, 0.5]},
        "errors_removed": _parts({"mean": 1 - (1 - sum(accuracies) / 2) / 0.1, "interval": [0.61, 0.92]}),
    }


def _collapsed_arm(name):
    """As an arm of which no seed has an epoch."""
    nothing = {"accuracy": {}, "by_mask": {}, "errors_removed": {}, "minutes": [], "hardware": []}
    collapsed = {"collapsed": ["all faces look the same"] * 2, "images_seen": None}
    return {"name": name, "seeds": [0, 1], **collapsed, **nothing}


@pytest.fixture
def answers(tmp_path):
    difference = {"first": "fresh", "second": "once", "pairs": "masked-masked", "figure": "accuracy"}
    answer = {
        "asks": "Once or fresh?",
        "pairs": 3000,
        "people": 100,
        "untouched": {name: {"accuracy": value} for name, value in _parts(0.9).items()},
        "by_mask": {"n95": 0.91, "cloth": 0.92},
        "arms": [_arm("fresh", [0.97, 0.99]), _arm("once", [0.94, 0.96], "the embeddings have collapsed")],
        "lowest_iou": ["fresh", "once"],
        "chosen": None,
        "differences": [
            difference | {"difference": 0.01, "low": -0.01, "high": 0.02, "p": 0.5, "pairs": "plain-plain"},
            difference | {"difference": 0.03, "low": 0.01, "high": 0.05, "p": 0.002},
        ],
    }
    (tmp_path / "masks.json").write_text(json.dumps(answer))
    return tmp_path


def test_a_table_has_means_and_deviations_over_seeds_and_differences_from_the_baseline(answers):
    lines = fill(PAGE, answers).splitlines()
    assert (lines[0], lines[-1]) == ("Before.", "After.")
    untouched, fresh, once = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[6:9])
    assert untouched[3:6] == ["90.00 %"] * 3
    # The deviation of two values is their distance by √2.
    assert fresh == ["fresh (baseline)", "2", "51,200", *["98.00 ± 1.41 %"] * 3, "80 %, 80 %", "", ""]
    assert once[0] == "once (1 of 2 stopped early)"
    # The difference of plain-plain pairs has no column; that of plain-masked pairs was not computed.
    assert once[-2:] == ["", "-3.00 (-5.0 to -1.0)"]


def test_a_table_by_mask_has_a_column_a_mask(answers):
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in fill(BY_MASK, answers).splitlines()]
    start = lines.index(["pairs with this mask", "cloth", "n95"])
    assert lines[start + 2 : -1] == [
        ["pretrained, no fine-tuning", "92.00 %", "91.00 %"],
        ["fresh", "50.00 ± 0.00 %", "98.00 ± 1.41 %"],
        ["once", "50.00 ± 0.00 %", "95.00 ± 1.41 %"],
    ]


def _changed(answers, change):
    path = answers / "masks.json"
    answer = json.loads(path.read_text())
    change(answer)
    path.write_text(json.dumps(answer))


def test_an_arm_that_collapsed_before_it_had_an_epoch_has_a_row_without_figures(answers):
    _changed(answers, lambda answer: answer["arms"].append(_collapsed_arm("the original's")))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in fill(PAGE, answers).splitlines()]
    assert ["the original's (2 of 2 stopped early)", "2", "< 1 epoch", *["–"] * 4, "", ""] in rows
    panel = draw_answer(json.loads((answers / "masks.json").read_text())).axes[0]
    assert [(text.get_text(), text.get_position()[1]) for text in panel.texts] == [("collapsed", 2)]


def test_errors_removed_have_a_column_only_where_an_arm_removes_some(answers):
    assert "| errors removed, plain-masked and masked-masked |" in fill(PAGE, answers)

    def more_errors(answer):
        for arm in answer["arms"]:
            arm["errors_removed"] = _parts({"mean": -3.1, "interval": None})

    _changed(answers, more_errors)
    text = fill(PAGE, answers)
    assert "errors removed" not in text
    assert len({line.count("|") for line in text.splitlines() if "51,200" in line or "pretrained, " in line}) == 1


def test_a_condition_in_which_the_pretrained_network_makes_no_error_has_no_share_removed(answers):
    _changed(answers, lambda answer: answer["arms"][0]["errors_removed"].pop("plain-masked"))
    assert "| –, 80 % |" in fill(PAGE, answers)


def test_the_page_says_what_each_half_chose_and_what_that_is_worth_on_the_other(answers):
    assert "Best by IOU: `fresh` on the first half of the people, `once` on the second." in fill(PAGE, answers)
    assert "Hardware: a GPU, 2 min per run; a CPU, 3 min per run." in fill(PAGE, answers)
    _changed(answers, lambda answer: answer.update(lowest_iou=["once", "once"]))
    assert "Best by IOU: `once`, on both halves of the people." in fill(PAGE, answers)
    share = {"mean": 0.55, "interval": [0.31, 0.74]}
    crossed = {"arms": ["fresh", "once"], "accuracy": _parts([0.97, 0.99]), "errors_removed": _parts(share)}
    _changed(answers, lambda answer: answer.update(chosen=crossed))
    text = fill(PAGE, answers)
    assert "(the first half selects `fresh`, the second `once`):" in text
    assert "| 98.00 ± 1.41 % | 98.00 ± 1.41 % | 98.00 ± 1.41 % | 55 % (31 to 74) | 55 % (31 to 74) |" in text


def test_a_table_of_means_compares_them_with_the_single_networks(answers):
    def results(accuracy, gain):
        share, gains = (
            {"mean": 0.4, "interval": [0.3, 0.5]},
            {"difference": gain, "low": gain - 0.01, "high": gain + 0.02},
        )
        return {"accuracy": _parts(accuracy), "errors_removed": _parts(share), "gains": _parts(gains)}

    answer = {
        "asks": "Once or fresh?",
        "baseline": "fresh",
        "untouched": _parts(0.9),
        "singles": [_parts(0.97), _parts(0.99)],
        "means": [{"name": "fresh_mean_of_2", **results(0.985, 0.005)}],
        "chosen": {"names": ["a", "b"], **results(0.95, -0.03)},
    }
    (answers / "masks_means.json").write_text(json.dumps(answer))
    text = fill("<!-- table masks means -->\n<!-- end -->\n", answers)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    removed = ["40 %, 40 %"]
    assert rows[2:] == [
        ["pretrained, no fine-tuning", *["90.00 %"] * 3, *[""] * 3],
        ["fresh, its single networks (baseline)", *["98.00 ± 1.41 %"] * 3, *[""] * 3],
        ["fresh_mean_of_2", *["98.50 %"] * 3, *removed, *["+0.50 (-0.5 to +2.5)"] * 2],
        ["the best on the other half", *["95.00 %"] * 3, *removed, *["-3.00 (-4.0 to -1.0)"] * 2],
    ]
    assert "Best by IOU: `a` on the first half of the people, `b` on the second." in text
    answer["untouched_mirrored"] = _parts(0.92)
    (answers / "masks_means.json").write_text(json.dumps(answer))
    assert "| pretrained, no fine-tuning, mirrored | 92.00 % | 92.00 % | 92.00 % |" in fill(
        "<!-- table masks means -->\n<!-- end -->\n", answers
    )


def test_the_words_stay_and_the_tables_are_made_anew(answers):
    once = fill(PAGE, answers)
    assert "old" not in once
    assert fill(once, answers) == once


def test_a_table_without_an_answer_names_the_command_that_gives_it(tmp_path):
    with pytest.raises(InputError, match="run python -m study.run masks first"):
        fill(PAGE, tmp_path)
    with pytest.raises(InputError, match="run python -m study.means masks first"):
        fill("<!-- table masks means -->\n<!-- end -->", tmp_path)


def test_a_page_is_changed_in_its_place_and_one_that_is_missing_says_how_to_begin(tmp_path):
    page = tmp_path / "STUDY.md"
    with pytest.raises(InputError, match=r"STUDY.md is missing: write its text first"):
        rewrite(page, str.upper)
    page.write_text("größer", encoding="utf-8")
    rewrite(page, str.upper)
    assert page.read_text(encoding="utf-8") == "GRÖSSER"


def test_the_plot_has_a_dot_a_seed_under_each_condition_and_the_page_shows_it(answers):
    assert "![Once or fresh?](published/study/masks.png)\n\n| " in fill(PAGE, answers)
    assert (answers / "masks.png").stat().st_size > 10_000
    panels = draw_answer(json.loads((answers / "masks.json").read_text())).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["plain–plain", "plain–masked", "masked–masked"]
    for axes in panels:
        dots = [(x, y) for line in axes.lines if line.get_marker() == "o" for x, y in line.get_xydata().tolist()]
        assert [(x, round(y)) for x, y in dots] == [pytest.approx(dot) for dot in [(97, 0), (99, 0), (94, 1), (96, 1)]]
        assert len({y for _, y in dots}) == 4, "no dot hides another"

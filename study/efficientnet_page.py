"""What the trainings of study.efficientnet came to: a line each, the tables of the page, and its figure."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.style import BEST, DIFFERENT, FAINT, INK, headline, house_style, new_figure, save
from runtime.collapse import collapse_reason
from runtime.files import replace_file
from runtime.run_folder import RunFolder
from study.tables import fill_tables, rewrite

PUBLISHED = Path("published/efficientnet")
LINES = "runs.jsonl"
PAGE = "README.md"
FIGURE = "accuracy.png"
TESTED = "masked-masked"

COLLAPSED, IN_EVALUATION, CHANCE, TRAINS = "collapsed", "collapsed in evaluation", "at chance", "trains"
_MARKERS = {TRAINS: ("o", BEST), CHANCE: ("s", FAINT), IN_EVALUATION: ("X", DIFFERENT), COLLAPSED: ("v", INK)}
_LOGGED = ("epoch", "loss", "train_accuracy", "active", "auc", "iou", "images_seen")
_HEALTH = ("mean_distance", "effective_rank")


# ==== a line for each training ====


def publish(published: Path, lines: Iterable[dict]) -> None:
    """Write the lines of finished trainings; those of others that are there already stay."""
    path = published / LINES
    known = {line["name"]: line for line in (read_lines(published) if path.is_file() else [])}
    known |= {line["name"]: line for line in lines}
    published.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in known.values()))


def read_lines(published: Path) -> list[dict]:
    """The lines as ``line_of`` made them."""
    return [json.loads(line) for line in (published / LINES).read_text().splitlines()]


def line_of(run: RunFolder) -> dict:
    """What a finished run's folder says: its log in short, its test, its time and hardware."""
    config, metrics = (json.loads((run.path / name).read_text()) for name in ("config.json", "metrics.json"))
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    kept = [*_LOGGED, *_HEALTH, *(f"train_{name}" for name in _HEALTH)]
    conditions = metrics["by_condition"]
    tested = conditions[TESTED]
    return {
        "minutes": round(sum(line["seconds"] + line["evaluation_seconds"] for line in log) / 60, 1),
        "processor": config["processor"],
        "log": [{name: _short(line[name]) for name in kept if name in line} for line in log],
        "accuracy": {name: _short(figures["accuracy"]) for name, figures in conditions.items()},
        "auc": _short(tested["auc"]),
        "auc_interval": [_short(end) for end in tested["intervals"]["auc"]],
        "accuracy_interval": [_short(end) for end in tested["intervals"]["accuracy"]],
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def outcome(line: dict) -> str:
    """How a training ended, by the embeddings of its last epoch and the test of its best one."""
    last = line["log"][-1]
    training, evaluation = ({name: last[prefix + name] for name in _HEALTH} for prefix in ("train_", ""))
    if collapse_reason(training):
        return COLLAPSED
    if collapse_reason(evaluation):
        return IN_EVALUATION
    return TRAINS if line["auc_interval"][0] > 0.5 else CHANCE


# ==== the page ====


def write_page(published: Path) -> None:
    """Make the tables of the page, between its hand-written words, and its figure anew; raises as ``rewrite``."""
    lines = read_lines(published)
    rewrite(published / PAGE, lambda text: fill_tables(text, lambda name: table(lines, *name.split("_"))))
    save(draw(lines), published / FIGURE)


def table(lines: list[dict], objective: str, end: str) -> str:
    """Markdown: a row for each change from one end, nothing changed first."""
    head = ["one thing changed", "seeds", "in training: distance, rank", "in evaluation: distance, rank"]
    head += ["accuracy masked–masked", "AUC masked–masked", "outcome"]
    rows = [_row(change, group) for change, group in _by_change(lines, objective, end).items()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def _by_change(lines: list[dict], objective: str, end: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for line in lines:
        if (line["objective"], line["end"]) == (objective, end):
            groups.setdefault(line["change"], []).append(line)
    return groups


def _row(change: str, group: list[dict]) -> list[str]:
    outcomes = [outcome(line) for line in group]
    ended = [f"{name} {outcomes.count(name)} of {len(group)}" for name in dict.fromkeys(outcomes)]
    accuracies, aucs = [line["accuracy"][TESTED] for line in group], [line["auc"] for line in group]
    return [
        change or "**nothing**",
        str(len(group)),
        _health(group, "train_"),
        _health(group, ""),
        _spread([100 * value for value in accuracies], [100 * end for end in group[0]["accuracy_interval"]], 1) + " %",
        _spread(aucs, group[0]["auc_interval"], 2),
        ended[0].split(" 1 of 1")[0] if len(ended) == 1 else ", ".join(ended),
    ]


def _health(group: list[dict], prefix: str) -> str:
    distance, rank = (np.mean([line["log"][-1][prefix + name] for line in group]) for name in _HEALTH)
    return f"{distance:.2f}, {rank:.1f}"


def _spread(values: list[float], interval: list[float], digits: int) -> str:
    """Mean and standard deviation over seeds; of a single one its 95 % interval over people."""
    if len(values) > 1:
        return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
    return f"{values[0]:.{digits}f} ({interval[0]:.{digits}f}–{interval[1]:.{digits}f})"


# ==== the figure ====


@house_style()
def draw(lines: list[dict]) -> Figure:
    """AUC on masked pairs of every training, by what was changed, and how it ended."""
    panels = {key: _by_change(lines, *key) for key in dict.fromkeys((line["objective"], line["end"]) for line in lines)}
    heights = [len(groups) + 1 for groups in panels.values()]
    height = 1.9 + 0.36 * sum(heights)
    figure = new_figure(10, height)
    headline(
        figure, "EfficientNet-B0, one thing changed at a time", "AUC on masked pairs of built-in faces, 95 % intervals"
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for place, ((objective, end), groups) in zip(axes, panels.items(), strict=True):
        _draw_panel(place, groups)
        place.set_title(f"{objective}, from the {end}", loc="left", fontsize=13, fontweight="bold")
    axes[-1].set_xlabel("AUC masked–masked (0.5: chance)")
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="", markersize=9, label=name)
        for name, (marker, colour) in _MARKERS.items()
        if any(outcome(line) == name for line in lines)
    ]
    # Beside the subtitle, half an inch below the figure's top.
    beside = {"loc": "center right", "bbox_to_anchor": (1, 1 - 0.57 / height)}
    figure.legend(handles=handles, ncols=len(handles), handletextpad=0.2, **beside)
    return figure


def _draw_panel(axes: Axes, groups: dict[str, list[dict]]) -> None:
    for row, group in enumerate(groups.values()):
        for line in group:
            marker, colour = _MARKERS[outcome(line)]
            axes.plot(line["auc_interval"], [row, row], color=colour, linewidth=1.5, alpha=0.6)
            axes.plot(line["auc"], row, marker=marker, color=colour, markersize=9, markeredgecolor="white")
    axes.axvline(0.5, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(groups)), [change or "nothing changed" for change in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)

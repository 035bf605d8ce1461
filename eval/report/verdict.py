"""What a run's results mean, in plain words: each function gives one sentence, or None if it has nothing to say."""

from collections.abc import Mapping

from eval.metrics.conditions import NO_MASKS
from eval.metrics.intervals.bootstrap import LEAST_PEOPLE
from eval.metrics.roc import FALSE_ACCEPT_RATES
from eval.text import TOO_FEW_ERRORS, counted, has_width, number, percent
from runtime.training.collapse import ADVICE, collapse_reason

# Under so many errors their kinds are not compared: 3 of 4 is no pattern.
_FEW_ERRORS = 20
_LOW_IOU_GAIN = 0.03


def verdict(metrics: Mapping, log: list[dict]) -> list[str]:
    """The sentences, the most important first. ``metrics`` is metrics.json, ``log`` the lines of log.jsonl."""
    best = next((line for line in log if line["epoch"] == metrics["epoch"]), log[-1])
    collapsed = _collapsed(best)
    sentences = [collapsed or _result(metrics)]
    if collapsed:
        sentences += [_result(metrics), f"What may help: {ADVICE}."]
    elif not _is_chance(metrics):
        if metrics["accuracy"] < 1:
            sentences += [_conditions(metrics), _masks(metrics), _aligned(metrics), _errors(metrics)]
        else:
            sentences.append(_too_easy(metrics))
        sentences.append(_access(metrics))
    sentences += [None if collapsed else _training(metrics, log), _stopped(metrics, collapsed), _left_out(metrics)]
    return [sentence for sentence in sentences if sentence]


def _collapsed(best: dict) -> str | None:
    names = ("mean_distance", "effective_rank")
    reason = collapse_reason({name: best[name] for name in names}) if all(name in best for name in names) else None
    return f"{_upper(reason)}. The results below say nothing about masks." if reason else None


def _result(metrics: Mapping) -> str:
    share, pairs = percent(metrics["accuracy"], 1), metrics["pairs"]
    text = f"{share} of {pairs:,} test pairs are classified correctly{_spread(metrics)}."
    if metrics.get("people", LEAST_PEOPLE) < LEAST_PEOPLE:
        text += f" They show {metrics['people']} people: too few to say how certain any result is."
    return f"{text} That is no better than chance." if _is_chance(metrics) else text


def _spread(metrics: Mapping) -> str:
    interval = _interval(metrics, "accuracy")
    if metrics.get("intervals") and interval is None:
        return f" ({TOO_FEW_ERRORS})"
    return f" (95 % interval over people: {_ends(interval)})" if has_width(interval) else ""


def _is_chance(metrics: Mapping) -> bool:
    """Whether the balanced accuracy may be a half, which is what guessing gives."""
    interval = _interval(metrics, "balanced_accuracy")
    return interval is not None and interval[0] <= 0.5


def _conditions(metrics: Mapping) -> str | None:
    """What masks cost: each condition compared with plain faces."""
    plain = metrics["by_condition"].get(NO_MASKS)
    losses = metrics.get("losses_against_plain", {})
    clauses = []
    for name, part in metrics["by_condition"].items():
        if plain is not None and name != NO_MASKS:
            points = (plain["accuracy"] - part["accuracy"]) * 100
            verb = "costs" if points >= 0 else "gains"
            clauses.append(f"{name} {verb} {abs(points):.1f} points against plain{_chance(losses.get(name))}")
    return f"{_upper('; '.join(clauses))}." if clauses else None


def _chance(loss: Mapping | None) -> str:
    """The interval of the cost in brackets, or that it may be chance."""
    if not loss or not loss["interval"]:
        return ""
    low, high = sorted(abs(end) * 100 for end in loss["interval"])
    if loss["interval"][0] <= 0 <= loss["interval"][1]:
        return " (this may be chance)"
    return f" (95 % interval {low:.1f} to {high:.1f})"


def _masks(metrics: Mapping) -> str | None:
    parts = metrics.get("by_mask", {})
    if len(parts) < 2:
        return None
    order = sorted(parts, key=lambda kind: parts[kind]["accuracy"])
    hardest, easiest = parts[order[0]], parts[order[-1]]
    ends = [_interval(part, "accuracy") for part in (hardest, easiest)]
    chance = "; the intervals overlap, so this may be chance" if all(ends) and ends[0][1] >= ends[1][0] else ""
    return (
        f"The hardest mask is {order[0]} ({percent(hardest['accuracy'], 1)}), the easiest {order[-1]} "
        f"({percent(easiest['accuracy'], 1)}){chance}."
    )


def _aligned(metrics: Mapping) -> str | None:
    """What the results on masked faces rest on."""
    how = metrics.get("alignment")
    if not how or not metrics["by_condition"].keys() - {NO_MASKS}:
        return None
    points = "the landmark network's" if how["landmarks"] == "network" else "its own"
    order = f"Faces were found by {how['detector']} and aligned by {points} points; simulated masks were put on"
    if how["masks"] == "before alignment":
        return f"{order} before that, as in use."
    return f"{order} after that, so that the results assume the landmarks of the bare face."


def _errors(metrics: Mapping) -> str | None:
    (_, rejected), (accepted, _) = metrics["confusion_matrix"]
    wrong = rejected + accepted
    if not wrong:
        return None
    if wrong < _FEW_ERRORS:
        kinds = f"{rejected} false non-matches (same person), {accepted} false matches (different people)"
        return f"{wrong} errors: {kinds}."
    share, kind = rejected / wrong, "false non-matches (same person predicted different)"
    if accepted > rejected:
        share, kind = accepted / wrong, "false matches (different people predicted same)"
    return f"{percent(share, 0)} of the {wrong:,} errors are {kind}."


def _access(metrics: Mapping) -> str | None:
    """The true accept rate at the lowest false accept rate that the test pairs can show."""
    given = [rate for rate in FALSE_ACCEPT_RATES if metrics["tar_at_far"].get(rate) is not None]
    if not given:
        return "There are too few different-person pairs to give a true accept rate at a low false accept rate."
    rate = min(given, key=FALSE_ACCEPT_RATES.__getitem__)
    far = f"{FALSE_ACCEPT_RATES[rate] * 100:g} %"
    return (
        f"At a threshold that accepts {far} of the different-person pairs (FAR), "
        f"{percent(metrics['tar_at_far'][rate], 1)} of the same-person pairs are accepted (TAR)."
    )


def _too_easy(metrics: Mapping) -> str:
    """Resampling can't tell how certain "no errors" is; the rule of three can (Hanley & Lippman-Hand 1983)."""
    text = (
        "No errors: the test is too easy to tell a good network from a better one. Check whether it contains people "
        "from training."
    )
    if metrics.get("people", 0) >= LEAST_PEOPLE:
        share = percent(3 / metrics["people"], 1)
        text += f" With {metrics['people']:,} people the actual share of errors may still be {share}."
    return text


def _training(metrics: Mapping, log: list[dict]) -> str:
    if len(log) == 1:
        return "Trained for one epoch only, so there is no trend."
    epoch, last = metrics["epoch"], log[-1]["epoch"]
    values = {line["epoch"]: line["iou"] for line in log}
    if epoch == last:
        gain = values[log[-2]["epoch"]] - values[last]
        more = "; longer training may help" if gain > _LOW_IOU_GAIN * values[log[-2]["epoch"]] else ""
        return f"The last of {len(log)} epochs is the best (IOU {number(values[last])}){more}."
    return (
        f"Epoch {epoch} of {last} is the best (IOU {number(values[epoch])}); the last one overlaps more "
        f"({number(values[last])})."
    )


def _stopped(metrics: Mapping, collapsed: str | None) -> str | None:
    reason = metrics.get("stopped")
    if reason and collapsed and "collapsed" in reason:
        return "Training stopped early because of that."
    return f"Training stopped early: {reason}." if reason else None


def _left_out(metrics: Mapping) -> str | None:
    counts = {name: sum(reasons.values()) for name, reasons in metrics.get("left_out", {}).items()}
    found = [counted(count, f"{name} pair") for name, count in counts.items() if count]
    return f"Left out and named below: {' and '.join(found)}." if found else None


def _interval(part: Mapping, name: str) -> list[float] | None:
    return (part.get("intervals") or {}).get(name)


def _ends(interval: list[float]) -> str:
    return f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f} %"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]

"""The space of a search, setting by setting: ``lr=1e-4..1e-2:log``, ``batch_size=16..64:16``, ``mirror=true,false``."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from configs.settings import BUILT_IN, Settings
from runtime.errors import InputError

if TYPE_CHECKING:
    import optuna

OF_THE_SEARCH = {"results_dir", "run_name", "resume", "preset"}
# All trials must see the same faces, equally many images, and be compared on the same pairs.
SAME_FOR_ALL = {
    *("data_root", "train_csv", "train_faces", "eval_csvs", "eval_root", "test_csv", "path_prefix"),
    *("most_images", "least_images", "builtin_people", "builtin_images", "epochs", "epoch_mode", "unnamed_share"),
}
_BOOLEANS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``, both included, or those in steps of ``step`` from ``low``; ``log``: drawn
    uniformly on a logarithmic scale."""

    name: str
    text: str
    low: float
    high: float
    step: float | None
    log: bool

    def suggest(self, trial: "optuna.Trial") -> float:
        """A value for the trial. To keep commands readable it is rounded, to four digits or to whole steps, but not
        beyond the ends."""
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        value = trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        rounded = float(f"{value:.12g}" if self.step else f"{value:.4g}")
        return min(max(rounded, self.low), self.high)

    @property
    def ends(self) -> tuple:
        """Values that the settings must accept."""
        return self.low, self.high


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    name: str
    text: str
    values: tuple

    def suggest(self, trial: "optuna.Trial") -> Any:
        """A value for the trial."""
        return trial.suggest_categorical(self.name, self.values)

    @property
    def ends(self) -> tuple:
        """Values that the settings must accept."""
        return self.values


Dimension = Range | Choice


def parse_space(words: Sequence[str], settings: Settings) -> list[Dimension]:
    """The space that ``words`` describe, one setting each, of a script with these ``settings``.

    Raises InputError for the first word that is not ``SETTING=VALUES``, names no setting or one that must be the same
    in all trials, has values that the setting does not accept, or names a setting again.
    """
    space = {}
    for word in words:
        dimension = _dimension(word, settings)
        if dimension.name in space:
            raise InputError(f"--space has {dimension.name} twice; write it once, with all its values")
        space[dimension.name] = dimension
    if not space:
        raise InputError("--space is empty; give it settings, such as lr=1e-4..1e-2:log")
    return list(space.values())


def _dimension(word: str, settings: Settings) -> Dimension:
    name, equals, text = word.partition("=")
    if not equals:
        raise InputError(f"--space {word}: write SETTING=LOW..HIGH or SETTING=VALUE,VALUE")
    name = name.replace("-", "_")
    hint = _type_of(name, settings)
    try:
        dimension = _range(name, text, hint) if hint in (int, float) and ".." in text else _choice(name, text, hint)
        for value in dimension.ends:
            dataclasses.replace(settings, **{name: value})
    except ValueError as error:  # InputError is one, too
        raise InputError(f"--space {word}: {error}") from None
    return dimension


def _type_of(name: str, settings: Settings) -> Any:
    fields = {field.name for field in dataclasses.fields(settings)}
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        raise InputError(f"--space: there is no setting {name}" + (f"; did you mean {close[0]}?" if close else ""))
    if name in OF_THE_SEARCH:
        raise InputError(f"--space: {name} can't vary, as the search sets it for each trial")
    if name in SAME_FOR_ALL:
        raise InputError(f"--space: {name} must be the same in all trials, for a fair comparison; set it after --")
    if reason := _reason_to_keep(name, settings):
        raise InputError(f"--space: {name} can't vary, as {reason}; set it after --")
    hint = get_type_hints(type(settings))[name]
    if get_origin(hint) is tuple:
        raise InputError(f"--space: {name} is a list, which can't vary; set it after --")
    return hint


def _reason_to_keep(name: str, settings: Settings) -> str | None:
    """Why a setting must be the same in all trials of these settings, though not of others."""
    if name == "image_size" and settings.data_root == BUILT_IN:
        return "built-in faces of another size are not the same faces"
    if name == "images_per_person" and settings.epoch_mode == "all":
        return "with epoch_mode all it sets how many images an epoch has"
    return None


def _range(name: str, text: str, hint: type) -> Range:
    span, _, how = text.partition(":")
    low, high = (_number(part, hint) for part in span.split("..", 1))
    if not low < high:
        raise ValueError(f"{low} is not below {high}")
    log = how == "log"
    step = None if log or ":" not in text else _number(how, hint)
    if log and low <= 0:
        raise ValueError("a logarithmic range must start above 0")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"the step {step} must be above 0 and at most {high - low:g}")
    if step is not None:
        high = _last(low, high, step)
    return Range(name, text, low, high, step, log)


def _last(low: float, high: float, step: float) -> float:
    """The last of low, low + step, … that is not above ``high``; in decimals, where 0.1 + 0.2 is 0.3."""
    first, end, width = (Decimal(str(number)) for number in (low, high, step))
    return type(low)(first + (end - first) // width * width)


def _choice(name: str, text: str, hint: Any) -> Choice:
    parse = _parser(hint)
    values = tuple(parse(part) for part in text.split(","))
    if len(set(values)) < len(values):
        raise ValueError("a value comes twice")
    if len(values) < 2:
        raise ValueError("one value leaves nothing to search; set it after --")
    return Choice(name, text, values)


def _parser(hint: Any) -> Callable[[str], Any]:
    if get_origin(hint) is Literal:
        return lambda text: _one_of(text, dict(zip(get_args(hint), get_args(hint), strict=True)))
    if hint is bool:
        return lambda text: _one_of(text, _BOOLEANS)
    return _word if hint is str else lambda text: _number(text, hint)


def _one_of(text: str, values: dict[str, Any]) -> Any:
    if text not in values:
        raise ValueError(f"{text or 'nothing'} is none of {', '.join(values)}")
    return values[text]


def _word(text: str) -> str:
    if not text:
        raise ValueError("a value is empty")
    return text


def _number(text: str, hint: type) -> float:
    try:
        value = hint(text)
    except ValueError:
        kind = "whole number" if hint is int else "number"
        forms = "LOW..HIGH, LOW..HIGH:log or LOW..HIGH:STEP"
        raise ValueError(f"{text or 'nothing'} is not a {kind}; a range is {forms}") from None
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value

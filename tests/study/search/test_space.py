"""The grammar of a space, against the scripts' settings."""

import dataclasses

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from main_arcface import SETTINGS as ARCFACE
from main_triplet import SETTINGS as TRIPLET
from study.search.space import Choice, Range, parse_space
from tests.one_line import one_line


def one(word, settings=TRIPLET):
    (dimension,) = parse_space([word], settings)
    return dimension


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lr=1e-4..1e-2:log", Range("lr", "1e-4..1e-2:log", 1e-4, 1e-2, None, log=True)),
        ("margin=0.1..0.5", Range("margin", "0.1..0.5", 0.1, 0.5, None, log=False)),
        ("margin=0.1..0.5:0.2", Range("margin", "0.1..0.5:0.2", 0.1, 0.5, 0.2, log=False)),
        ("margin=0.1..0.45:0.1", Range("margin", "0.1..0.45:0.1", 0.1, 0.4, 0.1, log=False)),
        ("people_per_batch=8..32:8", Range("people_per_batch", "8..32:8", 8, 32, 8, log=False)),
        ("people-per-batch=8..32:log", Range("people_per_batch", "8..32:log", 8, 32, None, log=True)),
        ("mining=semi_hard,batch_hard", Choice("mining", "semi_hard,batch_hard", ("semi_hard", "batch_hard"))),
        ("mirror=true,false", Choice("mirror", "true,false", (True, False))),
        ("images_per_person=2,4,8", Choice("images_per_person", "2,4,8", (2, 4, 8))),
        ("weight_decay=0,0.01", Choice("weight_decay", "0,0.01", (0.0, 0.01))),
        ("pretrained=../a,../b", Choice("pretrained", "../a,../b", ("../a", "../b"))),
    ],
)
def test_what_it_means(word, expected):
    assert one(word) == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("margn=0.1..0.5", "there is no setting margn; did you mean margin?"),
        ("batch_size=16,32", "there is no setting batch_size"),  # of the other script
        ("lr", "write SETTING=LOW..HIGH"),
        ("lr=", "nothing is not a number"),
        ("lr=1e-3..high", "high is not a number"),
        ("lr=0..1e-2:log", "must start above 0"),
        ("lr=1e-2..1e-4:log", "0.01 is not below 0.0001"),
        ("lr=1e-3..inf", "inf is not finite"),
        ("lr=1e-3..nan", "nan is not finite"),
        ("lr=1e-3", "one value leaves nothing to search"),
        ("lr=1e-3,1e-3", "a value comes twice"),
        ("margin=0.1..0.5:1", "the step 1.0 must be above 0 and at most 0.4"),
        ("margin=0.1..0.5:0", "the step 0.0 must be above 0"),
        ("margin=0.1..0.5:lin", "lin is not a number"),
        ("people_per_batch=8..16.5", "16.5 is not a whole number"),
        ("people_per_batch=8..32:0.5", "0.5 is not a whole number"),
        ("mining=semi_hard,batch_hrd", "batch_hrd is none of batch_hard"),
        ("mirror=true,no", "no is none of true, false"),
        ("mining=", "nothing is none of"),
        ("backbone=a,", "a value is empty"),
        ("dropout=0..1.5", "dropout is 1.5; it must lie between 0 and 0.999"),
        ("mask_kinds=n95,cloth", "mask_kinds is a list"),
        ("epochs=1..5", "epochs must be the same in all trials"),
        ("run_name=a,b", "run_name can't vary"),
    ],
)
def test_what_is_refused_in_one_line(word, said):
    message = one_line(lambda: one(word))
    assert said in message and message.startswith("--space")


@pytest.mark.parametrize(
    ("word", "options", "said"),
    [
        ("epoch_mode=all,random", {}, "epoch_mode must be the same in all trials"),
        ("unnamed_share=0..0.5", {}, "unnamed_share must be the same in all trials"),
        (
            "images_per_person=2..8",
            {"epoch_mode": "all"},
            "images_per_person can't vary, as with epoch_mode all it sets",
        ),
        ("image_size=64,80", {}, "image_size can't vary, as built-in faces of another size are not"),
    ],
)
def test_what_would_change_the_faces_or_the_length_of_an_epoch_is_refused(word, options, said):
    assert said in one_line(lambda: one(word, dataclasses.replace(TRIPLET, **options)))


def test_what_leaves_the_faces_and_the_length_of_an_epoch_alone_may_vary():
    """An epoch of random identities has N images, whatever K is; a folder's own faces are resized."""
    own = dataclasses.replace(TRIPLET, data_root="faces", epoch_mode="random")
    assert one("image_size=64,80", own).values == (64, 80)
    assert one("images_per_person=2..8", own).ends == (2, 8)


def test_twice_and_never_are_refused():
    assert "lr twice" in one_line(lambda: parse_space(["lr=0.1..0.2", "lr=0.1,0.3"], TRIPLET))
    assert "--space is empty" in one_line(lambda: parse_space([], TRIPLET))


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.sampled_from(["", ":log"]), st.integers(0, 10))
def test_any_range_of_numbers_gives_values_within_it(low, high, how, seed):
    assume(low < high)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = one(f"lr={low!r}..{high!r}{how}").suggest(study.ask())
    assert low * (1 - 1e-3) <= value <= high * (1 + 1e-3) and value == float(f"{value:.4g}")


@given(st.integers(2, 50), st.integers(1, 200), st.integers(1, 20), st.integers(0, 10))
def test_whole_numbers_come_in_steps(low, width, step, seed):
    assume(step <= width)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = one(f"batch_size={low}..{low + width}:{step}", ARCFACE).suggest(study.ask())
    assert isinstance(value, int) and low <= value <= low + width and (value - low) % step == 0


@pytest.mark.parametrize("word", ["ema_decay=0.999..0.99999", "momentum=0.12344..0.5", "lr=1.23444e-4..1e-2:log"])
@pytest.mark.parametrize("end", ["low", "high"])
def test_rounding_does_not_leave_the_range(word, end):
    """1.0 in place of 0.99999 is no average, and the settings refuse it."""
    dimension = one(word, ARCFACE)
    value = getattr(dimension, end)
    assert dimension.suggest(optuna.trial.FixedTrial({dimension.name: value})) == value


def test_steps_are_not_rounded_together():
    dimension = one("ema_decay=0.99..0.999:0.00025", ARCFACE)
    drawn = [0.99 + step * 0.00025 for step in range(37)]
    values = [dimension.suggest(optuna.trial.FixedTrial({"ema_decay": value})) for value in drawn]
    assert values == [round(value, 5) for value in drawn]

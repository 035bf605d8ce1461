"""A search on disk: trials.sqlite in its folder, shared by processes and machines, and resumed by a later start."""

import dataclasses
import shutil
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from configs.settings import Settings
from runtime.errors import InputError
from runtime.extras import extra
from runtime.files import writing
from runtime.run_folder import OF_THE_MACHINE, WITHOUT_EFFECT
from study.search.space import Dimension

if TYPE_CHECKING:
    import optuna

FILE = "trials.sqlite"
NAME = "search"
# Seconds between a process's signs of life, and after how many without one it counts as dead: another takes its trial.
HEARTBEAT, GRACE = 10, 60
# Seconds to wait for another process that is writing.
SECONDS_TO_WAIT = 60
# A trial whose process dies more often may be the cause of it.
MOST_DEATHS = 3
# What may differ between the starts of one search.
_OF_A_START = WITHOUT_EFFECT | OF_THE_MACHINE | {"run_name"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What makes two searches one: everything but the number of trials, the seed, and the machine."""

    script: str
    space: list[Dimension]
    settings: Settings

    def to_dict(self) -> dict:
        """Plain values: name → value."""
        settings = {name: value for name, value in self.settings.to_dict().items() if name not in _OF_A_START}
        return {"script": self.script, **{f"--space {d.name}": d.text for d in self.space}, **settings}

    def refuse_other(self, saved: dict, folder: Path) -> None:
        """Raise InputError if the search in ``folder`` had another plan, whose ``to_dict`` was ``saved``."""
        own, saved = self.to_dict(), type(self.settings).completed(saved)
        for name in {**own, **saved}:
            if name in _OF_A_START or own.get(name) == saved.get(name):
                continue
            there, here = (f"{values[name]}" if name in values else "missing" for values in (saved, own))
            raise InputError(
                f"{folder} is another search: {name} is {there} there and {here} here; give the same command to "
                "resume it, or another folder (--out)"
            )


def open_study(folder: Path, plan: Plan, seed: int) -> "optuna.Study":
    """The search in ``folder``, a new one if there is none.

    Raises InputError: optuna is missing, the folder holds something else, a damaged file or the search of another plan,
    or can't be written.
    """
    optuna = extra("optuna")
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not (folder / FILE).is_file():
        _create(folder, plan)
    options = {"sampler": _sampler(seed), "pruner": optuna.pruners.MedianPruner()}
    try:
        study = optuna.load_study(study_name=NAME, storage=_storage(folder / FILE), **options)
        saved = study.user_attrs["plan"]
    except (KeyError, RuntimeError, extra("sqlalchemy").exc.SQLAlchemyError):
        raise InputError(f"{folder / FILE} is not a search's file; choose another folder (--out)") from None
    plan.refuse_other(saved, folder)
    return study


def retry(study: "optuna.Study", stopped: "optuna.trial.FrozenTrial", deaths: int = 0) -> None:
    """Put a stopped trial back into the queue: the next free process resumes its run folder."""
    optuna = extra("optuna")
    if "run" not in stopped.user_attrs:
        return  # it had not started
    again = optuna.create_trial(
        state=optuna.trial.TrialState.WAITING,
        params=stopped.params,
        distributions=stopped.distributions,
        user_attrs={**stopped.user_attrs, "deaths": stopped.user_attrs.get("deaths", 0) + deaths},
    )
    study.add_trial(again)


def _retry_after_death(study: "optuna.Study", dead: "optuna.trial.FrozenTrial") -> None:
    if dead.user_attrs.get("deaths", 0) < MOST_DEATHS:
        retry(study, dead, deaths=1)


def _create(folder: Path, plan: Plan) -> None:
    """Create a search. Its folder appears complete or not at all, as several processes may start at once."""
    optuna = extra("optuna")
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.making")
    try:
        with writing(folder):
            draft.mkdir(parents=True)
            storage = _storage(draft / FILE)
            study = optuna.create_study(study_name=NAME, storage=storage, direction="minimize")
            study.set_user_attr("plan", plan.to_dict())
            storage.engine.dispose()
        draft.rename(folder)
    except OSError:
        if not (folder / FILE).is_file():
            raise InputError(f"{folder} exists and is not a search; choose another folder (--out)") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _storage(path: Path) -> "optuna.storages.RDBStorage":
    return extra("optuna").storages.RDBStorage(
        f"sqlite:///{path}",
        engine_kwargs={"connect_args": {"timeout": SECONDS_TO_WAIT}},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=_retry_after_death,
    )


def _sampler(seed: int) -> "optuna.samplers.TPESampler":
    class Sampler(extra("optuna").samplers.TPESampler):
        """Random numbers derive from the seed and the trial's number: neither a resumed search nor several processes
        draw the same ones twice."""

        def before_trial(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
            self.__init__(seed=int(np.random.SeedSequence([seed, trial.number]).generate_state(1)[0]))

    return Sampler()

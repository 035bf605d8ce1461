"""The trials of a search, one after another, until there are as many as requested."""

import dataclasses
import shutil
import signal
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import option_words
from runtime.errors import InputError
from runtime.extras import extra
from runtime.processes.signals import Stopped, StopSignals
from runtime.run_folder import RunFolder
from study.search.records import Record, best_of, progress, records
from study.search.script import SECONDS_BETWEEN_LOOKS, TrialFailed, TrialRun
from study.search.space import Dimension
from study.search.storage import GRACE, retry

if TYPE_CHECKING:
    import optuna

MOST_FAILURES_IN_A_ROW = 3
# The IOU of equal histograms, as of a network that has collapsed.
WORST = 1.0


@dataclasses.dataclass
class Trials:
    """``wanted`` trials of ``study``: runs of ``command`` for ``epochs`` epochs, in folders under ``folder``."""

    study: "optuna.Study"
    command: list[str]
    space: list[Dimension]
    epochs: int
    folder: Path
    wanted: int
    signals: StopSignals

    def run(self) -> None:
        """Run until all are done, by this process or by others, whose trials it takes over if they die.

        Raises InputError after some failures in a row, with the last one's reason, and Stopped if a signal came.
        """
        waits = False
        while states := self._states_to_come():
            if self.signals.received is not None:
                raise Stopped(self.signals.received)
            if states != {"running"}:
                self._next()
                continue
            if not waits:
                print("waiting for the trials of other processes", flush=True)
            waits = True
            extra("optuna").storages.fail_stale_trials(self.study)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _states_to_come(self) -> set[str]:
        """The states of the trials that are not done; "new" if some have not been started by any process."""
        found = records(self.study)
        new = {"new"} if len(found) < self.wanted else set()
        return new | {record.state for record in found if not record.done}

    def _next(self) -> None:
        """Run the next trial to its end."""
        self.study.optimize(self._try, n_trials=1, catch=(TrialFailed,))
        found = records(self.study)
        self._remove_checkpoints(found)
        self._refuse_to_fail_on(found)
        print(progress(found, self.wanted), flush=True)

    def _try(self, trial: "optuna.Trial") -> float:
        """The lowest IOU of a trial. Raises TrialFailed and TrialPruned, which Optuna handles, and Stopped."""
        run = trial.user_attrs.get("run") or self._claim(trial)
        settings = {dimension.name: dimension.suggest(trial) for dimension in self.space}
        trial.set_user_attr("settings", settings)
        words = option_words(settings)
        print(f"{run}: {' '.join(words)}", flush=True)
        own = ["--results-dir", str(self.folder), "--run-name", run]
        try:
            return self._follow(trial, TrialRun([*self.command, *words, *own], self.folder / run, self.epochs))
        except TrialFailed as failure:
            trial.set_user_attr("failed", str(failure))
            print(f"{run} failed: {failure}", flush=True)
            raise
        except (Stopped, KeyboardInterrupt) as reason:
            retry(self.study, self.study.tell(trial, state=extra("optuna").trial.TrialState.FAIL))
            print(f"{self.folder}: stopped; the same command resumes the search", flush=True)
            # Optuna would record a second Ctrl-C as a failure.
            raise reason if isinstance(reason, Stopped) else Stopped(signal.SIGINT) from None

    def _claim(self, trial: "optuna.Trial") -> str:
        """The name of a new trial's run. Raises TrialFailed if other processes have already started the last one."""
        earlier = [t for t in self.study.get_trials(deepcopy=False) if t.number < trial.number]
        named = {t.user_attrs["run"] for t in earlier if "run" in t.user_attrs}
        unnamed = [t for t in earlier if "run" not in t.user_attrs and not t.state.is_finished()]
        if len(named) + len(unnamed) >= self.wanted:
            raise TrialFailed("there are enough")
        run = f"trial_{trial.number:03d}"
        trial.set_user_attr("run", run)
        return run

    def _follow(self, trial: "optuna.Trial", run: TrialRun) -> float:
        """Report the IOU of each epoch as it ends. Raises TrialPruned if other trials were better at this epoch."""
        ious: dict[int, float] = {}
        with closing(run.epochs_logged(self.signals)) as lines:
            for line in lines:
                if line["epoch"] not in ious:
                    _report(trial, line)
                ious[line["epoch"]] = line["iou"]  # an epoch that was taken back comes again
                if line["epoch"] < self.epochs and trial.should_prune():
                    raise extra("optuna").TrialPruned
        if run.stopped:
            trial.set_user_attr("collapsed", run.stopped)
            return WORST
        return min(ious.values(), default=WORST)

    def _refuse_to_fail_on(self, found: list[Record]) -> None:
        failed = list(takewhile(lambda record: record.state == "failed", reversed([r for r in found if r.done])))
        if len(failed) >= MOST_FAILURES_IN_A_ROW:
            last = self.folder / f"{failed[0].run}.txt"
            raise InputError(
                f"{len(failed)} trials in a row failed; the last one said: {failed[0].reason} (see {last})"
            )

    def _remove_checkpoints(self, found: list[Record]) -> None:
        """Remove the checkpoints of ended trials, except best.pt of the best one."""
        best = best_of(found)
        for record in found:
            if record.done:
                run = RunFolder(self.folder / record.run)
                shutil.rmtree(run.store.folder, ignore_errors=True)
                for path in (run.last, *([] if record is best else [run.best])):
                    path.unlink(missing_ok=True)


def _report(trial: "optuna.Trial", line: dict) -> None:
    """Report the IOU of an epoch to Optuna, and the images seen so far."""
    try:
        trial.report(line["iou"], line["epoch"])
        trial.set_user_attr("images_seen", line["images_seen"])
    except extra("optuna").exceptions.UpdateFinishedTrialError:
        raise SystemExit(
            f"another process has taken over this trial, as this one gave no sign of life for {GRACE} s; "
            "start it again to help"
        ) from None

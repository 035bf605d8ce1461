"""One trial: a run of the script, followed in the log of its run folder and stopped cleanly."""

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from runtime.errors import InputError, in_one_line
from runtime.files import writing
from runtime.kinds import NUMBER, Fields, parse_json, require, whole
from runtime.processes.children import stop_with_parent
from runtime.processes.signals import STOPPING, Stopped, StopSignals
from runtime.run_folder import RunFolder, read_ended

SECONDS_BETWEEN_LOOKS = 0.5
_REMEDY = "train it again"
# Of an epoch's line what a search reads.
_LINE: Fields = {"epoch": whole(1), "iou": NUMBER, "images_seen": whole()}
_STOPPED = {128 + number: number for number in STOPPING}  # exit codes


class TrialFailed(Exception):
    """The script was killed, or ended with an error, whose message is its last line."""


@dataclasses.dataclass(frozen=True)
class TrialRun:
    """A run of ``epochs`` epochs in the run folder ``path``, which it resumes if it exists.

    Its output goes to a text file beside the folder.
    """

    command: list[str]
    path: Path
    epochs: int

    @property
    def text(self) -> Path:
        """The script's output."""
        return self.path.with_name(f"{self.path.name}.txt")

    @property
    def words(self) -> list[str]:
        """The command; a run that has begun is named, as on another device it would not be known by its settings."""
        return [*self.command, "--resume", str(self.path) if self.path.is_dir() else "auto"]

    @property
    def stopped(self) -> str | None:
        """Why the script stopped early, if it did: a collapse or a loss that is not finite."""
        return read_ended(self.path) if self.path.is_dir() else None

    def epochs_logged(self, signals: StopSignals) -> Iterator[dict]:
        """The log's lines, from the first one; the script is started if some are missing, and stopped at the end.

        If the script recovers from a collapse, it takes epochs back, and their lines come again. To leave earlier,
        close the iterator. The script is stopped before its test, as a search must not look at the test pairs. A run
        that ``stopped`` early gives fewer lines than ``epochs``. Raises TrialFailed if it ended without them for
        another reason, and Stopped if a signal came, to this process or to the script.
        """
        logged: list[str] = []
        while True:
            logged = yield from self._lines_after(logged)
            if len(logged) == self.epochs or self.stopped:
                return
            self._wait_until_free(signals)
            with _started(self.words, self.text) as process:
                ended = False
                while len(logged) < self.epochs and not ended:
                    ended = process.poll() is not None  # checked first: the last line may be written in between
                    before, logged = logged, (yield from self._lines_after(logged))
                    _obey(signals)
                    if logged == before and not ended:
                        time.sleep(SECONDS_BETWEEN_LOOKS)
            if len(logged) < self.epochs and not self.stopped:
                self._fail(process.returncode)

    def _lines_after(self, logged: list[str]) -> Generator[dict, None, list[str]]:
        """Parse the log's lines from the first that is not as in ``logged``; returns all of them as they are."""
        path = self.path / "log.jsonl"
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(logged, lines, strict=False)))
        for number, line in enumerate(lines[known:], known + 1):
            yield _parsed(line, f"{path}, line {number}")
        return lines

    def _wait_until_free(self, signals: StopSignals) -> None:
        """Wait until no script holds the run folder: the script of a killed search may still be saving."""
        said = False
        while self.path.is_dir() and not RunFolder(self.path).lock():  # released at once, as nothing keeps it
            if not said:
                print(f"{self.path}: waiting for the process that is still training there", flush=True)
            said = True
            _obey(signals)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _fail(self, code: int) -> None:
        if code in _STOPPED:
            raise Stopped(_STOPPED[code])
        if code < 0:
            name = signal.Signals(-code).name
            raise TrialFailed(f"killed by {name}" + (", as for lack of memory" if name == "SIGKILL" else ""))
        lines = self.text.read_text(errors="replace").replace("\r", "\n").split("\n")
        said = [line for line in lines if line.strip()]
        raise TrialFailed(in_one_line(said[-1] if said else f"it ended with code {code} and no output"))


def _parsed(line: str, place: str) -> dict:
    """Raises TrialFailed for a line that holds something else."""
    try:
        values = parse_json(line, place, _REMEDY)
        require(values, _LINE, place, _REMEDY)
    except InputError as error:
        raise TrialFailed(str(error)) from None
    return values


def _obey(signals: StopSignals) -> None:
    if signals.received is not None:
        raise Stopped(signals.received)


@contextmanager
def _started(command: list[str], text: Path) -> Iterator[subprocess.Popen]:
    """The command's process, in a session of its own: a terminal's Ctrl-C reaches this process, which stops it."""
    with writing(text), text.open("a") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=stop_with_parent if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen) -> None:
    """Let it finish its step and save; a second Ctrl-C kills it at once."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait()
    except BaseException:
        process.kill()
        raise

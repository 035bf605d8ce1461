"""The one exception for what the user can mend, and how a command shows it."""

import errno
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Of a message on a terminal; of what is longer the middle is left out.
LONGEST_LINE = 480


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what is wrong, where, and what to do."""


def in_one_line(text: object, most: int = LONGEST_LINE) -> str:
    """``text`` for a terminal: at most ``most`` characters, control characters written out.

    File names and files may hold ESC, NUL and line feeds, which would steer the terminal or pass for lines of ours.
    """
    written_out = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in _cut(str(text), most))
    return _cut("".join(written_out), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[3 - most // 3 :]}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Around a command's main(): an InputError becomes one line on stderr and exit code 2, no traceback.

    So does a full disk. Ctrl-C ends with a line, too, and the exit code 130 that shells expect.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except InputError as error:
        _end_with(error)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = error.filename or f"one of {tempfile.gettempdir()}, /dev/shm and the folder of the output"
        _end_with(f"the disk is full, at {place}; make room and run the command again")


def _end_with(message: object) -> None:
    print(f"error: {in_one_line(message)}", file=sys.stderr)
    sys.exit(2)

"""The one exception for what the user can mend, and how a command shows it."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what is wrong, where, and what to do."""


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
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: the disk is full, at {error.filename}; make room and run the command again", file=sys.stderr)
        sys.exit(2)

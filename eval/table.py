"""The old name of ``eval.publish``."""

from runtime.errors import InputError, one_line_errors

with one_line_errors():
    raise InputError("eval.table is eval.publish now: python -m eval.publish")

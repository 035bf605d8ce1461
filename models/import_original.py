"""The old name of ``models.import_weights``."""

from runtime.errors import InputError, one_line_errors

with one_line_errors():
    raise InputError("models.import_original is models.import_weights now: python -m models.import_weights")

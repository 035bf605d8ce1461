"""The old name of ``data.gallery``."""

from runtime.errors import InputError, one_line_errors

with one_line_errors():
    raise InputError("data.synthetic.gallery is data.gallery now: python -m data.gallery FILE.png")

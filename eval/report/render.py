"""Pages from jinja2 templates: one HTML file that stands alone, with text, tables and pictures inside it.

Readable on a phone (tables put brackets under their figures and scroll inside their own box, a plot grows at a tap) and
in dark mode (plots turn dark with it, faces do not).
"""

import base64
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.text import counted, number, percent

_BRACKET = re.compile(r" (\([^()]*\))$")


def render(template: str, **content: object) -> str:
    """A page of ``eval/``: the template's name, such as "report/run.html.jinja", and what it is filled with."""
    return _ENVIRONMENT.get_template(template).render(content)


def _split_bracket(cell: str) -> list[str]:
    """ "92.17 % (88.7–95.1)" → "92.17 %" and "(88.7–95.1)"; a text without a bracket at its end alone."""
    return _BRACKET.split(cell)[:2]


def _data_url(picture: Path) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent, encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {
    "split_bracket": _split_bracket,
    "data_url": _data_url,
    "number": number,
    "percent": percent,
    "counted": counted,
}

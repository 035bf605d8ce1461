"""Pages from jinja2 templates: one HTML file that stands alone, with text, tables and pictures inside it.

Readable on a phone (tables put brackets under their figures and scroll inside their own box, a plot grows at a tap) and
in dark mode (plots turn dark with it, faces do not).
"""

import base64
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from eval.text import counted, number, percent

_BRACKET = re.compile(r" (\([^()]*\))$")


def render(template: str, **content: object) -> str:
    """A page of ``eval/``: the template's name, such as "report/run.html.jinja", and what it is filled with."""
    return _ENVIRONMENT.get_template(template).render(content)


def _smaller_bracket(cell: str) -> Markup:
    """The text with a bracket at its end set smaller."""
    return Markup(_BRACKET.sub(r" <small>\1</small>", str(escape(cell))))


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
    "smaller_bracket": _smaller_bracket,
    "data_url": _data_url,
    "number": number,
    "percent": percent,
    "counted": counted,
}

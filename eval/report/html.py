"""One HTML file that stands alone: text, tables and pictures inside it, nothing asked of any network.

Readable on a phone (tables put brackets under their figures and scroll inside their own box, a plot grows at a tap) and
in dark mode (plots turn dark with it, faces do not). No script at all; a content security policy forbids the browser
whatever is not in the file.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --faint: #63636b; --paper: #ffffff; --line: #d9d9de;
  --panel: #f5f5f7; --accent: #0072b2; --shade: rgb(0 0 0 / .22); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --faint: #a2a2ac; --paper: #16161a; --line: #3a3a42; --panel: #212127; --accent: #56b4e9;
    --shade: rgb(0 0 0 / .9); }
  /* Black turns into the page's own colour. */
  img.plot { filter: invert(1) hue-rotate(180deg) brightness(1.25); mix-blend-mode: screen; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, li { max-width: 46rem; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.verdict { background: var(--panel); border-left: .3rem solid var(--accent); border-radius: .3rem;
  padding: .8rem 1rem; margin: 1rem 0; }
.verdict p { margin: .35rem 0; }
.verdict p:first-child { font-size: 1.15rem; font-weight: 650; }
/* A shadow at the edge behind which there is more: covers that scroll along hide it where there is not. */
.wide { overflow-x: auto; margin: .75rem 0; background:
  linear-gradient(to right, var(--paper) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 10rem; }
th[scope=row] { position: sticky; left: 0; background: var(--paper); font-weight: 600; }
th.text { text-align: left; }
td small { color: var(--faint); font-size: .92em; }
thead th { border-bottom: 2px solid var(--line); }
figure { margin: 1rem 0; }
figure label { display: block; overflow-x: auto; }
figure input { position: absolute; opacity: 0; pointer-events: none; }
figure input:focus-visible ~ img { outline: 2px solid var(--accent); outline-offset: -2px; }
img { display: block; max-width: none; width: 100%; height: auto; border-radius: .3rem; }
img.faces { max-width: 40rem; background: #ffffff; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0 1.25rem; }
.plots > * { min-width: 0; }
summary { cursor: pointer; font-weight: 600; margin: .75rem 0; }
.phone { display: none; }
@media (max-width: 40rem) {
  table { font-size: .8rem; }
  th, td { padding: .3rem .4rem; }
  thead th, th[scope=row] { white-space: normal; vertical-align: bottom; }
  th[scope=row] { max-width: 6.5rem; vertical-align: top; overflow-wrap: break-word; }
  td { vertical-align: top; }
  td small { display: block; }
  figure input:checked ~ img { width: 54rem; }
  .phone { display: inline; }
}
"""
_BRACKET = re.compile(r" (\([^()]*\))$")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, body: Iterable[str]) -> str:
    """The whole file; ``body`` are parts made by the functions below."""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # An icon of nothing: else browsers ask the server for one.
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def heading(text: str, level: int = 2) -> str:
    """A heading, of the page (1), of a section (2), or within one (3)."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, faint: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="faint">{escape(text)}</p>' if faint else f"<p>{escape(text)}</p>"


def verdict_box(sentences: Iterable[str]) -> str:
    """What to know if nothing else is read; the first sentence is the largest."""
    return '<div class="verdict">' + "".join(f"<p>{escape(s)}</p>" for s in sentences) + "</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = ()) -> str:
    """A table of plain text, the first column to the left and numbers to the right; long texts may break.

    A bracket at a number's end is set smaller: "92.17 % (88.7–95.1)".
    """

    def text(number: int) -> str:
        return " class=text" if number in text_columns else ""

    head = "".join(f'<th scope="col"{text(n)}>{escape(cell)}</th>' for n, cell in enumerate(header))
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    lines = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for number, cell in enumerate(row[1:], start=1):
            shown = escape(cell) if number in text_columns else _BRACKET.sub(r" <small>\1</small>", escape(cell))
            cells.append(f"<td{text(number)}>{shown}</td>")
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return f'<div class="wide"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def picture(path: Path, words: str, kind: str = "plot") -> str:
    """A PNG inside the file; ``words`` say what it shows, below it and to who can't see it. ``kind``: plot or faces.

    On a phone it is as wide as the screen, and larger after a tap.
    """
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img class="{kind}" alt="{escape(words)}" src="data:image/png;base64,{data}">'
    larger = f'<label><input type="checkbox" aria-label="larger">{image}</label>'
    hint = '<span class="phone"> (tap: larger)</span>'
    return f"<figure>{larger}<figcaption>{escape(words)}{hint}</figcaption></figure>"


def side_by_side(parts: Iterable[str]) -> str:
    """Pictures, or other parts, in columns where there is room."""
    return '<div class="plots">' + "".join(parts) + "</div>"


def together(parts: Iterable[str]) -> str:
    """Several parts as one, for ``side_by_side``."""
    return f"<div>{''.join(parts)}</div>"


def folded(summary: str, body: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"

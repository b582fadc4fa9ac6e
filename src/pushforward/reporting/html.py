"""HTML pages from the folder `templates`: every value is cleaned and escaped, and files are written atomically."""

import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pushforward.errors import MissingExtra
from pushforward.persistence.atomic_write import write_atomically
from pushforward.reporting.plots.canvas import short
from pushforward.reporting.text import MINUS, NONE, clean, decimals

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise MissingExtra("jinja2", "report", "Writing a page") from error


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pushforward.reporting"), autoescape=True, finalize=_finalize, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _finalize(value: object) -> Any:
    """What a template writes for a value, before it is escaped: a dash for None, and clean text."""
    return value if isinstance(value, Markup) else NONE if value is None else clean(value)


def render(template: str, **values: Any) -> Markup:
    """A template of the folder `templates` with its values, which are escaped unless they are `Markup`."""
    return Markup(_environment().get_template(template).render(values))


def write_page(target: Path, template: str, overwrite: bool, **values: Any) -> Path:
    """Write a template as one file, atomically."""
    content = render(template, **values).encode(errors="replace")
    write_atomically(target, lambda file: file.write(content), lambda: check_target(target, overwrite))
    return target


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a path that exists, or whose folder does not."""
    if target.is_dir():
        raise ValueError(f"path: {target} is a folder, expected the name of a file. Write {target / 'report.html'}.")
    if not target.parent.is_dir():
        raise ValueError(f"path: the folder {target.parent} does not exist. Make it first, or choose another path.")
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")


def figure_html(svg: str, caption: str, kind: str = "plain") -> Markup:
    """A picture with its caption, in a box that scrolls horizontally: it may be wider than a phone."""
    return render("figure.html", svg=svg, caption=caption, kind=kind)


def message_html(message: str) -> Markup:
    """A paragraph in place of a picture that cannot be drawn."""
    return Markup("<p>{}</p>").format(clean(message))


def table_html(
    heads: Iterable[str], rows: Iterable[Sequence[object]], *, n_text: int = 1, row_heads: bool = True,
    subject: int | None = None, kind: str = "",
) -> Markup:  # fmt: skip
    """A table in a box that scrolls horizontally.

    Args:
        heads: of the columns; without any, the table has no head.
        rows: of cells.
        n_text: number of columns of text, at the left; the others are numbers.
        row_heads: whether the first cell is the heading of its row.
        subject: index of the row in bold.
        kind: class of the table.
    """
    values = {"n_text": n_text, "row_heads": row_heads, "subject": subject, "kind": kind}
    return render("table.html", heads=list(heads), rows=list(rows), **values)


def score_html(value: float | None, error: float | None, digits: int = 3, *, sign: bool = False) -> Markup:
    """A score, and its standard error in small letters if there is one.

    >>> print(score_html(0.25, 0.01))
    0.250 <small>± 0.010</small>
    """
    if value is None or error is None:
        return Markup(decimals(value, digits, sign=sign))
    shown = decimals(value, digits, sign=sign), decimals(error, digits)
    return Markup("{} <small>\N{PLUS-MINUS SIGN} {}</small>").format(*shown)


def name_html(name: object) -> Markup:
    """A name from a file, escaped and with its reading direction isolated; at most 400 characters.

    >>> name_html("<b>")
    Markup('<bdi>&lt;b&gt;</bdi>')
    """
    return Markup("<bdi>{}</bdi>").format(clean(name, 400))


def short_html(name: object) -> Markup:
    """`name_html`, shortened to fit over a column of numbers; the full name is the tooltip."""
    cut, full = short(name), clean(name, 400)
    return name_html(name) if cut == full else Markup('<bdi title="{}">{}</bdi>').format(full, cut)


def number_html(value: float | None) -> Markup:
    """A number of any size in few characters, as HTML with powers of ten for large and small ones.

    >>> print(number_html(0.25), number_html(99999.0))
    0.25 99,999
    """
    if value is None:
        return Markup(NONE)
    if not math.isfinite(value):
        return Markup("not a number" if math.isnan(value) else "infinite" if value > 0 else f"{MINUS}infinite")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return Markup((f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}").replace("-", MINUS))
    digits, power = f"{value:.1e}".split("e")
    return Markup(f"{digits} \N{MULTIPLICATION SIGN} 10<sup>{int(power)}</sup>".replace("-", MINUS))

"""Converts a figure to inline SVG in the colours and font of the page, so that it follows light and dark mode."""

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING

from pushforward.reporting.plots.canvas import DATA, GRID, INK, MODEL, MUTED, PAPER, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIABLES = {DATA: "data", MODEL: "model", INK: "ink", MUTED: "muted", GRID: "line", PAPER: "paper"}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def inline_svg(figure: "Figure", name: str, description: str) -> str:
    """The figure as one `<svg>` element; every colour of the palette becomes the page's variable of that role.

    Args:
        figure: drawn with `pushforward.reporting.plots`.
        name: prefix of the ids in the SVG; it must be unique on a page.
        description: text for screen readers.
    """
    import matplotlib

    buffer = io.BytesIO()
    # Text stays text (small, selectable, in the font of the page); the salt gives equal figures equal bytes.
    with style(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # Browsers have glyphs that the font of matplotlib lacks; here they are only measured.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = _in_tags(svg, colour, f"var(--{variable})")
    for reference in (' id="', 'href="#', "url(#"):
        svg = _in_tags(svg, reference, f"{reference}{name}-")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def _in_tags(svg: str, old: str, new: str) -> str:
    """Replace inside tags only: the text between them may be a column name that looks like a colour."""
    return re.sub(r"<[^<>]*>", lambda tag: tag.group().replace(old, new), svg)

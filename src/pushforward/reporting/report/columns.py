"""The columns on a page: what each is, in which unit, and who said so."""

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from pushforward.reporting.report.frame import Section, scrolled
from pushforward.reporting.report.words import NONE, clean, listed, name_html

_MOST_OPEN, _MOST_LISTED = 12, 500


def columns_section(schema: Any) -> Section:
    """A line for each column; of more than 12 the kinds are counted and the lines folded, the first 500.

    Args:
        schema: objects or mappings with `name`, `kind`, `unit`, `note`, `source` ("declared" or "detected"), the last
            three of which may be empty or absent; an object's `describe()` says more than its `kind`. Or what has such
            objects as its `columns`.

    Raises:
        ValueError: no column, or one without a name or a kind.
    """
    lines = [_line(column) for column in getattr(schema, "columns", schema)]
    if not lines:
        raise ValueError("schema: expected at least one column, got none.")
    for number, (name, kind, *_) in enumerate(lines):
        if name is None or kind is None:
            raise ValueError(f"schema: expected a name and a kind for every column, got none of either at {number}.")
    heads = ["Column", "Kind", "Unit", "How it was chosen"]
    kept = [0, 1, *(index for index in (2, 3) if any(line[index] for line in lines))]
    head = "".join(f'<th scope="col">{heads[index]}</th>' for index in kept)
    rows = []
    for line in lines[:_MOST_LISTED]:
        cells = [f'<th scope="row">{name_html(line[0])}</th>']
        cells += [f"<td>{escape(clean(line[index])) if line[index] else NONE}</td>" for index in kept[1:]]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    table = scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
    if len(lines) > _MOST_OPEN:
        counts = Counter(clean(line[1]).split(",")[0].split(";")[0] for line in lines)
        kinds = listed([f"{count} {kind}" for kind, count in counts.most_common()])
        rest = f"<p>The first {_MOST_LISTED} are listed.</p>" if len(lines) > _MOST_LISTED else ""
        summary = f"<summary>{len(lines):,} columns: {escape(kinds)}</summary>"
        table = f"<details>{summary}{rest}{table}</details>"
    return Section("Columns", table)


def _line(column: Any) -> tuple[Any, Any, Any, str]:
    """Name, kind in words, unit, and who chose the kind and why."""
    kind = column.describe() if hasattr(column, "describe") else _field(column, "kind")
    source, note = (clean(_field(column, name) or "") for name in ("source", "note"))
    reason = ": ".join(part for part in (source, note) if part)
    return _field(column, "name"), kind, _field(column, "unit"), reason


def _field(column: Any, name: str) -> Any:
    return column.get(name) if isinstance(column, Mapping) else getattr(column, name, None)

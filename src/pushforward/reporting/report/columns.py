"""Columns section: the type and unit of each column, and how they were chosen."""

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from pushforward.reporting.report.sections import Section, scrolled
from pushforward.reporting.report.text import NONE, clean, join_with_and, name_html

_MAX_UNFOLDED, _MAX_LISTED = 12, 500


def columns_section(schema: Any) -> Section:
    """A line for each column; with more than 12 columns the types are counted, and the first 500 lines are folded.

    Args:
        schema: objects or mappings with `name`, `kind`, `unit`, `note`, `source` ("declared" or "detected"), the last
            three of which may be empty or absent; `describe()` of an object replaces its `kind`. Or an object with
            such objects as its `columns`.

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
    shown = [0, 1, *(index for index in (2, 3) if any(line[index] for line in lines))]
    head = "".join(f'<th scope="col">{heads[index]}</th>' for index in shown)
    rows = []
    for line in lines[:_MAX_LISTED]:
        cells = [f'<th scope="row">{name_html(line[0])}</th>']
        cells += [f"<td>{escape(clean(line[index])) if line[index] else NONE}</td>" for index in shown[1:]]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    table = scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
    if len(lines) > _MAX_UNFOLDED:
        counts = Counter(clean(line[1]).split(",")[0].split(";")[0] for line in lines)
        kinds = join_with_and([f"{count} {kind}" for kind, count in counts.most_common()])
        note = f"<p>The first {_MAX_LISTED} are listed.</p>" if len(lines) > _MAX_LISTED else ""
        summary = f"<summary>{len(lines):,} columns: {escape(kinds)}</summary>"
        table = f"<details>{summary}{note}{table}</details>"
    return Section("Columns", table)


def _line(column: Any) -> tuple[Any, Any, Any, str]:
    """Name, type as text, unit, and how and why the type was chosen."""
    kind = column.describe() if hasattr(column, "describe") else _field(column, "kind")
    source, note = (clean(_field(column, name) or "") for name in ("source", "note"))
    reason = ": ".join(part for part in (source, note) if part)
    return _field(column, "name"), kind, _field(column, "unit"), reason


def _field(column: Any, name: str) -> Any:
    return column.get(name) if isinstance(column, Mapping) else getattr(column, name, None)

"""Columns section: the type and unit of each column, and how they were chosen."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pushforward.reporting.html import name_html, render, table_html
from pushforward.reporting.report.sections import Section
from pushforward.reporting.text import clean, join_with_and

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
    names, kinds, units, reasons = zip(*lines, strict=True)
    columns = {"Column": map(name_html, names), "Kind": kinds, "Unit": units, "How it was chosen": reasons}
    shown = {head: cells for head, cells in columns.items() if head in ("Column", "Kind") or any(cells)}
    rows = [[cell or None for cell in row] for row in zip(*shown.values(), strict=True)]
    table = table_html(shown, rows[:_MAX_LISTED], n_text=len(shown))
    if len(lines) > _MAX_UNFOLDED:
        counts = Counter(clean(kind).split(",")[0].split(";")[0] for kind in kinds)
        count = join_with_and([f"{count} {kind}" for kind, count in counts.most_common()])
        values = {"n_columns": len(lines), "kinds": count, "max_listed": _MAX_LISTED, "table": table}
        table = render("columns.html", **values)
    return Section("Column types", table)


def _line(column: Any) -> tuple[Any, Any, Any, str]:
    """Name, type as text, unit, and how and why the type was chosen."""
    kind = column.describe() if hasattr(column, "describe") else _field(column, "kind")
    source, note = (clean(_field(column, name) or "") for name in ("source", "note"))
    reason = ": ".join(part for part in (source, note) if part)
    return _field(column, "name"), kind, _field(column, "unit"), reason


def _field(column: Any, name: str) -> Any:
    return column.get(name) if isinstance(column, Mapping) else getattr(column, name, None)

"""The schema of a table's columns, as the commands print it."""

from pushforward.cli.printer import Printer
from pushforward.tabular.schema import TableSchema

_LONGEST_NAME = 40


def print_schema(out: Printer, schema: TableSchema) -> None:
    """Print one line per column: its name, its type, whether that was declared or detected, and why."""
    out.table(
        ["column", "type", "", "why"],
        [[_one_line(column.label), column.describe(), column.source, column.note] for column in schema.columns],
        left=4,
    )


def _one_line(name: str) -> str:
    """A name on one line, shortened so that the other cells of its row have room."""
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."

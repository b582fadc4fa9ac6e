"""The schema of a table's columns, as the commands print it."""

from pushforward.cli.printer import Printer
from pushforward.tabular.schema import TableSchema


def print_schema(out: Printer, schema: TableSchema) -> None:
    """Print one line per column: its name, its type, whether that was declared or detected, and why."""
    out.table(
        ["column", "type", "", "why"],
        [[column.label, column.describe(), column.source, column.note] for column in schema.columns],
        left=4,
    )

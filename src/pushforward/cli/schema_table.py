"""The schema of a table's columns, as the commands print it."""

from pushforward.cli.printer import Printer
from pushforward.tabular.schema import TableSchema


def print_schema(out: Printer, schema: TableSchema) -> None:
    """One line for each column: its name, what it holds, and whether that was declared or found, and why."""
    out.table(
        ["column", "holds", "", "why"],
        [[column.label, column.describe(), column.source, column.note] for column in schema.columns],
        left=4,
    )

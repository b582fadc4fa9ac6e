"""Tables of numbers in files: read with faults named by line, column and value; written whole or not at all."""

from pushforward.tables.read import read_batches as read_batches
from pushforward.tables.read import read_labels as read_labels
from pushforward.tables.read import read_table as read_table
from pushforward.tables.table import Table as Table
from pushforward.tables.table import check_columns as check_columns
from pushforward.tables.write import write_batches as write_batches
from pushforward.tables.write import write_table as write_table

__all__ = ["Table", "check_columns", "read_batches", "read_labels", "read_table", "write_batches", "write_table"]

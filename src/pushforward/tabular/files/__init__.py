"""Tables of numbers in files. Errors name line, column and value; a file is written completely or not at all."""

from pushforward.tabular.files.read import read_batches as read_batches
from pushforward.tabular.files.read import read_labels as read_labels
from pushforward.tabular.files.read import read_table as read_table
from pushforward.tabular.files.table import Table as Table
from pushforward.tabular.files.table import check_columns as check_columns
from pushforward.tabular.files.write import write_batches as write_batches
from pushforward.tabular.files.write import write_table as write_table

__all__ = ["Table", "check_columns", "read_batches", "read_labels", "read_table", "write_batches", "write_table"]

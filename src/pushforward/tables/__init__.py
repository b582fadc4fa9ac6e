"""Reading and writing tables: the public names of `pushforward.tabular.files`."""

from pushforward.tabular.files import Table as Table
from pushforward.tabular.files import check_columns as check_columns
from pushforward.tabular.files import read_batches as read_batches
from pushforward.tabular.files import read_labels as read_labels
from pushforward.tabular.files import read_table as read_table
from pushforward.tabular.files import write_batches as write_batches
from pushforward.tabular.files import write_table as write_table

__all__ = ["Table", "check_columns", "read_batches", "read_labels", "read_table", "write_batches", "write_table"]

"""The schema of a table: the type of each column, and flows fitted to tables through maps of the columns."""

from pushforward.tabular.schema.column import DECLARATIONS, KINDS, Column
from pushforward.tabular.schema.fit import fit_columns, n_copies
from pushforward.tabular.schema.infer import infer_schema
from pushforward.tabular.schema.ranges import Range, out_of_range
from pushforward.tabular.schema.schema import TableSchema

__all__ = [
    "DECLARATIONS",
    "KINDS",
    "Column",
    "Range",
    "TableSchema",
    "fit_columns",
    "infer_schema",
    "n_copies",
    "out_of_range",
]

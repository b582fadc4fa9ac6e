"""Tables as they are: what each column holds, and a flow fitted to it through maps of the columns."""

from pushforward.tabular.schema.column import DECLARATIONS, KINDS, Column
from pushforward.tabular.schema.fit import fit_columns, n_copies
from pushforward.tabular.schema.ranges import Range, outside_range
from pushforward.tabular.schema.schema import Plan, infer_schema

__all__ = [
    "DECLARATIONS",
    "KINDS",
    "Column",
    "Plan",
    "Range",
    "fit_columns",
    "infer_schema",
    "n_copies",
    "outside_range",
]

"""Tables as they are: what each column holds, and a flow fitted to it through maps of the columns."""

from pushforward.columns.column import DECLARATIONS, KINDS, Column
from pushforward.columns.fit import fit_columns, n_copies
from pushforward.columns.plan import Plan, plan_columns
from pushforward.columns.ranges import Range, outside_range

__all__ = [
    "DECLARATIONS",
    "KINDS",
    "Column",
    "Plan",
    "Range",
    "fit_columns",
    "n_copies",
    "outside_range",
    "plan_columns",
]

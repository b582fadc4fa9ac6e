"""Tables as they are: what each column holds, and a flow fitted to it through maps of the columns."""

from pushforward.columns.column import DECLARATIONS, KINDS, Column
from pushforward.columns.fit import fit_columns, n_copies
from pushforward.columns.plan import Plan, plan_columns

__all__ = ["DECLARATIONS", "KINDS", "Column", "Plan", "fit_columns", "n_copies", "plan_columns"]

"""A table split by seed into rows to train on and rows for the test, with the plan of its columns."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.baselines import mean_density
from pushforward.cli.scoring import Row, leaderboard_row
from pushforward.columns import Plan, n_copies, plan_columns
from pushforward.errors import DataError
from pushforward.tables import Table, check_columns, read_table
from pushforward.train.data import Rows, gaussian_scores

_TEST_SHARE = 10
_FEWEST_TEST_ROWS = 20
_FEWEST_ROWS = 2
_UNIT = re.compile(r".*[^\s(\[]\s*(?:\(([^()]{1,20})\)|\[([^\[\]]{1,20})\])")


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows to train on and rows for the test, contexts or None; with too few rows, both are the whole table.

    `test_rows` are the numbers of the test rows in the table, counted from 1.
    """

    plan: Plan
    columns: tuple[str, ...]
    context_columns: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    train_context: np.ndarray | None
    test_context: np.ndarray | None
    is_held_out: bool
    test_rows: np.ndarray

    def modelled(self) -> "Split":
        """The same without the constant columns, as the flow has it."""
        places = self.plan.modelled
        return dataclasses.replace(
            self, columns=tuple(self.columns[place] for place in places), train=self.train[:, places],
            test=self.test[:, places],
        )  # fmt: skip

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.train) + (len(self.test) if self.is_held_out else 0)


def read_split(
    data: Path,
    columns: list[str] | None,
    context: list[str] | None,
    drop_na: bool,
    seed: int,
    *,
    declared: Mapping[str, str] | None = None,
    detect: bool = True,
    units: Mapping[str, str] | None = None,
) -> Split:
    """Read, check and plan a table, and keep a tenth of its rows for the test, unless these would be fewer than 20."""
    declared, units = declared or {}, units or {}
    table = read_declared(data, columns, context, drop_na, declared)
    for name in units:
        if name not in table.columns:
            known = ", ".join(map(repr, table.columns))
            raise DataError(f"{data}: there is no column {name!r} to have a unit: name one of {known}.")
    order = np.random.default_rng(seed).permutation(len(table.values))
    n_test = len(order) // _TEST_SHARE
    is_held_out = n_test >= _FEWEST_TEST_ROWS
    train, test = (order[n_test:], order[:n_test]) if is_held_out else (order, order)
    given = table.context if table.context_columns else None
    try:
        # what is found, and every number, come from the training rows, where the test rows do not deny it
        plan = plan_columns(
            table.values[train], table.columns, declarations=declared, detect=detect, others=table.values[test],
            units=[units.get(name, unit_in(name)) for name in table.columns],
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    return Split(
        plan,
        table.columns,
        table.context_columns,
        table.values[train],
        table.values[test],
        None if given is None else given[train],
        None if given is None else given[test],
        is_held_out,
        table.numbers[test],
    )


def read_declared(
    data: Path, columns: list[str] | None, context: list[str] | None, drop_na: bool, declared: Mapping[str, str]
) -> Table:
    """Read a table to fit: at least two rows, of which every one is what the columns are declared to hold."""
    table = read_table(data, columns=columns, context=context, drop_na=drop_na)
    if len(table.values) < _FEWEST_ROWS:
        raise DataError(f"{data}: expected at least {_FEWEST_ROWS} rows to fit, got {len(table.values)}: add rows.")
    for name in declared:
        if name in table.context_columns:
            raise DataError(
                f"{data}: column {name!r} is a context, which is given and not modelled, so it takes no kind: leave "
                f"--column {name}=... out, or {name} out of --context."
            )
    check_columns(table, constant=[name for name, kind in declared.items() if kind == "constant"])
    try:
        plan_columns(table.values, table.columns, declarations=declared, detect=False, numbers=table.numbers)
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    return table


def unit_in(name: str) -> str:
    """The unit that a column's name ends with in brackets, or "".

    >>> unit_in("height (cm)"), unit_in("speed [m/s]"), unit_in("f(x) of y")
    ('cm', 'm/s', '')
    """
    match = _UNIT.fullmatch(name.strip())
    return "" if match is None else (match[1] or match[2]).strip()


def leaderboard(name: str, split: Split, model: Any, history: Any) -> list[Row]:
    """The flow and its floor, a full Gaussian linear in the context, on rows that trained neither if there are any.

    Where columns are rounded the Gaussian is fitted to noisy copies and scored by the points of a cell, as the flow is.
    """
    if not split.is_held_out:
        scored_on = f"{history.n_validation} validation rows" if history.n_validation else "the training rows"
        row, floor = Row(name, scored_on, history.best_validation), Row("Gaussian", scored_on, history.gaussian)
    else:
        test = split.modelled().test
        row = leaderboard_row(name, f"{len(test):,} test rows", model, test, split.test_context)
        floor = Row("Gaussian", row.setting, _floor(split))
    row.fit_seconds = history.seconds[-1] if history.seconds else None
    return [row, floor]


def _floor(split: Split) -> float:
    """Mean nats of the test rows under a full Gaussian of the training rows, cells counted with their volume."""
    plan, copies = split.plan, n_copies(split.plan, len(split.train))
    noisy = plan.filled(np.tile(split.train[:, plan.modelled], (copies, 1)), np.random.default_rng(0))
    points = plan.cell_points(split.test[:, plan.modelled])
    given = [None, None]
    if split.train_context is not None and split.test_context is not None:
        given = [np.tile(split.train_context, (copies, 1)), np.repeat(split.test_context, points.shape[1], axis=0)]
    train, test = Rows(noisy, given[0], None), Rows(points.reshape(-1, points.shape[2]), given[1], None)
    scores = mean_density(gaussian_scores(train, test).reshape(points.shape[:2]))
    return float((scores + plan.log_cells(split.test[:, plan.modelled])).mean())

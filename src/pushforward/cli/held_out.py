"""A table split by seed into rows to train on and rows for the test."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.cli.scoring import Row, leaderboard_row
from pushforward.errors import DataError
from pushforward.tables import check_columns, read_table
from pushforward.train.data import Rows, gaussian_nats

_TEST_SHARE = 10
_FEWEST_TEST_ROWS = 20
_FEWEST_ROWS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows to train on and rows for the test, contexts or None; with too few rows, both are the whole table."""

    columns: tuple[str, ...]
    context_columns: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    train_context: np.ndarray | None
    test_context: np.ndarray | None
    is_held_out: bool

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.train) + (len(self.test) if self.is_held_out else 0)

    def train_frame(self) -> Any:
        """The training rows with their names, which the sentences of `fit` then use."""
        import polars

        return polars.DataFrame(self.train, schema=list(self.columns), orient="row")


def read_split(data: Path, columns: list[str] | None, context: list[str] | None, drop_na: bool, seed: int) -> Split:
    """Read and check a table, and keep a tenth of its rows for the test, unless these would be fewer than 20."""
    table = read_table(data, columns=columns, context=context, drop_na=drop_na)
    if len(table.values) < _FEWEST_ROWS:
        raise DataError(f"{data}: expected at least {_FEWEST_ROWS} rows to fit, got {len(table.values)}: add rows.")
    check_columns(table)
    order = np.random.default_rng(seed).permutation(len(table.values))
    n_test = len(order) // _TEST_SHARE
    is_held_out = n_test >= _FEWEST_TEST_ROWS
    train, test = (order[n_test:], order[:n_test]) if is_held_out else (order, order)
    given = table.context if table.context_columns else None
    return Split(
        table.columns,
        table.context_columns,
        table.values[train],
        table.values[test],
        None if given is None else given[train],
        None if given is None else given[test],
        is_held_out,
    )


def leaderboard(name: str, split: Split, model: Any, history: Any) -> list[Row]:
    """The flow and its floor, a full Gaussian linear in the context, on rows that trained neither if there are any."""
    if split.is_held_out:
        row = leaderboard_row(name, f"{len(split.test):,} test rows", model, split.test, split.test_context)
        train, test = Rows(split.train, split.train_context, None), Rows(split.test, split.test_context, None)
        floor = Row("Gaussian", row.setting, gaussian_nats(train, test))
    else:
        scored_on = f"{history.n_validation} validation rows" if history.n_validation else "the training rows"
        row, floor = Row(name, scored_on, history.best_validation), Row("Gaussian", scored_on, history.gaussian)
    row.fit_seconds = history.seconds[-1] if history.seconds else None
    return [row, floor]

"""Splits a table into training and test rows, at random, by group or by time, and infers the schema of its columns."""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.core.named_rows import NamedRows
from pushforward.errors import DataError
from pushforward.tabular.baselines import mean_density
from pushforward.tabular.files import Table, check_columns, read_labels, read_table
from pushforward.tabular.leaderboard import LeaderboardRow, leaderboard_row, mean_without
from pushforward.tabular.schema import TableSchema, infer_schema, n_copies
from pushforward.train.data import Rows, gaussian_log_probs
from pushforward.train.ranges import check_range
from pushforward.train.split import group_numbers, has_equal_row, hold_out, latest_rows, time_numbers

_TEST_SHARE = 10
_MIN_TEST_ROWS = 20
_MIN_ROWS = 2
_MIN_ROWS_FOR_VALIDATION = 20
_UNIT = re.compile(r".*[^\s(\[]\s*(?:\(([^()]{1,20})\)|\[([^\[\]]{1,20})\])")


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Training rows and test rows, with their contexts or None; with too few rows, both are all rows of the table.

    `test_rows` has the row numbers of the test rows in the table, counted from 1. `rule` describes how they were
    chosen. `groups` and `test_groups` have the group of each row, and `is_latest` marks the training rows that are
    for validation; each may be None. `dropped` counts the rows that are left out for a missing cell or label.
    """

    schema: TableSchema
    columns: tuple[str, ...]
    context_columns: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    train_context: np.ndarray | None
    test_context: np.ndarray | None
    is_held_out: bool
    test_rows: np.ndarray
    rule: str = ""
    groups: np.ndarray | None = None
    is_latest: np.ndarray | None = None
    test_groups: np.ndarray | None = None
    dropped: int = 0

    def without_constants(self) -> "Split":
        """The split without constant columns, which the flow does not model."""
        indices = self.schema.modelled_indices
        return dataclasses.replace(
            self, columns=tuple(self.columns[index] for index in indices), train=self.train[:, indices],
            test=self.test[:, indices],
        )  # fmt: skip

    def fit_arguments(self) -> dict[str, Any]:
        """The training rows as arguments of `fit_columns`; with separate validation rows if the split is by time."""
        if self.is_latest is None:
            rows = self.train_context
            context = None if rows is None else NamedRows(rows, self.context_columns)
            return {"x": self.train, "context": context, "groups": self.groups}
        parts = [
            (self.train[index], None if self.train_context is None else self.train_context[index])
            for index in (~self.is_latest, self.is_latest)
        ]
        return {"x": parts[0][0], "context": parts[0][1], "validation": parts[1]}

    @functools.cached_property
    def is_copy(self) -> np.ndarray:
        """(n_test,) whether a test row equals a training row, context included; all False without test rows."""
        if not self.is_held_out:
            return np.zeros(len(self.test), bool)
        return has_equal_row(Rows(self.test, self.test_context, None), Rows(self.train, self.train_context, None))

    @property
    def n_rows(self) -> int:
        """Number of rows of the table."""
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
    groups: str | None = None,
    time: str | None = None,
    exclude: list[str] | None = None,
) -> Split:
    """Read a table, infer its schema, and hold out a tenth of its rows for the test, unless these are fewer than 20.

    Args:
        data, columns, context, drop_na, seed, declared, detect, units: as the options of `pushforward fit`.
        groups: name of a column; rows with equal values of it are on the same side of the split.
        time: name of a column; the latest rows are the test.
        exclude: names of columns to leave out.
    """
    declared, units = declared or {}, units or {}
    table, group_of_row, times = read_declared(
        data, columns, context, drop_na, declared, groups=groups, time=time, exclude=exclude
    )
    for name in units:
        if name not in table.columns:
            known = ", ".join(map(repr, table.columns))
            raise DataError(f"{data}: there is no column {name!r} to have a unit: name one of {known}.")
    n = len(table.values)
    n_test = n // _TEST_SHARE if n // _TEST_SHARE >= _MIN_TEST_ROWS else 0
    if n_test and group_of_row is not None and (n_groups := len(np.unique(group_of_row))) < 3:
        raise DataError(
            f"{data}: column {groups!r} has {n_groups} different values in {n} rows, but test, validation and training "
            "rows must belong to different groups: use another column, or leave --groups out."
        )
    try:
        if n_test and times is not None:
            train, test = latest_rows(times, n_test)
        else:
            train, test = hold_out(n, n_test, np.random.default_rng(seed), group_of_row, leave=2)
        is_latest = None
        if times is not None and len(train) >= _MIN_ROWS_FOR_VALIDATION:
            is_latest = np.zeros(len(train), bool)
            is_latest[latest_rows(times[train], len(train) // _TEST_SHARE)[1]] = True
    except DataError as error:
        raise DataError(f"{data}: --{'groups' if times is None else 'split'}: {error}") from error
    test, is_held_out = (test, True) if n_test else (train, False)
    contexts = table.context if table.context_columns else None
    if contexts is not None:  # before training, which checks only a part of the rows
        check_range(f"{data}: context", contexts, table.context_columns, single_precision=True)
    try:
        # The schema comes from the training rows; the test rows can only rule out a type.
        schema = infer_schema(
            table.values[train], table.columns, declarations=declared, detect=detect, others=table.values[test],
            units=[units.get(name, unit_in(name)) for name in table.columns],
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    return Split(
        schema,
        table.columns,
        table.context_columns,
        table.values[train],
        table.values[test],
        None if contexts is None else contexts[train],
        None if contexts is None else contexts[test],
        is_held_out,
        table.numbers[test],
        _rule(len(test) / n if is_held_out else 0.0, groups, time),
        None if group_of_row is None else group_of_row[train],
        is_latest,
        None if group_of_row is None else group_of_row[test],
        table.dropped,
    )


def _rule(share: float, groups: str | None, time: str | None) -> str:
    """Describe how the test rows were chosen, or the validation rows if there is no test.

    >>> _rule(0.1, "patient", None), _rule(0.0999, None, "day"), _rule(0.0, None, None)
    ('10 % of rows, by group of patient', 'the latest 9.99 % of rows, by day', 'no test; validation rows at random')
    """
    rows = f"{100 * share:.3g} % of rows" if share else "no test; validation rows"
    if time is not None:
        return f"{'the latest ' if share else ''}{rows}, by {time}"
    return f"{rows}, by group of {groups}" if groups is not None else f"{rows} at random"


def read_declared(
    data: Path, columns: list[str] | None, context: list[str] | None, drop_na: bool, declared: Mapping[str, str], *,
    groups: str | None = None, time: str | None = None, exclude: list[str] | None = None,
) -> tuple[Table, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """Read a table to fit: at least two rows, all of which agree with the declarations.

    Also return (n,) the numbers of the groups, and the times, of its rows, or None. The columns of groups and times are
    not modelled, unless `columns` or `context` name them; neither are the columns of `exclude`.
    """
    label = groups if time is None else time
    labels = None
    if label is not None or exclude:
        known, labels = read_labels(data, label or (exclude or [""])[0])
        for name in exclude or ():
            if name not in known:
                raise DataError(f"{data}: there is no column {name!r} to leave out: correct --exclude.")
        if columns is None:
            columns = [name for name in known if name not in {label, *(context or ()), *(exclude or ())}]
        labels = None if label is None else labels
    table = read_table(data, columns=columns, context=context, drop_na=drop_na)
    if labels is not None:
        table, labels = _with_labels(table, str(label), labels[table.numbers - 1], drop_na)
    if len(table.values) < _MIN_ROWS:
        raise DataError(f"{data}: expected at least {_MIN_ROWS} rows to fit, got {len(table.values)}: add rows.")
    for name in declared:
        if name in table.context_columns:
            raise DataError(
                f"{data}: column {name!r} is a context, which is not modelled, so it takes no kind: leave "
                f"--column {name}=... out, or {name} out of --context."
            )
    check_columns(table, constant=[name for name, kind in declared.items() if kind == "constant"])
    try:
        infer_schema(table.values, table.columns, declarations=declared, detect=False, numbers=table.numbers)
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    if labels is None:
        return table, None, None
    try:
        if time is not None:
            return table, None, time_numbers(labels, len(labels), f"column {time!r}", table.numbers)
        return table, group_numbers(labels, len(labels), f"column {groups!r}"), None
    except DataError as error:
        raise DataError(f"{data}: {error}") from error


def _with_labels(table: Table, name: str, labels: np.ndarray, drop_na: bool) -> tuple[Table, np.ndarray]:
    """The rows that have a label, and their labels."""
    has_label = np.array([label is not None for label in labels], bool)
    if has_label.all():
        return table, labels
    if not drop_na:
        raise DataError(
            f"{table.path}: row {table.numbers[has_label.argmin()]}, column {name!r} is missing, the first of "
            f"{int((~has_label).sum())} rows: fill it in, or drop these rows with --drop-na."
        )
    table = dataclasses.replace(
        table, values=table.values[has_label], context=table.context[has_label], numbers=table.numbers[has_label],
        dropped=table.dropped + int((~has_label).sum()),
    )  # fmt: skip
    return table, labels[has_label]


def unit_in(name: str) -> str:
    """The unit in brackets at the end of a column name, or "".

    >>> unit_in("height (cm)"), unit_in("speed [m/s]"), unit_in("f(x) of y")
    ('cm', 'm/s', '')
    """
    match = _UNIT.fullmatch(name.strip())
    return "" if match is None else (match[1] or match[2]).strip()


def leaderboard(name: str, split: Split, model: Any, history: Any) -> list[LeaderboardRow]:
    """Rows of the flow and of its baseline, a full Gaussian whose mean is linear in the context.

    Both are scored on the test rows; without test rows, on the validation rows, else on the training rows. With rounded
    columns the Gaussian is fitted to dequantised copies and scored at the points of a bin, as the flow is.
    """
    if not split.is_held_out:
        setting = f"{history.n_validation} validation rows" if history.n_validation else "the training rows"
        row = LeaderboardRow(name, setting, history.best_validation)
        baseline = LeaderboardRow("Gaussian", setting, history.gaussian)
        if history.n_validation_copies and math.isfinite(history.validation_without_copies):
            row.without_copies = history.validation_without_copies
    else:
        test = split.without_constants().test
        scores = _gaussian_scores(split)
        row = leaderboard_row(
            name, f"{len(test):,} test rows", model, test, split.test_context, split.is_copy, split.test_groups, scores
        )
        baseline = LeaderboardRow(
            "Gaussian", row.setting, float(scores.mean()), without_copies=mean_without(scores, split.is_copy)
        )
    row.fit_seconds = history.seconds[-1] if history.seconds else None
    return [row, baseline]


def _gaussian_scores(split: Split) -> np.ndarray:
    """Log-likelihood (n_test,) of the test rows under a full Gaussian fitted to the training rows."""
    schema, n_noisy = split.schema, n_copies(split.schema, len(split.train))
    noisy = schema.dequantise(np.tile(split.train[:, schema.modelled_indices], (n_noisy, 1)), np.random.default_rng(0))
    points = schema.bin_points(split.test[:, schema.modelled_indices])
    contexts = [None, None]
    if split.train_context is not None and split.test_context is not None:
        contexts = [np.tile(split.train_context, (n_noisy, 1)), np.repeat(split.test_context, points.shape[1], axis=0)]
    train, test = Rows(noisy, contexts[0], None), Rows(points.reshape(-1, points.shape[2]), contexts[1], None)
    scores = mean_density(gaussian_log_probs(train, test).reshape(points.shape[:2]))
    return scores + schema.log_bin_widths(split.test[:, schema.modelled_indices])

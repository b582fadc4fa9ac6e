"""What a reader hands back, and the checks that every format shares."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from pushforward.errors import DataError, MissingExtra, TableError

_SHOWN = 3
_LISTED = 8


@dataclass(frozen=True, eq=False)
class Table:
    """Finite numbers with named columns.

    Args:
        values: float64 array (n, d).
        columns: d names.
        path: of the file they came from.
        context: float64 array (n, c), c = 0 when no context was asked for.
        context_columns: c names.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    path: Path
    context: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    context_columns: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cells:
    """A format's raw result: the picked columns as float64 with NaN for missing, and each row's line in a text file."""

    values: np.ndarray
    lines: np.ndarray | None = None

    def place(self, row: int) -> str:
        """Where a reader of the file finds the row: 'line 7' of a text file, else 'row 6', counted from 1."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"


@dataclass(frozen=True)
class Wanted:
    """The columns that were asked for: None stands for all the others."""

    path: Path
    columns: Sequence[str] | None
    context: Sequence[str] | None

    def pick(self, names: Sequence[str]) -> list[int]:
        """Positions of the wanted columns among `names`, the context's last."""
        self._check_names(names)
        context = list(self.context or ())
        columns = [name for name in names if name not in context] if self.columns is None else list(self.columns)
        asked = columns + context
        for name in asked:
            if name not in names:
                raise TableError(f"{self.path}: there is no column {name!r}: {_near(name, names)}.")
        repeated = next((name for name in asked if asked.count(name) > 1), None)
        if repeated is not None:
            raise TableError(f"{self.path}: column {repeated!r} is asked for twice: name it once, in one role.")
        if not columns:
            raise TableError(f"{self.path}: no column is left to model: ask for fewer context columns.")
        if "" in asked:
            raise TableError(
                f"{self.path}: column {list(names).index('') + 1} has no name: name it in the header, or choose other "
                "columns with --columns (a data frame's unnamed index is left out by writing with index=False)."
            )
        return [list(names).index(name) for name in asked]

    def _check_names(self, names: Sequence[str]) -> None:
        seen: dict[str, int] = {}
        for position, name in enumerate(names, start=1):
            if name and name in seen:
                raise TableError(
                    f"{self.path}: the header has {name!r} twice, as columns {seen[name]} and {position}: rename one."
                )
            seen[name] = position


def finish(wanted: Wanted, names: Sequence[str], cells: Cells, drop_na: bool) -> Table:
    """Refuse infinities and, unless their rows are to be dropped, missing cells; split columns from context."""
    path, values = wanted.path, cells.values
    if not len(values):
        raise TableError(f"{path}: the table has 0 rows: at least one is needed.")
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, column = infinite[0].tolist()
        raise TableError(
            f"{path}: {cells.place(row)}, column {names[column]!r} is {values[row, column]}, the first of "
            f"{len(infinite)} infinite cells: correct or remove these rows."
        )
    missing = np.isnan(values)
    if missing.any():
        if not drop_na:
            places = np.argwhere(missing).tolist()
            shown = "; ".join(f"{cells.place(row)}, column {names[column]!r}" for row, column in places[:_SHOWN])
            more = ", ..." if len(places) > _SHOWN else ""
            count = "1 cell is missing" if len(places) == 1 else f"{len(places)} cells are missing"
            raise TableError(
                f"{path}: {count} ({shown}{more}): fill them in, or drop their rows with --drop-na (drop_na=True)."
            )
        values = values[~missing.any(axis=1)]
        if not len(values):
            raise TableError(f"{path}: every row has a missing cell, none is left: choose columns with --columns.")
    context = len(wanted.context or ())
    split = values.shape[1] - context
    return Table(
        np.ascontiguousarray(values[:, :split]),
        tuple(names[:split]),
        path,
        np.ascontiguousarray(values[:, split:]),
        tuple(names[split:]),
    )


def check_columns(table: Table) -> None:
    """Refuse a table whose columns cannot all have a density: a constant column has none.

    Args:
        table: what is to be fitted; its context columns are checked too, since they are standardised.

    Raises:
        DataError: a column holds one value only; the sentence names it.

    >>> import numpy as np
    >>> check_columns(Table(np.array([[1.0, 3.0], [2.0, 3.0]]), ("a", "b"), Path("t.csv")))
    Traceback (most recent call last):
        ...
    pushforward.errors.DataError: t.csv: column 'b' is 3.0 in all 2 rows: leave it out with --columns.
    """
    for values, columns in ((table.values, table.columns), (table.context, table.context_columns)):
        for name, column in zip(columns, values.T, strict=True):
            if (column == column[0]).all():
                where = f"{table.path}: column {name!r}"
                raise DataError(f"{where} is {column[0]} in all {len(column)} rows: leave it out with --columns.")


def load_polars() -> ModuleType:
    """The polars module, or a sentence that says how to install it."""
    try:
        import polars
    except ImportError as fault:
        raise MissingExtra("polars", "cli", "Reading and writing tables") from fault
    return polars


def _near(name: str, names: Sequence[str]) -> str:
    spellings: dict[str, list[str]] = {}
    for known in names:
        spellings.setdefault(known.casefold(), []).append(known)
    matches = difflib.get_close_matches(name.casefold(), list(spellings), _SHOWN)
    near = [known for match in matches for known in spellings[match]][:_SHOWN]
    if near:
        return f"did you mean {' or '.join(repr(known) for known in near)}"
    more = ", ..." if len(names) > _LISTED else ""
    return f"the file has {', '.join(repr(known) for known in names[:_LISTED])}{more}"

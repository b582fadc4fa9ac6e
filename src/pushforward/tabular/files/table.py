"""What a reader hands back, and the checks that every format shares."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from pushforward.errors import DataError, MissingExtra, TableError

_NEAR = 3
_LISTED = 8
_UNIT = re.compile(r"\s*[(\[].*[)\]]\s*$")  # at the end of a name
_ROWS, _NUMBERS = 2**16, 2**22


@dataclass(frozen=True, eq=False)
class Table:
    """Finite numbers with named columns.

    Args:
        values: float64 array (n, d).
        columns: d names.
        path: of the file they came from.
        context: float64 array (n, c), c = 0 when no context was asked for.
        context_columns: c names.
        dropped: rows of the file that were left out here, for a cell of theirs is missing.
        share: how much of the file has been read with this table, from 0 to 1.
        numbers: of the rows in the file, counted from 1, the header not among them; dropped rows count too.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    path: Path
    context: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    context_columns: tuple[str, ...] = ()
    dropped: int = 0
    share: float = 1.0
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Cells:
    """A piece of a format's raw result: rows of the picked columns as float64, NaN where a cell is missing.

    `lines` has each row's line in a text file; `first` is the number of the piece's first row, counted from 0; `share`
    is how much of the file has been read with it, from 0 to 1.
    """

    values: np.ndarray
    lines: np.ndarray | None = None
    first: int = 0
    share: float = 1.0

    def place(self, row: int) -> str:
        """Where a reader of the file finds the row: 'line 7' of a text file, else 'row 6', counted from 1."""
        return f"row {self.first + row + 1}" if self.lines is None else f"line {self.lines[row]}"


@dataclass(frozen=True)
class Wanted:
    """The columns that were asked for: None stands for all the others."""

    path: Path
    columns: Sequence[str] | None
    context: Sequence[str] | None

    def pick(self, names: Sequence[str]) -> list[int]:
        """Positions of the wanted columns among `names`, the context's last."""
        self._check_names(names)
        context, places = list(self.context or ()), {name: place for place, name in enumerate(names)}
        if self.columns is None:
            given = frozenset(context)
            columns = [name for name in names if name not in given]
        else:
            columns = list(self.columns)
        asked = columns + context
        for name in asked:
            if name not in places:
                raise TableError(f"{self.path}: there is no column {name!r}: {_near(name, names)}.")
        if not columns:
            words = "no column is left to model: ask for fewer context columns"
            if not names:
                words = "the table has no columns: write one with a header and numbers"
            elif self.columns is not None:
                words = f"no column is asked for: name some of {_listed(names)}, or leave the choice out for all"
            raise TableError(f"{self.path}: {words}.")
        for name in asked:
            if not name.strip():
                raise TableError(
                    f"{self.path}: column {list(names).index(name) + 1} has no name: name it in the header, or choose "
                    "other columns with --columns (a data frame's unnamed index is left out by writing with "
                    "index=False)."
                )
            if fault := name_fault(name):
                raise TableError(
                    f"{self.path}: the name {name!r} {fault}, which no table written here could keep: rename that "
                    "column."
                )
        repeated = next((name for name, count in Counter(asked).items() if count > 1), None)
        if repeated is not None:
            raise TableError(f"{self.path}: column {repeated!r} is asked for twice: name it once, in one role.")
        return [places[name] for name in asked]

    def _check_names(self, names: Sequence[str]) -> None:
        seen: dict[str, int] = {}
        for position, name in enumerate(names, start=1):
            if name and name in seen:
                raise TableError(
                    f"{self.path}: the header has {name!r} twice, as columns {seen[name]} and {position}: rename one."
                )
            seen[name] = position


def name_fault(name: str) -> str | None:
    """Why a column's name cannot be kept by the files that tables are written to; None where it can.

    >>> name_fault("pay (EUR)"), name_fault("a "), name_fault("a\\0")
    (None, "has a space or a line's end at an end of it", 'has a zero character')
    """
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "has a space or a line's end at an end of it"
    if "\0" in name:
        return "has a zero character"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has half of a surrogate pair, which is no character"
    return None


def check_columns(table: Table, constant: Sequence[str] = ()) -> None:
    """Refuse a table whose columns cannot all have a density: a constant column has none.

    Args:
        table: what is to be fitted; its context columns are checked too, since they are standardised.
        constant: names of columns that may hold one value only.

    Raises:
        DataError: a column holds one value only; the sentence names it.

    >>> import numpy as np
    >>> check_columns(Table(np.array([[1.0, 3.0], [2.0, 3.0]]), ("a", "b"), Path("t.csv")))
    Traceback (most recent call last):
        ...
    pushforward.errors.DataError: t.csv: column 'b' is 3.0 in all 2 rows: leave it out with --columns, or ...
    """
    for values, columns in ((table.values, table.columns), (table.context, table.context_columns)):
        for name, column in zip(columns, values.T, strict=True):
            if name not in constant and (column == column[0]).all():
                remedy = "" if name in table.context_columns else f", or keep it as it is with --column {name}=constant"
                raise DataError(
                    f"{table.path}: column {name!r} is {column[0]} in all {len(column)} rows: leave it out with "
                    f"--columns{remedy}."
                )


def rows_at_once(width: int) -> int:
    """Rows of so many columns that are held at a time: 65,536, fewer of very wide ones.

    >>> rows_at_once(6), rows_at_once(1_000)
    (65536, 4194)
    """
    return max(1, min(_ROWS, _NUMBERS // max(width, 1)))


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
    matches = difflib.get_close_matches(name.casefold(), list(spellings), _NEAR)
    near = [known for match in matches for known in spellings[match]][:_NEAR]
    other = [known for known in names if _UNIT.sub("", known).casefold() == _UNIT.sub("", name).casefold()]
    if other and other[0].casefold() != name.casefold():
        return (
            f"the file has {other[0]!r}; if that is another unit, convert its numbers, then name it as the model does"
        )
    if near:
        return f"did you mean {' or '.join(repr(known) for known in near)}"
    return f"the file has {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _LISTED else ""
    return f"{', '.join(repr(known) for known in names[:_LISTED])}{more}"

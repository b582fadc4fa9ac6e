"""The table type, the selection of its columns, and checks for all formats."""

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
        path: of the source file.
        context: float64 array (n, c), c = 0 without a context.
        context_columns: c names.
        dropped: number of rows dropped for a missing cell.
        share: of the file that has been read up to this table, from 0 to 1.
        numbers: of the rows in the file, counted from 1 without the header; dropped rows count too.
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
class Chunk:
    """Some rows of the selected columns as float64, NaN where a cell is missing, before the checks.

    `lines` are the line numbers of the rows in a text file; `first` is the index of the first row; `share` is the share
    of the file that has been read up to this chunk, from 0 to 1.
    """

    values: np.ndarray
    lines: np.ndarray | None = None
    first: int = 0
    share: float = 1.0

    def position(self, row: int) -> str:
        """The position of a row in the file: 'line 7' of a text file, else 'row 6', counted from 1."""
        return f"row {self.first + row + 1}" if self.lines is None else f"line {self.lines[row]}"


class MissingColumnError(TableError):
    """A table file does not have a column of this name."""


@dataclass(frozen=True)
class Selection:
    """The columns and contexts to read; `columns` None means all but the contexts."""

    path: Path
    columns: Sequence[str] | None
    context: Sequence[str] | None

    def indices(self, names: Sequence[str]) -> list[int]:
        """Indices of the selected columns in `names`, the contexts last."""
        self._check_names(names)
        context, index_of = list(self.context or ()), {name: index for index, name in enumerate(names)}
        if self.columns is None:
            context_names = frozenset(context)
            columns = [name for name in names if name not in context_names]
        else:
            columns = list(self.columns)
        selected = columns + context
        for name in selected:
            if name not in index_of:
                raise MissingColumnError(f"{self.path}: there is no column {name!r}: {_suggest(name, names)}.")
        if not columns:
            message = "no column is left to model: select fewer context columns"
            if not names:
                message = "the table has no columns: write one with a header and numbers"
            elif self.columns is not None:
                message = f"no column is selected: name some of {_list_names(names)}, or leave the choice out for all"
            raise TableError(f"{self.path}: {message}.")
        for name in selected:
            if not name.strip():
                raise TableError(
                    f"{self.path}: column {list(names).index(name) + 1} has no name: name it in the header, or choose "
                    "other columns with --columns (a data frame's unnamed index is left out by writing with "
                    "index=False)."
                )
            if fault := name_fault(name):
                raise TableError(
                    f"{self.path}: the name {name!r} {fault}, which tables written here cannot store: rename "
                    "that column."
                )
        repeated = next((name for name, count in Counter(selected).items() if count > 1), None)
        if repeated is not None:
            raise TableError(f"{self.path}: column {repeated!r} is selected twice: name it once, in one role.")
        return [index_of[name] for name in selected]

    def _check_names(self, names: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            if name and name in numbers:
                raise TableError(
                    f"{self.path}: the header has {name!r} twice, as columns {numbers[name]} and {number}: rename one."
                )
            numbers[name] = number


def name_fault(name: str) -> str | None:
    """The reason why table files cannot store a column's name; None if they can.

    >>> name_fault("pay (EUR)"), name_fault("a "), name_fault("a\\0")
    (None, 'starts or ends with a space or a line break', 'has a zero character')
    """
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "starts or ends with a space or a line break"
    if "\0" in name:
        return "has a zero character"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has half of a surrogate pair, which is not a character"
    return None


def check_columns(table: Table, constant: Sequence[str] = ()) -> None:
    """Raise an error if a column is constant, for it then has no density.

    Args:
        table: to be fitted; its context columns are checked too, since they are standardised.
        constant: names of columns that may be constant.

    Raises:
        DataError: naming a column with a single value.

    >>> import numpy as np
    >>> check_columns(Table(np.array([[1.0, 3.0], [2.0, 3.0]]), ("a", "b"), Path("t.csv")))
    Traceback (most recent call last):
        ...
    pushforward.errors.DataError: t.csv: column 'b' is 3.0 in all 2 rows: leave it out with --columns, or ...
    """
    for values, columns in ((table.values, table.columns), (table.context, table.context_columns)):
        for name, column in zip(columns, values.T, strict=True):
            if name not in constant and (column == column[0]).all():
                fix = "" if name in table.context_columns else f", or declare it with --column {name}=constant"
                raise DataError(
                    f"{table.path}: column {name!r} is {column[0]} in all {len(column)} rows: leave it out with "
                    f"--columns{fix}."
                )


def chunk_size(width: int) -> int:
    """Number of rows to hold in memory at a time: 65,536, or fewer if they have many columns.

    >>> chunk_size(6), chunk_size(1_000)
    (65536, 4194)
    """
    return max(1, min(_ROWS, _NUMBERS // max(width, 1)))


def load_polars() -> ModuleType:
    """The polars module, or a MissingExtra error that says how to install it."""
    try:
        import polars
    except ImportError as fault:
        raise MissingExtra("polars", "tables", "Reading and writing tables") from fault
    return polars


def _suggest(name: str, names: Sequence[str]) -> str:
    spellings: dict[str, list[str]] = {}
    for known in names:
        spellings.setdefault(known.casefold(), []).append(known)
    matches = difflib.get_close_matches(name.casefold(), list(spellings), _NEAR)
    near = [known for match in matches for known in spellings[match]][:_NEAR]
    same = [known for known in names if _UNIT.sub("", known).casefold() == _UNIT.sub("", name).casefold()]
    if same and same[0].casefold() != name.casefold():
        return f"the file has {same[0]!r}; if that is another unit, convert its numbers, then name it as the model does"
    if near:
        return f"did you mean {' or '.join(repr(known) for known in near)}"
    return f"the file has {_list_names(names)}"


def _list_names(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _LISTED else ""
    return f"{', '.join(repr(known) for known in names[:_LISTED])}{more}"

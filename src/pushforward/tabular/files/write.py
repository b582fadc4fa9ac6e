"""Writing of a table, at once or in batches. The file appears under its name when complete, or nothing changes."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.core.named_rows import as_floats, to_array
from pushforward.errors import DataError, TableError
from pushforward.persistence.atomic_write import write_atomically
from pushforward.tabular.files.formats import WRITERS
from pushforward.tabular.files.table import name_fault


def write_table(
    path: str | os.PathLike[str],
    values: np.ndarray,
    columns: Sequence[str],
    *,
    integer_columns: Collection[str] = (),
    overwrite: bool = False,
) -> None:
    """Write numbers with named columns; the suffix determines the format, and `read_table` returns the same numbers.

    The content is written to a temporary file in the same folder, flushed to the disk, and renamed: an interruption
    leaves the old file, or none. In CSV and TSV, names are quoted where needed, and a name that a spreadsheet would run
    as a formula gets a leading apostrophe, which `read_table` removes. NPY has no names.

    Args:
        path: of the file.
        values: real array (n, d), without NaN.
        columns: d different names.
        integer_columns: names of columns to write as integers, which must be below 2^53; NPY and NPZ write floats.
        overwrite: replace an existing file.

    Raises:
        TableError: unknown suffix, invalid values or names, an existing file, or a write error.
        MissingExtra: the format needs polars, which is not installed.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> write_table(path, np.array([[0.1, -2.0]]), ("a", "b, in m"))
    >>> path.read_text()
    'a,"b, in m"\\n0.1,-2.0\\n'
    """
    write_batches(path, [values], columns, integer_columns=integer_columns, overwrite=overwrite)


def write_batches(
    path: str | os.PathLike[str],
    batches: Iterable[np.ndarray],
    columns: Sequence[str],
    *,
    integer_columns: Collection[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a table in batches; the file is the same as that of `write_table`.

    An error in any batch, also one that `batches` itself raises, leaves the old file, or none. A thread of polars
    writes Parquet and Arrow, and requests the batches.

    Args:
        path: of the file.
        batches: real arrays (n, d), without NaN, each n at least 0; no batch makes a table without rows.
        columns: d different names.
        integer_columns, overwrite: as for `write_table`.

    Cost: memory of a few batches; an NPZ archive is built in memory, for its header has the number of rows.

    Raises:
        TableError, MissingExtra: as `write_table`; and whatever `batches` raises.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> write_batches(path, (np.full((1, 2), k) for k in range(2)), ("a", "b"))
    >>> path.read_text()
    'a,b\\n0.0,0.0\\n1.0,1.0\\n'
    """
    target = as_path(path)
    suffix = target.suffix.lower()
    if suffix not in WRITERS:
        raise TableError(f"{target}: the suffix {suffix!r} names no known format: use one of {', '.join(WRITERS)}.")
    names = [str(name) for name in columns]
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if not names or repeated is not None:
        got = "none" if repeated is None else f"{repeated!r} twice"
        raise TableError(f"{target}: column names must be different, and at least one, got {got}: rename them.")
    for number, name in enumerate(names, start=1):
        if fault := name_fault(name):
            raise TableError(f"{target}: the name of column {number}, {name!r}, {fault}: rename it.")
    try:
        _refuse_existing(target, overwrite)
        final = target.resolve()  # writes through a symbolic link
        write_atomically(
            final,
            lambda file: WRITERS[suffix](file, _checked(target, batches, names), names, frozenset(integer_columns)),
            lambda: _refuse_existing(target, overwrite),
        )
    except OSError as fault:
        raise TableError(f"{target}: cannot be written ({fault.strerror or fault}): choose another path.") from fault


def _checked(target: Path, batches: Iterable[np.ndarray], names: list[str]) -> Iterator[np.ndarray]:
    done = 0
    for batch in batches:
        array = np.asarray(to_array(batch))
        if array.ndim != 2 or array.shape[1] != len(names) or array.dtype.kind not in "fiu":
            raise TableError(
                f"{target}: values must be real numbers of shape (n, {len(names)}) for {len(names)} columns, got "
                f"{array.dtype} of shape {array.shape}: reshape them or name each column."
            )
        try:
            numbers = as_floats("", array, names, np.arange(done + 1, done + len(array) + 1))
        except DataError as error:
            raise TableError(f"{target}: {error}") from error
        if np.isnan(numbers).any():
            row, column = np.argwhere(np.isnan(numbers))[0]
            raise TableError(
                f"{target}: row {done + row + 1}, column {names[column]!r} is NaN: a table is written without NaN."
            )
        done += len(numbers)
        yield numbers


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise TableError(f"{target}: this is a folder: name a file in it.")
    if target.exists() and not overwrite:
        raise TableError(f"{target}: the file exists: choose another name, or replace it with --overwrite.")

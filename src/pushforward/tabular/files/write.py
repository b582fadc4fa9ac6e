"""Writing a table, whole or in batches: the file appears under its name at once, or nothing changes."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

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
    whole: Collection[str] = (),
    overwrite: bool = False,
) -> None:
    """Write numbers with named columns; the suffix names the format, `read_table` gives the same numbers back.

    The content goes to a temporary file in the same folder, is flushed to the disk, and takes its name by one rename:
    an interruption leaves the old file, or none. In CSV and TSV, names are quoted where needed, and a name that a
    spreadsheet would run as a formula gets a leading apostrophe, which `read_table` removes. NPY keeps no names.

    Args:
        path: of the file.
        values: real array (n, d), without NaN.
        columns: d different names.
        whole: names of columns of whole numbers below 2^53, which are written as such; NPY and NPZ know one type only.
        overwrite: replace a file that is there.

    Raises:
        TableError: unknown suffix, unfit values or names, a file that is there already, or a disk that refuses.
        MissingExtra: the format needs polars, which is not installed.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> write_table(path, np.array([[0.1, -2.0]]), ("a", "b, in m"))
    >>> path.read_text()
    'a,"b, in m"\\n0.1,-2.0\\n'
    """
    write_batches(path, [values], columns, whole=whole, overwrite=overwrite)


def write_batches(
    path: str | os.PathLike[str],
    batches: Iterable[np.ndarray],
    columns: Sequence[str],
    *,
    whole: Collection[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a table that comes in pieces, as `write_table` would write it whole.

    A fault in any piece, also one that `batches` itself raises, leaves the old file, or none. Parquet and Arrow are
    written by a thread of polars, which then asks for the pieces.

    Args:
        path: of the file.
        batches: real arrays (n, d), without NaN, each n at least 0; none at all makes a table without rows.
        columns: d different names.
        whole: as for `write_table`.
        overwrite: replace a file that is there.

    Cost: memory of a few pieces; an NPZ archive is put together in memory, for its header says how many rows follow.

    Raises:
        TableError, MissingExtra: as `write_table`; and whatever `batches` raises.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> write_batches(path, (np.full((1, 2), k) for k in range(2)), ("a", "b"))
    >>> path.read_text()
    'a,b\\n0.0,0.0\\n1.0,1.0\\n'
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in WRITERS:
        raise TableError(f"{target}: the suffix {suffix!r} names no known format: use one of {', '.join(WRITERS)}.")
    names = [str(name) for name in columns]
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if not names or repeated is not None:
        got = "none" if repeated is None else f"{repeated!r} twice"
        raise TableError(f"{target}: column names must be different, and at least one, got {got}: rename them.")
    for place, name in enumerate(names, start=1):
        if fault := name_fault(name):
            raise TableError(f"{target}: the name of column {place}, {name!r}, {fault}: rename it.")
    try:
        _refuse_existing(target, overwrite)
        final = target.resolve()  # a symbolic link stays one
        write_atomically(
            final,
            lambda file: WRITERS[suffix](file, _checked(target, batches, names), names, frozenset(whole)),
            lambda: _refuse_existing(target, overwrite),
        )
    except OSError as fault:
        raise TableError(f"{target}: cannot be written ({fault.strerror or fault}): choose another place.") from fault


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

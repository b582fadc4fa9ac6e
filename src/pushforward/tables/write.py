"""Writing a table: the whole file appears under its name at once, or nothing changes."""

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from pushforward.atomic_write import write_atomically
from pushforward.errors import TableError
from pushforward.tables.table import load_polars

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write_table(
    path: str | os.PathLike[str], values: np.ndarray, columns: Sequence[str], *, overwrite: bool = False
) -> None:
    """Write numbers with named columns; the suffix names the format, `read_table` gives the same numbers back.

    The content goes to a temporary file in the same folder, is flushed to the disk, and takes its name by one rename:
    an interruption leaves the old file, or none. In CSV and TSV, names are quoted where needed, and a name that a
    spreadsheet would run as a formula gets a leading apostrophe, which `read_table` removes. NPY keeps no names.

    Args:
        path: of the file.
        values: real array (n, d), without NaN.
        columns: d different names.
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
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise TableError(f"{target}: the suffix {suffix!r} names no known format: use one of {', '.join(_WRITERS)}.")
    numbers, names = _checked(target, values, columns)
    try:
        _refuse_existing(target, overwrite)
        final = target.resolve()  # a symbolic link stays one
        write_atomically(
            final, lambda file: _WRITERS[suffix](file, numbers, names), lambda: _refuse_existing(target, overwrite)
        )
    except OSError as fault:
        raise TableError(f"{target}: cannot be written ({fault.strerror or fault}): choose another place.") from fault


def _checked(target: Path, values: np.ndarray, columns: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != len(columns) or array.dtype.kind not in "fiu":
        raise TableError(
            f"{target}: values must be real numbers of shape (n, {len(columns)}) for {len(columns)} columns, got "
            f"{array.dtype} of shape {array.shape}: reshape them or name each column."
        )
    numbers, names = array.astype(np.float64), [str(name) for name in columns]
    if np.isnan(numbers).any():
        row, column = np.argwhere(np.isnan(numbers))[0]
        raise TableError(f"{target}: row {row + 1}, column {names[column]!r} is NaN: a table is written without NaN.")
    if not names or len(set(names)) != len(names) or any(not name.strip() or name != name.strip() for name in names):
        raise TableError(
            f"{target}: the column names {names} must be different, at least one, not empty, and without spaces at "
            "their ends: rename them."
        )
    return numbers, names


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise TableError(f"{target}: this is a folder: name a file in it.")
    if target.exists() and not overwrite:
        raise TableError(f"{target}: the file exists: choose another name, or replace it with --overwrite.")


def _write_delimited(file: IO[bytes], values: np.ndarray, names: list[str], separator: str) -> None:
    safe = [f"'{name}" if _FORMULA.match(name) else name for name in names]
    header = io.StringIO()
    # Quotes tell the reader that a line of names which look like numbers is a header.
    quoting = csv.QUOTE_ALL if all(_looks_numeric(name) for name in names) else csv.QUOTE_MINIMAL
    csv.writer(header, delimiter=separator, lineterminator="\n", quoting=quoting).writerow(safe)
    file.write(header.getvalue().encode())
    frame = load_polars().DataFrame(values, schema=[f"{position}" for position in range(len(names))], orient="row")
    frame.write_csv(file, include_header=False, separator=separator)


def _looks_numeric(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _write_parquet(file: IO[bytes], values: np.ndarray, names: list[str]) -> None:
    load_polars().DataFrame(values, schema=names, orient="row").write_parquet(file)


def _write_arrow(file: IO[bytes], values: np.ndarray, names: list[str]) -> None:
    load_polars().DataFrame(values, schema=names, orient="row").write_ipc(file)


def _write_npy(file: IO[bytes], values: np.ndarray, names: list[str]) -> None:
    np.save(file, values, allow_pickle=False)


def _write_npz(file: IO[bytes], values: np.ndarray, names: list[str]) -> None:
    np.savez(file, values=values, columns=np.array(names, dtype=np.str_))


_WRITERS: dict[str, Callable[[IO[bytes], np.ndarray, list[str]], None]] = {
    ".csv": lambda file, values, names: _write_delimited(file, values, names, ","),
    ".tsv": lambda file, values, names: _write_delimited(file, values, names, "\t"),
    ".parquet": _write_parquet,
    ".pq": _write_parquet,
    ".arrow": _write_arrow,
    ".feather": _write_arrow,
    ".ipc": _write_arrow,
    ".npy": _write_npy,
    ".npz": _write_npz,
}

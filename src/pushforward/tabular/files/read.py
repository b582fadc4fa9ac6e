"""Reading of a table, at once or in batches; the suffix determines the format."""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.errors import TableError
from pushforward.tabular.files.arrays import read_npy, read_npz
from pushforward.tabular.files.batches import checked_batches, join
from pushforward.tabular.files.columnar import columnar_labels, read_columnar
from pushforward.tabular.files.delimited import delimited_labels, read_delimited
from pushforward.tabular.files.table import Chunk, Selection, Table

_READERS: dict[str, Callable[[Selection], tuple[tuple[str, ...], Iterator[Chunk]]]] = {
    ".csv": partial(read_delimited, separator=","),
    ".tsv": partial(read_delimited, separator="\t"),
    ".parquet": read_columnar,
    ".pq": read_columnar,
    ".arrow": read_columnar,
    ".feather": read_columnar,
    ".ipc": read_columnar,
    ".npy": read_npy,
    ".npz": read_npz,
}


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    context: Sequence[str] | None = None,
    drop_na: bool = False,
) -> Table:
    """Read a table of numbers from CSV, TSV, Parquet, Arrow/Feather, NPY or NPZ.

    Nothing is guessed: text files are UTF-8 with a header line, a decimal point and the separator of their suffix.
    Cells that are empty or NA, NaN, null, none, "-", "?" are missing. Arrays (n, d) or (n,) have columns x0, x1, ...

    Args:
        path: of the file; the suffix names the format.
        columns: names in this order; None reads all but the context.
        context: names of columns that condition the others; None for none.
        drop_na: drop rows with a missing cell in these columns, instead of raising an error.

    Returns:
        `Table` of float64 `values` (n, d), `columns`, `path`, `context` (n, c), `context_columns`.

    Raises:
        TableError: the file cannot be read as finite numbers; the message has file, line, column, value and fix.
        MissingExtra: the format needs polars, which is not installed.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("a,b\\n1,2\\n3,4\\n")
    >>> read_table(path, columns=["b"]).values.tolist()
    [[2.0], [4.0]]
    """
    return join(list(read_batches(path, columns=columns, context=context, drop_na=drop_na)))


def read_batches(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    context: Sequence[str] | None = None,
    drop_na: bool = False,
) -> Iterator[Table]:
    """The table of `read_table` in batches of at most 65,536 rows, for tables that do not fit into memory.

    Args:
        path, columns, context, drop_na: as for `read_table`.

    Returns:
        An iterator of `Table`. This call raises the faults of the header and of column types; the iterator raises those
        of rows. Missing or infinite cells are counted, and raised at the end of the file; no batch follows the first of
        them. A batch may be empty if rows are dropped.

    Cost: memory of a few batches for CSV, TSV, Parquet, NPY and Arrow files, whatever the number of rows; for Parquet
    and compressed Arrow at least that of a row group. NPZ archives and Arrow streams are read into memory at once.

    Raises:
        TableError, MissingExtra: as `read_table`.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("a,b\\n1,2\\n3,4\\n")
    >>> sum(table.values.sum() for table in read_batches(path))
    np.float64(10.0)
    """
    if isinstance(columns, str) or isinstance(context, str):
        raise TypeError(f"columns and context are lists of names, got {columns or context!r}: write it in brackets.")
    source = as_path(path)
    selection = Selection(source, columns, context)
    with _permitted(source):
        suffix = _known_suffix(source)
        state = _state(source)
        names, chunks = _READERS[suffix](selection)
    return _batches(selection, names, _unchanged(source, state, chunks), drop_na)


def read_labels(path: str | os.PathLike[str], column: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of all columns, and (n,) labels: the cells of one column, of text or numbers, for groups and times.

    Label i belongs to the row that `read_table` numbers i + 1; it is None where the cell is missing. Cells of text
    files are text, stripped of blanks; dates of Parquet and Arrow files are integers in the order of the dates.

    Args:
        path: of the file; the suffix names the format.
        column: whose cells are the labels.

    Raises:
        TableError, MissingExtra: as `read_table`; arrays (NPY, NPZ) must be numbers.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("who,a\\nann,1\\n,2\\n")
    >>> names, labels = read_labels(path, "who")
    >>> names, labels.tolist()
    (('who', 'a'), ['ann', None])
    """
    source = as_path(path)
    labels: list[Any]
    with _permitted(source):
        suffix = _known_suffix(source)
        if suffix in (".csv", ".tsv"):
            names, labels = delimited_labels(source, column, "," if suffix == ".csv" else "\t")
        elif suffix in (".npy", ".npz"):
            names, _ = _READERS[suffix](Selection(source, None, None))
            table = read_table(source, columns=[column], drop_na=True)
            labels = [None] * (len(table.values) + table.dropped)
            for number, value in zip(table.numbers, table.values[:, 0].tolist(), strict=True):
                labels[number - 1] = value
        else:
            names, labels = columnar_labels(source, column)
    array = np.empty(len(labels), object)  # numpy.array(labels) would make tuples a second axis
    array[:] = labels
    return tuple(names), array


def _known_suffix(source: Path) -> str:
    _check_file(source)
    suffix = source.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(_READERS)
        raise TableError(f"{source}: the suffix {suffix!r} names no known format: use one of {known}.")
    return suffix


def _batches(selection: Selection, names: Sequence[str], chunks: Iterator[Chunk], drop_na: bool) -> Iterator[Table]:
    with _permitted(selection.path):
        yield from checked_batches(selection, names, chunks, drop_na)


def _unchanged(source: Path, state: tuple[int, ...], chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The chunks; a TableError once the file is no longer the one whose header was read."""
    changed = TableError(f"{source}: another program changed the file while it was read: read it again.")
    try:
        for chunk in chunks:
            if _state(source) != state:
                raise changed
            yield chunk
    except TableError as fault:  # perhaps the change caused it
        if fault is not changed and _state(source) != state:
            raise changed from fault
        raise


def _state(source: Path) -> tuple[int, ...]:
    status = source.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _permitted(source: Path) -> Generator[None]:
    try:
        yield
    except OSError as fault:
        raise TableError(f"{source}: cannot be read ({fault.strerror or fault}): check its permissions.") from fault


def _check_file(source: Path) -> None:
    if not source.exists():
        raise TableError(f"{source}: there is no such file: check the name and the folder.")
    if source.is_dir():
        raise TableError(f"{source}: this is a folder: name a file in it.")
    if not source.is_file():
        raise TableError(f"{source}: this is not an ordinary file: copy its content to one.")
    if source.stat().st_size == 0:
        raise TableError(f"{source}: the file is empty (0 bytes): write a header line and rows.")

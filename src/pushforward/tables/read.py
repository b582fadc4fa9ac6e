"""Reading a table: the format follows from the suffix."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pushforward.errors import TableError
from pushforward.tables.arrays import read_npy, read_npz
from pushforward.tables.columnar import read_columnar
from pushforward.tables.delimited import read_delimited
from pushforward.tables.table import Cells, Table, Wanted, finish

_READERS: dict[str, Callable[[Wanted], tuple[tuple[str, ...], Cells]]] = {
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

    Nothing is guessed: text files are UTF-8 with a header line, a decimal point and the separator their suffix says;
    cells that are empty or NA, NaN, null, none, "-", "?" are missing. Arrays (n, d) or (n,) have columns x0, x1, ...

    Args:
        path: of the file; the suffix names the format.
        columns: names in the wanted order; None takes all but the context.
        context: names of columns that condition the others; None for none.
        drop_na: drop rows with a missing cell in these columns, instead of refusing the file.

    Returns:
        `Table` of float64 `values` (n, d), `columns`, `path`, `context` (n, c), `context_columns`.

    Raises:
        TableError: the file cannot be read as finite numbers; one sentence with file, line, column, value and remedy.
        MissingExtra: the format needs polars, which is not installed.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("a,b\\n1,2\\n3,4\\n")
    >>> read_table(path, columns=["b"]).values.tolist()
    [[2.0], [4.0]]
    """
    if isinstance(columns, str) or isinstance(context, str):
        raise TypeError(f"columns and context are lists of names, got {columns or context!r}: write it in brackets.")
    source = Path(path)
    suffix = source.suffix.lower()
    try:
        _check_file(source)
        if suffix not in _READERS:
            known = ", ".join(_READERS)
            raise TableError(f"{source}: the suffix {suffix!r} names no known format: use one of {known}.")
        wanted = Wanted(source, columns, context)
        names, cells = _READERS[suffix](wanted)
    except OSError as fault:
        raise TableError(f"{source}: cannot be read ({fault.strerror or fault}): check its permissions.") from fault
    return finish(wanted, names, cells, drop_na)


def _check_file(source: Path) -> None:
    if not source.exists():
        raise TableError(f"{source}: there is no such file: check the name and the folder.")
    if source.is_dir():
        raise TableError(f"{source}: this is a folder: name a file in it.")
    if not source.is_file():
        raise TableError(f"{source}: this is no ordinary file: copy its content to one.")
    if source.stat().st_size == 0:
        raise TableError(f"{source}: the file is empty (0 bytes): write a header line and rows.")

"""Parquet and Arrow IPC (Feather) files, through polars."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pushforward.core.named_rows import inexact_message, is_exact
from pushforward.errors import TableError
from pushforward.tabular.files.buffered_stderr import buffered_stderr
from pushforward.tabular.files.table import Chunk, Selection, chunk_size, load_polars

_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_columnar(selection: Selection) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Names and numbers of the selected columns; nulls and NaN both count as missing."""
    path, pl = selection.path, load_polars()
    with _readable(pl, path):
        lazy = _parquet(pl, path) if path.suffix.lower() in (".parquet", ".pq") else _arrow(pl, path)
        kinds = dict(lazy.collect_schema())
        height = lazy.select(pl.len()).collect().item()
    names = tuple(kinds)
    indices = selection.indices(names)
    for index in indices:
        _check_type(pl, path, _columns_at(lazy, [index]), names[index], kinds[names[index]])
    chunks = _chunks(pl, path, _columns_at(lazy, indices), len(indices), height)
    return tuple(names[index] for index in indices), chunks


def columnar_labels(path: Path, column: str) -> tuple[tuple[str, ...], list[Any]]:
    """Names of all columns, and the values of one, None for null; dates become integers in the same order."""
    pl = load_polars()
    with _readable(pl, path):
        lazy = _parquet(pl, path) if path.suffix.lower() in (".parquet", ".pq") else _arrow(pl, path)
        names = tuple(lazy.collect_schema())
    indices = Selection(path, [column], None).indices(names)
    with _readable(pl, path):
        values = _columns_at(lazy, indices).collect().to_series()
    if values.dtype.is_temporal():
        values = values.to_physical()
    return names, [None if value != value else value for value in values.to_list()]


def _columns_at(lazy: Any, indices: list[int]) -> Any:
    """Columns by index: polars takes a name such as `^a.*$` or `*` for a pattern."""
    from polars import selectors

    return lazy.select(selectors.by_index(*indices))


def _chunks(pl: ModuleType, path: Path, lazy: Any, width: int, height: int) -> Iterator[Chunk]:
    """Read slice by slice; a slice needs only the row groups that it overlaps."""
    step = chunk_size(width)
    for first in range(0, height, step):
        with _readable(pl, path):
            frame = lazy.slice(first, step).collect()
            if len(frame) != min(step, height - first):
                raise ValueError(f"it has {first + len(frame)} of {height} rows")
            values = frame.cast(pl.Float64).to_numpy(order="c")
        _refuse_inexact(path, frame, values, first)
        yield Chunk(values, first=first, share=(first + len(values)) / height)


def _refuse_inexact(path: Path, frame: Any, values: np.ndarray, first: int) -> None:
    """Raise a TableError for an integer that float64 cannot represent."""
    for index in np.flatnonzero((np.abs(values) >= 2**53).any(axis=0)):
        column = frame.to_series(int(index))
        if column.dtype.is_float():
            continue
        for row in np.flatnonzero(np.abs(values[:, index]) >= 2**53):
            if not is_exact(cell := column[int(row)]):
                fault = inexact_message(f"{cell} in row {first + row + 1}")
                raise TableError(f"{path}: column {column.name!r}: {fault}")


@contextlib.contextmanager
def _readable(pl: ModuleType, path: Path) -> Generator[None]:
    try:
        with buffered_stderr():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, EOFError) as fault:
        reason = f"{fault}".strip().split("\n")[0][:120] or type(fault).__name__
        if isinstance(fault, pl.exceptions.PanicException) or "unwrap()" in reason:
            reason = "its parts do not fit together"
        raise TableError(f"{path}: the file is not readable as {path.suffix} ({reason}): write it again.") from fault


def _parquet(pl: ModuleType, path: Path) -> Any:
    return pl.scan_parquet(path.resolve(), glob=False, hive_partitioning=False)


def _arrow(pl: ModuleType, path: Path) -> Any:
    """Scan a file slice by slice; read a stream at once, for it has no directory of its parts."""
    with path.open("rb") as file:
        is_file_format = file.read(len(_MAGIC)) == _MAGIC
        file.seek(max(path.stat().st_size - len(_END_OF_STREAM), 0))
        end = file.read()
    # polars panics on some truncated files, and returns arbitrary cells for the missing part of a stream
    if not end.endswith(_MAGIC if is_file_format else _END_OF_STREAM):
        raise ValueError("the end of the file is missing")
    if is_file_format:
        return pl.scan_ipc(path.resolve(), glob=False, hive_partitioning=False)
    return pl.read_ipc_stream(path.read_bytes()).lazy()


def _check_type(pl: ModuleType, path: Path, lazy: Any, name: str, kind: Any) -> None:
    """Raise a TableError if the column, the only one of `lazy`, is not numeric."""
    if kind.is_numeric() or kind == pl.Null:
        return
    if kind.is_temporal():
        what, fix = "dates or times", "write them as numbers"
    elif kind == pl.Boolean:
        what, fix = "true/false", "write 1 and 0"
    elif kind in (pl.String, pl.Categorical, pl.Enum):
        what, fix = "text", "write numbers"
    else:
        what, fix = f"{kind}", "write numbers"
    with _readable(pl, path):
        named = lazy.rename({name: "value"}).with_row_index("row")
        present = named.filter(pl.col("value").is_not_null()).head(1).collect()
    example = (
        f" such as {str(present['value'].to_list()[0])[:40]!r} in row {present['row'][0] + 1}" if len(present) else ""
    )
    raise TableError(f"{path}: column {name!r} holds {what}{example}: {fix}, or leave the column out with --columns.")

"""Parquet and Arrow IPC (Feather) files, through polars."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pushforward.core.named_rows import inexact_message, is_exact
from pushforward.errors import TableError
from pushforward.tabular.files.hush import hushed
from pushforward.tabular.files.table import Cells, Wanted, load_polars, rows_at_once

_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_columnar(wanted: Wanted) -> tuple[tuple[str, ...], Iterator[Cells]]:
    """Names and numbers of the wanted columns; nulls and NaN both count as missing."""
    path, pl = wanted.path, load_polars()
    with _readable(pl, path):
        lazy = _parquet(pl, path) if path.suffix.lower() in (".parquet", ".pq") else _arrow(pl, path)
        kinds = dict(lazy.collect_schema())
        height = lazy.select(pl.len()).collect().item()
    names = tuple(kinds)
    picked = wanted.pick(names)
    for place in picked:
        _check_type(pl, path, _at(lazy, [place]), names[place], kinds[names[place]])
    return tuple(names[place] for place in picked), _pieces(pl, path, _at(lazy, picked), len(picked), height)


def columnar_labels(path: Path, column: str) -> tuple[tuple[str, ...], list[Any]]:
    """Names of all columns, and each row's value of one, None where it is null; dates as whole numbers, in order."""
    pl = load_polars()
    with _readable(pl, path):
        lazy = _parquet(pl, path) if path.suffix.lower() in (".parquet", ".pq") else _arrow(pl, path)
        names = tuple(lazy.collect_schema())
    picked = Wanted(path, [column], None).pick(names)
    with _readable(pl, path):
        values = _at(lazy, picked).collect().to_series()
    if values.dtype.is_temporal():
        values = values.to_physical()
    return names, [None if value != value else value for value in values.to_list()]


def _at(lazy: Any, places: list[int]) -> Any:
    """Columns by their places: by its name, one such as `^a.*$` or `*` would be taken as a pattern."""
    from polars import selectors

    return lazy.select(selectors.by_index(*places))


def _pieces(pl: ModuleType, path: Path, lazy: Any, width: int, height: int) -> Iterator[Cells]:
    """A slice is read without the row groups before and after it."""
    step = rows_at_once(width)
    for first in range(0, height, step):
        with _readable(pl, path):
            frame = lazy.slice(first, step).collect()
            if len(frame) != min(step, height - first):
                raise ValueError(f"it has {first + len(frame)} of {height} rows")
            values = frame.cast(pl.Float64).to_numpy(order="c")
        _refuse_inexact(path, frame, values, first)
        yield Cells(values, first=first, share=(first + len(values)) / height)


def _refuse_inexact(path: Path, frame: Any, values: np.ndarray, first: int) -> None:
    """Refuse a whole number that float64 does not hold."""
    for place in np.flatnonzero((np.abs(values) >= 2**53).any(axis=0)):
        column = frame.to_series(int(place))
        if column.dtype.is_float():
            continue
        for row in np.flatnonzero(np.abs(values[:, place]) >= 2**53):
            if not is_exact(cell := column[int(row)]):
                fault = inexact_message(f"{cell} in row {first + row + 1}")
                raise TableError(f"{path}: column {column.name!r}: {fault}")


@contextlib.contextmanager
def _readable(pl: ModuleType, path: Path) -> Generator[None]:
    try:
        with hushed():
            yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, EOFError) as fault:
        reason = f"{fault}".strip().split("\n")[0][:120] or type(fault).__name__
        if isinstance(fault, pl.exceptions.PanicException) or "unwrap()" in reason:
            reason = "its parts do not fit together"
        raise TableError(f"{path}: the file is not readable as {path.suffix} ({reason}): write it again.") from fault


def _parquet(pl: ModuleType, path: Path) -> Any:
    return pl.scan_parquet(path.resolve(), glob=False, hive_partitioning=False)


def _arrow(pl: ModuleType, path: Path) -> Any:
    """A file is read slice by slice; a stream, which has no directory of its parts, as a whole."""
    with path.open("rb") as file:
        is_file_format = file.read(len(_MAGIC)) == _MAGIC
        file.seek(max(path.stat().st_size - len(_END_OF_STREAM), 0))
        end = file.read()
    # polars would panic on some files that are cut short, and return cells of a stream that never came
    if not end.endswith(_MAGIC if is_file_format else _END_OF_STREAM):
        raise ValueError("the end of the file is missing")
    if is_file_format:
        return pl.scan_ipc(path.resolve(), glob=False, hive_partitioning=False)
    return pl.read_ipc_stream(path.read_bytes()).lazy()


def _check_type(pl: ModuleType, path: Path, lazy: Any, name: str, kind: Any) -> None:
    """Refuse a column, the one of `lazy`, that holds no numbers."""
    if kind.is_numeric() or kind == pl.Null:
        return
    if kind.is_temporal():
        what, remedy = "dates or times", "write them as numbers"
    elif kind == pl.Boolean:
        what, remedy = "true/false", "write 1 and 0"
    elif kind in (pl.String, pl.Categorical, pl.Enum):
        what, remedy = "text", "write numbers"
    else:
        what, remedy = f"{kind}", "write numbers"
    with _readable(pl, path):
        named = lazy.rename({name: "value"}).with_row_index("row")
        present = named.filter(pl.col("value").is_not_null()).head(1).collect()
    example = (
        f" such as {str(present['value'].to_list()[0])[:40]!r} in row {present['row'][0] + 1}" if len(present) else ""
    )
    raise TableError(
        f"{path}: column {name!r} holds {what}{example}: {remedy}, or leave the column out with --columns."
    )

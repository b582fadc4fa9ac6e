"""Parquet and Arrow IPC (Feather) files, through polars."""

from pathlib import Path
from types import ModuleType
from typing import Any

from pushforward.errors import TableError
from pushforward.tables.table import Cells, Wanted, load_polars

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_columnar(wanted: Wanted) -> tuple[tuple[str, ...], Cells]:
    """Names and numbers of the wanted columns; nulls and NaN both count as missing."""
    path, pl = wanted.path, load_polars()
    try:
        frame = _parquet(pl, path) if path.suffix.lower() in (".parquet", ".pq") else _arrow(pl, path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, EOFError) as fault:
        reason = f"{fault}".strip().split("\n")[0][:120] or type(fault).__name__
        raise TableError(f"{path}: the file is not readable as {path.suffix} ({reason}): write it again.") from fault
    names = tuple(frame.columns)
    chosen = tuple(names[position] for position in wanted.pick(names))
    for name in chosen:
        _check_type(pl, path, frame[name])
    return chosen, Cells(frame.select(pl.col(name).cast(pl.Float64) for name in chosen).to_numpy(order="c"))


def _parquet(pl: ModuleType, path: Path) -> Any:
    return pl.read_parquet(path.resolve(), glob=False, hive_partitioning=False)


def _arrow(pl: ModuleType, path: Path) -> Any:
    content = path.read_bytes()
    is_file_format = content.startswith(b"ARROW1")
    # polars would panic on some files that are cut short, and return cells of a stream that never came
    if not content.endswith(b"ARROW1" if is_file_format else _END_OF_STREAM):
        raise ValueError("the end of the file is missing")
    return pl.read_ipc(content) if is_file_format else pl.read_ipc_stream(content)


def _check_type(pl: ModuleType, path: Path, column: Any) -> None:
    if column.dtype.is_numeric() or column.dtype == pl.Null:
        return
    if column.dtype.is_temporal():
        fault = "dates or times: write them as numbers"
    elif column.dtype == pl.Boolean:
        fault = "true/false: write 1 and 0"
    elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
        fault = "text: write numbers"
    else:
        fault = f"{column.dtype}: write numbers"
    present = column.drop_nulls()
    example = f" such as {str(present[0])[:40]!r} in row {column.is_not_null().arg_max() + 1}" if len(present) else ""
    what, remedy = fault.split(": ", 1)
    raise TableError(
        f"{path}: column {column.name!r} holds {what}{example}: {remedy}, or leave the column out with --columns."
    )

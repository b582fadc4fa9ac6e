"""Writers of all formats, batch by batch into an open file."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy as np

from pushforward.tabular.files.headers import BYTE_ORDER_MARK, OTHER_FORMATS, header_fault
from pushforward.tabular.files.table import load_polars

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
Writer = Callable[[IO[bytes], Iterable[np.ndarray], list[str], frozenset[str]], None]


def _write_delimited(
    file: IO[bytes], batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str], separator: str
) -> None:
    safe = [f"'{name}" if _FORMULA.match(name) else name for name in names]
    header = io.StringIO()
    quoting = csv.QUOTE_ALL if _needs_quotes(safe, separator) else csv.QUOTE_MINIMAL
    csv.writer(header, delimiter=separator, lineterminator="\n", quoting=quoting).writerow(safe)
    file.write(header.getvalue().encode())
    for values in batches:
        _frame(values, names, integers).write_csv(file, include_header=False, separator=separator)


def _needs_quotes(names: list[str], separator: str) -> bool:
    """Whether a reader needs quotes around all names to recognise them as names."""
    starts_as_other_format = names[0].encode().startswith((BYTE_ORDER_MARK, *OTHER_FORMATS))
    has_line_ends = any("\r" in name or "\n" in name for name in names)
    return starts_as_other_format or has_line_ends or header_fault(names, separator) is not None


def _write_parquet(file: IO[bytes], batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str]) -> None:
    _sink(batches, names, integers, lambda lazy: lazy.sink_parquet(file))


def _write_arrow(file: IO[bytes], batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str]) -> None:
    _sink(batches, names, integers, lambda lazy: lazy.sink_ipc(file))


def _sink(
    batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str], write: Callable[[Any], object]
) -> None:
    """Let polars write the batches: it requests them one by one from a registered source."""
    pl = load_polars()
    from polars.io.plugins import register_io_source

    def source(*request: object) -> Iterator[Any]:
        return (_frame(values, names, integers) for values in batches)

    try:
        write(register_io_source(source, schema={name: pl.Int64 if name in integers else pl.Float64 for name in names}))
    except pl.exceptions.PolarsError as fault:  # polars raises it for a write error
        raise OSError(f"{fault}".rpartition("IO error: ")[-1]) from fault


def _frame(values: np.ndarray, names: list[str], integers: frozenset[str]) -> Any:
    pl = load_polars()
    columns = zip(names, values.T, strict=True)
    return pl.DataFrame([
        pl.Series(name, column.astype(np.int64) if name in integers else np.ascontiguousarray(column))
        for name, column in columns
    ])  # fmt: skip


def _write_npy(file: IO[bytes], batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str]) -> None:
    rows = 0
    _npy_header(file, rows, len(names))
    for values in batches:
        file.write(np.ascontiguousarray(values).data)
        rows += len(values)
    file.seek(0)
    _npy_header(file, rows, len(names))


def _npy_header(file: IO[bytes], rows: int, width: int) -> None:
    """Write a header. NumPy pads it, so that the header of more rows has the same length."""
    kind = np.lib.format.dtype_to_descr(np.dtype(np.float64))
    header = {"descr": kind, "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_npz(file: IO[bytes], batches: Iterable[np.ndarray], names: list[str], integers: frozenset[str]) -> None:
    values = np.concatenate([np.empty((0, len(names))), *batches])
    np.savez(file, values=values, columns=np.array(names, dtype=np.str_))


WRITERS: dict[str, Writer] = {
    ".csv": lambda file, batches, names, integers: _write_delimited(file, batches, names, integers, ","),
    ".tsv": lambda file, batches, names, integers: _write_delimited(file, batches, names, integers, "\t"),
    ".parquet": _write_parquet,
    ".pq": _write_parquet,
    ".arrow": _write_arrow,
    ".feather": _write_arrow,
    ".ipc": _write_arrow,
    ".npy": _write_npy,
    ".npz": _write_npz,
}

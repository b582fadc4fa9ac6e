"""CSV and TSV files: polars reads a clean file, a slower reader locates the exact line of a fault."""

import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pushforward.core.named_rows import inexact_message, is_exact
from pushforward.errors import TableError
from pushforward.tabular.files.headers import (
    INFINITE,
    MISSING,
    NUMBER,
    OTHER_FORMATS,
    header_fault,
    header_fix,
    is_missing,
    is_quoted_header,
)
from pushforward.tabular.files.rows import Lines, complete_rows, refuse_row, refuse_row_in_cell, refuse_stray_quotes
from pushforward.tabular.files.table import Chunk, Selection, chunk_size, load_polars

_LARGE_INTEGER = re.compile(r"[+-]?\d{16,400}", re.ASCII)  # float64 is exact up to 2^53, which has 16 digits
_LONG = re.compile(rb"(?<![\d.eE])\d{16,}(?![\d.eE])")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_BLOCK = 4 * 2**20


def read_delimited(selection: Selection, separator: str) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Names and numbers of the selected columns of a text file with a header line."""
    path = selection.path
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        first, header = next(Lines(path, separator).rows(file), (0, []))
    if not header:
        raise TableError(f"{path}: the file has no header and no rows: write a line of column names and the numbers.")
    names = _names(path, first, header, separator)
    indices = selection.indices(names)
    is_plain = first == 1 and not any("\n" in name or "\r" in name for name in header)
    if not is_plain and not is_quoted_header(path, separator):
        lines = separator.join(header).splitlines()[1:]
        refuse_row_in_cell(path, first, lines, separator, len(header), indices)
    chunks = _by_block(path, separator, names, indices) if is_plain else _by_row(path, separator, names, indices)
    return tuple(names[index] for index in indices), chunks


def delimited_labels(path: Path, column: str, separator: str) -> tuple[tuple[str, ...], list[str | None]]:
    """Names of all columns, and the cells of one column as text, None for a missing one."""
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        rows = Lines(path, separator).rows(file)
        line, header = next(rows, (0, []))
        names = _names(path, line, header, separator)
        index = Selection(path, [column], None).indices(names)[0]
        labels = []
        for line, row in rows:
            if row or len(names) == 1:
                refuse_row(path, line, row or [""], len(names))
                text = (row or [""])[index].strip()
                labels.append(None if is_missing(text) else text)
    return tuple(names), labels


def _by_row(path: Path, separator: str, names: list[str], indices: list[int]) -> Iterator[Chunk]:
    """Read without blocks, for a file of which the byte at the end of the header is not known."""
    size = path.stat().st_size
    with path.open("rb") as file:
        lines = Lines(path, separator)
        yield from _by_cell(path, lines, file, names, indices, lambda: file.tell() / size)


def _by_block(path: Path, separator: str, names: list[str], indices: list[int]) -> Iterator[Chunk]:
    """Read block by block: polars reads a block without faults, the slower reader another one."""
    lines, size = Lines(path, separator), path.stat().st_size

    def share() -> float:
        return file.tell() / size

    with path.open("rb") as file:
        if b"\r" in file.readline().removesuffix(b"\n").removesuffix(b"\r"):
            yield from _by_row(path, separator, names, indices)
            return
        lines.number, lines.started = 2, True
        while block := file.read(_BLOCK):
            start = file.tell() - len(block)
            cut = complete_rows(block, separator, is_last=len(block) < _BLOCK)
            if cut is None:
                file.seek(start)
                yield from _by_cell(path, lines, file, names, indices, share)
                return
            block = block[: cut.end]
            file.seek(start + cut.end)
            needs_cells = not cut.is_plain or (lines.blank and len(names) == 1)
            values = None if needs_cells else _by_polars(block, separator, len(names), indices, cut.rows)
            if values is None:
                yield from _by_cell(path, lines, io.BytesIO(block), names, indices, share)
            else:
                yield Chunk(values, lines.number + np.arange(len(values)), share=share())
                lines.number += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(1024)
    for mark, (kind, fix) in OTHER_FORMATS.items():
        if start.startswith(mark):
            raise TableError(f"{path}: the file is not UTF-8 text but {kind}: {fix}.")
    if b"\0" in start:
        raise TableError(f"{path}: the file is not UTF-8 text, it has zero bytes: save it as CSV in UTF-8.")


def _unescaped(name: str) -> str:
    """Undo the apostrophe that `write_table` puts before a name that a spreadsheet would run as a formula."""
    return name[1:] if _ESCAPED.match(name) else name


def _names(path: Path, line: int, header: list[str], separator: str) -> list[str]:
    """The names of a header, without the apostrophes that `write_table` adds."""
    refuse_row(path, line, header, len(header))
    cells = [name.strip() for name in header]
    _check_header(path, cells, separator)
    return [_unescaped(cell) for cell in cells]


def _check_header(path: Path, header: list[str], separator: str) -> None:
    if (fault := header_fault(header, separator)) and not is_quoted_header(path, separator):
        raise TableError(f"{path}: {fault}: {header_fix(header, separator)}.")


def _by_polars(block: bytes, separator: str, width: int, indices: list[int], n_rows: int) -> np.ndarray | None:
    """The numbers of a block, NaN where a cell is missing; None if it has faults, which `_by_cell` then locates."""
    names = [f"{index}" for index in range(width)]
    values = _complete(block, separator, names, indices)
    # polars would fill a short row, and takes a blank line of one column for a cell or for none
    if values is None and width > 1 and b'"' not in block and _has_full_rows(block, separator, width):
        values = _with_gaps(block, separator, names, indices)
    if values is None or len(values) != n_rows:  # a row is not one line
        return None
    has_large = (np.abs(values) >= 2**53).any() and _LONG.search(block)  # perhaps an integer that float64 cannot hold
    return None if has_large else values


def _has_full_rows(block: bytes, separator: str, width: int) -> bool:
    """Whether every line of a block without quotes has a cell in each column."""
    mark = separator.encode()
    return all(line.count(mark) == width - 1 for line in block.splitlines())


def _complete(block: bytes, separator: str, names: list[str], indices: list[int]) -> np.ndarray | None:
    """Read the selected cells as numbers; None unless all are finite numbers, and no other cell is empty."""
    pl = load_polars()
    kinds = dict.fromkeys(names, pl.String) | {names[index]: pl.Float64 for index in indices}
    try:
        frame = pl.read_csv(block, has_header=False, separator=separator, schema=kinds)
    except pl.exceptions.PolarsError:
        return None
    if not frame.height or any(frame.null_count().row(0)):
        return None
    values = frame.select(names[index] for index in indices).to_numpy(order="c")
    return values if np.isfinite(values).all() else None


def _with_gaps(block: bytes, separator: str, names: list[str], indices: list[int]) -> np.ndarray | None:
    """Read cells as text and cast; None unless the selected ones are finite numbers or missing."""
    pl = load_polars()
    try:
        frame = pl.read_csv(block, has_header=False, separator=separator, schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.PolarsError:
        return None
    text = frame.select(pl.col(names[index]).str.strip_chars() for index in indices)
    values = text.cast(pl.Float64, strict=False)
    for cells, numbers in zip(text, values, strict=True):
        rest = cells.filter(numbers.is_null() | numbers.is_nan()).fill_null("")
        if not rest.str.to_lowercase().is_in(list(MISSING)).all():
            return None
    filled = values.fill_null(float("nan")).to_numpy(order="c")
    return None if np.isinf(filled).any() else filled


def _by_cell(
    path: Path,
    lines: Lines,
    file: io.BytesIO | io.BufferedReader,
    names: list[str],
    indices: list[int],
    share: Callable[[], float],
) -> Iterator[Chunk]:
    """Read cell by cell, and raise a TableError at the first fault."""
    rows = lines.rows(file)
    if not lines.started:
        next(rows)  # the header
    # In a file of one column a blank line between rows is a missing cell.
    numbered = ((line, row or [""]) for line, row in rows if row or len(names) == 1)
    while chunk := list(itertools.islice(numbered, chunk_size(len(names)))):
        numbers = [_numbers(path, line, row, names, indices, lines.separator) for line, row in chunk]
        yield Chunk(np.array(numbers, np.float64), np.array([line for line, _ in chunk], np.int64), share=share())


def _numbers(
    path: Path, line: int, cells: list[str], names: list[str], indices: list[int], separator: str
) -> list[float]:
    refuse_row(path, line, cells, len(names))
    refuse_stray_quotes(path, line, cells, separator, indices)
    return [_number(path, line, names[index], cells[index]) for index in indices]


def _number(path: Path, line: int, name: str, cell: str) -> float:
    text = cell.strip()
    if is_missing(text):
        return float("nan")
    if NUMBER.fullmatch(text) or INFINITE.fullmatch(text):
        if _LARGE_INTEGER.fullmatch(text) and not is_exact(int(text)):
            raise TableError(f"{path}: line {line}, column {name!r}: {inexact_message(text)}")
        return float(text)
    if _DATE.fullmatch(text):
        fault = "looks like a date or time: write it as a number, or leave the column out with --columns"
    elif _THOUSANDS.fullmatch(text):
        fault = "has thousands separators: write plain digits"
    elif _DECIMAL_COMMA.fullmatch(text):
        fault = "has a decimal comma: write a decimal point"
    else:
        fault = "is not a number: correct it, or leave the column out with --columns"
    shown = text if len(text) <= 40 else text[:37] + "..."
    raise TableError(f"{path}: line {line}, column {name!r}: {shown!r} {fault}.")

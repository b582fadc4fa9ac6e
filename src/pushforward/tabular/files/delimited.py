"""CSV and TSV files: polars reads a clean file, a slower reader finds the exact line of a fault."""

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
    NUMBER,
    OTHERS,
    header_fault,
    header_remedy,
    is_missing,
    is_quoted_header,
)
from pushforward.tabular.files.rows import Lines, refuse_row, refuse_rows_within, refuse_swallowed, whole_rows
from pushforward.tabular.files.table import Cells, Wanted, load_polars, rows_at_once

_WHOLE = re.compile(r"[+-]?\d{16,400}", re.ASCII)  # 2^53, above which float64 lacks whole numbers, has 16 digits
_LONG = re.compile(rb"(?<![\d.eE])\d{16,}(?![\d.eE])")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_BLOCK = 4 * 2**20


def read_delimited(wanted: Wanted, separator: str) -> tuple[tuple[str, ...], Iterator[Cells]]:
    """Names and numbers of the wanted columns of a text file with a header line."""
    path = wanted.path
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        first, header = next(Lines(path, separator).rows(file), (0, []))
    if not header:
        raise TableError(f"{path}: the file holds no header and no rows: write a line of column names and the numbers.")
    names = _names(path, first, header, separator)
    picked = wanted.pick(names)
    is_plain = first == 1 and not any("\n" in name or "\r" in name for name in header)
    if not is_plain and not is_quoted_header(path, separator):
        lines = separator.join(header).splitlines()[1:]
        refuse_rows_within(path, first, lines, separator, len(header), picked)
    pieces = _by_block(path, separator, names, picked) if is_plain else _by_row(path, separator, names, picked)
    return tuple(names[position] for position in picked), pieces


def delimited_labels(path: Path, column: str, separator: str) -> tuple[tuple[str, ...], list[str | None]]:
    """Names of all columns, and each row's cell of one column as text, None where it is missing."""
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        rows = Lines(path, separator).rows(file)
        line, header = next(rows, (0, []))
        names = _names(path, line, header, separator)
        position = Wanted(path, [column], None).pick(names)[0]
        labels = []
        for line, row in rows:
            if row or len(names) == 1:
                refuse_row(path, line, row or [""], len(names))
                text = (row or [""])[position].strip()
                labels.append(None if is_missing(text) else text)
    return tuple(names), labels


def _by_row(path: Path, separator: str, names: list[str], picked: list[int]) -> Iterator[Cells]:
    """Where it is not known at which byte the header ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        lines = Lines(path, separator)
        yield from _careful(path, lines, file, names, picked, lambda: file.tell() / size)


def _by_block(path: Path, separator: str, names: list[str], picked: list[int]) -> Iterator[Cells]:
    """Polars takes a block without any fault or gap, else the careful reader that block alone."""
    lines, size = Lines(path, separator), path.stat().st_size

    def share() -> float:
        return file.tell() / size

    with path.open("rb") as file:
        if b"\r" in file.readline().removesuffix(b"\n").removesuffix(b"\r"):
            yield from _by_row(path, separator, names, picked)
            return
        lines.number, lines.started = 2, True
        while block := file.read(_BLOCK):
            here = file.tell() - len(block)
            cut = whole_rows(block, separator, is_last=len(block) < _BLOCK)
            if cut is None:
                file.seek(here)
                yield from _careful(path, lines, file, names, picked, share)
                return
            block = block[: cut.end]
            file.seek(here + cut.end)
            is_careful = not cut.is_plain or (lines.blank and len(names) == 1)
            values = None if is_careful else _fast(block, separator, len(names), picked)
            if values is None or len(values) != cut.rows:  # not one row a line, whatever polars makes of it
                yield from _careful(path, lines, io.BytesIO(block), names, picked, share)
            else:
                yield Cells(values, share=share())
                lines.number += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(1024)
    for mark, (kind, remedy) in OTHERS.items():
        if start.startswith(mark):
            raise TableError(f"{path}: the file is not UTF-8 text but {kind}: {remedy}.")
    if b"\0" in start:
        raise TableError(f"{path}: the file is not UTF-8 text, it has zero bytes: save it as CSV in UTF-8.")


def _unescaped(name: str) -> str:
    """Undo the apostrophe that `write_table` puts before a name that a spreadsheet would run as a formula."""
    return name[1:] if _ESCAPED.match(name) else name


def _names(path: Path, line: int, header: list[str], separator: str) -> list[str]:
    """The names of a header, as they were before `write_table` made them safe."""
    refuse_row(path, line, header, len(header))
    cells = [name.strip() for name in header]
    _check_header(path, cells, separator)
    return [_unescaped(cell) for cell in cells]


def _check_header(path: Path, header: list[str], separator: str) -> None:
    if (fault := header_fault(header, separator)) and not is_quoted_header(path, separator):
        raise TableError(f"{path}: {fault}: {header_remedy(header, separator)}.")


def _fast(block: bytes, separator: str, width: int, picked: list[int]) -> np.ndarray | None:
    """The numbers of a block without any fault or gap, else None: the careful reader then says what is wrong."""
    pl = load_polars()
    kinds = dict.fromkeys(range(width), pl.String) | dict.fromkeys(picked, pl.Float64)
    schema = {f"{position}": kind for position, kind in kinds.items()}
    try:
        frame = pl.read_csv(block, has_header=False, separator=separator, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if not frame.height or any(frame.null_count().row(0)):
        return None
    values = frame.select(f"{position}" for position in picked).to_numpy(order="c")
    if (np.abs(values) >= 2**53).any() and _LONG.search(block):  # it may hold a whole number that float64 does not
        return None
    return values if np.isfinite(values).all() else None


def _careful(
    path: Path,
    lines: Lines,
    file: io.BytesIO | io.BufferedReader,
    names: list[str],
    picked: list[int],
    share: Callable[[], float],
) -> Iterator[Cells]:
    """Cell by cell, raising at the first fault."""
    rows = lines.rows(file)
    if not lines.started:
        next(rows)  # the header
    # In a file of one column a blank line between others is a missing cell.
    kept = ((line, row or [""]) for line, row in rows if row or len(names) == 1)
    while piece := list(itertools.islice(kept, rows_at_once(len(names)))):
        numbers = [_numbers(path, line, row, names, picked, lines.separator) for line, row in piece]
        yield Cells(np.array(numbers, np.float64), np.array([line for line, _ in piece], np.int64), share=share())


def _numbers(
    path: Path, line: int, cells: list[str], names: list[str], picked: list[int], separator: str
) -> list[float]:
    refuse_row(path, line, cells, len(names))
    refuse_swallowed(path, line, cells, separator, picked)
    return [_number(path, line, names[position], cells[position]) for position in picked]


def _number(path: Path, line: int, name: str, cell: str) -> float:
    text = cell.strip()
    if is_missing(text):
        return float("nan")
    if NUMBER.fullmatch(text) or INFINITE.fullmatch(text):
        if _WHOLE.fullmatch(text) and not is_exact(int(text)):
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

"""CSV and TSV files: polars reads a clean file, a slower reader finds the exact line of a fault."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pushforward.errors import TableError
from pushforward.tables.table import Cells, Wanted, load_polars

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a"))
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_delimited(wanted: Wanted, separator: str) -> tuple[tuple[str, ...], Cells]:
    """Names and numbers of the wanted columns of a text file with a header line."""
    path = wanted.path
    _refuse_other_encodings(path)
    rows = _rows(path, separator)
    first, header = next(rows, (0, []))
    if not header:
        raise TableError(f"{path}: the file holds no header and no rows: write a line of column names and the numbers.")
    names = [_unescaped(name.strip()) for name in header]
    _check_header(path, names, separator)
    picked = wanted.pick(names)
    chosen = tuple(names[position] for position in picked)
    if first == 1 and not any("\n" in name or "\r" in name for name in header):
        values = _fast(path, separator, len(names), picked)
        if values is not None:
            return chosen, Cells(values)
    return chosen, _careful(path, rows, names, picked)


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(1024)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
        raise TableError(f"{path}: the file is not UTF-8 text: save it as CSV in UTF-8.")


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row starts, its cells); blank lines between the header and the last row come as []."""
    blank: list[int] = []
    started = False
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        line = 1
        try:
            for row in reader:
                if row:
                    if started:
                        yield from ((number, []) for number in blank)
                    blank.clear()
                    started = True
                    yield line, row
                else:
                    blank.append(line)
                line = reader.line_num + 1
        except UnicodeDecodeError as fault:
            raise TableError(
                f"{path}: after line {line - 1}, byte {fault.object[fault.start]:#04x} is not UTF-8: save it as UTF-8."
            ) from fault
        except csv.Error as fault:
            raise TableError(f"{path}: line {line} cannot be cut into cells ({fault}): correct its quotes.") from fault


def _unescaped(name: str) -> str:
    """Undo the apostrophe that `write_table` puts before a name that a spreadsheet would run as a formula."""
    return name[1:] if _ESCAPED.match(name) else name


def _check_header(path: Path, names: list[str], separator: str) -> None:
    other = next((mark for mark in _SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        raise TableError(
            f"{path}: the header {names[0]!r} is one column, it seems separated by {_SEPARATORS[other]}: write the "
            f"file with {_SEPARATORS[separator]}{' or name it .tsv' if other == chr(9) else ''}."
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        quoted = file.readline().startswith('"')
    if not quoted and all(_NUMBER.fullmatch(name) for name in names):
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise TableError(
            f"{path}: line 1 holds numbers ({shown}) where the column names should be: write a header line above it."
        )


def _fast(path: Path, separator: str, width: int, picked: list[int]) -> np.ndarray | None:
    """The numbers of a file without any fault or gap, else None: the careful reader then says what is wrong."""
    pl = load_polars()
    schema = {f"{position}": pl.Float64 if position in picked else pl.String for position in range(width)}
    try:
        frame = pl.read_csv(
            path.resolve(), has_header=False, skip_lines=1, separator=separator, schema=schema, glob=False
        )
    except (pl.exceptions.PolarsError, OSError):
        return None
    if not frame.height or any(frame.null_count().row(0)):
        return None
    values = frame.select(f"{position}" for position in picked).to_numpy(order="c")
    return values if np.isfinite(values).all() else None


def _careful(path: Path, rows: Iterator[tuple[int, list[str]]], names: list[str], picked: list[int]) -> Cells:
    """Cell by cell, raising at the first fault."""
    numbers: list[list[float]] = []
    lines: list[int] = []
    for line, row in rows:
        if not row and len(names) > 1:
            continue
        cells = row or [""]  # in a file of one column a blank line between others is a missing cell
        if len(cells) != len(names):
            raise TableError(
                f"{path}: line {line} has {len(cells)} cells, the header has {len(names)}: give each line the same."
            )
        numbers.append([_number(path, line, names[position], cells[position]) for position in picked])
        lines.append(line)
    return Cells(np.array(numbers, np.float64).reshape(len(numbers), len(picked)), np.array(lines, np.int64))


def _number(path: Path, line: int, name: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in _MISSING:
        return float("nan")
    if _NUMBER.fullmatch(text) or _INFINITE.fullmatch(text):
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

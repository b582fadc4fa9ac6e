"""Header lines of CSV and TSV files: detection of missing headers and of other formats."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a"))
_GAPS = frozenset(("n.a.", "n.d.", "nil", "nat", "missing", "unknown", "\\n", "(null)", "#value!", "#div/0!", "#ref!"))
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SUFFIXES = {",": ", or name it .csv", "\t": ", or name it .tsv"}
_INTEGER = re.compile(r"\d+", re.ASCII)
_SHOWN = 3
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# first bytes of files in other formats: the format, and how to fix it
OTHER_FORMATS = {
    b"\xff\xfe": ("UTF-16", "save it as CSV in UTF-8"),
    b"\xfe\xff": ("UTF-16", "save it as CSV in UTF-8"),
    b"\x1f\x8b": ("gzip", "unpack it first"),
    b"PK\3\4": ("an archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"PAR1": ("Parquet", "name it .parquet"),
    b"ARROW1": ("Arrow", "name it .arrow"),
    b"\x93NUMPY": ("a NumPy array", "name it .npy"),
}


def is_missing(cell: str) -> bool:
    """Whether a cell, stripped of blanks, marks a missing value.

    >>> is_missing("N/A"), is_missing("0")
    (True, False)
    """
    return cell.lower() in MISSING


def is_value(cell: str) -> bool:
    """Whether a cell is a number, infinite, or missing, as cells of data are.

    >>> [is_value(cell) for cell in ("-1.5", "inf", "NA", "x1")]
    [True, True, True, False]
    """
    return bool(NUMBER.fullmatch(cell) or INFINITE.fullmatch(cell)) or is_missing(cell)


def header_fault(names: Sequence[str], separator: str) -> str | None:
    """The reason why a header without quotes is probably a row of data, or a line with other separators; else None.

    A row of data has only numbers, missing cells, and cells without a letter (dates, dashes). Some names may be
    integers, such as years; a name with a decimal point, a sign or an exponent counts as data.

    Args:
        names: the cells of the line, stripped of blanks.
        separator: of the cells.

    >>> header_fault(["0.7", "n/a"], ",")
    'line 1 holds numbers and missing cells (0.7, n/a) where the column names should be'
    >>> header_fault(["state", "2019", "2020"], ",")
    """
    other = next((mark for mark in SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        return f"the header {names[0]!r} is one column, apparently separated by {SEPARATORS[other]}"
    if all(is_value(name) or name.lower() in _GAPS or not any(map(str.isalpha, name)) for name in names):
        what = "cells of data"
        if all(is_value(name) for name in names):
            missing = sum(is_missing(name) for name in names)
            what = "missing cells" if missing == len(names) else "numbers and missing cells" if missing else "numbers"
        shown = ", ".join(name or "''" for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        return f"line 1 holds {what} ({shown}) where the column names should be"
    data = next((name for name in names if NUMBER.fullmatch(name) and not _INTEGER.fullmatch(name)), None)
    return None if data is None else f"line 1 holds the number {data} where a column name should be"


def header_fix(names: Sequence[str], separator: str) -> str:
    """How to fix the fault of `header_fault`."""
    other = next((mark for mark in SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        points = " and decimal points" if other == ";" else ""
        return f"write the file with {SEPARATORS[separator]}{points}{_SUFFIXES.get(other, '')}"
    return "write a header line above it, or put each name in quotes if these are names"


def is_quoted_header(path: Path, separator: str) -> bool:
    """Whether all names of a header are in quotes, and not all cells of the next row.

    If all rows are in quotes, those of the first line do not indicate a header.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        # unquoted cells become floats, or an error
        reader = csv.reader(file, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC)
        rows = filter(None, reader)
        return _next_is_quoted(rows) and not _next_is_quoted(rows)


def _next_is_quoted(rows: Iterator[list[Any]]) -> bool:
    try:
        row = next(rows, [])
    except (ValueError, csv.Error):
        return False
    return bool(row) and all(isinstance(cell, str) and cell for cell in row)  # an empty cell may be unquoted

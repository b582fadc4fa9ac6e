"""Header lines of CSV and TSV files: what would be taken for something else, and cells as numbers or gaps."""

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
_WHOLE = re.compile(r"\d+", re.ASCII)
_SHOWN = 3
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# how files begin that are no text, whatever their name: what they are, and the remedy
OTHERS = {
    b"\xff\xfe": ("UTF-16", "save it as CSV in UTF-8"),
    b"\xfe\xff": ("UTF-16", "save it as CSV in UTF-8"),
    b"\x1f\x8b": ("gzip", "unpack it first"),
    b"PK\3\4": ("an archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"PAR1": ("Parquet", "name it .parquet"),
    b"ARROW1": ("Arrow", "name it .arrow"),
    b"\x93NUMPY": ("an array of NumPy", "name it .npy"),
}


def is_missing(cell: str) -> bool:
    """Whether a cell without blanks around it stands for none.

    >>> is_missing("N/A"), is_missing("0")
    (True, False)
    """
    return cell.lower() in MISSING


def is_value(cell: str) -> bool:
    """Whether a cell is a number, infinite, or missing: what a row of data holds.

    >>> [is_value(cell) for cell in ("-1.5", "inf", "NA", "x1")]
    [True, True, True, False]
    """
    return bool(NUMBER.fullmatch(cell) or INFINITE.fullmatch(cell)) or is_missing(cell)


def header_fault(names: Sequence[str], separator: str) -> str | None:
    """Why a header without quotes is more likely something else: a row of data, or a line with other separators.

    A row of data has numbers, missing cells, and cells without a letter (dates, dashes) only. Names may be whole
    numbers beside words, as years are; a name with a decimal point, a sign or an exponent is taken for data.

    Args:
        names: the cells of the line, without blanks around them.
        separator: of the cells.

    >>> header_fault(["0.7", "n/a"], ",")
    'line 1 holds numbers and missing cells (0.7, n/a) where the column names should be'
    >>> header_fault(["state", "2019", "2020"], ",")
    """
    other = next((mark for mark in SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        return f"the header {names[0]!r} is one column, it seems separated by {SEPARATORS[other]}"
    if all(is_value(name) or name.lower() in _GAPS or not any(map(str.isalpha, name)) for name in names):
        what = "cells of data"
        if all(is_value(name) for name in names):
            missing = sum(is_missing(name) for name in names)
            what = "missing cells" if missing == len(names) else "numbers and missing cells" if missing else "numbers"
        shown = ", ".join(name or "''" for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        return f"line 1 holds {what} ({shown}) where the column names should be"
    data = next((name for name in names if NUMBER.fullmatch(name) and not _WHOLE.fullmatch(name)), None)
    return None if data is None else f"line 1 holds the number {data} where a column name should be"


def header_remedy(names: Sequence[str], separator: str) -> str:
    """What to do about the fault of `header_fault`."""
    other = next((mark for mark in SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        points = " and decimal points" if other == ";" else ""
        return f"write the file with {SEPARATORS[separator]}{points}{_SUFFIXES.get(other, '')}"
    return "write a header line above it, or put each name in quotes if these are names"


def is_quoted_header(path: Path, separator: str) -> bool:
    """Whether every name of a file's header is in quotes, and not every cell of the row below it.

    Where all rows are in quotes, those of the first line do not tell that it is a header.
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
    return bool(row) and all(isinstance(cell, str) and cell for cell in row)  # an empty cell may have no quotes

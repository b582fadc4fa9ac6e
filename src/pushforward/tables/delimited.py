"""CSV and TSV files: polars reads a clean file, a slower reader finds the exact line of a fault."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pushforward.errors import TableError
from pushforward.named_rows import inexact_words, is_exact
from pushforward.tables.table import Cells, Wanted, load_polars, rows_at_once

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{16,400}", re.ASCII)  # 2^53, above which float64 lacks whole numbers, has 16 digits
_LONG = re.compile(rb"(?<![\d.eE])\d{16,}(?![\d.eE])")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a"))
_BLOCK = 4 * 2**20
_OPEN = ["a row with a quote that nothing closes"]  # it is refused in its turn, after the rows before it
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SUFFIXES = {",": ", or name it .csv", "\t": ", or name it .tsv"}
# how files begin that are no text, whatever their name: what they are, and the remedy
_OTHERS = {
    b"\xff\xfe": ("UTF-16", "save it as CSV in UTF-8"),
    b"\xfe\xff": ("UTF-16", "save it as CSV in UTF-8"),
    b"\x1f\x8b": ("gzip", "unpack it first"),
    b"PK\3\4": ("an archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"PAR1": ("Parquet", "name it .parquet"),
    b"ARROW1": ("Arrow", "name it .arrow"),
    b"\x93NUMPY": ("an array of NumPy", "name it .npy"),
}


def read_delimited(wanted: Wanted, separator: str) -> tuple[tuple[str, ...], Iterator[Cells]]:
    """Names and numbers of the wanted columns of a text file with a header line."""
    path = wanted.path
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        first, header = next(_Lines(path, separator).rows(file), (0, []))
    _refuse_open(path, first, header)
    if not header:
        raise TableError(f"{path}: the file holds no header and no rows: write a line of column names and the numbers.")
    names = [_unescaped(name.strip()) for name in header]
    _check_header(path, names, separator)
    picked = wanted.pick(names)
    is_plain = first == 1 and not any("\n" in name or "\r" in name for name in header)
    pieces = _by_block(path, separator, names, picked) if is_plain else _by_row(path, separator, names, picked)
    return tuple(names[position] for position in picked), pieces


def delimited_labels(path: Path, column: str, separator: str) -> tuple[tuple[str, ...], list[str | None]]:
    """Names of all columns, and each row's cell of one column as text, None where it is missing."""
    _refuse_other_encodings(path)
    with path.open("rb") as file:
        rows = _Lines(path, separator).rows(file)
        line, header = next(rows, (0, []))
        _refuse_open(path, line, header)
        names = [_unescaped(name.strip()) for name in header]
        position = Wanted(path, [column], None).pick(names)[0]
        labels = []
        for line, row in rows:
            if row or len(names) == 1:
                _refuse_ragged(path, line, row or [""], names)
                text = (row or [""])[position].strip()
                labels.append(None if text.lower() in _MISSING else text)
    return tuple(names), labels


def _by_row(path: Path, separator: str, names: list[str], picked: list[int]) -> Iterator[Cells]:
    """Where it is not known at which byte the header ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        rows = _Lines(path, separator).rows(file)
        next(rows)
        yield from _careful(path, rows, names, picked, lambda: file.tell() / size)


def _by_block(path: Path, separator: str, names: list[str], picked: list[int]) -> Iterator[Cells]:
    """Polars takes a block without any fault or gap, else the careful reader that block alone."""
    lines, size = _Lines(path, separator), path.stat().st_size

    def share() -> float:
        return file.tell() / size

    with path.open("rb") as file:
        if b"\r" in file.readline().removesuffix(b"\n").removesuffix(b"\r"):
            yield from _by_row(path, separator, names, picked)
            return
        lines.number, lines.started = 2, True
        while block := file.read(_BLOCK):
            here = file.tell() - len(block)
            end = len(block) if len(block) < _BLOCK else _end_of_rows(block, separator)
            if not end:
                file.seek(here)
                yield from _careful(path, lines.rows(file), names, picked, share)
                return
            block = block[:end]
            file.seek(here + end)
            # polars would take an open quote, and all rows after it, for the text of one cell
            is_careful = (lines.blank and len(names) == 1) or block.count(b'"') % 2
            values = None if is_careful else _fast(block, separator, len(names), picked)
            if values is None:
                yield from _careful(path, lines.rows(io.BytesIO(block)), names, picked, share)
            else:
                yield Cells(values, share=share())
                lines.number += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def _end_of_rows(block: bytes, separator: str) -> int:
    """How many bytes of a block are whole rows; 0 where that cannot be told."""
    if b'"' not in block:
        return block.rfind(b"\n") + 1
    content = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(content == ord('"'))
    # Every other quote opens a cell, or follows the one before it and stands for a quote; else it is text.
    opening = quotes[::2]
    before = content[opening[opening > 0] - 1]
    if not np.isin(before, np.frombuffer(f'{separator}\r\n"'.encode(), np.uint8)).all():
        return 0
    breaks = np.flatnonzero(content == ord("\n"))
    outside = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(1024)
    for mark, (kind, remedy) in _OTHERS.items():
        if start.startswith(mark):
            raise TableError(f"{path}: the file is not UTF-8 text but {kind}: {remedy}.")
    if b"\0" in start:
        raise TableError(f"{path}: the file is not UTF-8 text, it has zero bytes: save it as CSV in UTF-8.")


def _refuse_bytes(path: Path) -> None:
    """Name the first line that is not UTF-8; the decoder, which works ahead of the lines, does not know it."""
    number = 0
    with path.open("rb") as file:
        for part in file:
            for line in part.splitlines():
                number += 1
                try:
                    line.decode()
                except UnicodeDecodeError as fault:
                    near = line[max(fault.start - 15, 0) : fault.start + 5].decode(errors="backslashreplace")
                    raise TableError(
                        f"{path}: line {number}, byte {line[fault.start]:#04x} in '{near}' is not UTF-8: save it as "
                        "UTF-8."
                    ) from fault


class _Lines:
    """Cuts a text file into rows and counts its lines; what is read in several blocks is counted through.

    Args:
        path: of the file, for the sentences.
        separator: of the cells.
    """

    def __init__(self, path: Path, separator: str) -> None:
        self.path, self.separator = path, separator
        self.number, self.started, self.blank = 1, False, []

    def rows(self, file: io.BytesIO | io.BufferedReader) -> Iterator[tuple[int, list[str]]]:
        """(line on which the row starts, its cells); blank lines between the header and the last row come as []."""
        text = io.TextIOWrapper(file, encoding="utf-8" if self.started else "utf-8-sig", newline="")
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True

        whole = itertools.chain(text, iter(end, None))  # the latter gives no line, it tells that there is none
        reader, before = csv.reader(whole, delimiter=self.separator), self.number - 1
        try:
            for row in reader:
                if is_over:  # the reader looked for more lines of this row
                    yield self.number, _OPEN
                elif row:
                    if self.started:
                        yield from ((number, []) for number in self.blank)
                    self.blank.clear()
                    self.started = True
                    yield self.number, row
                else:
                    self.blank.append(self.number)
                self.number = before + reader.line_num + 1
        except UnicodeDecodeError:
            _refuse_bytes(self.path)
            raise
        except csv.Error as fault:
            raise TableError(
                f"{self.path}: line {self.number} cannot be cut into cells ({fault}): correct its quotes, "
                "or shorten the cell."
            ) from fault
        finally:
            if not file.closed:
                text.detach()  # the file stays open: whoever opened it closes it


def _unescaped(name: str) -> str:
    """Undo the apostrophe that `write_table` puts before a name that a spreadsheet would run as a formula."""
    return name[1:] if _ESCAPED.match(name) else name


def _check_header(path: Path, names: list[str], separator: str) -> None:
    other = next((mark for mark in _SEPARATORS if mark != separator and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        points = " and decimal points" if other == ";" else ""
        raise TableError(
            f"{path}: the header {names[0]!r} is one column, it seems separated by {_SEPARATORS[other]}: write the "
            f"file with {_SEPARATORS[separator]}{points}{_SUFFIXES.get(other, '')}."
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        quoted = file.readline().startswith('"')
    if not quoted and all(_NUMBER.fullmatch(name) for name in names):
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise TableError(
            f"{path}: line 1 holds numbers ({shown}) where the column names should be: write a header line above it."
        )


def _fast(block: bytes, separator: str, width: int, picked: list[int]) -> np.ndarray | None:
    """The numbers of a block without any fault or gap, else None: the careful reader then says what is wrong."""
    pl = load_polars()
    schema = {f"{position}": pl.Float64 if position in picked else pl.String for position in range(width)}
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
    rows: Iterator[tuple[int, list[str]]],
    names: list[str],
    picked: list[int],
    share: Callable[[], float],
) -> Iterator[Cells]:
    """Cell by cell, raising at the first fault."""
    # In a file of one column a blank line between others is a missing cell.
    kept = ((line, row or [""]) for line, row in rows if row or len(names) == 1)
    while piece := list(itertools.islice(kept, rows_at_once(len(names)))):
        numbers = [_numbers(path, line, row, names, picked) for line, row in piece]
        yield Cells(np.array(numbers, np.float64), np.array([line for line, _ in piece], np.int64), share=share())


def _refuse_open(path: Path, line: int, cells: list[str]) -> None:
    if cells is _OPEN:
        raise TableError(f"{path}: line {line}: a quote opens in this row and no other closes it: close it.")


def _numbers(path: Path, line: int, cells: list[str], names: list[str], picked: list[int]) -> list[float]:
    _refuse_ragged(path, line, cells, names)
    return [_number(path, line, names[position], cells[position]) for position in picked]


def _refuse_ragged(path: Path, line: int, cells: list[str], names: list[str]) -> None:
    _refuse_open(path, line, cells)
    if len(cells) != len(names):
        runs_on = " (a quote runs on over more than one line)" if any("\n" in cell for cell in cells) else ""
        raise TableError(
            f"{path}: line {line} has {len(cells)} cells{runs_on}, the header has {len(names)}: give each line the "
            "same."
        )


def _number(path: Path, line: int, name: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in _MISSING:
        return float("nan")
    if _NUMBER.fullmatch(text) or _INFINITE.fullmatch(text):
        if _WHOLE.fullmatch(text) and not is_exact(int(text)):
            raise TableError(f"{path}: line {line}, column {name!r}: {inexact_words(text)}")
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

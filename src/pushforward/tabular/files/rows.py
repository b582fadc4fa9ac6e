"""Rows of CSV and TSV files, split by one rule (RFC 4180) and counted, so that errors name the line.

A cell that begins with a quote ends with the next single quote, which a separator or the end of the row follows. Any
other quote in a cell is text, such as the inch mark of `5" pipe`.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pushforward.errors import TableError
from pushforward.tabular.files.headers import NUMBER, is_value

_LINE_END = re.compile(r"\r\n|\r|\n")


class MalformedRow(list[str]):
    """Placeholder for a row that cannot be split into cells; its error is raised after the rows before it are read.

    Args:
        fault: the message after the number of the line, with the fix.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def __bool__(self) -> bool:
        return True


_OPEN = ": a quote opens in this row and no other closes it: close it"


class Lines:
    """Splits a text file into rows and counts its lines, over several blocks of the file if need be.

    Args:
        path: of the file, for messages.
        separator: of the cells.
    """

    def __init__(self, path: Path, separator: str) -> None:
        self.path, self.separator = path, separator
        self.number, self.started, self.blank = 1, False, []

    def rows(self, file: io.BytesIO | io.BufferedReader) -> Iterator[tuple[int, list[str]]]:
        """(number of the first line, cells) of each row; blank lines between the header and the last row are []."""
        text = io.TextIOWrapper(file, encoding="utf-8" if self.started else "utf-8-sig", newline="")
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True

        text_lines = itertools.chain(text, iter(end, None))  # the latter has no line, but reports the end of the text
        reader, before = csv.reader(text_lines, delimiter=self.separator, strict=True), self.number - 1
        try:
            for row in reader:
                if row:
                    yield from self._after_blanks(row)
                else:
                    self.blank.append(self.number)
                self.number = before + reader.line_num + 1
        except UnicodeDecodeError:
            _refuse_bytes(self.path)
            raise
        except csv.Error as fault:
            last = before + reader.line_num
            if is_over:  # the reader looked for more lines of this row
                message = _OPEN
            elif "expected after" in f"{fault}":
                position = f" on line {last}" if last > self.number else ""
                message = (
                    f": a quote opens a cell of this row, and text follows the quote that closes it{position}: write "
                    "each quote inside a cell twice, or take the quotes away"
                )
            else:
                message = f" cannot be cut into cells ({fault}): correct its quotes, or shorten the cell"
            yield from self._after_blanks(MalformedRow(message))
        finally:
            if not file.closed:
                text.detach()  # leaves the file open for the caller

    def _after_blanks(self, row: list[str]) -> Iterator[tuple[int, list[str]]]:
        if self.started:
            yield from ((number, []) for number in self.blank)
        self.blank.clear()
        self.started = True
        yield self.number, row


def _refuse_bytes(path: Path) -> None:
    """Raise a TableError that names the first line that is not UTF-8; the decoder reads ahead and does not know it."""
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


def refuse_row(path: Path, line: int, cells: list[str], width: int) -> None:
    """Raise a TableError for a malformed row, or one with another number of cells than the header."""
    if isinstance(cells, MalformedRow):
        raise TableError(f"{path}: line {line}{cells.fault}.")
    if len(cells) != width:
        runs_on = " (a quote runs on over more than one line)" if any(map(_LINE_END.search, cells)) else ""
        raise TableError(
            f"{path}: line {line} has {len(cells)} cells{runs_on}, the header has {width}: give each line the same."
        )


def refuse_stray_quotes(path: Path, line: int, cells: list[str], separator: str, indices: Sequence[int]) -> None:
    """Raise a TableError for a row whose first line and another line would each be a row if quotes were text.

    Two stray quotes turn everything between them into one cell. A line counts as a row if it has as many cells as the
    table has columns, and values in the selected columns; lines of a cell of text do not.
    """
    first, *others = _LINE_END.split(separator.join(cells))
    if others and _is_row(first, separator, len(cells), indices):
        refuse_row_in_cell(path, line, others, separator, len(cells), indices)


def refuse_row_in_cell(
    path: Path, line: int, parts: list[str], separator: str, width: int, indices: Sequence[int]
) -> None:
    """Raise a TableError if one of the lines of a cell is itself a row."""
    inner = next((part for part in parts if _is_row(part, separator, width, indices)), None)
    if inner is not None:
        raise TableError(
            f"{path}: line {line}: a quoted cell runs on over a line that is a row by itself, {inner[:40]!r}: close "
            "the quote before it, or keep that cell on one line."
        )


def _is_row(text: str, separator: str, width: int, indices: Sequence[int]) -> bool:
    cells = [cell.strip().strip('"') for cell in text.split(separator)]
    if len(cells) != width:
        return False
    values = [cells[index] for index in indices]
    return all(map(is_value, values)) and any(map(NUMBER.fullmatch, values))


class Block(NamedTuple):
    """The complete rows of a block: where they end in bytes, their number, and whether each of them is one line."""

    end: int
    rows: int
    is_plain: bool


def complete_rows(block: bytes, separator: str, *, is_last: bool) -> Block | None:
    """The complete rows of a block; None if its quotes are ambiguous.

    Args:
        block: a part of a file that starts at the start of a row.
        separator: of the cells.
        is_last: whether the file ends with the block.

    >>> complete_rows(b'1,"a"\\n2,"b\\n3"\\n4', ",", is_last=False)
    Block(end=14, rows=2, is_plain=False)
    >>> complete_rows(b'1,a "b" c\\n', ",", is_last=True)
    """
    if b'"' not in block:
        n_breaks, end = block.count(b"\n"), len(block) if is_last else block.rfind(b"\n") + 1
        return Block(end, n_breaks + _is_unended(block, is_last), _no_bare_returns(block, end)) if end else None
    content = np.frombuffer(block, np.uint8)
    quotes, breaks = np.flatnonzero(content == ord('"')), np.flatnonzero(content == ord("\n"))
    # Every other quote opens a cell, or is the second of a doubled quote.
    opening, closing = quotes[::2], quotes[1::2]
    opened_after = content[opening[opening > 0] - 1]
    closed_before = content[closing[closing < len(block) - 1] + 1]
    if not np.isin(opened_after, list(f'{separator}\n"'.encode())).all():
        return None
    if not np.isin(closed_before, list(f'{separator}\r\n"'.encode())).all() or (is_last and len(quotes) % 2):
        return None
    row_ends = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    end = len(block) if is_last else int(row_ends[-1]) + 1 if len(row_ends) else 0
    if not end:
        return None
    is_plain = int(np.searchsorted(breaks, end)) == len(row_ends) and _no_bare_returns(block, end)
    return Block(end, len(row_ends) + _is_unended(block, is_last), is_plain)


def _is_unended(block: bytes, is_last: bool) -> bool:
    return is_last and not block.endswith(b"\n")


def _no_bare_returns(block: bytes, end: int) -> bool:
    """Whether a line feed follows each carriage return; a bare one would end a row."""
    return block.count(b"\r", 0, end) == block.count(b"\r\n", 0, end)

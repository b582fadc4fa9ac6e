"""Rows of CSV and TSV files: cut by one rule (RFC 4180), counted, and every fault at its line.

A cell that begins with a quote ends with the next single quote, after which its row ends or a separator follows; a
quote anywhere else in a cell is text, as the inch marks of `5" pipe` are.
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


class Broken(list[str]):
    """Stands for the cells of a row that cannot be cut, so that it is refused in its turn, after the rows before it.

    Args:
        fault: what a sentence says after the number of the line, with the remedy.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def __bool__(self) -> bool:
        return True


_OPEN = ": a quote opens in this row and no other closes it: close it"


class Lines:
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
        reader, before = csv.reader(whole, delimiter=self.separator, strict=True), self.number - 1
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
                words = _OPEN
            elif "expected after" in f"{fault}":
                place = f" on line {last}" if last > self.number else ""
                words = (
                    f": a quote opens a cell of this row, and text follows the quote that closes it{place}: write "
                    "each quote inside a cell twice, or take the quotes away"
                )
            else:
                words = f" cannot be cut into cells ({fault}): correct its quotes, or shorten the cell"
            yield from self._after_blanks(Broken(words))
        finally:
            if not file.closed:
                text.detach()  # the file stays open: whoever opened it closes it

    def _after_blanks(self, row: list[str]) -> Iterator[tuple[int, list[str]]]:
        if self.started:
            yield from ((number, []) for number in self.blank)
        self.blank.clear()
        self.started = True
        yield self.number, row


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


def refuse_row(path: Path, line: int, cells: list[str], width: int) -> None:
    """Refuse a row that cannot be cut, or has another number of cells than the header."""
    if isinstance(cells, Broken):
        raise TableError(f"{path}: line {line}{cells.fault}.")
    if len(cells) != width:
        runs_on = " (a quote runs on over more than one line)" if any(map(_LINE_END.search, cells)) else ""
        raise TableError(
            f"{path}: line {line} has {len(cells)} cells{runs_on}, the header has {width}: give each line the same."
        )


def refuse_swallowed(path: Path, line: int, cells: list[str], separator: str, picked: Sequence[int]) -> None:
    """Refuse a row of several lines of which the first and another would be rows by themselves, were quotes text.

    Two stray quotes make one cell of all that is between them. A line is such a row that has as many cells as the
    table has columns, and numbers where numbers are wanted; lines of a cell with text in lines are none.
    """
    first, *others = _LINE_END.split(separator.join(cells))
    if others and _is_row(first, separator, len(cells), picked):
        refuse_rows_within(path, line, others, separator, len(cells), picked)


def refuse_rows_within(
    path: Path, line: int, parts: list[str], separator: str, width: int, picked: Sequence[int]
) -> None:
    """Refuse a cell one of whose lines is a row by itself."""
    inner = next((part for part in parts if _is_row(part, separator, width, picked)), None)
    if inner is not None:
        raise TableError(
            f"{path}: line {line}: a quoted cell runs on over a line that is a row by itself, {inner[:40]!r}: close "
            "the quote before it, or keep that cell on one line."
        )


def _is_row(text: str, separator: str, width: int, picked: Sequence[int]) -> bool:
    cells = [cell.strip().strip('"') for cell in text.split(separator)]
    if len(cells) != width:
        return False
    wanted = [cells[place] for place in picked]
    return all(map(is_value, wanted)) and any(map(NUMBER.fullmatch, wanted))


class Block(NamedTuple):
    """How many bytes of a block are whole rows, how many rows, and whether each of them is one line."""

    end: int
    rows: int
    is_plain: bool


def whole_rows(block: bytes, separator: str, *, is_last: bool) -> Block | None:
    """Where the rows of a block end that starts with a row; None where its quotes do not tell it.

    Args:
        block: a part of a file.
        separator: of the cells.
        is_last: whether the file ends with the block.

    >>> whole_rows(b'1,"a"\\n2,"b\\n3"\\n4', ",", is_last=False)
    Block(end=14, rows=2, is_plain=False)
    >>> whole_rows(b'1,a "b" c\\n', ",", is_last=True)
    """
    if b'"' not in block:
        n_breaks, end = block.count(b"\n"), len(block) if is_last else block.rfind(b"\n") + 1
        return Block(end, n_breaks + _is_unended(block, is_last), _no_bare_returns(block, end)) if end else None
    content = np.frombuffer(block, np.uint8)
    quotes, breaks = np.flatnonzero(content == ord('"')), np.flatnonzero(content == ord("\n"))
    # Every other quote opens a cell, or follows the one before it and stands for a quote; else it is text.
    opening, closing = quotes[::2], quotes[1::2]
    opened_after = content[opening[opening > 0] - 1]
    closed_before = content[closing[closing < len(block) - 1] + 1]
    if not np.isin(opened_after, list(f'{separator}\n"'.encode())).all():
        return None
    if not np.isin(closed_before, list(f'{separator}\r\n"'.encode())).all() or (is_last and len(quotes) % 2):
        return None
    outside = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    end = len(block) if is_last else int(outside[-1]) + 1 if len(outside) else 0
    if not end:
        return None
    is_plain = int(np.searchsorted(breaks, end)) == len(outside) and _no_bare_returns(block, end)
    return Block(end, len(outside) + _is_unended(block, is_last), is_plain)


def _is_unended(block: bytes, is_last: bool) -> bool:
    return is_last and not block.endswith(b"\n")


def _no_bare_returns(block: bytes, end: int) -> bool:
    """Whether there is a line feed after each carriage return, which would end a row by itself."""
    return block.count(b"\r", 0, end) == block.count(b"\r\n", 0, end)

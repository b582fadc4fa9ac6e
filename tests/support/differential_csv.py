"""Compare the reader of CSV and TSV files with Python's `csv` module on random files.

    python tests/support/differential_csv.py --files 100000

A written file comes from `csv.writer`, with text of all kinds in columns that are not read: it must be read row for
row. A spoiled file has characters inserted, deleted or exchanged; a careless one has text with unescaped quotes: both
are read as by `csv`, or refused with a one-line error. The fault is a row that is lost, added or changed silently.
Files are read at once and in blocks of some bytes, by the fast reader and the careful one.
"""

import argparse
import csv
import io
import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from pushforward.errors import TableError
from pushforward.tabular.files import delimited, read_table
from pushforward.tabular.files.headers import MISSING

BLOCKS = (24, 60, 150, 2**22)
NUMBERS = ("1", "-2.5", "3e4", ".5", " 7 ", "+0.125", "1e-300", "123456", "0", "-0.0")
CELLS = NUMBERS * 3 + ("", "NA", " null ", "nan")
WORDS = ("ok", "", "left valve", '5" pipe', 'say "no"', '"', '""', "a,b", "tab\tbed", "two\nlines", "\r\n", "x\r\ny",
         "é",
         " lead", "'", "1", '"\n"', ";", "\\", "NA", '",', ',"', "#", "-")  # fmt: skip
CARELESS = ("ok", "ok", "", '"', '"left" valve', '5" pipe', 'a "b" c', '"ok"', '""', '"x', 'x"', "''", '"""')
CHARACTERS = ('"', '"', '""', ",", "\t", "\n", "\r", "\r\n", " ", "x", "\\", "'", "7", '"\n', '\n"', ',"', '",')
DIGITS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def write_valid(random: Random, separator: str) -> str:
    """A valid table whose columns a and b are numbers, some missing, and whose others hold text."""
    names = ["a", "b", *(f"t{index}" for index in range(random.randrange(4)))]
    random.shuffle(names)
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if random.random() < 0.1 else csv.QUOTE_MINIMAL
    writer = csv.writer(
        buffer, delimiter=separator, lineterminator=random.choice(("\n", "\n", "\r\n")), quoting=quoting
    )
    writer.writerow(names)
    words = WORDS[:3] if random.random() < 0.5 else WORDS
    for _ in range(random.randrange(1, 12)):
        writer.writerow([random.choice(CELLS) if name in "ab" else random.choice(words) for name in names])
    text = buffer.getvalue()
    return text if random.random() < 0.8 else text.rstrip("\r\n")


def write_careless(random: Random, separator: str) -> str:
    """A table as a program writes it that puts any text between separators."""
    names = ["a", "b", *(f"t{index}" for index in range(random.randrange(1, 3)))]
    random.shuffle(names)
    kinds = [CELLS if name in "ab" else CARELESS for name in names]
    rows = [[random.choice(kind) for kind in kinds] for _ in range(random.randrange(2, 12))]
    return "".join(separator.join(row) + "\n" for row in (names, *rows))


def spoil(random: Random, text: str) -> str:
    """The text with some characters inserted, deleted or exchanged."""
    for _ in range(random.randrange(1, 4)):
        position, kind = random.randrange(len(text) + 1), random.randrange(4)
        length = random.randrange(3)
        if kind == 3:  # the same character twice
            position = random.randrange(len(text) + 1)
            other, sign = random.randrange(len(text) + 1), random.choice(CHARACTERS)
            first, last = sorted((position, other))
            text = text[:first] + sign + text[first:last] + sign + text[last:]
        else:
            text = (
                text[:position] + (random.choice(CHARACTERS) if kind else "") + text[position + length * (kind != 1) :]
            )
    return text


def expected(text: str, separator: str) -> tuple[int, list[list[float]]] | None:
    """The number of records, and the values of those without a missing cell, by `csv`; None if it is no valid table.

    A line without any cell is no record, but in a table of one column it is a missing cell.
    """
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    while rows and not rows[-1]:
        rows.pop()
    while rows and not rows[0]:
        rows.pop(0)
    if not rows:
        return None
    header, *rows = ([cell.strip() for cell in row] for row in rows)
    rows = [row or [""] for row in rows if row or len(header) == 1]
    if header.count("a") != 1 or header.count("b") != 1 or any(len(row) != len(header) for row in rows):
        return None
    complete = []
    for row in rows:
        cells = [row[header.index(name)] for name in "ab"]
        if any(cell.lower() not in MISSING and not DIGITS.fullmatch(cell) for cell in cells):
            return None
        if all(DIGITS.fullmatch(cell) for cell in cells):
            complete.append([float(cell) for cell in cells])
    if not complete or not all(math.isfinite(value) for row in complete for value in row):
        return None
    return len(rows), complete


def files(count: int, seed: int) -> Iterator[tuple[str, str, bool, int]]:
    """(text, separator, whether it is valid, bytes in a block)."""
    random = Random(seed)
    for _ in range(count):
        separator = random.choice(",\t")
        kind = random.choice(("written", "spoiled", "careless"))
        text = write_careless(random, separator) if kind == "careless" else write_valid(random, separator)
        if kind == "spoiled":
            text = spoil(random, text)
        yield text, separator, kind == "written", random.choice(BLOCKS)


def outcome(path: Path) -> tuple[tuple[int, list[list[float]]] | None, str]:
    """As `expected`, by the reader; if it refuses the file, None and the message."""
    try:
        table = read_table(path, columns=["a", "b"], drop_na=True)
    except TableError as error:
        return None, str(error)
    return (len(table.values) + table.dropped, table.values.tolist()), ""


def compare(count: int, seed: int, folder: Path) -> Counter[str]:
    """The numbers of files by outcome.

    Raises:
        AssertionError: a file was read differently from `csv`, or is valid and was refused.
    """
    outcomes: Counter[str] = Counter()
    block_size = delimited._BLOCK
    try:
        for text, separator, is_written, block in files(count, seed):
            path = folder / ("t.csv" if separator == "," else "t.tsv")
            path.write_bytes(text.encode())
            delimited._BLOCK = block
            right, (result, message) = expected(text, separator), outcome(path)
            if result is None:
                is_fine = (right is None or not is_written) and "\n" not in message
                outcomes["refused, as it must be" if right is None else "refused, though csv reads it"] += 1
            else:
                is_fine = result == right
                outcomes["read as written" if is_written else "read as csv reads it"] += 1
            if not is_fine:
                raise AssertionError(f"{text!r} in blocks of {block}: {result}, by csv {right}; {message}")
    finally:
        delimited._BLOCK = block_size
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, outcomes = time.monotonic(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for part in range(0, options.files, 5000):
            outcomes += compare(min(5000, options.files - part), options.seed + part, Path(folder))
            print(f"{outcomes.total():,} files, {time.monotonic() - start:.0f} s: {dict(outcomes)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

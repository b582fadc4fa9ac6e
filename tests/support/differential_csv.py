"""Compare the reader of CSV and TSV files with Python's `csv` module on files drawn at random.

    python tests/support/differential_csv.py --files 100000

A written file comes from `csv.writer`, with text of all kinds in columns nobody asks for: it must be read, row for row.
A spoiled file has characters put in, taken out or exchanged, a careless one has text with quotes as it stands: both are
read as `csv` reads them, or refused in a sentence.
Rows that are lost, added or changed in silence are the fault that is looked for. Files are read whole and in blocks of
some bytes, by the fast reader and the careful one.
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
WORDS = ("ok", "", "left valve", '5" pipe', 'say "no"', '"', '""', "a,b", "tab\tbed", "two\nlines", "\r\n", "x\r\ny",
         "é",
         " lead", "'", "1", '"\n"', ";", "\\", "NA", '",', ',"', "#", "-")  # fmt: skip
CARELESS = ("ok", "ok", "", '"', '"left" valve', '5" pipe', 'a "b" c', '"ok"', '""', '"x', 'x"', "''", '"""')
CHARACTERS = ('"', '"', '""', ",", "\t", "\n", "\r", "\r\n", " ", "x", "\\", "'", "7", '"\n', '\n"', ',"', '",')
DIGITS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def written(chance: Random, separator: str) -> str:
    """A valid table whose columns a and b are numbers and whose others hold text."""
    names = ["a", "b", *(f"t{place}" for place in range(chance.randrange(4)))]
    chance.shuffle(names)
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if chance.random() < 0.1 else csv.QUOTE_MINIMAL
    writer = csv.writer(
        buffer, delimiter=separator, lineterminator=chance.choice(("\n", "\n", "\r\n")), quoting=quoting
    )
    writer.writerow(names)
    words = WORDS[:3] if chance.random() < 0.5 else WORDS
    for _ in range(chance.randrange(1, 12)):
        writer.writerow([chance.choice(NUMBERS) if name in "ab" else chance.choice(words) for name in names])
    text = buffer.getvalue()
    return text if chance.random() < 0.8 else text.rstrip("\r\n")


def careless(chance: Random, separator: str) -> str:
    """A table as programs write it that put text between separators, whatever it holds."""
    names = ["a", "b", *(f"t{place}" for place in range(chance.randrange(1, 3)))]
    chance.shuffle(names)
    kinds = [NUMBERS if name in "ab" else CARELESS for name in names]
    rows = [[chance.choice(kind) for kind in kinds] for _ in range(chance.randrange(2, 12))]
    return "".join(separator.join(row) + "\n" for row in (names, *rows))


def spoiled(chance: Random, text: str) -> str:
    """The text with some characters put in, taken out, or exchanged."""
    for _ in range(chance.randrange(1, 4)):
        place, kind = chance.randrange(len(text) + 1), chance.randrange(4)
        length = chance.randrange(3)
        if kind == 3:  # the same character twice
            place = chance.randrange(len(text) + 1)
            other, sign = chance.randrange(len(text) + 1), chance.choice(CHARACTERS)
            first, last = sorted((place, other))
            text = text[:first] + sign + text[first:last] + sign + text[last:]
        else:
            text = text[:place] + (chance.choice(CHARACTERS) if kind else "") + text[place + length * (kind != 1) :]
    return text


def expected(text: str, separator: str) -> tuple[int, list[list[float]]] | None:
    """Records, and the numbers of those without a missing cell, by the `csv` module; None where it finds no such table.

    A line without any cell is no record, but in a table of one column it is one missing cell between others.
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
    kept = []
    for row in rows:
        cells = [row[header.index(name)] for name in "ab"]
        if any(cell.lower() not in MISSING and not DIGITS.fullmatch(cell) for cell in cells):
            return None
        if all(DIGITS.fullmatch(cell) for cell in cells):
            kept.append([float(cell) for cell in cells])
    if not kept or not all(math.isfinite(value) for row in kept for value in row):
        return None
    return len(rows), kept


def files(count: int, seed: int) -> Iterator[tuple[str, str, bool, int]]:
    """(text, separator, whether it is as written, bytes in a block)."""
    chance = Random(seed)
    for _ in range(count):
        separator = chance.choice(",\t")
        kind = chance.choice(("written", "spoiled", "careless"))
        text = careless(chance, separator) if kind == "careless" else written(chance, separator)
        if kind == "spoiled":
            text = spoiled(chance, text)
        yield text, separator, kind == "written", chance.choice(BLOCKS)


def outcome(path: Path) -> tuple[tuple[int, list[list[float]]] | None, str]:
    """As `expected`, by the reader; where it refuses the file, None and its sentence."""
    try:
        table = read_table(path, columns=["a", "b"], drop_na=True)
    except TableError as error:
        return None, str(error)
    return (len(table.values) + table.dropped, table.values.tolist()), ""


def compared(count: int, seed: int, folder: Path) -> Counter[str]:
    """How many files ended how.

    Raises:
        AssertionError: a file was read otherwise than by the `csv` module, or is valid and was refused.
    """
    outcomes: Counter[str] = Counter()
    whole = delimited._BLOCK
    try:
        for text, separator, is_written, block in files(count, seed):
            path = folder / ("t.csv" if separator == "," else "t.tsv")
            path.write_bytes(text.encode())
            delimited._BLOCK = block
            right, (found, sentence) = expected(text, separator), outcome(path)
            if found is None:
                is_fine = not is_written and "\n" not in sentence
                outcomes["refused, as it must be" if right is None else "refused, though csv reads it"] += 1
            else:
                is_fine = found == right
                outcomes["read as written" if is_written else "read as csv reads it"] += 1
            if not is_fine:
                raise AssertionError(f"{text!r} in blocks of {block}: {found}, by csv {right}; {sentence}")
    finally:
        delimited._BLOCK = whole
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, outcomes = time.monotonic(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        for part in range(0, options.files, 5000):
            outcomes += compared(min(5000, options.files - part), options.seed + part, Path(folder))
            print(f"{outcomes.total():,} files, {time.monotonic() - start:.0f} s: {dict(outcomes)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The rows that are read are the records of the file, all of them, or the file is refused."""

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from differential_csv import compare

from pushforward.errors import TableError
from pushforward.tabular.files import delimited, read_batches, read_table
from pushforward.tabular.files import table as table_module
from pushforward.tabular.files.buffered_stderr import buffered_stderr
from pushforward.tabular.files.rows import complete_rows

FIRST_FAILURE = 3  # a seed whose first files have rows that a wrong reader loses


def test_files_match_the_csv_module(tmp_path: Path) -> None:
    outcomes = compare(500, FIRST_FAILURE, tmp_path)
    assert outcomes["read as written"] > 120, outcomes
    assert outcomes["read as csv reads it"] > 30, outcomes
    assert outcomes["refused, as it must be"] > 100, outcomes


@pytest.mark.slow
def test_many_files_match_the_csv_module(tmp_path: Path) -> None:
    outcomes = compare(100_000, 11, tmp_path)
    print(dict(outcomes))
    assert outcomes["read as written"] > 25_000, outcomes


def outcome(path: Path, column: str) -> tuple[list | None, str]:
    try:
        return read_table(path, columns=[column]).values.tolist(), ""
    except TableError as error:
        return None, str(error)


STRAY = ['"', '"left" valve', '5" pipe', '""x', '"ok"', 'x"', '"x']


@pytest.mark.parametrize("line_indices", [(2, 4), (0, 1)])
def test_rows_between_two_stray_quotes_are_not_lost(line_indices: tuple[int, int], tmp_path: Path, monkeypatch) -> None:
    """Two of six lines have quotes in a column that is not selected; blocks of any size."""
    path, expected = tmp_path / "t.tsv", [[float(row)] for row in range(6)]
    for quoted in itertools.product(STRAY, repeat=2):
        cells = ["ok"] * 6
        for index, cell_text in zip(line_indices, quoted, strict=True):
            cells[index] = cell_text
        path.write_text("mass\tcomment\n" + "".join(f"{row}\t{cell}\n" for row, cell in enumerate(cells)))
        for block in (12, 2**22):
            monkeypatch.setattr(delimited, "_BLOCK", block)
            values, message = outcome(path, "mass")
            is_named = any(f"line {index + 2}" in message for index in line_indices)
            assert values == expected or (values is None and is_named), (cells, values, message)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_rows_between_quotes_are_errors_but_lines_of_text_are_not(index: int, tmp_path: Path) -> None:
    """Both quoted cells are valid (RFC 4180), but complete rows in a cell are hardly intended."""
    path, numbers = tmp_path / "t.csv", [["1", "2"], ["3", "4"], ["5", "6"]]

    def write(*texts: str) -> None:
        rows = [["a", "b"], *numbers]
        for row, text in zip(rows, ("t", *texts), strict=True):
            row.insert(index, text)
        path.write_text("".join(",".join(row) + "\n" for row in rows))
        for row in numbers:
            row.pop(index)

    for text in ('"two\nlines"', '"x, y\n7, z"', '"\n"', '"1\n2\n"'):
        write(text, "ok", text)
        assert read_table(path, columns=["a", "b"]).values.tolist() == [[1, 2], [3, 4], [5, 6]]
    write('"', "ok", '"')
    with pytest.raises(TableError, match=r"line 2: a quoted cell runs on over a line that is a row by itself, '.*3.*4"):
        read_table(path, columns=["a", "b"])


def test_complete_rows() -> None:
    text = '1,"a""b",2\r\n3,"two\nlines",4\n5,"",6\n'
    assert complete_rows(text.encode(), ",", is_last=True) == (len(text), 3, False)
    assert complete_rows(text.encode()[:-3], ",", is_last=False) == (text.index("5"), 2, False)
    assert complete_rows(text.encode()[: text.index("3")], ",", is_last=False) == (text.index("3"), 1, True)
    assert complete_rows(b"1\r2\n3\n", ",", is_last=False) == (6, 2, False)
    for spoiled in (b'1,a"b"\n', b'1,"a"b\n', b'1, "a"\n', b'1,"a\n'):
        assert complete_rows(spoiled, ",", is_last=True) is None


HEADLESS = [
    "0.7,n/a,12",
    "0.7,,12",
    "NA,?,-",
    ",,",
    "1e3,inf,2",
    "7,8,9",
    "0.7,odd,12",
    "7,missing,12",
    "7,--,12",
    "7,#DIV/0!,2",
    "2020-01-31,1,2",
    "x,-3,7",
    '"7","8","9"',
]


@pytest.mark.parametrize("first", HEADLESS)
@pytest.mark.parametrize("separator", [",", "\t"])
def test_data_in_the_first_row_is_an_error(first: str, separator: str, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv" if separator == "," else "t.tsv")
    for quote in ('"',) if first.startswith('"') else ("", '"'):
        rows = [f"{quote}{k}{quote}" for k in (1, 2, 3)]
        path.write_text("\n".join([first.replace(",", separator), separator.join(rows)]) + "\n")
        with pytest.raises(TableError, match=r"t\.[ct]sv: line 1 holds .* where .* write a header line"):
            read_table(path)


@pytest.mark.parametrize("header", ["a,NA,2019", "state,2019,2020", '"2019","2020","NA"', '"0.5","0.9",x', "x1,1x,-a"])
def test_names_next_to_integers_are_a_header(header: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(header + "\n1,2,3\n")
    if header.endswith("x"):  # not every name is in quotes
        with pytest.raises(TableError, match="in quotes"):
            read_table(tmp_path / "t.csv")
    else:
        assert read_table(tmp_path / "t.csv").values.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_file_replaced_while_read_is_an_error(suffix: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table_module, "_ROWS", 5)
    monkeypatch.setattr(delimited, "_BLOCK", 40)
    path = tmp_path / f"t{suffix}"

    def write(path: Path, values: np.ndarray, names: list[str]) -> None:
        if suffix == ".npy":
            np.save(path, values)
        else:
            frame = pl.DataFrame(values, schema=names, orient="row")
            frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)

    write(path, np.ones((50, 2)), ["a", "b"])
    batches = read_batches(path)
    next(batches)
    write(tmp_path / f"new{suffix}", np.zeros((50, 2)), ["b", "a"])
    (tmp_path / f"new{suffix}").replace(path)
    with pytest.raises(TableError, match="changed the file while it was read"):
        list(batches)


DAMAGED = """
import sys
from pushforward.errors import TableError
from pushforward.tabular.files import read_table
for path in sys.argv[1:]:
    try:
        print(len(read_table(path, columns=["a", "b"]).values))
    except TableError as error:  # of any kind: a flipped bit may change the name of a column
        print("TableError", chr(10) in str(error))
"""


def test_damaged_file_is_one_error_without_other_output(tmp_path: Path) -> None:
    """Bits are flipped at the end of the file, in the directory of its parts, where threads of polars panic."""
    chance, paths = random.Random(0), []
    frame = pl.DataFrame({"a": [float(k) for k in range(300)], "b": list(range(300))})
    for suffix in (".arrow", ".parquet"):
        original = tmp_path / f"original{suffix}"
        frame.write_ipc(original) if suffix == ".arrow" else frame.write_parquet(original)
        for k in range(80):
            content = bytearray(original.read_bytes())
            content[len(content) - 1 - chance.randrange(min(600, len(content)))] ^= 1 << chance.randrange(8)
            paths.append(tmp_path / f"{k}{suffix}")
            paths[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    assert set(lines) == {"300", "TableError False"}


def test_buffered_stderr_is_written_without_an_error(capfd) -> None:
    def fails() -> None:
        with buffered_stderr():
            os.write(2, b"discarded")
            threading.Timer(0.05, os.write, (2, b"late")).start()
            raise ValueError("fault")

    with buffered_stderr(), buffered_stderr():
        os.write(2, b"output")
    with pytest.raises(ValueError, match="fault"):
        fails()
    time.sleep(0.1)
    assert capfd.readouterr().err == "output"


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_name_look_ups_are_linear_in_the_columns(suffix: str, tmp_path: Path) -> None:
    """Each name of a wide table is compared a fixed number of times."""

    class Name(str):
        __slots__ = ()
        compare = 0

        def __eq__(self, other: object) -> bool:
            Name.compare += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    counts = []
    for width in (200, 800):
        names, path = [f"x{index}" for index in range(width)], tmp_path / f"{width}{suffix}"
        frame = pl.DataFrame(np.ones((2, width)), schema=names, orient="row")
        if suffix == ".npy":
            np.save(path, np.ones((2, width)))
        else:
            frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        Name.compare = 0
        read_table(path, columns=[Name(name) for name in names[:-9:-1] + names[:-8]][1:], context=[Name(names[-1])])
        counts.append(Name.compare)
    assert counts[1] <= 5 * counts[0] + 50, counts

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
from pushforward.tabular.files.hush import hushed
from pushforward.tabular.files.rows import whole_rows

FIRST_FAILURE = 3  # a seed whose first files hold rows that readers have lost


def test_files_are_read_as_the_csv_module_reads_them(tmp_path: Path) -> None:
    outcomes = compare(500, FIRST_FAILURE, tmp_path)
    assert outcomes["read as written"] > 120, outcomes
    assert outcomes["read as csv reads it"] > 30, outcomes
    assert outcomes["refused, as it must be"] > 100, outcomes


@pytest.mark.slow
def test_many_files_are_read_as_the_csv_module_reads_them(tmp_path: Path) -> None:
    outcomes = compare(100_000, 11, tmp_path)
    print(dict(outcomes))
    assert outcomes["read as written"] > 25_000, outcomes


def outcome(path: Path, column: str) -> tuple[list | None, str]:
    try:
        return read_table(path, columns=[column]).values.tolist(), ""
    except TableError as error:
        return None, str(error)


STRAY = ['"', '"left" valve', '5" pipe', '""x', '"ok"', 'x"', '"x']


@pytest.mark.parametrize("places", [(2, 4), (0, 1)])
def test_no_row_is_lost_between_two_stray_quotes(places: tuple[int, int], tmp_path: Path, monkeypatch) -> None:
    """Six lines, of which two have a quote or more in a column that nobody asked for, in blocks of any size."""
    path, right = tmp_path / "t.tsv", [[float(row)] for row in range(6)]
    for words in itertools.product(STRAY, repeat=2):
        cells = ["ok"] * 6
        for place, word in zip(places, words, strict=True):
            cells[place] = word
        path.write_text("mass\tcomment\n" + "".join(f"{row}\t{cell}\n" for row, cell in enumerate(cells)))
        for block in (12, 2**22):
            monkeypatch.setattr(delimited, "_BLOCK", block)
            found, sentence = outcome(path, "mass")
            named = any(f"line {place + 2}" in sentence for place in places)
            assert found == right or (found is None and named), (cells, found, sentence)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_between_two_quotes_are_refused_and_lines_of_a_text_are_not(place: int, tmp_path: Path) -> None:
    """The quoted cell is valid either way (RFC 4180); whole rows inside it are hardly what was meant."""
    path, numbers = tmp_path / "t.csv", [["1", "2"], ["3", "4"], ["5", "6"]]

    def write(*words: str) -> None:
        rows = [["a", "b"], *numbers]
        for row, word in zip(rows, ("t", *words), strict=True):
            row.insert(place, word)
        path.write_text("".join(",".join(row) + "\n" for row in rows))
        for row in numbers:
            row.pop(place)

    for text in ('"two\nlines"', '"x, y\n7, z"', '"\n"', '"1\n2\n"'):
        write(text, "ok", text)
        assert read_table(path, columns=["a", "b"]).values.tolist() == [[1, 2], [3, 4], [5, 6]]
    write('"', "ok", '"')
    with pytest.raises(TableError, match=r"line 2: a quoted cell runs on over a line that is a row by itself, '.*3.*4"):
        read_table(path, columns=["a", "b"])


def test_whole_rows_are_found_by_one_rule() -> None:
    text = '1,"a""b",2\r\n3,"two\nlines",4\n5,"",6\n'
    assert whole_rows(text.encode(), ",", is_last=True) == (len(text), 3, False)
    assert whole_rows(text.encode()[:-3], ",", is_last=False) == (text.index("5"), 2, False)
    assert whole_rows(text.encode()[: text.index("3")], ",", is_last=False) == (text.index("3"), 1, True)
    assert whole_rows(b"1\r2\n3\n", ",", is_last=False) == (6, 2, False)
    for spoiled in (b'1,a"b"\n', b'1,"a"b\n', b'1, "a"\n', b'1,"a\n'):
        assert whole_rows(spoiled, ",", is_last=True) is None


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
def test_a_first_row_of_data_is_no_header(first: str, separator: str, tmp_path: Path) -> None:
    path = tmp_path / ("t.csv" if separator == "," else "t.tsv")
    for quote in ('"',) if first.startswith('"') else ("", '"'):
        rows = [f"{quote}{k}{quote}" for k in (1, 2, 3)]
        path.write_text("\n".join([first.replace(",", separator), separator.join(rows)]) + "\n")
        with pytest.raises(TableError, match=r"t\.[ct]sv: line 1 holds .* where .* write a header line"):
            read_table(path)


@pytest.mark.parametrize("header", ["a,NA,2019", "state,2019,2020", '"2019","2020","NA"', '"0.5","0.9",x', "x1,1x,-a"])
def test_names_beside_numbers_stay_names(header: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(header + "\n1,2,3\n")
    if header.endswith("x"):  # not every name is in quotes
        with pytest.raises(TableError, match="in quotes"):
            read_table(tmp_path / "t.csv")
    else:
        assert read_table(tmp_path / "t.csv").values.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_a_file_that_is_replaced_while_it_is_read_is_refused(suffix: str, tmp_path: Path, monkeypatch) -> None:
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
from pushforward.tabular.files import read_table
for path in sys.argv[1:]:
    try:
        print(len(read_table(path, columns=["a", "b"]).values))
    except ValueError as error:
        print(type(error).__name__, chr(10) in str(error))
"""


def test_a_damaged_file_is_one_error_and_nothing_else(tmp_path: Path) -> None:
    """Bits are changed at the end, where the directory of the parts is, at which threads of polars panic."""
    chance, paths = random.Random(0), []
    frame = pl.DataFrame({"a": [float(k) for k in range(300)], "b": list(range(300))})
    for suffix in (".arrow", ".parquet"):
        whole = tmp_path / f"whole{suffix}"
        frame.write_ipc(whole) if suffix == ".arrow" else frame.write_parquet(whole)
        for k in range(80):
            content = bytearray(whole.read_bytes())
            content[len(content) - 1 - chance.randrange(min(600, len(content)))] ^= 1 << chance.randrange(8)
            paths.append(tmp_path / f"{k}{suffix}")
            paths[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert len(said) == len(paths)
    assert set(said) == {"300", "TableError False"}


def test_what_is_written_to_standard_error_without_a_fault_is_kept(capfd) -> None:
    def fails() -> None:
        with hushed():
            os.write(2, b"hushed")
            threading.Timer(0.05, os.write, (2, b"late")).start()
            raise ValueError("fault")

    with hushed(), hushed():
        os.write(2, b"said")
    with pytest.raises(ValueError, match="fault"):
        fails()
    time.sleep(0.1)
    assert capfd.readouterr().err == "said"


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_look_ups_of_names_grow_with_the_columns_and_no_faster(suffix: str, tmp_path: Path) -> None:
    """Comparisons of names are counted: each name of a wide table is looked at a fixed number of times."""

    class Name(str):
        __slots__ = ()
        compare = 0

        def __eq__(self, other: object) -> bool:
            Name.compare += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    counts = []
    for width in (200, 800):
        names, path = [f"x{place}" for place in range(width)], tmp_path / f"{width}{suffix}"
        frame = pl.DataFrame(np.ones((2, width)), schema=names, orient="row")
        if suffix == ".npy":
            np.save(path, np.ones((2, width)))
        else:
            frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        Name.compare = 0
        read_table(path, columns=[Name(name) for name in names[:-9:-1] + names[:-8]][1:], context=[Name(names[-1])])
        counts.append(Name.compare)
    assert counts[1] <= 5 * counts[0] + 50, counts

"""Table files: faulty ones of tests/support/corpus, variants of valid ones, and atomic writes."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from corpus.cases import UNREADABLE, copy_to

from pushforward.cli.printer import plain
from pushforward.errors import DataError, TableError
from pushforward.tabular import files as tables
from pushforward.tabular.files import delimited, read_batches, read_table, write_batches, write_table
from pushforward.tabular.files import table as table_module

GOOD = "a,b\n1,2\n3,4.5\n-5e-1,+.5\n"
VALUES = [[1.0, 2.0], [3.0, 4.5], [-0.5, 0.5]]


@pytest.mark.parametrize("name", UNREADABLE)
def test_every_fault_is_one_error(name: str, tmp_path: Path) -> None:
    path = copy_to(name, tmp_path)
    if name == "unreadable.csv" and os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(TableError) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith((f"{path}: ", f"{path} "))
    assert message.endswith(".")
    assert "\n" not in message
    for fragment in UNREADABLE[name]:
        assert fragment in plain(message)


def test_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="a folder"):
        read_table(tmp_path)


def test_row_numbers_are_those_of_the_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n" + "".join(f"{k if k % 4 else 'NA'}\n" for k in range(1, 31)))
    expected = [k for k in range(1, 31) if k % 4]
    assert read_table(path, drop_na=True).numbers.tolist() == expected
    monkeypatch.setattr(table_module, "_ROWS", 5)
    monkeypatch.setattr(delimited, "_BLOCK", 20)
    table = read_table(path, drop_na=True)
    assert table.numbers.tolist() == table.values[:, 0].tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\n" + GOOD,
        GOOD.replace(",", " , "),
        GOOD.replace("3,4.5", '"3","4.5"'),
    ],
)
def test_variants_of_valid_csv(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    table = read_table(path)
    assert table.columns == ("a", "b")
    assert table.values.dtype == np.float64
    np.testing.assert_array_equal(table.values, VALUES)


def test_columns_context_and_drop_na(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("name,a,b,c\nx,1,2,3\ny,4,,6\nz,7,8,9\n")
    table = read_table(path, columns=["c", "a"])
    np.testing.assert_array_equal(table.values, [[3, 1], [6, 4], [9, 7]])
    assert table.columns == ("c", "a")
    assert table.context.shape == (3, 0)
    table = read_table(path, columns=["a"], context=["b"], drop_na=True)
    np.testing.assert_array_equal(table.values, [[1], [7]])
    np.testing.assert_array_equal(table.context, [[2], [8]])
    assert table.context_columns == ("b",)
    with pytest.raises(TableError, match="no column 'nane': did you mean 'name'"):
        read_table(path, columns=["nane"])
    with pytest.raises(TableError, match=r"the file has 'pay \(kEUR\)'; if that is another unit, convert"):
        table_module.Selection(Path("t.csv"), ["pay (EUR)"], None).indices(["pay (kEUR)", "b"])
    with pytest.raises(TableError, match="no column 'NAME': did you mean 'name'"):
        read_table(path, columns=["NAME"])
    with pytest.raises(TableError, match="no column 'zzz': the file has 'name', 'a', 'b', 'c'"):
        read_table(path, context=["zzz"])
    with pytest.raises(TableError, match="'a' is selected twice"):
        read_table(path, columns=["a"], context=["a"])
    with pytest.raises(TableError, match="no column is left"):
        read_table(path, context=["name", "a", "b", "c"])
    with pytest.raises(TypeError, match="in brackets"):
        read_table(path, columns="a")
    path.write_text("a,b\n1,\n,2\n")
    with pytest.raises(TableError, match="none is left"):
        read_table(path, drop_na=True)


def test_short_line_is_an_error_even_if_its_missing_cell_is_not_selected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2\n")
    with pytest.raises(TableError, match="line 3 has 1 cells"):
        read_table(path, columns=["a"], drop_na=True)


def test_fast_and_slow_reader_agree(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((500, 3)) * 10.0 ** np.arange(-150, 300, 150)
    write_table(tmp_path / "fast.csv", values, ["a", "b", "c"])
    text = (tmp_path / "fast.csv").read_text()
    (tmp_path / "careful.csv").write_text("\n" + text)
    np.testing.assert_array_equal(read_table(tmp_path / "fast.csv").values, values)
    np.testing.assert_array_equal(read_table(tmp_path / "careful.csv").values, values)


def test_one_dimensional_arrays_and_number_types(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3, dtype=">i2"))
    table = read_table(tmp_path / "a.npy")
    np.testing.assert_array_equal(table.values, [[0], [1], [2]])
    assert table.columns == ("x0",)
    np.save(tmp_path / "b.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    np.testing.assert_array_equal(read_table(tmp_path / "b.npy", columns=["x2", "x0"]).values, [[2, 0], [5, 3]])
    np.savez_compressed(tmp_path / "c.npz", u=np.arange(2.0), v=np.arange(2))
    assert read_table(tmp_path / "c.npz").columns == ("u", "v")
    pl.DataFrame({"a": [1, 2]}).write_ipc_stream(tmp_path / "d.arrow")
    np.testing.assert_array_equal(read_table(tmp_path / "d.arrow").values, [[1], [2]])


def test_constant_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,3\n2,3\n")
    tables.check_columns(read_table(path, columns=["a"]))
    with pytest.raises(DataError, match=r"column 'b' is 3\.0 in all 2 rows"):
        tables.check_columns(read_table(path))
    with pytest.raises(DataError, match=r"column 'b' is 3\.0"):
        tables.check_columns(read_table(path, context=["b"]))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npz", ".npy"])
def test_values_round_trip_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((50, 6)) * 1e-7
    names = ("a", "b, in m", '=HYPERLINK("x")', "-log p", "'=y", "line\nbreak")
    path = tmp_path / f"t{suffix}"
    write_table(path, values, names)
    table = read_table(path)
    np.testing.assert_array_equal(table.values, values)
    assert table.columns == (names if suffix != ".npy" else tuple(f"x{k}" for k in range(6)))
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_formulas_and_numeric_names_in_csv_headers(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", np.zeros((1, 2)), ["=1+1", "@x"])
    assert (tmp_path / "t.csv").read_text() == "'=1+1,'@x\n0.0,0.0\n"
    write_table(tmp_path / "u.csv", np.zeros((1, 2)), ["2019", "2020"])
    assert read_table(tmp_path / "u.csv").columns == ("2019", "2020")


def test_write_errors(tmp_path: Path) -> None:
    path, one = tmp_path / "t.csv", np.ones((1, 1))
    write_table(path, one, ["a"])
    with pytest.raises(TableError, match="exists: choose another name, or replace it with --overwrite"):
        write_table(path, 2 * one, ["a"])
    write_table(path, 2 * one, ["a"], overwrite=True)
    np.testing.assert_array_equal(read_table(path).values, 2 * one)
    with pytest.raises(TableError, match=r"'\.xls' names no known format"):
        write_table(tmp_path / "t.xls", one, ["a"])
    with pytest.raises(TableError, match=r"\(n, 2\) for 2 columns, got float64 of shape \(1, 1\)"):
        write_table(tmp_path / "u.csv", one, ["a", "b"])
    with pytest.raises(TableError, match="row 1, column 'a' is NaN"):
        write_table(tmp_path / "u.csv", one * np.nan, ["a"])
    with pytest.raises(TableError, match="must be different"):
        write_table(tmp_path / "u.csv", np.ones((1, 2)), ["a", "a"])
    with pytest.raises(TableError, match=r"cannot be written \(No such file"):
        write_table(tmp_path / "no" / "u.csv", one, ["a"])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match="a folder"):
        write_table(tmp_path / "folder.csv", one, ["a"], overwrite=True)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder.csv", "t.csv"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "t.csv"
    write_table(path, np.ones((3, 1)), ["a"])
    before = path.read_bytes()

    def interrupted(error: BaseException) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            raise error

        return fsync

    for error, raised in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), TableError)):
        monkeypatch.setattr(os, "fsync", interrupted(error))
        with pytest.raises(raised):
            write_table(path, np.zeros((3, 1)), ["a"], overwrite=True)
        assert path.read_bytes() == before
        assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


# Reading in batches


def outcome(path: Path, **options: bool) -> tuple:
    """Read a file in batches: values and number of dropped rows, or the error message."""
    try:
        batches = list(read_batches(path, **options))
    except TableError as fault:
        return (str(fault),)
    return np.concatenate([batch.values for batch in batches]).tolist(), sum(batch.dropped for batch in batches)


def small_batches(patch: pytest.MonkeyPatch, rows: int, block: int) -> None:
    patch.setattr(table_module, "_ROWS", rows)
    patch.setattr(delimited, "_BLOCK", block)


def odd_texts(count: int) -> Iterator[str]:
    """Valid and faulty CSV files of two columns of numbers, with a column of text between them."""
    random = np.random.default_rng(0)
    good = ["1", "-2.5", "3e4", ".5", '"6"', " 7 "]
    cells = {"number": good, "gap": [*good, "", "NA"], "fault": [*good, "x", "inf", '"8', "9,", '1"2"', "\u00e9"]}
    words = ["w", '"q"', '"a,b"', '"two\nlines"', '"say ""so"""', "", '"\r\n"', '5" pipe', 'a"b"']
    for case in range(count):
        kind = ("number", "gap", "fault")[case % 3]
        rare = words if case % 2 else ["w"]
        rows = []
        for _ in range(random.integers(1, 40)):
            first, last = random.choice(cells[kind] if random.random() < 0.1 else good, 2)
            rows.append(f"{first},{random.choice(rare)},{last}")
            if random.random() < 0.03:
                rows.append("" if kind == "gap" else "1,2" if kind == "fault" else "3,w,4")
        end = str(random.choice(["\n", "\r\n"]))
        yield "a,t,b" + end + end.join(rows) + end * random.integers(0, 3)


@pytest.mark.parametrize("drop_na", [pytest.param(False, marks=pytest.mark.slow), True])
def test_results_do_not_depend_on_the_block_size(drop_na: bool, tmp_path: Path, monkeypatch) -> None:
    """160 files have equal results in one block, in small blocks, and without the fast reader."""
    path, messages = tmp_path / "t.csv", []
    for text in odd_texts(160):
        path.write_bytes(text.encode())
        with monkeypatch.context() as patch:
            patch.setattr(delimited, "_by_polars", lambda *arguments: None)
            expected = outcome_of_a_and_b(path, drop_na)
        assert outcome_of_a_and_b(path, drop_na) == expected, text
        for block in (30, 64, 200):
            with monkeypatch.context() as patch:
                small_batches(patch, 5, block)
                assert outcome_of_a_and_b(path, drop_na) == expected, (block, text)
        messages.append(expected[0] if len(expected) == 1 else "numbers")
    kinds = ("numbers", "missing", "not a number", "infinite", "cells, the header")
    seen = {kind for kind in kinds if any(kind in message for message in messages)}
    assert len(seen) == (4 if drop_na else 5), seen


@pytest.mark.parametrize(("text", "line"), [("1,2\n\n3,4\n5,6,", 5), ("1,2\n3\n5,6,", 3), ("1,2\nNA,3\n \n5,6,", 4)])
def test_short_and_long_rows_do_not_cancel(text: str, line: int, tmp_path: Path) -> None:
    """As many separators as full rows have, in other places."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + text)
    with pytest.raises(TableError, match=f"line {line} has"):
        read_table(path, drop_na=True)


def outcome_of_a_and_b(path: Path, drop_na: bool) -> tuple:
    try:
        batches = list(read_batches(path, columns=["a"], context=["b"], drop_na=drop_na))
    except TableError as fault:
        return (str(fault),)
    assert all(len(batch.values) <= table_module._ROWS for batch in batches)
    shares = [batch.share for batch in batches]
    assert (np.diff(shares) > -1e-9).all()
    assert 0 < shares[0] <= shares[-1] <= 1
    rows = [np.hstack([batch.values, batch.context]).tolist() for batch in batches]
    return list(itertools.chain(*rows)), sum(batch.dropped for batch in batches)


@pytest.mark.parametrize("text", ["a\n\n1\n2\n\n\n3\n\n\n", "a\n1\n\n\n\n\n\n\n2\n", '"a"\n1\n2\n3\n\n', "a\n\n"])
def test_blank_lines_of_one_column_are_missing_cells_for_all_block_sizes(
    text: str, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    monkeypatch.setattr(delimited, "_by_polars", lambda *arguments: None)
    expected = [outcome(path), outcome(path, drop_na=True)]
    monkeypatch.undo()
    for block in (1, 2, 3, 4, 5, 100):
        monkeypatch.setattr(delimited, "_BLOCK", block)
        assert [outcome(path), outcome(path, drop_na=True)] == expected


def test_a_fault_in_the_last_block_names_its_line_and_clean_blocks_stay_fast(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{k},{k}.5" for k in range(3000)]
    path.write_text("a,b\n" + "\n".join(lines) + "\n7,blue\n")
    slow_lines = []
    numbers = delimited._numbers
    monkeypatch.setattr(delimited, "_numbers", lambda *parts: slow_lines.append(parts[1]) or numbers(*parts))
    monkeypatch.setattr(delimited, "_BLOCK", 1000)
    batch_sizes: list[int] = []
    with pytest.raises(TableError, match=r"line 3002, column 'b': 'blue' is not a number"):
        batch_sizes.extend(len(batch.values) for batch in read_batches(path))
    assert 2800 < sum(batch_sizes) <= 3000
    assert min(slow_lines) > 2800


@pytest.mark.parametrize("suffix", [".npy", ".F.npy", ".npz", ".parquet", ".arrow", ".ipc"])
def test_every_format_names_the_row_of_a_late_fault(suffix: str, tmp_path: Path, monkeypatch) -> None:
    values = np.random.default_rng(0).standard_normal((100, 3))
    path = tmp_path / f"t{suffix}"
    monkeypatch.setattr(table_module, "_ROWS", 7)

    def store(numbers: np.ndarray) -> None:
        frame = pl.DataFrame(numbers, schema=["x0", "x1", "x2"], orient="row")
        if path.suffix == ".npy":
            np.save(path, np.asfortranarray(numbers) if ".F" in suffix else numbers)
        elif suffix == ".npz":
            np.savez(path, numbers)
        elif suffix == ".parquet":
            frame.write_parquet(path, row_group_size=30)
        elif suffix == ".arrow":
            frame.write_ipc(path, compression="zstd", record_batch_size=40)
        else:
            frame.write_ipc_stream(path)

    store(values)
    batches = list(read_batches(path, columns=["x2", "x0"], context=["x1"]))
    assert max(len(batch.values) for batch in batches) == 7
    np.testing.assert_array_equal(np.concatenate([batch.values for batch in batches]), values[:, [2, 0]])
    np.testing.assert_array_equal(np.concatenate([batch.context for batch in batches]), values[:, [1]])
    np.testing.assert_allclose([batch.share for batch in batches][::14], [0.07, 1.0])
    values[[3, 91, 92, 95], [0, 1, 1, 2]] = np.nan
    store(values)
    with pytest.raises(
        TableError, match=r"4 cells are missing \(row 4, column 'x0'; row 92, .*'x1'; row 93, .*, \.\.\.\)"
    ):
        list(read_batches(path))
    batches = list(read_batches(path, drop_na=True))
    assert (sum(len(batch.values) for batch in batches), sum(batch.dropped for batch in batches)) == (96, 4)
    values[97, 2] = -np.inf
    store(values)
    for drop_na in (False, True):
        with pytest.raises(TableError, match="row 98, column 'x2' is -inf, the first of 1 infinite cells"):
            list(read_batches(path, drop_na=drop_na))


def test_no_batch_follows_a_missing_cell_but_all_are_counted(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "t.npy", np.where(np.arange(50) % 20 == 12, np.nan, 1.0))
    monkeypatch.setattr(table_module, "_ROWS", 5)
    batch_sizes: list[int] = []
    with pytest.raises(TableError, match=r"2 cells are missing \(row 13, column 'x0'; row 33, column 'x0'\)"):
        batch_sizes.extend(len(batch.values) for batch in read_batches(tmp_path / "t.npy"))
    assert batch_sizes == [5, 5]


def test_header_errors_come_before_any_batch(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="no column 'z'"):
        read_batches(path, columns=["z"])
    pl.DataFrame({"a": [None, "x"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="text such as 'x' in row 2"):
        read_batches(tmp_path / "t.parquet")
    with pytest.raises(TypeError, match="in brackets"):
        read_batches(path, columns="a")


# Writing in batches

SUFFIXES = [".csv", ".tsv", ".npy", ".npz", ".parquet", ".arrow"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_batches_write_the_same_file_as_one_table(suffix: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1001, 3)) * 1e-5
    batches = np.split(values, [0, 1, 500, 500, 900])
    names = ["a", "=b", "c, d"]
    write_table(tmp_path / f"table{suffix}", values, names)
    write_batches(tmp_path / f"batches{suffix}", iter(batches), names)
    table = read_table(tmp_path / f"batches{suffix}")
    np.testing.assert_array_equal(table.values, values)
    assert table.columns == read_table(tmp_path / f"table{suffix}").columns
    if suffix in (".csv", ".tsv", ".npy", ".npz"):
        assert (tmp_path / f"batches{suffix}").read_bytes() == (tmp_path / f"table{suffix}").read_bytes()
    write_batches(tmp_path / f"none{suffix}", iter(()), names)
    with pytest.raises(TableError, match="0 rows"):
        read_table(tmp_path / f"none{suffix}")


class Fault(Exception):
    """Raised by the source of the batches."""


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["nan", "shape", "source", "interruption"])
def test_fault_in_a_late_batch_leaves_only_the_old_file(suffix: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write_table(path, np.ones((3, 2)), ["a", "b"])
    before = path.read_bytes()

    def batches() -> Iterator[np.ndarray]:
        for _ in range(20):
            yield np.zeros((1000, 2))
        if kind == "nan":
            yield np.array([[0.0, 1.0], [2.0, np.nan]])
        if kind == "shape":
            yield np.zeros((2, 3))
        raise KeyboardInterrupt if kind == "interruption" else Fault("late")

    expected, message = {
        "nan": (TableError, "row 20002, column 'b' is NaN"),
        "shape": (TableError, r"\(n, 2\) for 2 columns, got float64 of shape \(2, 3\)"),
        "source": (Fault, "late"),
        "interruption": (KeyboardInterrupt, None),
    }[kind]
    with pytest.raises(expected, match=message):
        write_batches(path, batches(), ["a", "b"], overwrite=True)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


FULL_DISK = """
import resource
import numpy as np
from pushforward.errors import TableError
from pushforward.tabular.files import write_batches
for suffix in {suffixes}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY))
    try:
        write_batches("t" + suffix, (np.random.rand(10_000, 2) for _ in range(50)), ["a", "b"])
    except TableError as fault:
        print(fault)
"""


def test_write_error_of_the_system_is_one_error(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk: the same system call fails."""
    program = FULL_DISK.format(suffixes=SUFFIXES)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    messages = done.stdout.splitlines()
    assert len(messages) == len(SUFFIXES), done.stdout
    for suffix, message in zip(SUFFIXES, messages, strict=True):
        assert message.startswith(f"t{suffix}: cannot be written (File too large")
        assert message.endswith("): choose another path.")
    assert list(tmp_path.iterdir()) == []
    assert done.stderr == ""


# getrusage would include the memory of the parent process
PEAK = """
from pathlib import Path
import numpy as np
from pushforward.tabular.files import read_batches, write_batches
random = np.random.default_rng(0)
write_batches("t{suffix}", (random.standard_normal((50_000, 6)) for _ in range({batches})), list("abcdef"))
rows = sum(len(batch.values) for batch in read_batches("t{suffix}"))
assert rows == 50_000 * {batches}
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet", ".arrow"])
def test_peak_memory_does_not_grow_with_the_rows(suffix: str, tmp_path: Path) -> None:
    """0.5 and 4 million rows, written and read: 168 MB more of numbers may cost 40 MB, for variation of the buffers."""
    peaks = []
    for batches in (10, 80):
        program = PEAK.format(suffix=suffix, batches=batches)
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
        (tmp_path / f"t{suffix}").unlink()
    print(f"{suffix}: {peaks[0]} MB, {peaks[1]} MB")
    assert peaks[1] - peaks[0] <= 40


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".npy", ".npz"])
def test_integer_columns_are_written_as_integers(tmp_path: Path, suffix) -> None:
    path, values = tmp_path / f"t{suffix}", np.array([[0.5, 3.0], [1.5, -4.0]])
    write_table(path, values, ("a", "k"), integer_columns=["k"])
    np.testing.assert_array_equal(read_table(path).values, values)
    if suffix == ".csv":
        assert path.read_text() == "a,k\n0.5,3\n1.5,-4\n"
    if suffix == ".parquet":
        assert pl.read_parquet(path).schema == {"a": pl.Float64, "k": pl.Int64}


def test_missing_cells_are_read_by_polars_and_named_with_their_lines(tmp_path: Path, monkeypatch) -> None:
    """Blocks of a few rows; a short row is no row with a missing cell."""
    path = tmp_path / "t.csv"
    path.write_text(
        "a,b,note\n" + "".join(f"{row},{cell},\n" for row, cell in enumerate(("1", "NA", "", " 2 ", "nan", "3")))
    )
    monkeypatch.setattr(delimited, "_BLOCK", 12)
    with monkeypatch.context() as only_polars:
        only_polars.setattr(delimited, "_by_cell", None)
        with pytest.raises(TableError, match=r"3 cells are missing \(line 3, .*'b'; line 4, .*; line 6, "):
            read_table(path, columns=["a", "b"])
        assert read_table(path, columns=["b"], drop_na=True).values.ravel().tolist() == [1.0, 2.0, 3.0]
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(TableError, match="line 3 has 1 cells, the header has 2"):
        read_table(path, drop_na=True)

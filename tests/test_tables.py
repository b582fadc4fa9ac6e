"""Tables in files: a corpus of faulty files, each with pieces of its sentence, and writing that is atomic."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pushforward import tables
from pushforward.errors import DataError, TableError
from pushforward.tables import read_table, write_table
from pushforward.tables import write as write_module

GOOD = "a,b\n1,2\n3,4.5\n-5e-1,+.5\n"
VALUES = [[1.0, 2.0], [3.0, 4.5], [-0.5, 0.5]]


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def marked(content: bytes, local: int, value: int) -> bytes:
    """An archive with another byte in the header of its one member and in its entry of the directory."""
    changed = bytearray(content)
    changed[local] = value
    changed[content.index(b"PK\1\2") + local + 2] = value
    return bytes(changed)


def parquet(**columns: list) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(buffer)
    return buffer.getvalue()


def arrow_stream() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1.0, 2.0]}).write_ipc_stream(buffer)
    return buffer.getvalue()


def lying_npy() -> bytes:
    """An 80-byte file that declares 32 GiB."""
    return npy(np.zeros((2, 1))).replace(b"(2, 1)", b"(4294967296, 1)")[:-9] + b"\n"


FAULTS: dict[str, tuple[str, bytes, list[str]]] = {
    "empty": ("t.csv", b"", ["0 bytes", "header line"]),
    "blank": ("t.csv", b"\n\n", ["no header and no rows"]),
    "header only": ("t.csv", b"a,b\n", ["0 rows"]),
    "word": ("t.csv", b"a,b\n1,2\n3,abc\n", ["line 3", "column 'b'", "'abc'", "not a number", "--columns"]),
    "word after blank lines": ("t.csv", b"a,b\n\n1,2\n\n3,abc\n", ["line 5", "'abc'"]),
    "word after a quoted line break": ("t.csv", b'a,"b\nc"\n1,2\n3,x\n', ["line 4", "column 'b\\nc'", "'x'"]),
    "date": ("t.csv", b"a,b\n2020-01-31,2\n", ["line 2", "column 'a'", "'2020-01-31'", "date"]),
    "time": ("t.csv", b"a,b\n1,12:30:00\n", ["line 2", "column 'b'", "date or time"]),
    "thousands": ("t.csv", b'a,b\n1,"1,234,567"\n', ["line 2", "column 'b'", "'1,234,567'", "thousands"]),
    "decimal comma": ("t.csv", b'a,b\n1,"0,5"\n', ["'0,5'", "decimal comma"]),
    "short line": ("t.csv", b"a,b\n1,2\n3\n", ["line 3 has 1 cells", "header has 2"]),
    "long line": ("t.csv", b"a,b\n1,2\n3,4\n5,6,7\n", ["line 4 has 3 cells", "header has 2"]),
    "missing": ("t.csv", b"a,b\n1,\n,NA\nnan,?\n", ["5 cells", "line 2, column 'b'", ", ...", "--drop-na"]),
    "one missing": ("t.csv", b"a\n1\n\n3\n", ["1 cell is missing", "line 3, column 'a'"]),
    "infinite": ("t.csv", b"a,b\n1,2\n3,-inf\n", ["line 3", "column 'b'", "-inf", "first of 1 infinite"]),
    "overflow": ("t.csv", b"a\n1e999\n", ["line 2", "inf"]),
    "twice": ("t.csv", b"a,b,a\n1,2,3\n", ["'a' twice", "columns 1 and 3", "rename"]),
    "no name": ("t.csv", b",b\n0,2\n", ["column 1 has no name", "index=False"]),
    "semicolons": ("t.csv", b"a;b\n1;2\n", ["'a;b'", "semicolons", "commas"]),
    "tabs": ("t.csv", b"a\tb\n1\t2\n", ["tabs", ".tsv"]),
    "commas in tsv": ("t.tsv", b"a,b\n1,2\n", ["commas", "with tabs"]),
    "headerless": ("t.csv", b"1.5,2\n3,4\n", ["line 1 holds numbers (1.5, 2)", "header line"]),
    "utf-16": ("t.csv", "a,b\n1,2\n".encode("utf-16"), ["not UTF-8"]),
    "latin-1": ("t.csv", "a,b\n1,2\n3,\u00e9\n".encode("latin-1"), ["0xe9", "UTF-8"]),
    "gzip": ("t.csv", b"\x1f\x8b\x08\x00" + bytes(20), ["not UTF-8"]),
    "suffix": ("t.xlsx", b"PK", ["'.xlsx'", ".csv", ".parquet"]),
    "parquet damaged": ("t.parquet", b"PAR1 no PAR1", ["not readable as .parquet"]),
    "parquet text": ("t.parquet", parquet(a=[1.0, 2.0], b=[None, "x"]), ["column 'b'", "text", "'x' in row 2"]),
    "parquet flags": ("t.parquet", parquet(a=[True]), ["column 'a'", "true/false", "1 and 0"]),
    "parquet null": ("t.parquet", parquet(a=[1.0, None, float("nan")]), ["2 cells", "row 2, column 'a'", "row 3"]),
    "arrow damaged": ("t.arrow", b"ARROW1 and then nothing", ["not readable as .arrow"]),
    "arrow stream cut": ("t.arrow", arrow_stream()[:-30], ["end of the file is missing"]),
    "feather old": ("t.feather", b"FEA1" + bytes(40), ["not readable as .feather"]),
    "npy objects": ("t.npy", npy(np.array([1, "a"], object), allow_pickle=True), ["Python objects", "float64"]),
    "npy records": ("t.npy", npy(np.zeros(3, [("a", "f8")])), ["records"]),
    "npy text": ("t.npy", npy(np.array(["a"])), ["text"]),
    "npy complex": ("t.npy", npy(np.zeros((2, 2), complex)), ["complex"]),
    "npy cube": ("t.npy", npy(np.zeros((2, 2, 2))), ["(2, 2, 2)", "reshape"]),
    "npy scalar": ("t.npy", npy(np.array(1.0)), ["shape ()"]),
    "npy cut": ("t.npy", npy(np.zeros((9, 2)))[:-8], ["(9, 2)", "damaged"]),
    "npy lie": ("t.npy", lying_npy(), ["(4294967296, 1)", "damaged"]),
    "npy negative": ("t.npy", npy(np.zeros((2, 3))).replace(b"(2, 3)", b"(-2,3)"), ["t.npy"]),
    "npy other": ("t.npy", b"hello", ["no readable NPY"]),
    "npy header open": ("t.npy", npy(np.zeros((2, 3))).replace(b"(2, 3)", b"((((2,"), ["no readable NPY"]),
    "npy nan": ("t.npy", npy(np.array([[1.0, np.nan]])), ["row 1, column 'x1'"]),
    "npz lie": ("t.npz", zipped("x.npy", lying_npy()), ["array 'x'", "damaged"]),
    "npz bomb": ("t.npz", zipped("x.npy", npy(np.zeros(9_000_000))), ["would grow", "NPY"]),
    "npz method": ("t.npz", marked(zipped("x.npy", npy(np.ones(3))), 8, 99), ["no readable NPZ", "write it again"]),
    "npz encrypted": ("t.npz", marked(zipped("x.npy", npy(np.ones(3))), 6, 1), ["no readable NPZ", "write it again"]),
    "npz other": ("t.npz", b"hello", ["no readable NPZ"]),
    "npz many": ("t.npz", npz(x=np.zeros((2, 2)), y=np.zeros(3)), ["'x' (2, 2)", "'y' (3,)"]),
    "npz names": ("t.npz", npz(values=np.zeros((2, 2)), columns=np.array(["a"])), ["1 names", "2 columns"]),
    "npz bad names": ("t.npz", npz(values=np.zeros((2, 2)), columns=np.zeros(2)), ["'columns'", "no list of names"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_one_sentence(fault: str, tmp_path: Path) -> None:
    name, content, pieces = FAULTS[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_table(path)
    sentence = str(caught.value)
    assert sentence.startswith((f"{path}: ", f"{path} "))
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for piece in pieces:
        assert piece in sentence


def test_missing_file_folder_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="a folder"):
        read_table(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(TableError, match="no ordinary file"):
        read_table(tmp_path / "pipe.csv")


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
def test_good_csv_in_its_usual_dress(text: str, tmp_path: Path) -> None:
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
    with pytest.raises(TableError, match="no column 'NAME': did you mean 'name'"):
        read_table(path, columns=["NAME"])
    with pytest.raises(TableError, match="no column 'zzz': the file has 'name', 'a', 'b', 'c'"):
        read_table(path, context=["zzz"])
    with pytest.raises(TableError, match="'a' is asked for twice"):
        read_table(path, columns=["a"], context=["a"])
    with pytest.raises(TableError, match="no column is left"):
        read_table(path, context=["name", "a", "b", "c"])
    with pytest.raises(TypeError, match="in brackets"):
        read_table(path, columns="a")
    path.write_text("a,b\n1,\n,2\n")
    with pytest.raises(TableError, match="none is left"):
        read_table(path, drop_na=True)


def test_a_short_line_is_refused_even_where_its_missing_cell_is_not_wanted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2\n")
    with pytest.raises(TableError, match="line 3 has 1 cells"):
        read_table(path, columns=["a"], drop_na=True)


def test_the_fast_and_the_careful_reader_agree(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((500, 3)) * 10.0 ** np.arange(-150, 300, 150)
    write_table(tmp_path / "fast.csv", values, ["a", "b", "c"])
    text = (tmp_path / "fast.csv").read_text()
    (tmp_path / "careful.csv").write_text("\n" + text)
    np.testing.assert_array_equal(read_table(tmp_path / "fast.csv").values, values)
    np.testing.assert_array_equal(read_table(tmp_path / "careful.csv").values, values)


def test_arrays_of_one_dimension_and_other_numbers(tmp_path: Path) -> None:
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
def test_what_is_written_is_read_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
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


def test_faults_in_writing(tmp_path: Path) -> None:
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
        monkeypatch.setattr(write_module.os, "fsync", interrupted(error))
        with pytest.raises(raised):
            write_table(path, np.zeros((3, 1)), ["a"], overwrite=True)
        assert path.read_bytes() == before
        assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]

"""Names of columns: every name round-trips, or is an error before anything is written."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pushforward.errors import TableError
from pushforward.tabular.files import read_labels, read_table, write_table

PATTERNS = ["^b$", "b", "*", "^a.*$", "^.*$", "$", "\\", "{}", "[1]", "", "index"]
NAMES = [
    ["a\rb", "c"],
    ["a\r\nb", "c"],
    ["a\n1", "c"],
    ["\ufeffa", "c"],
    ["PAR1", "c"],
    ["ARROW1", "c"],
    ["PK\3\4", "c"],
    ["a;b"],
    ["a\tb|c"],
    ["a,b"],
    ["0.5", "c"],
    ["-1", "c"],
    ["2019", "2020"],
    ["NA", "-"],
    ["nan"],
    ["inf", "7"],
    ["%", "#", "$"],
    ["2020-01-31", "missing"],
    ['"a"', 'b"c'],
    ["'=x", "=x", "''=x", "'x"],
    ["é\u2028x", "x\x0bx\x85y", "a\x1fb"],
    ["^b$", "b", "*"],
]
TEXT, COLUMNAR, NAMED = (".csv", ".tsv"), (".parquet", ".arrow"), (".csv", ".tsv", ".parquet", ".arrow", ".npz")


@pytest.mark.parametrize("suffix", NAMED)
def test_unusual_names_round_trip(suffix: str, tmp_path: Path) -> None:
    for index, names in enumerate(NAMES):
        path, values = tmp_path / f"{index}{suffix}", np.arange(2.0 * len(names)).reshape(2, -1)
        write_table(path, values, names, integer_columns=names[:1])
        table = read_table(path)
        assert table.columns == tuple(names)
        np.testing.assert_array_equal(table.values, values)
        for column, name in zip(values.T, names, strict=True):
            np.testing.assert_array_equal(read_table(path, columns=[name]).values[:, 0], column)


@pytest.mark.parametrize("suffix", [*NAMED, ".npy"])
@pytest.mark.parametrize("name", ["a\0b", "a\0", "\ud800", "x\udfff", "", "  ", "a ", "\na"])
def test_names_that_files_cannot_store_are_errors_before_writing(suffix: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(TableError, match=rf"t\{suffix}: the name of column 2, .*: rename it\.$"):
        write_table(path, np.ones((1, 2)), ["c", name])
    assert list(tmp_path.iterdir()) == []


def test_names_that_files_cannot_store_are_errors_in_reading(tmp_path: Path) -> None:
    pl.DataFrame({"a\0b": [1.0], "c": [2.0]}).write_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", values=np.ones((2, 2)), columns=np.array(["a", "\ud800"]))
    for name, fragment in (("t.parquet", "zero character"), ("t.npz", "surrogate")):
        with pytest.raises(TableError, match=f"{fragment}.*rename that column"):
            read_table(tmp_path / name)
    assert read_table(tmp_path / "t.parquet", columns=["c"]).values.tolist() == [[2.0]]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_names_are_not_patterns(suffix: str, tmp_path: Path) -> None:
    path, values = tmp_path / f"t{suffix}", np.arange(33.0).reshape(3, 11)
    frame = pl.DataFrame(dict(zip(PATTERNS, values.T, strict=True)))
    frame.write_parquet(path) if suffix == ".parquet" else frame.write_ipc(path)
    for name in filter(None, PATTERNS):
        np.testing.assert_array_equal(read_table(path, columns=[name]).values[:, 0], values[:, PATTERNS.index(name)])
        np.testing.assert_array_equal(read_labels(path, name)[1].astype(float), values[:, PATTERNS.index(name)])
    table = read_table(path, columns=["*", "b"], context=["^.*$"])
    np.testing.assert_array_equal(np.hstack([table.values, table.context]), values[:, [2, 1, 4]])


def test_error_shows_text_of_a_column_named_like_a_pattern(tmp_path: Path) -> None:
    pl.DataFrame({"^.*$": [None, "x"], "b": [[1], [2]]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"column '\^\.\*\$' holds text such as 'x' in row 2"):
        read_table(tmp_path / "t.parquet", columns=["^.*$"])

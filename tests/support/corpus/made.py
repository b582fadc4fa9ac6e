"""Files of the corpus that are generated: binary ones, long ones, and random tables."""

import datetime
import decimal
import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from pushforward.tabular.files import write_table


def normal_columns(change: Callable[[np.ndarray], object] = lambda x: None, n: int = 60, width: int = 2) -> np.ndarray:
    """Standard normal columns of a fixed seed, changed in place."""
    x = np.random.default_rng(7).standard_normal((n, width))
    change(x)
    return x


def set_column(
    column: int, values: np.ndarray | float, rows: slice | int = slice(None)
) -> Callable[[np.ndarray], object]:
    """A change that writes values into a column."""

    def change(x: np.ndarray) -> None:
        x[rows, column] = values

    return change


def table(values: Callable[[], np.ndarray]) -> Callable[[Path], object]:
    """Writes a table whose columns are a, b, c and so on."""
    return lambda path: write_table(path, x := values(), [chr(ord("a") + index) for index in range(x.shape[1])])


def content(data: Callable[[], bytes]) -> Callable[[Path], object]:
    """Writes these bytes."""
    return lambda path: path.write_bytes(data())


def npy(array: np.ndarray, **options: bool) -> bytes:
    """An NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**members: bytes) -> bytes:
    """An archive of compressed members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet(**columns: list) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(buffer)
    return buffer.getvalue()


def arrow(frame: pl.DataFrame) -> bytes:
    """An Arrow file."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def stream(frame: pl.DataFrame) -> bytes:
    """An Arrow stream."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


def npy_with_false_shape() -> bytes:
    """80 bytes that declare 32 GiB."""
    return npy(np.zeros((2, 1))).replace(b"(2, 1)", b"(4294967296, 1)")[:-9] + b"\n"


def with_header_byte(archive: bytes, local: int, value: int) -> bytes:
    """The archive with one byte changed in the header of its only member and in its directory entry."""
    changed = bytearray(archive)
    changed[local] = value
    changed[archive.index(b"PK\1\2") + local + 2] = value
    return bytes(changed)


def with_last_line(line: str) -> bytes:
    """A table whose only fault is its last line, 5002."""
    return ("a,b,c\n" + "1000,10,5\n" * 5000 + line).encode()


GOOD = ([1000.0, 1010.0, 990.0], [10.0, 10.1, 9.9], [5.0, 6.0, 4.0])  # the columns of good.csv
POISSON = np.random.default_rng(7).poisson(3.0, 60)
CAUCHY = np.random.default_rng(7).standard_cauchy(400)
SHARES = np.random.default_rng(7).beta(2.0, 3.0, 60)
DECIMALS = [decimal.Decimal(number) for number in ("1.5", "2.5", "3.5")]

MADE: dict[str, Callable[[Path], object]] = {
    # tables to which a density can or cannot be fitted
    "constant.csv": table(lambda: normal_columns(set_column(1, 3.0))),
    "constant_other.csv": table(lambda: normal_columns(lambda x: (set_column(1, 3.0)(x), set_column(1, 4.0, 1)(x)))),
    "all_constant.csv": table(lambda: normal_columns(set_column(slice(0, 2), 3.0))),
    "dependent.csv": table(lambda: normal_columns(lambda x: set_column(2, x[:, 0] + x[:, 1])(x), width=3)),
    "wide.csv": table(lambda: normal_columns(n=20, width=24)),
    "two_rows.csv": table(lambda: normal_columns(n=2)),
    "three_rows.csv": table(lambda: normal_columns(n=3)),
    "nineteen_rows.csv": table(lambda: normal_columns(n=19)),
    "plain.csv": table(lambda: normal_columns()),
    "huge.csv": table(lambda: 1e12 * normal_columns()),
    "tiny.csv": table(lambda: 1e-12 * normal_columns()),
    "mixed.csv": table(lambda: normal_columns() * [1e12, 1e-12]),
    "offset.csv": table(lambda: np.add(normal_columns(), [1e9, 0.0])),
    "cauchy.csv": table(lambda: normal_columns(set_column(1, CAUCHY), n=400)),
    "on_the_bound.csv": table(lambda: normal_columns(lambda x: (set_column(1, SHARES)(x), set_column(1, 1.0, 6)(x)))),
    "shares.csv": table(lambda: normal_columns(set_column(1, SHARES))),
    "counts.csv": table(lambda: normal_columns(set_column(1, POISSON))),
    "not_counts.csv": table(lambda: normal_columns(lambda x: (set_column(1, POISSON)(x), set_column(1, 2.5, 4)(x)))),
    "duplicates.csv": table(lambda: np.tile(normal_columns(n=15), (4, 1))),
    "copies_of_two.csv": table(lambda: np.tile(normal_columns(n=2), (30, 1))),
    "formula_names.csv": lambda path: write_table(path, normal_columns(), ("=1+1", "@x")),
    # text that is long, or no text
    "late_word.csv": content(lambda: with_last_line("1000,blue,5\n")),
    "late_nul.csv": content(lambda: with_last_line("1000,1\0 0,5\n")),
    "long_cell.csv": content(lambda: b"a,b,c\n1000," + b"1" * 10**6 + b",5\n"),
    "long_line.csv": content(lambda: b"a,b,c\n" + b"1," * 10**6 + b"1\n"),
    "carriage_returns.csv": content(lambda: b"a,b,c\r1000,10,5\r1010,10.1,6\r990,9.9,4\r"),
    "gzip.csv": content(lambda: gzip.compress(b"a,b,c\n1000,10,5\n")),
    "parquet.csv": content(lambda: parquet(a=[1.0], b=[2.0], c=[3.0])),
    "zero_bytes.csv": content(lambda: b""),
    "csv.parquet": content(lambda: b"a,b,c\n1000,10,5\n"),
    "sheet.xlsx": content(lambda: npz(**{"xl/workbook.xml": b"<workbook/>"})),
    # columnar files
    "text.parquet": content(lambda: parquet(a=[1.0, 2.0], b=["9.9", "x"], c=[3.0, 4.0])),
    "nested.parquet": content(lambda: parquet(a=[1.0, 2.0], b=[[1.0], [2.0]], c=[3.0, 4.0])),
    "structs.parquet": content(lambda: parquet(a=[1.0], b=[{"x": 1.0}], c=[3.0])),
    "dates.parquet": content(lambda: parquet(a=[1.0], b=[datetime.date(2020, 1, 31)], c=[3.0])),
    "flags.parquet": content(lambda: parquet(a=[1.0], b=[True], c=[3.0])),
    "nulls.parquet": content(lambda: parquet(a=[1.0, 2.0], b=[1.0, None], c=[3.0, 4.0])),
    "decimals.parquet": content(lambda: parquet(a=DECIMALS, b=DECIMALS, c=DECIMALS)),
    "zero_name.parquet": content(lambda: parquet(**{"a\0": [1.0], "b": [2.0]})),
    "pattern_names.parquet": content(
        lambda: parquet(**{"^.*$": [1.0, 2.0, 3.0], "a": GOOD[0], "*": [5.0, 5.0, 6.0], "b": GOOD[1], "c": GOOD[2]})
    ),
    "no_rows.parquet": content(lambda: parquet(a=[], b=[], c=[])),
    "cut.parquet": content(lambda: parquet(a=[1.0], b=[2.0], c=[3.0])[:-9]),
    "cut.arrow": content(lambda: arrow(pl.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]}))[:-20]),
    "stream_cut.arrow": content(lambda: stream(pl.DataFrame({"a": [1.0], "b": [2.0]}))[:-30]),
    "junk.arrow": content(lambda: b"ARROW1 and then nothing"),
    "old.feather": content(lambda: b"FEA1" + bytes(40)),
    # arrays
    "complex.npy": content(lambda: npy(np.ones((9, 3), complex))),
    "objects.npy": content(lambda: npy(np.array([[1.0, "x", None]], object), allow_pickle=True)),
    "records.npy": content(lambda: npy(np.zeros(3, [("a", "f8")]))),
    "text.npy": content(lambda: npy(np.array(["a"]))),
    "pickle.npy": content(lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."),
    "junk.npy": content(lambda: b"hello"),
    "half.npy": content(lambda: npy(normal_columns(n=9, width=3).astype(np.float16))),
    "fortran.npy": content(lambda: npy(np.asfortranarray(normal_columns(n=9, width=3)))),
    "whole.npy": content(lambda: npy(np.arange(27, dtype=">i2").reshape(9, 3))),
    "nan.npy": content(lambda: npy(normal_columns(set_column(1, np.nan, 4), n=9, width=3))),
    "cube.npy": content(lambda: npy(np.ones((9, 3, 2)))),
    "scalar.npy": content(lambda: npy(np.array(1.0))),
    "cut.npy": content(lambda: npy(np.ones((9, 3)))[:-8]),
    "narrow.npy": content(lambda: npy(normal_columns(n=9, width=2))),
    "liar.npy": content(npy_with_false_shape),
    "negative.npy": content(lambda: npy(np.zeros((2, 3))).replace(b"(2, 3)", b"(-2,3)")),
    "brackets.npy": content(lambda: npy(np.zeros((2, 3))).replace(b"(2, 3)", b"((((2,")),
    "liar.npz": content(lambda: npz(**{"x.npy": npy_with_false_shape()})),
    "bomb.npz": content(lambda: npz(**{"x.npy": npy(np.zeros((3_000_000, 3)))})),
    "method.npz": content(lambda: with_header_byte(npz(**{"x.npy": npy(np.ones(3))}), 8, 99)),
    "encrypted.npz": content(lambda: with_header_byte(npz(**{"x.npy": npy(np.ones(3))}), 6, 1)),
    "bomb_in_parts.npz": content(lambda: npz(**{f"x{k}.npy": npy(np.zeros(2_000_000)) for k in range(6)})),
    "same_names.npz": content(lambda: npz(**{"x": npy(normal_columns(n=9)), "x.npy": npy(normal_columns(n=9))})),
    "half_name.npz": content(
        lambda: npz(**{"x.npy": npy(np.ones((2, 2))), "columns.npy": npy(np.array(["a", "\ud800"]))})
    ),
    "junk.npz": content(lambda: b"hello"),
    "outside.npz": content(lambda: npz(**{"../../x.npy": npy(normal_columns(n=9, width=3))})),
    "objects.npz": content(lambda: npz(**{"x.npy": npy(np.array([{}], object), allow_pickle=True)})),
    "two_arrays.npz": content(lambda: npz(**{"x.npy": npy(np.ones((9, 3))), "y.npy": npy(np.ones(4))})),
    "few_names.npz": content(lambda: npz(**{"x.npy": npy(np.ones((2, 2))), "columns.npy": npy(np.array(["a"]))})),
    "no_names.npz": content(lambda: npz(**{"x.npy": npy(np.ones((2, 2))), "columns.npy": npy(np.zeros(2))})),
    # no files
    "folder.csv": lambda path: path.mkdir(),
    "pipe.csv": os.mkfifo,
    "circle.csv": lambda path: path.symlink_to("circle.csv"),
    "hanging.csv": lambda path: path.symlink_to("nowhere.csv"),
    "unreadable.csv": lambda path: (path.write_bytes(b"a,b,c\n1000,10,5\n"), path.chmod(0)),
    "absent.csv": lambda path: None,
}

"""Conversion of arrays, frames and lists: missing values become NaN, inexact integers raise."""

import copy
import decimal
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

import pushforward as pf
from pushforward.core.named_rows import as_floats, to_array
from pushforward.datasets import toy_log_density
from pushforward.errors import DataError, TableError
from pushforward.tabular.files import read_table, write_table

NAN = np.nan
LARGE = 2**60 + 1


class Stream:
    """A table of another library with the Arrow C interface."""

    def __init__(self, frame):
        self.frame = frame

    def __arrow_c_stream__(self, schema=None):
        return self.frame.__arrow_c_stream__(schema)


MISSING = {
    "mask": np.ma.masked_array([[1.0, 1e20], [2.0, 3.0]], mask=[[0, 1], [0, 0]]),
    "mask over integers": np.ma.masked_array([[1, 999999], [2, 3]], mask=[[0, 1], [0, 0]]),
    "masked rows in a list": [np.ma.masked_array([1.0, 1e20], mask=[0, 1]), np.array([2.0, 3.0])],
    "masked cell in a list": [[1.0, np.ma.masked], [2.0, 3.0]],
    "None in a list": [[1, None], [2, 3]],
    "objects": np.array([[1, None], [decimal.Decimal(2), 3.0]], dtype=object),
    "fields": np.ma.array([(1, 2.0), (2, 3.0)], mask=[(0, 1), (0, 0)], dtype=[("a", "i8"), ("b", "f8")]),
    "pandas, nullable": pd.DataFrame({"a": [1, 2], "b": pd.array([None, 3], dtype="Int64")}),
    "pandas, objects": pd.DataFrame({"a": [1, 2], "b": [None, 3.0]}, dtype=object),
    "polars, integers": pl.DataFrame({"a": [1.0, 2.0], "b": [None, 3]}),
    "polars, decimal": pl.DataFrame({"a": [1.0, 2.0], "b": [None, decimal.Decimal("3.0")]}),
    "arrow": Stream(pl.DataFrame({"a": [1, 2], "b": [None, 3]})),
}
INEXACT = {
    "array": np.array([[LARGE, 0], [LARGE + 1, 1]]),
    "below zero": np.array([[-LARGE, 0], [1, 1]]),
    "unsigned": np.array([[2**64 - 1, 0], [1, 1]], dtype=np.uint64),
    "list with floats": [[LARGE, 0.5], [1.0, 1.0]],
    "objects": np.array([[LARGE, 0.5], [None, 1]], dtype=object),
    "decimals": np.array([[decimal.Decimal(LARGE), 0.5], [1, 1]], dtype=object),
    "pandas with floats": pd.DataFrame({"a": [LARGE, 1], "b": [0.5, 1.0]}),
    "pandas with NA": pd.DataFrame({"a": pd.array([LARGE, None], dtype="Int64"), "b": [0.5, 1.0]}),
    "polars with floats": pl.DataFrame({"a": [LARGE, 1], "b": [0.5, 1.0]}),
    "polars with null": pl.DataFrame({"a": [LARGE, None], "b": [0.5, 1.0]}),
    "fields": np.array([(LARGE, 0.5), (1, 1.0)], dtype=[("a", "i8"), ("b", "f8")]),
    "mask": np.ma.masked_array([[LARGE, 0], [1, 1]], mask=[[0, 0], [0, 1]]),
    "arrow": Stream(pl.DataFrame({"a": [LARGE, None], "b": [0.5, 1.0]})),
}


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
def test_missing_values_become_nan(value):
    array = as_floats("x", to_array(value))
    np.testing.assert_array_equal(array, [[1.0, NAN], [2.0, 3.0]])


@pytest.mark.parametrize("value", INEXACT.values(), ids=INEXACT)
def test_integers_that_float64_cannot_represent_raise(value):
    with pytest.raises(DataError, match=r"(column (0|'a')|values): -?\d+ at row 0 is a whole number beyond 2\^53"):
        as_floats("x", to_array(value), None)


def test_exact_integers_are_converted():
    exact = np.array([[2**53, 0], [-(2**60), 2**63 - 2**10]])
    assert as_floats("x", exact).astype(np.int64).tolist() == exact.tolist()
    assert as_floats("x", np.zeros((0, 2), int)).shape == (0, 2)
    assert as_floats("x", to_array(pl.DataFrame({"a": [2**60, None]}))).tolist()[0] == [2.0**60]
    assert to_array(np.ma.masked_array([1, 2])).dtype.kind == "i"  # no mask, no change
    assert to_array([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("value", [pd.DataFrame({"a": ["x", None]}), [["x", 1.0]], np.array([[None, "x"]])])
def test_values_that_are_not_numbers_raise_in_log_prob(value):
    with pytest.raises(DataError, match="expected"):
        pf.bases.Normal((1,)).log_prob(value)


MASKED = np.ma.masked_array(np.linspace(-1.0, 1.0, 30).reshape(15, 2), mask=False)
MASKED[5, 0] = 1e20
MASKED[5, 0] = np.ma.masked
COMPLETE = np.linspace(-1.0, 1.0, 30).reshape(15, 2) ** 3
SMALL = {"n_layers": 2, "width": 8}


def conditional():
    return pf.nice(dim=2, context_dim=2, key=0, **SMALL)


def estimator(**options):
    return pf.FlowDensity("nice", max_epochs=1, random_state=0, validation=0.0, **SMALL, **options)


ENTRIES = {
    "fit": lambda x: pf.fit(pf.linear_flow(dim=2, key=0), x, key=0),
    "fit, context": lambda x: pf.fit(conditional(), COMPLETE, context=x, key=0),
    "fit, weights": lambda x: pf.fit(pf.linear_flow(dim=2, key=0), COMPLETE, weights=abs(x[:, 0]), key=0),
    "fit, validation": lambda x: pf.fit(pf.linear_flow(dim=2, key=0), COMPLETE, validation=x, key=0),
    "log_prob": lambda x: pf.bases.Normal((2,)).log_prob(x),
    "log_prob, context": lambda x: conditional().log_prob(COMPLETE, x),
    "sample, context": lambda x: conditional().sample(context=x, key=0),
    "given": lambda x: conditional().given(x[5]),
    "check": lambda x: pf.check(pf.bases.Normal((2,)), x, key=0),
    "compare": lambda x: pf.compare(x, flows=["nice"], folds=1),
    "compare, context": lambda x: pf.compare(COMPLETE, context=x, flows=["nice"], folds=1),
    "estimator": lambda x: estimator().fit(x),
    "estimator, detect": lambda x: estimator(columns="detect").fit(x),
    "conditional, X": lambda x: pf.ConditionalFlowDensity("nice", **SMALL).fit(x, COMPLETE),
    "conditional, y": lambda x: pf.ConditionalFlowDensity("nice", **SMALL).fit(COMPLETE, x),
}


@pytest.mark.parametrize("call", ENTRIES.values(), ids=ENTRIES)
def test_masked_values_are_never_read(call):
    """Regression: the mask was dropped, and 1e20 was data."""
    with pytest.raises(DataError, match=r"(?i)nan"):
        call(MASKED)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in ("given", "fit, weights")])
def test_large_identifiers_raise_everywhere(name):
    with pytest.raises(DataError, match=r"column 0: -?\d+ at row 0 is a whole number beyond"):
        ENTRIES[name](LARGE + np.arange(30).reshape(15, 2))


def test_masked_and_missing_values_raise_in_toys_and_estimators():
    with pytest.raises(DataError, match="NaN in column 0 at row 5"):
        toy_log_density("checkerboard", MASKED)
    fitted = estimator().fit(COMPLETE)
    with pytest.raises(DataError, match="NaN in column 0 at row 5"):
        fitted.score_samples(MASKED)
    frame = pl.DataFrame(COMPLETE, schema=["a", "b"])
    fitted = estimator().fit(frame)
    with pytest.raises(DataError, match="NaN in column 'b' at row 2"):
        fitted.score_samples(frame.with_columns(pl.when(pl.int_range(pl.len()) != 2).then(pl.col("b")).alias("b")))
    with pytest.raises(DataError, match=r"X: column 'a'|column 'a': \d+ at row 0"):
        fitted.score_samples(pl.DataFrame({"a": [LARGE, 0], "b": [0.5, 0.5]}))


# --- files


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow", "npy", "npz"])
def test_errors_for_identifiers_in_files_name_the_column(suffix, tmp_path):
    path = tmp_path / f"t.{suffix}"
    frame = pl.DataFrame({"b": np.linspace(0, 1, 5), "id": [LARGE + k for k in range(5)]})
    name = "id"
    if suffix in ("csv", "tsv"):
        frame.write_csv(path, separator="," if suffix == "csv" else "\t")
    elif suffix == "npy":
        name = "x0"
        np.save(path, frame["id"].to_numpy())
    elif suffix == "npz":
        np.savez(path, b=frame["b"].to_numpy(), id=frame["id"].to_numpy())
    else:
        (frame.write_parquet if suffix == "parquet" else frame.write_ipc)(path)
    with pytest.raises(TableError, match=rf"column '{name}': {LARGE} .*beyond 2\^53"):
        read_table(path)
    if suffix != "npy":
        assert read_table(path, columns=["b"]).values.shape == (5, 1)


@pytest.mark.parametrize("text", ["1234567890123456789", "-1234567890123456789", "9007199254740993", "1" * 400])
def test_inexact_integers_in_text_raise(text, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,2\n3,{text}\n")
    with pytest.raises(TableError, match=rf"line 3, column 'b': {text} is a whole number beyond 2\^53"):
        read_table(path)


def test_exact_numbers_with_many_digits_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"a\n{2**60}\n0.12345678901234567890\n1e20\n12345678901234567890.5\n1234567890123456789e2\n")
    assert read_table(path).values[:, 0].tolist() == [
        2.0**60, 0.12345678901234567890, 1e20, 12345678901234567890.5, 1234567890123456789e2,
    ]  # fmt: skip


def test_masked_and_inexact_values_are_not_written(tmp_path):
    with pytest.raises(TableError, match="row 6, column 'a' is NaN"):
        write_table(tmp_path / "t.csv", MASKED, ["a", "b"])
    with pytest.raises(TableError, match=rf"t\.csv: column 'b': {LARGE} at row 1 is a whole number"):
        write_table(tmp_path / "t.csv", np.array([[1, LARGE]]), ["a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_table(tmp_path / "t.csv", np.ma.masked_array([[1, 2]]), ["a", "b"])


def test_an_error_carries_its_argument():
    """Also a copy of it, which is made as between processes."""
    with pytest.raises(DataError, match=r"^x: column 'a': 9007199254740993 at row 0 is a whole number") as caught:
        as_floats("x", np.array([[2**53 + 1]]), ["a"])
    for error in (caught.value, copy.copy(caught.value)):
        assert (error.argument, str(error)) == ("x", f"x: {error.reason}")
    assert str(DataError("no argument")) == "no argument"

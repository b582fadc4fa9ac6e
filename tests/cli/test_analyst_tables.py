"""Statements of `fit`, `check`, `sample` and the report on six tables, against independent computations."""

import math
import re
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from analyst_tables import TABLES, affairs, make
from scipy import stats

import pushforward as pf
from pushforward.core.fields import cast
from pushforward.persistence import read_notes
from pushforward.tabular.schema import TableSchema

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:fit. ")]

SETTINGS = ("--epochs", "25", "--layers", "2", "--width", "16", "-o", "m.safetensors")
TEST_SHARE = 10


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_statements_on_a_table_match_independent_computations(command, table):
    example = make(table)
    example.frame.write_csv("t.csv")
    result = command("fit", "t.csv", *example.options, *SETTINGS, "--report", "r.html")
    assert result.code == 0, result.err
    notes = read_notes("m.safetensors")
    numbers = example.frame.select([*notes["columns"], *notes["context_columns"]]).drop_nulls().to_numpy().astype(float)
    names, context_names = notes["columns"], notes["context_columns"]
    x, context = numbers[:, : len(names)], numbers[:, len(names) :] if context_names else None
    assert notes["rows"] == len(x)
    columns_are_as_made(notes, example, x)
    flow_scores, gaussian = scores_are_as_stated(result.out, notes, x, context)
    gain_is_as_stated(result.out, Path("r.html").read_text(), notes, flow_scores, gaussian)
    samples_are_as_stated(command, result.out, notes, x, context)


def columns_are_as_made(notes, example, x):
    """Types of columns; values are on the grid and inside the bounds; the range is that of the rows."""
    schema = TableSchema.from_dict(notes["plan"])
    for column, values in zip(schema.columns, x.T, strict=True):
        assert column.describe().startswith(example.columns.get(column.name, "")), column.describe()
        if column.step:
            positions = (values - column.origin) / column.step
            assert np.abs(positions - positions.round()).max() < 0.01, column.name
        if column.kind in ("positive", "softplus", "bounded"):
            assert column.lower < values.min(), column.name
    assert notes["seen"]["low"] == x.min(0).tolist()
    assert notes["seen"]["high"] == x.max(0).tolist()


def scores_are_as_stated(out, notes, x, context):
    """Mean and standard error of the flow and of the Gaussian on the test rows that the seed selects."""
    n_test = len(x) // TEST_SHARE
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[:n_test], order[n_test:]
    with jax.enable_x64(True):
        flow = cast(pf.load("m.safetensors"), np.float64)
        scores = np.asarray(flow.log_prob(x[test], None if context is None else context[test]))
    assert notes["held_out_nats"] == pytest.approx(scores.mean(), abs=1e-6)
    line = re.search(r"nsf +\d+ test rows +(-?[\d.]+) ± ([\d.]+)", out)
    assert float(line[1]) == pytest.approx(scores.mean(), abs=6e-4)
    assert float(line[2]) == pytest.approx(scores.std(ddof=1) / math.sqrt(n_test), abs=6e-4)
    gaussian = gaussian_of_cells(notes, x, context, train, test)
    assert notes["gaussian_nats"] == pytest.approx(gaussian.mean(), abs=0.15)
    return scores, gaussian


def gaussian_of_cells(notes, x, context, train, test):
    """Log-densities under a Gaussian of the columns given the context, multiplied by the widths of cells.

    The density of a cell is that of its centre, and the variance of dequantisation is added: an approximation.
    """
    columns, log_width, extra = notes["plan"]["columns"], np.zeros(len(test)), np.zeros(x.shape[1])
    middle = x.copy()
    for index, column in enumerate(columns):
        if column.get("kind") == "discrete":
            values = np.array(column["values"])
            halves = (values[1:] + values[:-1]) / 2
            edges = np.r_[2 * values[0] - halves[0], halves, 2 * values[-1] - halves[-1]]
            bins = np.searchsorted(halves, x[:, index])
            width, middle[:, index] = np.diff(edges)[bins], ((edges[1:] + edges[:-1]) / 2)[bins]
            log_width += np.log(width[test])
            extra[index] = (width[train] ** 2).mean() / 12
        elif column.get("step"):
            log_width += math.log(column["step"])
            extra[index] = column["step"] ** 2 / 12
    rest = middle
    if context is not None:
        design = np.c_[np.ones(len(x)), context - context[train].mean(0)]
        rest = middle - design @ np.linalg.lstsq(design[train], middle[train], rcond=None)[0]
    centre, spread = rest[train].mean(0), rest[train].std(0)
    covariance = np.cov(((rest[train] - centre) / spread).T, bias=True) + np.diag(extra / spread**2)
    normal = stats.multivariate_normal(np.zeros(x.shape[1]), covariance)
    return normal.logpdf((rest[test] - centre) / spread) - np.log(spread).sum() + log_width


def gain_is_as_stated(out, page, notes, scores, gaussian):
    """The gain is the mean difference of the same rows, with the error of the differences; with ties there is none."""
    result = re.search(r"gains ([\d.]+) ± ([\d.]+) nats per row", out)
    on_page = re.search(r"nsf gains ([\d.]+) ± ([\d.]+) nats per row", page)
    if notes["repeating"]:
        assert (result, on_page) == (None, None)
        assert "likely under it" not in page
        for name in notes["repeating"]:
            assert f"{name!r}" in out
        return
    difference = scores - gaussian
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    assert notes["gain_error"] == pytest.approx(error, rel=0.2)
    gain = notes["held_out_nats"] - notes["gaussian_nats"]
    assert (result is not None) == (gain > 2 * notes["gain_error"]) == (on_page is not None)
    if result is not None:
        assert float(result[1]) == pytest.approx(gain, abs=6e-3)
        assert float(result[2]) == pytest.approx(notes["gain_error"], abs=6e-3)
        assert result.groups() == on_page.groups()


def samples_are_as_stated(command, out, notes, x, context):
    """Discrete samples are values of the table; shares out of range agree with those of new samples."""
    options = []
    if context is not None:
        options = ["--given", ",".join(f"{name}={value}" for name, value in zip(notes["context_columns"], context[0]))]  # noqa: B905
    assert command("sample", "m.safetensors", "-n", "4000", "--seed", "5", "-o", "s.csv", *options).code == 0
    samples = pl.read_csv("s.csv").to_numpy().astype(float)
    schema = TableSchema.from_dict(notes["plan"])
    for index, column in enumerate(schema.columns):
        drawn_values, values = samples[:, index], x[:, index]
        if column.kind == "discrete":
            assert np.isin(drawn_values, values).all(), column.name
        elif column.step:
            digits = max(len(repr(float(value)).partition(".")[2]) for value in values)
            assert np.array_equal(drawn_values, [float(f"{value:.{digits}f}") for value in drawn_values]), column.name
            index = np.abs(drawn_values[:, None] - np.unique(values)).argmin(1)
            nearest = np.unique(values)[index]
            same = np.abs(drawn_values - nearest) < column.step / 2
            assert np.array_equal(drawn_values[same], nearest[same]), (
                column.name
            )  # so that tables can be joined by them
        if (values % 1 == 0).all():
            assert (drawn_values % 1 == 0).all(), column.name
        share = np.mean((drawn_values < values.min()) | (drawn_values > values.max()))
        negative = values.min() >= 0 and np.mean(drawn_values < 0) > 0.005
        if context is None and ((share > 0.03 and column.kind in ("real", "heavy")) or negative):
            assert column.name in notes["outside_range"], (column.name, share)
        if context is None and column.name in notes["outside_range"]:
            assert f"column {column.name!r}: " in out
            error = math.sqrt(share * (1 - share) / 2000) + 1e-3
            assert notes["outside_range"][column.name] == pytest.approx(share, abs=5 * error)


def test_no_gain_is_claimed_with_ties(command):
    """With --plain each column of the survey repeats a few values, and no gain is claimed."""
    example = make(affairs)
    example.frame.write_csv("t.csv")
    result = command("fit", "t.csv", *example.options, "--plain", *SETTINGS, "--report", "r.html")
    assert result.code == 0
    assert sorted(read_notes("m.safetensors")["repeating"]) == ["affairs", "age", "married", "rating"]
    assert "gains" not in result.out
    assert "No gain over a Gaussian is claimed" in result.out
    assert "--column rating=positive+rounded:1" in result.out
    page = Path("r.html").read_text()
    assert "No gain over a Gaussian is claimed" in page
    assert "likely under it" not in page
    again = command("check", "m.safetensors")
    assert "log-likelihoods are no measure there" in again.out

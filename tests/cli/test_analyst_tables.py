"""What `fit`, `check`, `sample` and the report state about six kinds of table, against independent computations."""

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
from pushforward.fields import cast
from pushforward.persistence import read_notes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:fit. ")]

SETTINGS = ("--epochs", "25", "--layers", "2", "--width", "16", "-o", "m.safetensors")
TEST_SHARE = 10


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_what_is_stated_of_a_table_is_true(command, table):
    made = make(table)
    made.frame.write_csv("t.csv")
    said = command("fit", "t.csv", *made.options, *SETTINGS, "--report", "r.html")
    assert said.code == 0, said.err
    notes = read_notes("m.safetensors")
    numbers = made.frame.select([*notes["columns"], *notes["context_columns"]]).drop_nulls().to_numpy().astype(float)
    names, given = notes["columns"], notes["context_columns"]
    x, context = numbers[:, : len(names)], numbers[:, len(names) :] if given else None
    assert notes["rows"] == len(x)
    columns_are_as_made(notes, made, x)
    flow_scores, gaussian = scores_are_as_stated(said.out, notes, x, context)
    gain_is_as_stated(said.out, Path("r.html").read_text(), notes, flow_scores, gaussian)
    samples_are_as_stated(command, said.out, notes, x, context)


def columns_are_as_made(notes, made, x):
    """Kinds; the grid has all values; ends are beyond no row; the range is that of the rows."""
    plan = pf.columns.Plan.from_dict(notes["plan"])
    for column, values in zip(plan.columns, x.T, strict=True):
        assert column.describe().startswith(made.columns.get(column.name, "")), column.describe()
        if column.step:
            places = (values - column.origin) / column.step
            assert np.abs(places - places.round()).max() < 0.01, column.name
        if column.kind in ("positive", "softplus", "bounded"):
            assert column.lower < values.min(), column.name
    assert notes["seen"]["low"] == x.min(0).tolist()
    assert notes["seen"]["high"] == x.max(0).tolist()


def scores_are_as_stated(out, notes, x, context):
    """Mean and standard error of the flow and of the Gaussian on the tenth of the rows that the seed picks."""
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
    """Log-densities under the normal law of the columns given the context, cells counted by their widths.

    Within a cell the density is taken at its middle, and its noise is added to the variances: close, not equal.
    """
    columns, log_width, extra = notes["plan"]["columns"], np.zeros(len(test)), np.zeros(x.shape[1])
    middle = x.copy()
    for place, column in enumerate(columns):
        if column.get("kind") == "discrete":
            values = np.array(column["values"])
            halves = (values[1:] + values[:-1]) / 2
            edges = np.r_[2 * values[0] - halves[0], halves, 2 * values[-1] - halves[-1]]
            index = np.searchsorted(halves, x[:, place])
            width, middle[:, place] = np.diff(edges)[index], ((edges[1:] + edges[:-1]) / 2)[index]
            log_width += np.log(width[test])
            extra[place] = (width[train] ** 2).mean() / 12
        elif column.get("step"):
            log_width += math.log(column["step"])
            extra[place] = column["step"] ** 2 / 12
    rest = middle
    if context is not None:
        design = np.c_[np.ones(len(x)), context - context[train].mean(0)]
        rest = middle - design @ np.linalg.lstsq(design[train], middle[train], rcond=None)[0]
    centre, spread = rest[train].mean(0), rest[train].std(0)
    covariance = np.cov(((rest[train] - centre) / spread).T, bias=True) + np.diag(extra / spread**2)
    law = stats.multivariate_normal(np.zeros(x.shape[1]), covariance)
    return law.logpdf((rest[test] - centre) / spread) - np.log(spread).sum() + log_width


def gain_is_as_stated(out, page, notes, scores, gaussian):
    """A gain is the mean difference of the same rows; its error is that of the differences; with ties there is none."""
    said = re.search(r"gains ([\d.]+) ± ([\d.]+) nats per row", out)
    on_page = re.search(r"nsf gains ([\d.]+) ± ([\d.]+) nats per row", page)
    if notes["repeating"]:
        assert (said, on_page) == (None, None)
        assert "likely under it" not in page
        for name in notes["repeating"]:
            assert f"{name!r}" in out
        return
    difference = scores - gaussian
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    assert notes["gain_error"] == pytest.approx(error, rel=0.2)
    gain = notes["held_out_nats"] - notes["gaussian_nats"]
    assert (said is not None) == (gain > 2 * notes["gain_error"]) == (on_page is not None)
    if said is not None:
        assert float(said[1]) == pytest.approx(gain, abs=6e-3)
        assert float(said[2]) == pytest.approx(notes["gain_error"], abs=6e-3)
        assert said.groups() == on_page.groups()


def samples_are_as_stated(command, out, notes, x, context):
    """Values on the grid are the numbers of the table; the shares outside its range are those of other samples."""
    options = []
    if context is not None:
        options = ["--given", ",".join(f"{name}={value}" for name, value in zip(notes["context_columns"], context[0]))]  # noqa: B905
    assert command("sample", "m.safetensors", "-n", "4000", "--seed", "5", "-o", "s.csv", *options).code == 0
    samples = pl.read_csv("s.csv").to_numpy().astype(float)
    plan = pf.columns.Plan.from_dict(notes["plan"])
    for place, column in enumerate(plan.columns):
        drawn, values = samples[:, place], x[:, place]
        if column.kind == "discrete":
            assert np.isin(drawn, values).all(), column.name
        elif column.step:
            digits = max(len(repr(float(value)).partition(".")[2]) for value in values)
            assert np.array_equal(drawn, [float(f"{value:.{digits}f}") for value in drawn]), column.name
            index = np.abs(drawn[:, None] - np.unique(values)).argmin(1)
            nearest = np.unique(values)[index]
            same = np.abs(drawn - nearest) < column.step / 2
            assert np.array_equal(drawn[same], nearest[same]), column.name  # so that tables can be joined by them
        if (values % 1 == 0).all():
            assert (drawn % 1 == 0).all(), column.name
        share = np.mean((drawn < values.min()) | (drawn > values.max()))
        negative = values.min() >= 0 and np.mean(drawn < 0) > 0.005
        if context is None and ((share > 0.03 and column.kind in ("real", "heavy")) or negative):
            assert column.name in notes["outside_range"], (column.name, share)
        if context is None and column.name in notes["outside_range"]:
            assert f"column {column.name!r}: " in out
            error = math.sqrt(share * (1 - share) / 2000) + 1e-3
            assert notes["outside_range"][column.name] == pytest.approx(share, abs=5 * error)


def test_ties_are_no_gain(command):
    """The survey with no kinds looked for: every column repeats few values, and no gain is claimed anywhere."""
    made = make(affairs)
    made.frame.write_csv("t.csv")
    said = command("fit", "t.csv", *made.options, "--plain", *SETTINGS, "--report", "r.html")
    assert said.code == 0
    assert sorted(read_notes("m.safetensors")["repeating"]) == ["affairs", "age", "married", "rating"]
    assert "gains" not in said.out
    assert "No gain over a Gaussian is claimed" in said.out
    assert "--column rating=positive+rounded:1" in said.out
    page = Path("r.html").read_text()
    assert "No gain over a Gaussian is claimed" in page
    assert "likely under it" not in page
    again = command("check", "m.safetensors")
    assert "log-likelihoods are no measure there" in again.out

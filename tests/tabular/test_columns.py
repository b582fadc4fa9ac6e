"""Schemas of tables: declared and detected types, and exact densities in the units of the columns."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections import Affine, Chain, ColumnMaps, Elementwise, Standardise
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.diagnostics.circles import restrict_to_one_period
from pushforward.errors import DataError, MissingExtra, ShapeError
from pushforward.persistence.tree import decode, encode, registry
from pushforward.tabular.schema import Column, TableSchema, fit_columns, infer_schema
from pushforward.tabular.schema.column import parse_declaration
from pushforward.tabular.schema.detect import detect_type, grid_step, tail_indices
from pushforward.train.data import Rows, gaussian_log_likelihood

N = 2000
RANDOM = np.random.default_rng(0)
VALUES = {
    "income": RANDOM.lognormal(3.0, 1.0, N),
    "share": RANDOM.uniform(0.0, 1.0, N),
    "tails": 2.0 + 5.0 * RANDOM.standard_cauchy(N),
    "stars": RANDOM.integers(1, 6, N) / 2,
    "plain": RANDOM.normal(-3.0, 2.0, N),
}
TABLE, NAMES = np.stack(list(VALUES.values()), 1), tuple(VALUES)
SMALL = {"n_layers": 2, "width": 16}


def one(name, values, **options):
    return infer_schema(np.asarray(values, float)[:, None], [name], **options).columns[0]


def build(dim):
    return pf.nsf(dim, key=0, **SMALL)


# --- detection


def test_types_are_detected():
    columns = {column.name: column for column in infer_schema(TABLE, NAMES).columns}
    assert [columns[name].kind for name in NAMES] == ["positive", "bounded", "heavy", "discrete", "real"]
    assert columns["stars"].step == pytest.approx(0.5, rel=1e-12)
    assert [columns[name].source for name in NAMES] == ["detected"] * 4 + ["default"]
    assert columns["plain"].centre == np.median(VALUES["plain"])


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e12])
def test_detection_does_not_depend_on_the_unit(scale):
    for name in ("income", "tails", "stars", "plain"):
        mine, other = one(name, VALUES[name]), one(name, scale * VALUES[name])
        assert (mine.kind, bool(mine.step)) == (other.kind, bool(other.step))
        assert other.step == pytest.approx(scale * mine.step)
        assert other.scale == pytest.approx(scale * mine.scale if mine.kind in ("real", "heavy") else mine.scale)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(100.0, 1.0, N),  # positive, but a logarithm does not fit better
        RANDOM.exponential(1.0, N).round(3) + 0.001,  # a zero is likely
        RANDOM.uniform(0.0, 0.5, N),  # no value is near one end of (0, 1)
        RANDOM.standard_t(8.0, N),
        np.concatenate([RANDOM.normal(-5.0, 1.0, N), RANDOM.normal(5.0, 1.0, N)]),
    ],
)
def test_columns_without_a_detected_type_are_real(values):
    column = one("x", values)
    assert (column.kind, column.step) == ("real", 0.0)


def test_types_that_exclude_other_rows_are_not_detected():
    excluded = {"income": -1.0, "share": 1.5, "stars": 1.3}
    for name, value in excluded.items():
        column = one(name, VALUES[name], others=np.array([[value]]))
        assert (column.kind, column.step, column.source) == ("real", 0.0, "default"), name
        agreeing = one(name, VALUES[name], others=VALUES[name][:3, None])
        assert agreeing == one(name, VALUES[name]), name


def test_no_type_is_detected_without_detect_or_in_few_rows():
    assert {column.kind for column in infer_schema(TABLE, NAMES, detect=False).columns} == {"real"}
    assert {column.kind for column in infer_schema(TABLE[:40], NAMES).columns} == {"real"}


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([10, 25, 50], 5.0),
        ([0.1, 0.25, 0.5], 0.05),
        ([2.54, 5.08, 10.16], 2.54),
        ([-7, -3, 5, 11], 2.0),
        ([17.5, 22, 27, 32, 37, 42], 0.5),
        ([1e6 + 0.25, 1e6 + 1, 1e6 + 2.5], 0.75),
        ([0.137, 2.518, 9.91], 0.0),  # a grid of 0.001 has 9,774 bins for three values: any decimals lie on it
    ],
)
@pytest.mark.parametrize("single", [False, True])
def test_the_step_is_the_greatest_common_divisor(values, step, single):
    values = np.array(values, np.float32 if single else float).astype(float)
    assert grid_step(np.tile(values, 20)) == pytest.approx(step, rel=2e-6)


@pytest.mark.parametrize(
    ("values", "step"),
    [([10.0, 25.0, 50.0], 5.0), ([0.0, 1.0, np.pi], 0.0), ([-3.0, -1.0, 0.0, 2.0], 1.0), ([1.0, 2.0, 3.0, 4.0], 1.0)],
)
def test_few_values_are_discrete(values, step):
    """On a grid or not. Other rows on the grid make the column rounded, others off it make it real."""
    x = np.repeat(values, 20 * np.arange(1, len(values) + 1))
    column = one("x", x)
    assert (column.kind, column.values, column.step) == ("discrete", tuple(values), step)
    assert np.allclose(column.shares[1:-1], np.arange(1, len(values) + 1) / np.arange(1, len(values) + 1).sum())
    assert column.shares[0] == column.shares[-1] == 0
    beyond = one("x", x, others=np.array([[values[-1] + (step or 1.0)]]))
    end = "softplus" if step else "real"  # the lower end has many rows
    assert (beyond.kind, beyond.step) == (end, step)
    assert one("x", x, others=np.array([[values[0] + 0.123]])).describe() == "real"


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda r: r.lognormal(10.0, 1.2, N).round(), "positive, above -0.5; rounded to 1"),
        (lambda r: r.poisson(400.0, N) * 1.0, "above -0.5; rounded to 1"),
        (lambda r: r.integers(0, 40000, N) * 25.0, "above -12.5; rounded to 25"),
        (lambda r: r.normal(0.0, 90.0, N).round(), "real; rounded to 1"),
        (lambda r: np.clip(r.normal(60.0, 30.0, N), 0, 100).round(1), "bounded, -0.05 to 100.05; rounded to 0.1"),
        (lambda r: (r.random(N) < 0.5) * r.lognormal(2.0, 1.0, N).round(1), "positive, above -0.05; rounded to 0.1"),
        (lambda r: 1.6e9 + 3600.0 * np.arange(N), "real"),  # beyond single precision, without repeats
    ],
)  # fmt: skip
def test_many_integers_and_repeated_decimals_are_rounded(draw, kind):
    x = draw(np.random.default_rng(0))
    assert one("x", x).describe() == kind
    assert one("x", x, others=np.array([[x[0] + 0.0123]])).describe().count("rounded") == 0


@pytest.mark.parametrize("step", [0.1, 0.05, 0.001, 1.0, 25.0, 1e-6])
def test_samples_of_a_grid_equal_the_parsed_decimals(step):
    x = np.array([float(f"{k * step:.9g}") for k in range(-3, 997)])
    schema = infer_schema(x[:, None], ["x"], declarations={"x": ("rounded", step)})
    drawn = schema.columns[0].origin + step * np.arange(1000)
    assert (drawn != x).any() or step >= 1
    assert np.array_equal(schema.fill_constants(drawn[:, None])[:, 0], x)


@pytest.mark.parametrize(("kind", "values"), [("bounded:0:100", [0.0, 37.5, 100.0]), ("positive", [0.0, 2.5, 7.0])])
def test_ends_of_a_rounded_column_are_closed_if_rows_have_them(kind, values):
    """Test rows count as training rows do."""
    x = np.array(values)
    column = one("x", np.array([x[1], x[1] + 1]), declarations={"x": f"{kind}+rounded:0.5"}, others=x[:, None])
    assert column.lower == -0.25
    assert column.upper == (100.25 if "bounded" in kind else 1.0)
    inner = one("x", [2.5, 3.0], declarations={"x": f"{kind}+rounded:0.5"})
    assert inner.lower == 0.0


def test_few_values_off_every_grid_have_no_step():
    assert grid_step(np.tile([0.0, 1.0, np.pi], 50)) == 0.0
    assert grid_step(np.tile([3.0, 3.5, 5.0], 50)) == 0.5
    assert grid_step(RANDOM.normal(size=100)) == 0.0


@pytest.mark.parametrize("freedom", [1.0, 2.0])
def test_tail_indices_match_student_t(freedom):
    """The index of a Student-t is one over its degrees of freedom; its standard error here is about 0.05."""
    x = np.random.default_rng(1).standard_t(freedom, 20_000)
    assert np.allclose(tail_indices(x), 1 / freedom, atol=0.3)


# --- declarations


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("real", [1.0, 2.0, 4.0], "real"),
        ("positive", [1.0, 2.0, 4.0], "positive, above 0"),
        ("positive:-1", [-0.5, 2.0, 4.0], "positive, above -1"),
        (("bounded", 0, 10), [1.0, 2.0, 4.0], "bounded, 0 to 10"),
        ("circular:0:360", [1.0, 359.0, 200.0, 100.0], "circular, 0 to 360, cut at 279.5"),
        ("whole", [1.0, 2.0, 4.0], "real; rounded to 1"),
        ("count", [0.0, 2.0, 4.0], "above -0.5; rounded to 1"),
        ("category", [3.0, 40.0, 4.0], "one of 3, 4, 40"),
        ("positive+rounded:0.5", [0.5, 2.0, 4.5], "positive, above 0; rounded to 0.5"),
    ],
)
def test_declarations(text, values, message):
    column = one("x", values, declarations={"x": text})
    assert column.describe() == message
    assert column.source == "declared"


def test_value_off_a_grid_is_an_error_that_names_column_and_row():
    schema = infer_schema(TABLE, NAMES)
    rows = TABLE[:3].copy()
    rows[1, NAMES.index("stars")] = 1.3
    with pytest.raises(DataError, match=r"new: column 'stars' is rounded to 0.5, got 1.3 at row 1 \(1 such rows\)"):
        schema.drop_constants(rows, "new")
    with pytest.raises(DataError, match="at row 8"):
        schema.drop_constants(rows, "new", np.arange(7, 10))


@pytest.mark.parametrize(("scale", "message"), [(1e300, "up to 3.."), (1e-300, "differ by 6....-300")])
def test_values_beyond_float32_are_errors(scale, message):
    values = scale * np.random.default_rng(0).normal(size=500)
    with pytest.raises(DataError, match=rf"column 'x': .* {message}.* another unit"):
        one("x", values)


@pytest.mark.parametrize("n", [50, 200, 2000])
@pytest.mark.parametrize("is_whole", [False, True])
def test_one_extreme_value_does_not_choose_a_map(n, is_whole):
    """A logarithm makes one value of a million times the others likelier, and costs all others."""
    x = np.random.default_rng(0).gamma(5.0, 200.3, n)
    x = np.round(x) if is_whole else x
    kind = detect_type(Column("a"), x).kind
    assert kind in (("softplus",) if is_whole else ("real",))
    x[-1] = 1e8
    assert detect_type(Column("a"), x).kind != "positive"


@pytest.mark.parametrize("seed", range(3))
def test_integers_over_decades_are_mapped_by_a_logarithm(seed):
    x = np.random.default_rng(seed).lognormal(9.0, 1.5, 900).round()
    assert detect_type(Column("a"), x).kind == "positive"


@pytest.mark.slow
def test_baseline_is_a_gaussian_of_the_columns():
    x, validation = TABLE[:300, [0, 3]], TABLE[300:400, [0, 3]]
    schema = infer_schema(x, ["income", "stars"])
    assert [column.kind for column in schema.columns] == ["positive", "discrete"]
    _, history = fitted(x, schema, epochs=1, validation=(validation, None))
    expected = gaussian_log_likelihood(Rows(x, None, None), Rows(validation, None, None)) + np.log(0.5)
    assert history.gaussian == pytest.approx(expected, abs=0.05)  # noise fills the bins


def test_integer_columns():
    columns = (Column("a"), Column("b", step=1.0), Column("c", step=0.5), Column("d", step=2.0, origin=0.5))
    constants = TableSchema((Column("k", "constant", centre=7.0), Column("l", "constant", centre=0.5)))
    assert constants.integer_columns(np.array([[7.0, 0.5]])) == ("k",)
    schema = TableSchema(columns)
    assert schema.integer_columns(np.ones((3, 4))) == ("b",)
    assert schema.integer_columns(np.full((3, 4), 2.0**60)) == ()


def test_category_has_the_codes_of_all_rows_with_their_shares():
    column = one("x", [1.0, 2.0, 7.0, 1.0], declarations={"x": "category"}, others=np.array([[9.0]]))
    assert (column.kind, column.values) == ("discrete", (1.0, 2.0, 7.0, 9.0))
    assert np.allclose(column.shares, np.array([0.0, 2.0, 1.0, 1.0, 0.5, 0.0]) / 4.5)


@pytest.mark.parametrize(
    ("declarations", "values", "fragments"),
    [
        ({"y": "real"}, [1.0, 2.0], ("'y'", "'x'")),
        ({"x": "positif"}, [1.0, 2.0], ("'x'", "positive", "'positif'")),
        ({"x": "bounded:0"}, [1.0, 2.0], ("'x'", "'bounded:0'")),
        ({"x": "bounded:0:one"}, [1.0, 2.0], ("'x'", "'bounded:0:one'")),
        ({"x": "bounded:3:0"}, [1.0, 2.0], ("'x'", "3", "0", "below")),
        ({"x": "rounded:0"}, [1.0, 2.0], ("'x'", "above 0")),
        ({"x": "rounded:-1"}, [1.0, 2.0], ("'x'", "above 0")),
        ({"x": 3}, [1.0, 2.0], ("'x'", "got 3")),
        ({"x": "positive"}, [1.0, 0.0, 2.0, 0.0], ("'x'", "above 0", "got 0 at row 1", "2 of 4")),
        ({"x": "bounded:0:2"}, [1.0, 2.0], ("'x'", "inside (0, 2)", "got 2 at row 1")),
        ({"x": "whole"}, [1.0, 2.0, 2.5], ("'x'", "whole numbers", "got 2.5 at row 2")),
        ({"x": "bounded:1:5+rounded:1"}, [0.0, 2.0], ("'x'", "from 1.5 to 4.5", "half a step beyond")),
        ({"x": "bounded:0:100"}, [50.5, 100.0, 12.0], ("'x'", "got 100 at row 1", "bounded:0:100+rounded:0.1")),
        ({"x": "bounded:0:100"}, [50.123, 100.0, np.pi], ("'x'", "got 100", "bounded:-0.1:100.1", "fewer digits")),
        ({"x": "positive+rounded:0.5"}, [0.5, -0.5], ("'x'", "from 0.25 on", "half a step below")),
        ({"x": "count"}, [1.0, -1.0], ("'x'", "got -1 at row 1")),
        ({"x": "rounded:0.5"}, [1.0, 2.0, 2.2], ("'x'", "step 0.5", "got 2.2 at row 2")),
        ({"x": "constant"}, [1.0, 1.0, 2.0], ("'x'", "constant", "got 2 at row 2")),
        ({"x": "circular:0:24.5+whole"}, [1.0, 2.0], ("'x'", "circle of a whole number of steps", "24.5 steps of 1")),
        ({"x": "heavy"}, [1.0, 1.0, 1.0, 1.0, 2.0], ("'x'", "quartiles", "heavy")),
        ({}, [3.0, 3.0, 3.0], ("'x'", "3 in all 3 rows", "constant")),
    ],
)
def test_declarations_that_do_not_fit_the_values_are_errors(declarations, values, fragments):
    with pytest.raises(DataError) as error:
        one("x", values, declarations=declarations)
    for fragment in fragments:
        assert fragment in str(error.value), (fragment, str(error.value))


def test_constant_column_is_not_modelled():
    schema = infer_schema(np.array([[7.0, 1.0], [7.0, 2.0]]), ["x", "y"], declarations={"x": "constant"})
    assert schema.columns[0].describe() == "constant, 7"
    assert schema.modelled_indices.tolist() == [1]


def test_table_of_constants_is_an_error():
    with pytest.raises(DataError, match="nothing is left"):
        one("x", [3.0, 3.0], declarations={"x": "constant"})


def test_schema_round_trips_through_json():
    schema = infer_schema(
        TABLE, NAMES, declarations={"share": "bounded:0:1", "stars": "rounded:0.5"}, units=["EUR"] * 5
    )
    assert TableSchema.from_dict(schema.to_dict()) == schema
    text = str(schema)
    for word in ("income (EUR)", "positive, above 0", "detected", "declared", "rounded to 0.5"):
        assert word in text


@pytest.mark.parametrize(
    "values",
    [
        None,
        {"columns": 3},
        {"columns": [], "more": 1},
        {"columns": [{"kind": "real"}]},
        {"columns": [{"name": "x", "kind": "odd"}]},
        {"columns": [{"name": "x", "lower": "0"}]},
        {"columns": [{"name": "x", "lower": float("nan")}]},
        {"columns": [{"name": "x", "colour": "red"}]},
        {"columns": [{"name": 3}]},
        {"columns": [{"name": "x", "kind": "discrete"}]},
        {"columns": [{"name": "x", "values": [1.0, 2.0]}]},
        {"columns": [{"name": "x", "values": [2.0, 1.0], "shares": [0.0, 0.5, 0.5, 0.0]}]},
        {"columns": [{"name": "x", "values": [1.0, 2.0], "shares": [0.0, 1.0, 0.0, 0.0]}]},
        {"columns": [{"name": "x", "values": [1.0, "2"], "shares": [0.0, 0.5, 0.5, 0.0]}]},
        {"columns": [{"name": "x", "values": 2.0}]},
    ],
)
def test_invalid_schema_is_an_error(values):
    with pytest.raises(DataError, match=r"schema|column"):
        TableSchema.from_dict(values)


# --- maps of columns


@pytest.mark.parametrize(
    ("kind", "options", "distribution", "points"),
    [
        ("real", {"centre": 2.0, "scale": 3.0}, stats.norm(2.0, 3.0), [-5.0, 2.0, 9.0]),
        ("positive", {"lower": 1.0}, stats.lognorm(1.0, loc=1.0), [1.1, 2.0, 30.0]),
        ("bounded", {"lower": -1.0, "upper": 3.0}, None, [-0.9, 1.0, 2.9]),
    ],
)
def test_density_of_one_column(kind, options, distribution, points):
    flow = pf.Flow(pf.bases.Normal((1,)), ColumnMaps((kind,), **options))
    scores = log_prob_float64(flow, np.array(points)[:, None])
    if distribution is None:  # logit-normal, by hand
        share = (np.array(points) + 1) / 4
        expected = stats.norm.logpdf(np.log(share / (1 - share))) - np.log(4 * share * (1 - share))
    else:
        expected = distribution.logpdf(points)
    assert np.allclose(scores, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["positive", "softplus", "bounded"])
def test_density_is_zero_outside_the_support(kind):
    flow = pf.Flow(pf.bases.Normal((2,)), ColumnMaps((kind, "real")))
    scores = np.asarray(flow.log_prob(jnp.array([[0.5, 0.0], [0.0, 0.0], [-1.0, 0.0], [-1e30, 0.0]])))
    assert np.isfinite(scores[0])
    assert np.isneginf(scores[1:]).all()


def test_circular_density_is_periodic_and_integrates_to_one():
    layer = ColumnMaps(("circular",), lower=0.0, upper=360.0, centre=100.0)
    flow = pf.Flow(pf.bases.Logistic((1,)), layer)
    angles = np.linspace(0.5, 359.5, 360)
    scores = log_prob_float64(flow, angles[:, None])
    assert np.allclose(scores, log_prob_float64(flow, angles[:, None] - 720.0), rtol=1e-9)
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-3)  # squares of one degree
    drawn = sample_float64(flow, 1000, 0)
    assert ((drawn >= 0) & (drawn < 360)).all()


# --- rounded columns


def rounded(n_draws=16, step=0.5):
    outer = Elementwise(pf.bijections.Affine(), (2,))
    return pf.Discretised(pf.Flow(pf.bases.Normal((2,)), outer), [step, 0.0], origin=[0.1, 0.0], n_draws=n_draws)


def test_masses_of_bins_match_the_normal():
    grid = 0.1 + 0.5 * np.arange(-8, 9)
    x = np.stack([grid, np.full(len(grid), 0.3)], 1)
    masses = stats.norm.cdf(grid + 0.25) - stats.norm.cdf(grid - 0.25)
    expected = np.log(masses) + stats.norm.logpdf(0.3)
    assert np.allclose(log_prob_float64(rounded(), x), expected, atol=0.02)
    single = log_prob_float64(rounded(n_draws=1), x)
    assert not np.allclose(single, expected, atol=0.02)


def test_rounded_scores_are_bounds_and_do_not_depend_on_other_rows():
    grid = 0.1 + 0.5 * np.arange(-8, 9)
    x = np.stack([np.tile(grid, 200), np.random.default_rng(0).normal(size=200 * len(grid))], 1)
    masses = stats.norm.cdf(x[:, 0] + 0.25) - stats.norm.cdf(x[:, 0] - 0.25)
    gap = log_prob_float64(rounded(n_draws=1), x) - np.log(masses) - stats.norm.logpdf(x[:, 1])
    # E log of one draw lies below the log of the mean; 5 standard errors, and the defect seen is a sign
    assert gap.mean() < -5 * gap.std() / np.sqrt(len(gap))
    scores = log_prob_float64(rounded(), x)
    assert np.array_equal(scores[::7], log_prob_float64(rounded(), x[::7]))


def test_rounded_samples_lie_on_the_grid_and_follow_the_masses():
    """Shares of 20,000 samples within five standard errors."""
    drawn = sample_float64(rounded(), 20_000, 0)[:, 0]
    positions = (drawn - 0.1) / 0.5
    assert np.abs(positions - np.round(positions)).max() < 1e-9
    for cell in (-2, 0, 3):
        mass = stats.norm.cdf(0.1 + 0.5 * cell + 0.25) - stats.norm.cdf(0.1 + 0.5 * cell - 0.25)
        assert abs((np.round(positions) == cell).mean() - mass) < 5 * np.sqrt(mass / 20_000)


def test_rounded_raises_for_values_off_the_grid():
    with pytest.raises(DataError, match=r"step 0.5 in column 0, got 0.3 at row 1"):
        rounded().log_prob(np.array([[0.1, 1.0], [0.3, 1.0]]))


@pytest.mark.parametrize(
    ("steps", "options", "error", "message"),
    [
        ([1.0], {}, ShapeError, r"\(1,\).*\(2,\)"),
        ([1.0, -1.0], {}, ValueError, "at least 0"),
        ([0.0, 0.0], {}, ValueError, "one of them positive"),
        ([1.0, 1.0], {"n_draws": 0}, ValueError, "n_draws"),
        ([1.0, 1.0], {"period": [24.0, 24.5]}, ValueError, "period: expected integer multiples of the steps"),
        ([1.0, 1.0], {"period": [1.0, 1.0, 1.0]}, ShapeError, r"period.*\(2,\)"),
    ],
)
def test_invalid_arguments_of_rounded_are_errors(steps, options, error, message):
    with pytest.raises(error, match=message):
        pf.Discretised(pf.bases.Normal((2,)), steps, **options)


def test_rounded_round_trips_through_a_file(tmp_path):
    path = tmp_path / "m.safetensors"
    x = np.array([[0.6, 0.2], [-0.4, 1.0]])
    pf.save(path, rounded())
    assert np.array_equal(log_prob_float64(rounded(), x), log_prob_float64(pf.load(path), x))


def test_constants_and_grids_are_recognised_in_single_precision():
    x = np.column_stack([np.full(200, 0.1), np.round(np.random.default_rng(0).uniform(1e3, 2e4, 200), 2)])
    single = x.astype(np.float32).astype(np.float64)
    schema = infer_schema(single, ["k", "price"], declarations={"k": "constant", "price": "rounded:0.01"})
    assert schema.drop_constants(x).shape == schema.drop_constants(single).shape == (200, 1)
    flow = schema.wrap(pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(), (1,))))
    flow.check_samples("x", schema.drop_constants(single))
    with pytest.raises(DataError, match=r"was 0.1\d* in every row of the training data, got 0.1001"):
        schema.drop_constants(x + np.array([1e-4, 0.0]))
    with pytest.raises(DataError, match=r"step 0\.01"):
        infer_schema(single[:, 1:] + 0.0025, ["price"], declarations={"price": "rounded:0.01"})


def test_two_values_are_discrete():
    x = np.tile([0.0, 1.0], 40)
    assert one("x", x).describe() == "one of 0, 1"
    assert one("x", x, others=np.array([[2.0]])).describe() == "above -0.5; rounded to 1"


def test_a_rounded_circle_has_each_value_once():
    """Hours read as 1 to 24 are scored and sampled as 0 to 23, and their masses sum to one."""
    x = np.random.default_rng(0).integers(1, 25, 400).astype(float)
    schema = infer_schema(x[:, None], ["hour"], declarations={"hour": "circular:0:24+whole"})
    flow = schema.wrap(pf.Flow(pf.bases.Normal((1,), scale=2.0), Elementwise(Affine(), (1,))))
    drawn = sample_float64(flow, 5000, 0)[:, 0]
    assert np.array_equal(np.unique(drawn), np.arange(24))
    scores = log_prob_float64(flow, np.arange(25.0)[:, None])
    assert scores[0] == scores[24]
    assert abs(np.exp(scores[:24]).sum() - 1) < 0.02


@pytest.mark.parametrize(
    ("text", "values", "others", "single"),
    [
        ("category", [1.0, 5.0, 40.0], [2.0, 0.0, 41.0, -1.0], False),
        ("category", [-4.0, 1.0, 7.0], [-5.0, 0.0], True),
        (None, [10.0, 25.0, 50.0], [15.0, 5.0, 55.0], False),
        (None, [0.1, 0.2, 0.5], [0.3, 0.0], True),
        (None, [0.0, 1.0, np.pi], [2.0, 3.0], True),
    ],
)
def test_discrete_columns_have_no_mass_at_other_values(text, values, others, single):
    """For an untrained flow: samples have these values only, their masses sum to one, others score -inf."""
    x = np.random.default_rng(0).choice(values, 400)
    schema = infer_schema(x[:, None], ["x"], declarations={"x": text} if text else None)
    flow = schema.wrap(pf.Flow(pf.bases.Normal((1,), scale=0.8), Elementwise(Affine(), (1,))))
    drawn = np.asarray(flow.sample(2000, key=0)) if single else sample_float64(flow, 2000, 0)
    assert set(np.unique(drawn).tolist()) == set(np.asarray(values, drawn.dtype).tolist())
    score = (lambda x: np.asarray(flow.log_prob(x))) if single else (lambda x: log_prob_float64(flow, x))
    assert np.exp(score(np.array(values)[:, None])).sum() == pytest.approx(1.0, abs=0.03)
    assert np.isneginf(score(np.array(others)[:, None])).all()
    with pytest.warns(UserWarning, match=rf"new: column 'x' is {others[0]:g} at row 1 .* probability is 0"):
        assert schema.out_of_support(schema.drop_constants(np.array([[values[0]], others[:1]]), "new")).tolist() == [
            [False],
            [True],
        ]
    new = (np.array(others[:1])[:, None], None)
    with pytest.raises(DataError, match=r"validation: column 'x' is"), pytest.warns(UserWarning, match="validation"):
        fitted(x[:, None], schema, epochs=1, validation=new)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (None, [0.0, 1.0]),
        ("category", [3.0, 8.0, 9.0]),
        ("whole", [0.0, 1.0]),
        ("count", [0.0, 1.0, 2.0]),
        ("bounded:-0.5:1.5+rounded:1", [0.0, 1.0]),
        ("positive+rounded:0.5", [0.5, 1.0, 1.5]),
    ],
)
def test_untrained_flow_has_the_shares_of_the_data(text, values):
    """Shares of 1 % and 99 %: a flow without start values learns 1.5 % instead of 1 %."""
    share = np.array([1.0 - 0.01 * (len(values) - 1)] + [0.01] * (len(values) - 1))
    x = np.repeat(values, np.round(share * 2000).astype(int))
    schema = infer_schema(x[:, None], ["x"], declarations={"x": text} if text else None)
    flow = schema.wrap(pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(), (1,))))
    masses = np.exp(log_prob_float64(flow, np.array(values)[:, None]))
    assert np.allclose(masses, share, rtol=0.002)  # half a row of 2,000 may lie beyond an end


def test_derivative_at_a_bin_edge_is_one_sided():
    """The derivative of a clip is half of it, an error of log 2 in log-determinants by autodiff."""
    layer = ColumnMaps(("cells",), cells=[([0.0, 1.0, 3.0], [0.1, 0.5, 0.3, 0.1])])
    edges = jnp.array([[0.0], [1.0], [3.0]])
    _, log_det = jax.jit(jax.vmap(layer.inverse_and_log_det))(edges)
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda x: layer.inverse_and_log_det(x)[0])))(edges)
    assert np.allclose(np.log(slope[:, 0, 0]), log_det, atol=1e-5)


def test_check_keeps_cells_beside_a_circle():
    """The flow over one turn, which `check` tests, has the same density in columns of cells."""
    cells = [([0.0, 1.0, 3.0], [0.1, 0.5, 0.3, 0.1]), ([0.0, 1.0], [0.0, 1.0, 0.0])]
    maps = ColumnMaps(("cells", "circular", "cells"), lower=0.0, upper=24.0, centre=6.0, cells=cells)
    flow = pf.Flow(pf.bases.Normal((3,)), Chain([maps]))
    x = np.array([[0.5, 7.0, 0.4], [2.0, 29.0, 0.9], [3.7, 12.0, 0.1]])
    np.testing.assert_allclose(restrict_to_one_period(flow)[0].log_prob(x), flow.log_prob(x), rtol=1e-6)


@pytest.mark.parametrize(
    "cells",
    [[([0.0, 0.0], [0, 1, 0])], [([0.0, 1.0], [0, 0, 1])], [([0.0, 1.0], [1, 1])], [], [([0.0, 1.0], [0, 1, 0])] * 2],
)
def test_invalid_cells_are_errors(cells):
    with pytest.raises(ValueError, match="cells: expected"):
        ColumnMaps(("cells",), cells=cells)


@pytest.mark.parametrize("values", [[(1.0, 3.0, 2.0), ()], [(1.0, 2.0)], [(1.0, 1.0, 2.0), ()], [(), (1.0, 2.0)]])
def test_invalid_values_of_rounded_are_errors(values):
    with pytest.raises(ValueError, match="expected"):
        pf.Discretised(pf.bases.Normal((2,)), [0.0, 1.0], values=values)


def test_old_models_are_read():
    """Old configurations have neither cells nor values."""
    config, tensors = encode(rounded())
    parts = config["fields"]
    assert parts.pop("values") is None
    model = decode(config, registry(), tensors)
    assert np.array_equal(
        log_prob_float64(model, np.array([[0.6, 0.2]])), log_prob_float64(rounded(), np.array([[0.6, 0.2]]))
    )
    config, tensors = encode(ColumnMaps(("real", "bounded")))
    del config["fields"]["cells"]
    assert decode(config, registry(), tensors).cells == ()
    assert TableSchema.from_dict({"columns": [{"name": "x", "kind": "bounded", "step": 1.0}]}).columns[0].values == ()


# --- fits


def fitted(x, schema, *, epochs=60, **options):
    return fit_columns(schema, build, x, key=0, progress=False, max_epochs=epochs, batch_size=512, **options)


@pytest.fixture(scope="module")
def mixed():
    """A table with all types."""
    x = np.column_stack([TABLE, np.full(N, 3.0)])
    schema = infer_schema(x, [*NAMES, "same"], declarations={"same": "constant"})
    flow, history = fitted(x, schema)
    return x, schema, flow, history


def test_fit_of_all_types_is_near_the_true_density(mixed):
    x, schema, flow, history = mixed
    fresh = np.random.default_rng(5)
    n = 4000
    new = np.column_stack([
        fresh.lognormal(3.0, 1.0, n), fresh.uniform(0.0, 1.0, n), 2.0 + 5.0 * fresh.standard_cauchy(n),
        fresh.integers(1, 6, n) / 2, fresh.normal(-3.0, 2.0, n), np.full(n, 3.0),
    ])  # fmt: skip
    new[:, 1] = np.clip(new[:, 1], 1e-9, 1 - 1e-9)
    scores = log_prob_float64(flow, schema.drop_constants(new))
    truth = (
        stats.lognorm.logpdf(new[:, 0], 1.0, scale=np.exp(3.0)) + stats.cauchy.logpdf(new[:, 2], 2.0, 5.0)
        - np.log(5.0) + stats.norm.logpdf(new[:, 4], -3.0, 2.0)
    )  # fmt: skip
    gap = (truth - scores).mean()
    assert -0.02 < gap < 0.35  # five columns learnt from 1,800 rows; a map left out costs more, a wrong slope too
    assert abs(history.best_validation - scores.mean()) < 0.6
    assert history.n_train + history.n_validation == len(x)


def test_samples_lie_in_the_support_of_their_columns(mixed):
    x, schema, flow, _ = mixed
    drawn = schema.fill_constants(sample_float64(flow, 4000, 0))
    assert drawn.shape == (4000, 6)
    assert (drawn[:, 0] > 0).all()
    assert ((drawn[:, 1] > 0) & (drawn[:, 1] < 1)).all()
    assert np.isin(drawn[:, 3], np.arange(-2, 12) / 2).all()
    assert (drawn[:, 5] == 3.0).all()
    far = [np.quantile(np.abs(values[:, 2]), 0.995) for values in (drawn, x)]
    assert 0.4 < far[0] / far[1] < 2.5


def test_rows_that_differ_from_a_constant_column_are_errors(mixed):
    x, schema, _, _ = mixed
    changed = x.copy()
    changed[4, 5] = 4.0
    with pytest.raises(DataError, match=r"'same'.*got 4 at row 4"):
        schema.drop_constants(changed)


def test_masses_of_counts_match_poisson():
    """Poisson(3), 4,000 rows: the mass of each count within 0.03 of the truth (its error in the data is 0.007)."""
    x = np.random.default_rng(2).poisson(3.0, (4000, 1)).astype(float)
    schema = infer_schema(x, ["n"], declarations={"n": "count"})
    flow, _ = fitted(x, schema, epochs=20)
    counts = np.arange(0, 12.0)
    masses = np.exp(log_prob_float64(flow, counts[:, None]))
    assert np.abs(masses - stats.poisson.pmf(counts, 3.0)).max() < 0.03
    assert masses.sum() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("scale", [pytest.param(1e-12, marks=pytest.mark.slow), 1e12])
def test_fit_does_not_depend_on_the_unit(scale):
    x = np.random.default_rng(3).normal(size=(300, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    names, offset = ["a", "b"], 7.0 * scale
    mine, other = (fitted(rows, infer_schema(rows, names), epochs=3)[0] for rows in (x, scale * x + offset))
    change = log_prob_float64(other, scale * x + offset) + 2 * np.log(scale) - log_prob_float64(mine, x)
    assert np.abs(change).max() < 1e-6


def test_fit_does_not_depend_on_an_offset_beyond_single_precision():
    """In float32 all values of 1e9 + N(0, 1) are equal."""
    x = 1e9 + np.random.default_rng(4).normal(size=(2000, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow, _ = fitted(x, infer_schema(x, ["t"]), epochs=10)
    scores = log_prob_float64(flow, x)
    assert scores.mean() == pytest.approx(stats.norm.logpdf(x - 1e9).mean(), abs=0.05)


@pytest.mark.slow
def test_training_starts_from_the_mixture():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(6)
    x = np.concatenate([random.normal(-4.0, 0.3, (300, 2)), random.normal(4.0, 0.3, (300, 2))])
    schema = infer_schema(x, ["a", "b"])
    flow, history = fitted(x, schema, epochs=2, base="mixture")
    assert history.start > history.gaussian + 1.0  # before any step
    assert history.best_validation >= history.start
    assert log_prob_float64(flow, x).mean() == pytest.approx(history.best_validation, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 300])
def test_mixture_size_is_chosen_on_other_rows_than_its_fit(n):
    """One normal: chosen on the fitted rows, 300 rows had 80 components, ten nats a row worse on new rows."""
    pytest.importorskip("sklearn")
    random = np.random.default_rng(8)
    x = random.normal(size=(n, 2))
    flow, _ = fitted(x, infer_schema(x, ["a", "b"]), epochs=1, base="mixture", validation=0.0)
    assert log_prob_float64(flow, random.normal(size=(2000, 2))).mean() > (-3.1 if n == 300 else -6.0)


def test_mixture_without_scikit_learn_is_an_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.mixture", None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        fitted(TABLE[:200, 4:], infer_schema(TABLE[:200, 4:], ["plain"]), epochs=1, base="mixture")


def test_validation_rows_outside_a_support_are_errors():
    x = VALUES["income"][:200, None]
    schema = infer_schema(x, ["income"])
    with pytest.raises(DataError, match=r"validation: column 'income' is -1 .*support .*1 of 2 rows"):
        fitted(x, schema, validation=(np.array([[1.0], [-1.0]]), None))


def test_unwrap_returns_the_wrapped_flow(mixed):
    _, schema, flow, _ = mixed
    inner = schema.unwrap(flow)
    z, log_det = schema.transform(TABLE[:5, : len(schema.modelled_indices)])
    assert isinstance(inner.bijection.bijections[-1], Standardise)
    assert np.allclose(log_prob_float64(inner, z) + log_det, log_prob_float64(flow.flow, TABLE[:5]))
    with pytest.raises(DataError, match="outermost"):
        schema.unwrap(build(2))


def test_heavy_is_a_declaration():
    assert parse_declaration("x", "heavy").kind == "heavy"
    assert dataclasses.replace(Column("x"), unit="m").to_dict() == {"name": "x", "unit": "m"}


@pytest.mark.parametrize(
    ("draw", "kind", "low", "high"),
    [
        (lambda r: r.permutation(np.arange(500) < 3) * 1.0, "one of 0, 1", 0, 1),
        (lambda r: r.poisson(3.0, 500), "above -0.5; rounded to 1", 0, None),
        (lambda r: r.poisson(10.0, 500), "above -0.5; rounded to 1", 0, None),
        (lambda r: np.append(r.integers(1, 6, 499), 99), "one of 1, 2, 3, 4, 5, 99", 1, 99),
        (lambda r: np.clip(np.round(r.normal(4.3, 0.9, 500)), 1, 5), "bounded, -0.5 to 5.5; rounded to 1", 0, 5),
        (lambda r: 5.0 - r.geometric(0.6, 500), "real; rounded to 1, up to 4", None, 4),
        (lambda r: np.round(3 * r.normal(size=500)) / 2, "real; rounded to 0.5", None, None),
    ],
    ids=["flag", "counts", "larger counts", "code", "rating", "from above", "rounded"],
)
def test_samples_of_a_grid_do_not_leave_its_ends(draw, kind, low, high):
    x = draw(np.random.default_rng(0)).astype(float)[:, None]
    schema = infer_schema(x, ["x"])
    assert schema.columns[0].describe() == kind
    samples = sample_float64(schema.wrap(pf.Flow(pf.bases.Normal((1,)), Elementwise(Affine(), (1,)))), 3000, 0)
    assert (~np.isin(samples, x)).mean() < 0.02
    assert low is None or samples.min() >= low
    assert high is None or samples.max() <= high


def test_no_sample_is_rounded_to_an_open_end():
    """A tenth of the rows is at 100, on a fine grid with 13 single-precision numbers a step."""
    random = np.random.default_rng(0)
    x = np.round(np.minimum(random.normal(80.0, 20.0, 800), 100.0), 4)[:, None]
    x = np.where(x < 0, 0.0, x)
    schema = infer_schema(x, ["score"], declarations={"score": "bounded:0:100+rounded:0.0001"})
    steep = pf.Flow(pf.bases.Normal((1,), loc=10.0, scale=20.0), Elementwise(Affine(), (1,)))
    drawn = sample_float64(schema.wrap(steep), 2000, 0)
    assert (drawn > 99.99995).mean() > 0.2
    assert drawn.min() > -1e-9
    assert drawn.max() < 100.0 + 1e-9
    assert np.isfinite(log_prob_float64(schema.wrap(steep), drawn)).all()
    for kind, ends in (("positive", (3.0, np.inf)), ("softplus", (3.0, np.inf)), ("bounded", (3.0, 10.0))):
        layer = ColumnMaps((kind,), lower=[3.0], upper=[10.0])
        images = np.asarray(jax.vmap(layer.forward)(jnp.array([[-60.0], [60.0]], jnp.float32)))
        assert (images > ends[0]).all()
        assert (images < ends[1]).all()

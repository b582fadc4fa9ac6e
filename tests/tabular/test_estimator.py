"""The estimators of scikit-learn: all of its checks, and the twins that it has not for densities and samples."""

import copy
import math
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from fitting import data, numbers, same
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import pushforward as pf
from pushforward.core.float64 import log_prob_float64
from pushforward.errors import DataError, MissingExtra
from pushforward.tabular.estimators import fitting
from pushforward.train.history import History

TINY = {"n_layers": 2, "width": 8, "depth": 1, "batch_size": 50, "max_epochs": 2, "random_state": 0}

# Scikit-learn's data sets are small, and their batches of one size keep the number of compiled programs small. One of
# the sets has columns that depend on each other linearly, of which no density exists: hence the noise.
CHECKED = {**TINY, "batch_size": 8, "max_epochs": 1, "validation": 0, "noise": 1e-3}


def density(*flows):
    return [pf.FlowDensity(flow, **CHECKED) for flow in flows]


def conditional(*flows):
    return [pf.ConditionalFlowDensity(flow, n_draws=16, **CHECKED) for flow in flows]


def perform(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it scikit-learn skips one check
    check(estimator)


FLOWS = ("nsf", "maf", "residual_flow", "maf_mog")
few_rows = pytest.mark.filterwarnings("ignore:x. [0-9]+ rows in [0-9]+ dimensions:UserWarning")


@few_rows
@parametrize_with_checks(density("real_nvp"))
def test_scikit_learn(estimator, check, monkeypatch):
    perform(estimator, check, monkeypatch)


@few_rows
@pytest.mark.slow
@parametrize_with_checks(
    [*density(*FLOWS), *conditional("real_nvp", *FLOWS)],
)
def test_scikit_learn_more_flows(estimator, check, monkeypatch):
    perform(estimator, check, monkeypatch)


@pytest.mark.parametrize(
    ("estimator", "asked"),
    [
        (pf.FlowDensity(), {"check_outliers_train", "check_transformer_general", "check_methods_subset_invariance"}),
        (
            pf.ConditionalFlowDensity(),
            {"check_regressors_train", "check_regressor_multioutput", "check_requires_y_none"},
        ),
    ],
)
def test_tags_select_the_expected_checks(estimator, asked):
    """The tags select the checks: with another estimator type most of them would not run."""
    names = [getattr(check, "func", check).__name__ for _, check in estimator_checks_generator(estimator)]
    assert asked <= set(names)
    assert len(names) >= 50


@pytest.fixture(scope="module")
def density():
    return pf.FlowDensity("real_nvp", **TINY).fit(data())


def pairs(n=400, seed=0):
    """x (n, 2), its second column constant, and y = 10 x_0 + 2 + noise of spread 1."""
    random = np.random.default_rng(seed)
    x = np.column_stack([random.standard_normal(n), np.full(n, 1e9)])
    return x, 10 * x[:, 0] + 2 + random.standard_normal(n)


def at(*values):
    """Rows x as in `pairs`, with these values."""
    return np.column_stack([values, np.full(len(values), 1e9)])


@pytest.fixture(scope="module")
def regressor():
    return pf.ConditionalFlowDensity("real_nvp", **TINY | {"max_epochs": 20, "learning_rate": 2e-2}).fit(*pairs())


def frame(library, values, names="ab"):
    columns = {name: values[:, index] for index, name in enumerate(names)}
    return pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)


# Bad input


@pytest.mark.parametrize(
    "method", ["score_samples", "score", "sample", "transform", "inverse_transform", "predict", "decision_function"]
)
def test_unfitted_density_raises(method):
    with pytest.raises(NotFittedError):
        getattr(pf.FlowDensity(), method)(*([] if method == "sample" else [data(5)]))


@pytest.mark.parametrize("method", ["log_prob", "score", "sample", "predict", "predict_quantiles"])
def test_unfitted_regressor_raises(method):
    x, y = pairs(5)
    with pytest.raises(NotFittedError):
        getattr(pf.ConditionalFlowDensity(), method)(x, *([y] if method in ("log_prob", "score") else []))


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
@pytest.mark.parametrize("method", ["score_samples", "score", "transform", "predict", "decision_function"])
def test_non_finite_values_are_errors_that_name_their_cell(value, word, method):
    bad = data(9)
    bad[3, 1] = value
    named = pf.FlowDensity("real_nvp", **TINY)
    named.feature_names_in_, named.n_features_in_, named.flow_ = np.array(["a", "b"], object), 2, None
    with pytest.raises(DataError, match=f"^X: .* got {word} in column 'b' at row 3 .1 of 9 rows"):
        getattr(named, method)(frame("pandas", bad))
    with pytest.raises(DataError, match=f"^X: .* got {word} in column 'b' at row 3"):
        named.fit(frame("polars", bad))


def test_non_finite_targets_and_latents_are_errors_that_name_their_cell(density, regressor):
    x, y = pairs(9)
    y[4] = np.nan
    with pytest.raises(DataError, match=r"^y: .* NaN in column 0 at row 4"):
        regressor.log_prob(x, y)
    with pytest.raises(DataError, match=r"^y: .* NaN in column 0 at row 4"):
        clone(regressor).fit(x, y)
    with pytest.raises(DataError, match=r"^X: .* NaN in column 0 at row 0"):
        density.inverse_transform([[np.nan, 0.0]])
    with pytest.raises(ValueError, match=r"^X: expected 2 columns, .* got 3"):
        density.inverse_transform(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"^y: expected 1 targets a row, as in fit, got 2"):
        regressor.log_prob(x, np.zeros((9, 2)))
    with pytest.raises(ValueError, match=r"array with dim 3, while dim <= 2 is required"):
        regressor.log_prob(x, np.zeros((9, 1, 1)))


def test_columns_without_a_density_are_errors():
    x = np.column_stack([data(40), np.full(40, 7.0)])
    with pytest.raises(DataError, match=r"^X: column 'c' is constant"):
        pf.FlowDensity("real_nvp", **TINY).fit(frame("pandas", x, "abc"))
    x[:, 2] = x[:, 0] - 2 * x[:, 1] + 1
    with pytest.raises(DataError, match=r"^X: columns 0, 1, 2 are linearly dependent"):
        pf.FlowDensity("real_nvp", **TINY).fit(x)
    with pytest.raises(DataError, match=r"^y: column 0 is constant"):
        pf.ConditionalFlowDensity("real_nvp", **TINY).fit(x, np.ones(40))


@pytest.mark.slow
def test_noise_gives_degenerate_columns_a_density():
    """Linearly dependent columns have a density with noise; less noise gives a higher one."""
    x = data(200)
    x = np.column_stack([x, x @ [1.0, -2.0]])
    scores = [pf.FlowDensity("real_nvp", **TINY, whiten=True, noise=noise).fit(x).score(x) for noise in (1e-1, 1e-3)]
    assert scores[0] + 3 < scores[1] < scores[0] + 5.5  # a third of log 100 would be 1.5, all of it is 4.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flow": "nvp"}, "flow: expected one of .*real_nvp.* got 'nvp'"),
        ({"flow": 3}, "flow: expected one of .* got 3"),
        ({"flow": "made", "n_layers": 2}, "n_layers: the flow 'made' has no setting 'n_layers', got 2"),
        ({"flow_options": {"bins": 3}}, "flow_options: the flow 'real_nvp' has no setting 'bins', got 3"),
        ({"flow_options": {"width": 3}}, "flow_options: .* got 'width'. Set width= of the estimator"),
        ({"flow_options": {"context_dim": 3}}, "flow_options: .* got 'context_dim'. Leave it out"),
        ({"contamination": 0.0}, "contamination: expected a share above 0 and up to 0.5, got 0.0"),
        ({"contamination": 0.6}, "contamination: .* got 0.6"),
        ({"contamination": "auto"}, "contamination: .* got 'auto'"),
        ({"noise": -1.0}, "noise: expected a share .* got -1.0"),
        ({"noise": math.nan}, "noise: expected a share .* got nan"),
        ({"validation": 1.0}, "validation: expected a share .* got 1.0"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"n_layers": 0}, "n_layers: expected a whole number of at least 1, got 0"),
        ({"random_state": -1}, "random_state: expected an int from 0 .* got -1"),
        ({"random_state": True}, "random_state: .* got True"),
        ({"random_state": "a"}, "random_state: .* got 'a'"),
    ],
    ids=str,
)
def test_fit_validates_parameters(options, message):
    estimator = pf.FlowDensity(**{"flow": "real_nvp", **options})
    with pytest.raises(ValueError, match=f"^{message}"):
        estimator.fit(data(40))


def test_numpy_integers_are_accepted():
    """`numpy.arange` has NumPy integers, which recipes refuse."""
    options = {"n_layers": np.int64(2), "width": np.int32(8), "max_epochs": np.int64(1)}
    estimator = pf.FlowDensity("real_nvp", **TINY | options, validation=np.float64(0.1)).fit(data())
    assert estimator.history_.n_validation == 40


def test_function_as_recipe():
    def narrow(dim, *, key, context_dim=None, **settings):
        return pf.real_nvp(dim, key=key, context_dim=context_dim, **settings)

    x = data(60)
    ours, named = (pf.FlowDensity(flow, **TINY).fit(x) for flow in (narrow, "real_nvp"))
    assert same(numbers(ours.flow_), numbers(named.flow_))


def test_error_without_scikit_learn_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pushforward.tabular.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(vars(pf), "FlowDensity", raising=False)  # the first access stores it
    with pytest.raises(MissingExtra, match=r'scikit-learn, .* pip install "pushforward\[sklearn\]"'):
        _ = pf.FlowDensity


# Seeds and state


def test_equal_seeds_give_equal_bits(density):
    again = clone(density).fit(data())
    assert same(numbers(again.flow_), numbers(density.flow_))
    assert again.offset_ == density.offset_
    assert np.array_equal(again.score_samples(data(50, 3)), density.score_samples(data(50, 3)))
    assert same(numbers(again.fit(data()).flow_), numbers(density.flow_))  # a second fit starts anew
    other = clone(density).set_params(random_state=1).fit(data())
    assert not same(numbers(other.flow_), numbers(density.flow_))


def test_seed_equals_that_of_the_functions(density):
    flow = pf.real_nvp(2, key=0, n_layers=2, width=8, depth=1)
    flow, _ = pf.fit(flow, data(), key=0, batch_size=50, max_epochs=2, progress=False)
    assert same(numbers(flow), numbers(density.flow_))


def test_random_state_advances_and_the_global_one_does_not(density, regressor):
    np.random.seed(5)
    before = np.random.get_state()
    state = np.random.RandomState(3)
    first, second = density.sample(20, state), density.sample(20, state)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, density.sample(20, np.random.RandomState(3)))
    assert not np.array_equal(density.sample(20), density.sample(20))
    regressor.sample(pairs(20)[0], 51), regressor.predict(pairs(20)[0])
    pf.FlowDensity("real_nvp", **TINY | {"random_state": None}, noise=0.1).fit(data())
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_seed_of_scikit_learn_is_accepted(density):
    assert density.sample(20, 2**32 - 1).shape == density.sample(20, np.uint32(7)).shape == (20, 2)


def test_methods_do_not_change_the_estimator(density, regressor):
    def use(estimator, x, y):
        if estimator is density:
            methods = (density.score_samples, density.transform, density.predict, density.inverse_transform)
            return [density.sample(20, 0), *(method(x) for method in methods)]
        return [
            regressor.log_prob(x, y),
            regressor.predict(x),
            regressor.sample(x, 51, 0),
            regressor.predict_quantiles(x),
        ]

    for estimator, x, y in ((density, data(20, 1), None), (regressor, *pairs(20, 1))):
        before, known = numbers(estimator.flow_), dict(vars(estimator))
        first = use(estimator, x, y)
        assert same(first, use(estimator, x, y))
        assert vars(estimator) == known
        assert same(numbers(estimator.flow_), before)
        twin = pickle.loads(pickle.dumps(estimator))  # noqa: S301
        if estimator is regressor:
            assert np.array_equal(twin.predict(x), first[1])
            assert np.array_equal(twin.log_prob(x, y), first[0])
        else:
            assert np.array_equal(twin.score_samples(x), first[1])
            assert np.array_equal(twin.sample(20, 0), first[0])


def test_results_are_writable(density, regressor):
    """NumPy views of JAX arrays are read-only."""
    x, (c, y) = data(20), pairs(20)
    for result in (
        density.score_samples(x), density.transform(x), density.decision_function(x), density.sample(20),
        density.inverse_transform(x), regressor.log_prob(c, y), regressor.predict(c), regressor.sample(c, 51),
    ):  # fmt: skip
        assert result.dtype == np.float64
        result[...] = 0.0


def test_scores_round_trip_through_a_file(density, tmp_path):
    pf.save(tmp_path / "density.safetensors", density.flow_)
    flow = pf.load(tmp_path / "density.safetensors")
    assert np.array_equal(log_prob_float64(flow, data(30, 2)), density.score_samples(data(30, 2)))


def test_interrupted_fit_has_the_best_weights_and_raises(density, monkeypatch):
    interrupted = density.flow_, History(stop_reason="interrupted")
    monkeypatch.setattr(fitting, "fit", lambda *args, **options: interrupted)
    estimator = clone(density)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(data())
    assert np.array_equal(estimator.score_samples(data(20)), density.score_samples(data(20)))
    with pytest.raises(KeyboardInterrupt):
        pf.ConditionalFlowDensity("real_nvp", **TINY).fit(*pairs(30))


# Kinds of input


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_accepted_and_their_names_compared(library, density):
    x = data()
    named = clone(density).fit(frame(library, x))
    assert list(named.feature_names_in_) == ["a", "b"]
    assert same(numbers(named.flow_), numbers(density.flow_))
    assert np.array_equal(named.score_samples(frame(library, x)), density.score_samples(x))
    for wrong in (frame(library, x[:, ::-1], "ba"), frame(library, x, "ac")):
        for method in (named.score_samples, named.transform, named.predict, named.score):
            with pytest.raises(ValueError, match="feature names"):
                method(wrong)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(library, density):
    named = clone(density).fit(frame(library, data())).set_output(transform=library)
    z = named.transform(frame(library, data(20, 1)))
    assert isinstance(z, pd.DataFrame if library == "pandas" else pl.DataFrame)
    assert list(z.columns) == list(named.get_feature_names_out()) == ["flowdensity0", "flowdensity1"]
    assert np.array_equal(z.to_numpy(), density.transform(data(20, 1)))
    assert isinstance(named.inverse_transform(z), np.ndarray)


def test_scores_do_not_depend_on_memory_layout_and_type(density):
    x = np.round(4 * data(30, 1)) / 4  # the same numbers in float32
    expected = density.score_samples(x)
    fixed = x.copy()
    fixed.flags.writeable = False
    for given in (np.asfortranarray(x), fixed, x.astype(np.float32), x.tolist(), x[::-1][::-1], x.astype(object)):
        assert np.array_equal(density.score_samples(given), expected)
        assert np.array_equal(density.transform(given), density.transform(x))
    integers = np.round(x).astype(np.int32)
    assert np.array_equal(density.score_samples(integers), density.score_samples(integers.astype(float)))


def test_scores_do_not_depend_on_other_rows_and_order(density, regressor):
    x, order = data(300, 1), np.random.default_rng(0).permutation(300)
    c, y = pairs(300, 1)
    for use in (
        lambda rows: density.score_samples(x[rows]),
        lambda rows: density.transform(x[rows]),
        lambda rows: regressor.log_prob(c[rows], y[rows]),
        lambda rows: regressor.predict(c[rows]),
    ):
        together = use(slice(None))
        assert np.allclose(use(order), together[order], rtol=1e-9, atol=1e-9)
        assert np.allclose(
            np.concatenate([use(slice(i, i + 20)) for i in range(0, 300, 20)]), together, rtol=1e-9, atol=1e-9
        )


# What the numbers mean


@pytest.mark.parametrize(
    ("unit", "offset"),
    [(1e-12, 0.0), (1e-12, 3e-12), (1e-6, 5.0), (1e6, -2e7), (1e12, 1e12), (1.0, 1e9)],
)
def test_change_of_units_shifts_scores_by_the_log_determinant(unit, offset):
    """log p(a x + b) + D log a = log p(x), with the flow fitted to a x + b."""
    x = np.round(data(300) * 2**10) / 2**10  # adding 1e9 then loses nothing
    plain = pf.FlowDensity("real_nvp", **TINY).fit(x).score_samples(x)
    y = unit * x + offset
    moved = pf.FlowDensity("real_nvp", **TINY).fit(y).score_samples(y)
    assert np.abs(moved + 2 * math.log(unit) - plain).max() < 1e-6


def test_a_density_integrates_to_one(density):
    side = np.linspace(-9.0, 9.0, 301)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    total = np.exp(density.score_samples(grid)).sum() * (side[1] - side[0]) ** 2
    assert abs(total - 1) < 1e-4


def test_a_conditional_density_integrates_to_one(regressor):
    y = np.linspace(-80.0, 80.0, 4001)
    for x in (-1.0, 0.0, 2.0):
        total = np.exp(regressor.log_prob(at(*[x] * len(y)), y)).sum() * (y[1] - y[0])
        assert abs(total - 1) < 1e-4


def test_transform_inverts_inverse_transform(density):
    x = data(50, 2)
    z = density.transform(x)
    assert np.allclose(density.inverse_transform(z), x, rtol=0, atol=1e-10)
    single = jax.vmap(density.flow_.bijection.inverse)(jnp.asarray(x, jnp.float32))
    assert np.allclose(z, single, rtol=0, atol=1e-4)
    assert np.allclose(clone(density).fit_transform(data()), density.transform(data()), rtol=0, atol=1e-12)


def test_samples_follow_the_density(density):
    """z = T^-1(sample) is standard normal, for any fit: a DKW band with a false-alarm rate of 1e-7."""
    n = 3000
    band = math.sqrt(math.log(2 / 5e-8) / (2 * n))
    drawn = [density.sample(500, random_state=seed) for seed in range(6)]
    z = np.sort(np.concatenate([density.transform(x) for x in drawn]), axis=0)
    normal = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    assert np.abs(normal - (np.arange(n)[:, None] + 0.5) / n).max() < band + 0.5 / n


def test_sample_validates_seed_and_number(density):
    x = density.sample(20, random_state=4)
    assert x.shape == (20, 2)
    assert np.allclose(density.sample(17, random_state=4), x[:17], rtol=0, atol=1e-12)
    assert not np.array_equal(density.sample(20, random_state=5), x)
    assert density.sample().shape == (1, 2)
    for wrong in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match=r"^n_samples: expected a whole number of at least 1"):
            density.sample(wrong)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_outliers_are_the_least_probable_rows(density, share):
    x = data()
    estimator = clone(density).set_params(contamination=share)
    assert (estimator.fit_predict(x) == -1).sum() == share * len(x)
    scores = estimator.score_samples(x)
    assert np.array_equal(estimator.decision_function(x), scores - estimator.offset_)
    assert scores[estimator.predict(x) == -1].max() < scores[estimator.predict(x) == 1].min()
    assert estimator.predict([*x, [30.0, -30.0]])[-1] == -1


def test_score_is_the_mean_in_nats(density):
    x = data(50, 3)
    assert density.score(x) == density.score_samples(x).mean()
    assert density.score(x) == density.score(x, y=np.ones(50))
    assert isinstance(density.score(x), float)


def test_conditional_density_is_near_the_truth(regressor):
    """log p(y | x) of y = 10 x + 2 + noise is -1.42 at best; without x it would be -3.72."""
    x, y = pairs(500, 8)
    assert -1.8 < regressor.score(x, y) < -1.3
    assert r2_score(y, regressor.predict(x)) > 0.97
    weights = np.arange(500.0)
    assert np.isclose(regressor.score(x, y, weights), regressor.log_prob(x, y) @ weights / weights.sum(), rtol=1e-12)
    for wrong in (-weights, 0 * weights, weights[1:], weights[:, None], weights * np.nan):
        with pytest.raises(ValueError, match=r"^sample_weight: expected 500 non-negative numbers"):
            regressor.score(x, y, wrong)


def test_predictions_match_samples(regressor):
    """Mean and quantiles of 256 samples match those of 20,000 others within six standard errors."""
    x = at(-1.0, 0.0, 2.0)
    drawn = regressor.sample(x, 20_000, random_state=3)
    spread = drawn.std(1)
    assert (np.abs(regressor.predict(x) - drawn.mean(1)) < 6.2 * spread / 16).all()
    quantiles = regressor.predict_quantiles(x, [0.1, 0.5, 0.9])
    reached = (drawn[:, None, :] < quantiles[:, :, None]).mean(-1)
    assert np.abs(reached - [0.1, 0.5, 0.9]).max() < 6.2 * 0.5 / 16
    assert (np.diff(quantiles, axis=1) > 0).all()
    assert np.std(drawn[0] / spread[0] - drawn[1] / spread[1]) > 1  # rows draw independently


def test_more_samples_reduce_the_error(regressor):
    x = at(0.5)
    drawn = regressor.sample(x, 20_000, random_state=3)
    fine = copy.copy(regressor).set_params(n_draws=20_000)
    assert abs(fine.predict(x)[0] - drawn.mean()) < 6.2 * drawn.std() * math.sqrt(2 / 20_000)


@pytest.mark.parametrize("shape", [(), (1,), pytest.param((2,), marks=pytest.mark.slow)])
def test_shapes_follow_the_targets(shape):
    x, y = pairs()
    y = y if shape == () else np.column_stack([y, 3 * data()[:, 0]])[:, : shape[0]]
    estimator = pf.ConditionalFlowDensity("real_nvp", **TINY).fit(x, y)
    assert estimator.n_outputs_ == (shape or (1,))[0]
    assert estimator.log_prob(x, y).shape == (400,)
    assert estimator.predict(x).shape == y.shape == (400, *shape)
    assert estimator.sample(x, 51).shape == (400, 51, *shape)
    assert estimator.predict_quantiles(x, [0.2, 0.8]).shape == (400, 2, *shape)
    assert estimator.predict_quantiles(x, 0.5).shape == (400, 1, *shape)
    if shape == (1,):
        assert np.array_equal(estimator.log_prob(x, y), estimator.log_prob(x, y[:, 0]))


@pytest.mark.parametrize("quantiles", [[0.0], [1.0], [0.5, math.nan], [[0.5]]])
def test_invalid_quantiles_are_errors(regressor, quantiles):
    with pytest.raises(ValueError, match=r"^quantiles: expected numbers between 0 and 1"):
        regressor.predict_quantiles(pairs(3)[0], quantiles)


# In company of scikit-learn


def searched(n_jobs):
    pipe = Pipeline([("scale", StandardScaler()), ("flow", pf.FlowDensity("real_nvp", **(TINY | {"whiten": False})))])
    search = GridSearchCV(pipe, {"flow__learning_rate": [1e-7, 2e-2]}, cv=2, n_jobs=n_jobs)
    return search.fit(data())


@pytest.mark.slow
def test_search_in_a_pipeline_chooses_the_better_learning_rate():
    search = searched(None)
    assert search.best_params_["flow__learning_rate"] == 2e-2
    assert search.cv_results_["mean_test_score"][1] > search.cv_results_["mean_test_score"][0] + 0.01
    assert search.best_estimator_.score_samples(data(20)).shape == (20,)
    assert search.best_estimator_[:-1].inverse_transform(search.best_estimator_[-1].sample(20)).shape == (20, 2)


@pytest.mark.slow
def test_search_in_two_processes_gives_equal_results():
    one, two = searched(None), searched(2)
    assert np.array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


def test_cross_validation(regressor):
    x, y = pairs(200)
    scores = cross_val_score(regressor, x, y, cv=2)
    assert (scores > -3.7).all()


# Columns of other types than real; test_columns.py tests their schemas.


def incomes(n=300, seed=0):
    """A positive column, one of five values, and a constant one."""
    random = np.random.default_rng(seed)
    return np.stack([random.lognormal(3.0, 1.0, n), random.integers(0, 5, n), np.full(n, 2.0)], 1)


KINDS = {"income": "positive", "stars": "whole", "same": "constant"}


@pytest.fixture(scope="module")
def typed():
    return pf.FlowDensity("nice", columns=KINDS, **TINY).fit(frame("pandas", incomes(), ["income", "stars", "same"]))


@pytest.mark.slow
def test_declared_columns(typed):
    x = frame("pandas", incomes(50, 1), ["income", "stars", "same"])
    scores = typed.score_samples(x)
    assert np.isfinite(scores).all()
    drawn = typed.sample(500, random_state=0)
    assert (drawn[:, 0] > 0).all()
    assert np.array_equal(drawn[:, 1], np.round(drawn[:, 1]))
    assert (drawn[:, 2] == 2.0).all()
    z = typed.transform(x)
    assert z.shape == (50, 2)
    assert np.allclose(typed.inverse_transform(z), x.to_numpy(), rtol=1e-6)
    assert len(typed.get_feature_names_out()) == 2
    outside = x.copy()
    outside.iloc[3, 0] = -1.0
    assert np.isneginf(typed.score_samples(outside)[3])
    assert typed.predict(outside)[3] == -1
    changed = x.copy()
    changed.iloc[3, 2] = 3.0
    with pytest.raises(DataError, match=r"^X: column 'same'.*got 3 at row 3"):
        typed.score_samples(changed)


def test_columns_declared_by_index_or_detected(typed):
    by_index = pf.FlowDensity("nice", columns={0: "positive", 1: "whole", 2: "constant"}, **TINY).fit(incomes())
    assert np.array_equal(by_index.score_samples(incomes(50, 1)), log_prob_float64(typed.flow_, incomes(50, 1)[:, :2]))
    detected = pf.FlowDensity("nice", columns="detect", **TINY).fit(incomes()[:, :2])
    assert [column.kind for column in detected.schema_.columns] == ["positive", "discrete"]
    assert detected.schema_.columns[1].step == 1.0


@pytest.mark.slow
def test_positive_targets_with_a_mixture_base():
    x, y = pairs(120)
    model = pf.ConditionalFlowDensity("nice", columns={0: "positive"}, base="mixture", **TINY).fit(x, np.exp(y / 20))
    assert (model.sample(x[:5], 50, random_state=0) > 0).all()
    assert (model.predict_quantiles(x[:5]) > 0).all()
    assert np.isfinite(model.log_prob(x, np.exp(y / 20))).all()


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"columns": "auto"}, ("columns", "'auto'", "detect")),
        ({"columns": {7: "positive"}}, ("columns", "0 to 2", "7")),
        ({"columns": {"income": "positive"}}, ("columns", "'income'", "'x0'")),
        ({"columns": {0: "negative"}}, ("X", "'x0'", "'negative'")),
        ({"columns": {0: "positive"}}, ("X", "'x2'", "2 in all 300 rows", "constant")),
        ({"base": "gaussian"}, ("base", "'mixture'", "'gaussian'")),
    ],
)
def test_invalid_columns_are_errors(options, fragments):
    with pytest.raises(ValueError, match=fragments[0]) as error:
        pf.FlowDensity("nice", **options, **TINY).fit(incomes())
    for fragment in fragments:
        assert fragment in str(error.value), (word, str(error.value))


def test_targets_are_declared_by_name():
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 1))
    y = pd.DataFrame({"income": random.lognormal(size=120), "age": random.integers(20, 60, 120)})
    options = {"flow": "nice", "max_epochs": 1, "random_state": 0}
    model = pf.ConditionalFlowDensity(columns={"income": "positive", "age": "count"}, **options).fit(x, y)
    assert model.schema_.names == ("income", "age")
    series = pf.ConditionalFlowDensity(columns={"income": "positive"}, **options).fit(x, y["income"])
    assert series.schema_.columns[0].kind == "positive"


@pytest.mark.parametrize("kind", ["count", "positive"])
def test_noise_with_bounded_columns_is_an_error(kind):
    x = np.random.default_rng(0).integers(1, 60, (120, 1)).astype(float)
    with pytest.raises(ValueError, match=r"noise: expected 0 .*'x0'"):
        pf.FlowDensity(columns={0: kind}, noise=0.1).fit(x)


def test_quantiles_are_unbiased(monkeypatch):
    """The mean share below the quantile q of n samples is q: for a uniform, (n + 1) q of n + 1 gaps."""
    drawn = np.sort(np.random.default_rng(0).uniform(size=(20_000, 19)), axis=1)[..., None]
    monkeypatch.setattr(pf.ConditionalFlowDensity, "_over_samples", lambda self, x, statistic: statistic(drawn))
    monkeypatch.setattr(pf.ConditionalFlowDensity, "_is_flat", True, raising=False)
    monkeypatch.setattr(pf.ConditionalFlowDensity, "schema_", None, raising=False)
    shares = pf.ConditionalFlowDensity().predict_quantiles(None, [0.1, 0.9]).mean(0)
    np.testing.assert_allclose(shares, [0.1, 0.9], atol=0.003)


def test_quantiles_of_a_rounded_target_are_its_values():
    x, y = pairs(200)
    model = pf.ConditionalFlowDensity("real_nvp", columns={0: "rounded:0.5"}, **TINY).fit(x, np.round(2 * y) / 2)
    quantiles = model.predict_quantiles(x[:50], [0.05, 0.31, 0.5, 0.77, 0.95])
    assert np.array_equal(quantiles, np.round(2 * quantiles) / 2)
    assert (np.diff(quantiles, axis=1) >= 0).all()


@pytest.mark.slow
def test_means_and_quantiles_of_circular_targets():
    """The mean of times around midnight is not noon, and their interval is not the full day."""
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 1))
    y = np.mod(23.9 + 0.3 * random.normal(size=300), 24.0)
    settings = TINY | {"max_epochs": 20}
    model = pf.ConditionalFlowDensity("real_nvp", columns={0: "circular:0:24"}, **settings).fit(x, y)

    def from_midnight(hours):
        return np.mod(np.asarray(hours) + 12.0, 24.0) - 12.0

    assert np.abs(from_midnight(model.predict(x[:20]))).max() < 2.0
    low, middle, high = from_midnight(model.predict_quantiles(x[:20])).T
    assert (low < middle).all()
    assert (middle < high).all()


def test_transform_raises_for_rows_outside_a_support():
    x = np.column_stack([np.exp(data(200)[:, 0]), data(200)[:, 1]])
    model = pf.FlowDensity("real_nvp", columns={0: "positive"}, **TINY).fit(x)
    with pytest.raises(DataError, match=r"^X: column 'x0' is -5 at row 1 \(2 such rows\), outside its support"):
        model.transform([[1.0, 0.0], [-5.0, 0.0], [0.0, 0.0]])
    assert model.score_samples([[-5.0, 0.0]]) == -np.inf


def test_numeric_target_names_are_ignored():
    x, y = pairs(60)
    frame = pd.DataFrame({1: y, 0: np.exp(data(60)[:, 1])})
    model = pf.ConditionalFlowDensity("real_nvp", columns={1: "positive"}, **TINY).fit(x, frame)
    assert [column.kind for column in model.schema_.columns] == ["real", "positive"]


@pytest.mark.parametrize(
    ("weights", "message"), [(np.nan, "nan at row 3"), (-1.0, "-1 at row 3"), (np.inf, "inf at row 3")]
)
def test_invalid_weights_are_errors_that_name_their_row(regressor, weights, message):
    x, y = pairs(9)
    given = np.ones(9)
    given[3] = weights
    with pytest.raises(ValueError, match=message):
        regressor.score(x, y, sample_weight=given)
    with pytest.raises(ValueError, match="a sum of 0"):
        regressor.score(x, y, sample_weight=np.zeros(9))


def test_older_name_of_the_schema(typed):
    with pytest.warns(DeprecationWarning, match=r"plan_ is deprecated since 0\.1, and 0\.2 removes it: use schema_\."):
        assert typed.plan_ is typed.schema_

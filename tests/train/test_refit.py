"""Few rows: the chosen flow is fitted once more to all of them."""

import warnings

import jax
import numpy as np
import pytest

import pushforward as pf

OPTIONS = {"key": 0, "progress": False, "max_epochs": 4}


def rows(n, seed=0):
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return np.column_stack([z[:, 0], np.sinh(z[:, 1]) + 0.5 * z[:, 0] ** 2])


def build(key=0):
    return pf.real_nvp(2, n_layers=2, width=8, key=key)


def is_equal(flow, other):
    pairs = zip(jax.tree.leaves(flow), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs if hasattr(a, "dtype"))


@pytest.mark.parametrize(
    ("n", "options", "expected"),
    [
        (400, {}, 400),
        (400, {"refit": False}, 0),
        (5200, {}, 0),
        (5200, {"refit": True}, 5200),
        (400, {"validation": 0}, 0),
        (400, {"max_seconds": 60.0}, 0),
        (400, {"validation": rows(50, 1)}, 0),
        (400, {"validation": rows(50, 1), "refit": True}, 0),
    ],
    ids=[
        "few",
        "few, not",
        "many",
        "many, told to",
        "no validation",
        "within a time",
        "rows of the caller's",
        "told to with those",
    ],
)
def test_rows_of_the_last_fit(n, options, expected):
    _, history = pf.fit(build(), rows(n), start="given", **OPTIONS | options)
    assert history.n_refit == expected


def test_history_is_that_before():
    first, history = pf.fit(build(), rows(400), start="given", refit=False, **OPTIONS)
    again, other = pf.fit(build(), rows(400), start="given", **OPTIONS)
    assert history.validation == other.validation
    assert history.best_validation == other.best_validation
    assert not is_equal(first, again)


def test_new_rows_are_likelier():
    """Over seeds, as one tenth of the rows more must be."""
    test, gains = rows(20_000, 99), []
    for seed in range(4):
        flows = [
            pf.fit(build(seed), rows(150, seed), refit=refit, **OPTIONS | {"max_epochs": 60, "key": seed})[0]
            for refit in (False, True)
        ]
        scores = [float(np.mean(flow.log_prob(test))) for flow in flows]
        gains.append(scores[1] - scores[0])
    assert np.mean(gains) > 0


def test_a_baseline_is_fitted_to_all_rows():
    x = np.random.default_rng(0).standard_normal((300, 2))
    flow, history = pf.fit(build(), x, batch_size=256, key=0, progress=False, max_epochs=1)
    if history.returned == "baseline":
        assert history.n_refit == 300
        np.testing.assert_allclose(np.mean(flow.log_prob(x)), history_of_gaussian(x), atol=0.02)


def history_of_gaussian(x):
    return -0.5 * x.shape[1] * (1 + np.log(2 * np.pi)) - 0.5 * np.linalg.slogdet(np.cov(x, rowvar=False, bias=True))[1]


def test_ensembles_and_interrupted_runs_stay(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, history = pf.fit(pf.ensemble(build, 2, key=0), rows(300), **OPTIONS)
    assert history.n_refit == 0


def test_columns_of_equal_values_have_a_mixture():
    """Rounded to a hundredth of a standard deviation: the components of the baseline keep a width."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(size=(250, 2)), random.normal((8.0, 0.0), size=(250, 2))])
    x[:, 1] = np.round(x[:, 1], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, history = pf.fit(build(), x, **OPTIONS)
    assert history.mixture > history.gaussian + 0.3

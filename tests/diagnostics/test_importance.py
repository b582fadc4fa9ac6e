"""Trust in importance weights: the number of effective samples and the Pareto k of the tail."""

import json
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bases import Mixture, Normal, StudentT, Uniform
from pushforward.diagnostics import fidelity, pareto_k
from pushforward.diagnostics.weights import effective_sample_size, pareto_k_bound, rounding, weight_doubts
from pushforward.errors import NumericError

N = 20_000


def log_density_of(distribution):
    return lambda x: distribution.log_prob_one(x, None, None)


def two_modes(dim, share, scale=1.0):
    """`share` at -m, the rest at m, |m| = 4: components far enough apart for closed forms."""
    m = np.full(dim, 4 / np.sqrt(dim))
    parts = [Normal((dim,), loc=sign * m, scale=scale) for sign in (1, -1)]
    return Mixture(parts, weights=np.array([1 - share, share]))


def expected_size(n, dim, epsilon, scale):
    """n / E[w^2] of 0.7 / 0.3 under 1 - epsilon / epsilon with components wider by `scale`."""
    spread = (scale**2 / np.sqrt(2 * scale**2 - 1)) ** dim
    return n / (spread * (0.49 / (1 - epsilon) + 0.09 / epsilon))


@pytest.mark.parametrize(
    ("n", "dim", "epsilon", "scale", "key"),
    [(N, 2, 1e-4, 1.3, 0), (N, 2, 1e-4, 1.3, 2), (N, 5, 1e-4, 1.1, 0), (5000, 1, 5e-4, 1.3, 0), (500, 2, 0.01, 1.2, 0)],
)
def test_few_effective_samples_are_not_trusted(n, dim, epsilon, scale, key):
    """A light tail is not enough: by `k` alone half of these would be trusted."""
    right = expected_size(n, dim, epsilon, scale)
    assert right < 100
    result = pf.importance_sample(two_modes(dim, epsilon, scale), log_density_of(two_modes(dim, 0.3)), n, key=key)
    assert not result.can_be_trusted
    assert f"{result.effective_sample_size:.1f} effective samples of {n:,}" in result.doubts()[0]
    for text in (str(result), repr(result)):
        assert "do not trust" in text
        assert result.doubts()[0] in text
    figures = json.loads(json.dumps(result.to_dict()))
    assert figures["can_be_trusted"] is False
    assert figures["doubts"] == result.doubts()
    np.testing.assert_allclose(figures["efficiency"], result.effective_sample_size / n)


@pytest.mark.parametrize(
    "distribution",
    [Normal((2,)), Normal((30,), loc=100.0), StudentT((3,), 2.0), two_modes(2, 0.3), Uniform((2,), low=-1.0, high=3.0)],
    ids=["normal", "normal in 30", "student", "mixture", "uniform"],
)
def test_a_proposal_that_is_the_target_is_trusted(distribution):
    """Weights that differ by rounding only have no tail, and k is 0."""
    result = pf.importance_sample(distribution, log_density_of(distribution), 1000, key=0)
    assert result.can_be_trusted, str(result)
    assert result.pareto_k == 0.0
    np.testing.assert_allclose(result.efficiency, 1.0, atol=1e-4)
    assert "trust" not in str(result)


@pytest.mark.parametrize(
    ("proposal", "target"),
    [
        (Normal((2,), scale=1.3), Normal((2,))),
        (Normal((2,), scale=1.2), Normal((2,), loc=0.3)),
        (StudentT((2,), 3.0), Normal((2,))),
        (two_modes(2, 0.2, 1.2), two_modes(2, 0.3)),
        (Uniform((2,), low=-1.0, high=1.0), Uniform((2,), low=-0.5, high=0.5)),  # weights of zero, and equal ones
    ],
    ids=["wide", "shifted", "heavy", "modes", "uniform"],
)
def test_a_proposal_that_covers_the_target_is_trusted(proposal, target):
    result = pf.importance_sample(proposal, log_density_of(target), 2000, key=0)
    assert result.can_be_trusted, str(result)
    assert abs(result.log_evidence) < 5 * result.log_evidence_error
    error = np.sqrt(1 / result.effective_sample_size - 1 / 2000)
    np.testing.assert_allclose(result.log_evidence_error, error, rtol=0.01)


def test_enough_effective_samples_with_a_heavy_tail_are_not_trusted():
    result = pf.importance_sample(Normal((1,), scale=0.3), log_density_of(Normal((1,))), N, key=0)  # k = 1 - 0.3^2
    assert result.effective_sample_size > 100
    assert not result.can_be_trusted
    assert f"above {pareto_k_bound(N):.2f}" in result.doubts()[0]


def test_fewer_than_100_samples_are_not_trusted():
    result = pf.importance_sample(Normal((2,)), log_density_of(Normal((2,))), 60, key=0)
    assert not result.can_be_trusted
    assert result.doubts() == ["60 samples are too few to judge, at least 100 are needed"]
    assert weight_doubts(99, 99.0, 0.0)
    assert not weight_doubts(100, 100.0, 0.0)
    doubt = "the Pareto k of the weights cannot be estimated: too few of them differ"
    assert weight_doubts(1000, 500.0, np.nan) == [doubt]
    assert len(weight_doubts(1000, np.nan, np.nan)) == 2


def test_the_bound_on_the_tail_grows_with_the_number_of_samples():
    """1 - 1 / log10 n: 0.5 at 100, 2/3 at 1,000, and no more than 0.7."""
    np.testing.assert_allclose([pareto_k_bound(n) for n in (100, 1000, 10**6)], [0.5, 2 / 3, 0.7])
    assert weight_doubts(200, 150.0, 0.65)
    assert not weight_doubts(N, 150.0, 0.65)


def test_pareto_k_of_equal_weights_is_zero_and_of_few_that_differ_nan():
    assert pareto_k(np.full(1000, -3.0)) == 0.0
    noisy = np.float32(-30.0) + np.float32(2e-6) * np.random.default_rng(0).integers(0, 3, 1000).astype(np.float32)
    assert pareto_k(noisy, rounding(noisy)) == 0.0
    few = np.zeros(1000)
    few[:3] = 1.0
    assert np.isnan(pareto_k(few))
    half = np.where(np.arange(1000) % 2, 0.0, -np.inf)
    assert pareto_k(half) == 0.0
    assert np.isfinite(pareto_k(np.where(np.arange(1000) % 20, -np.inf, 0.0)))
    assert np.isnan(pareto_k(np.zeros(10)))


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5, 1e300])
def test_effective_sample_size_does_not_overflow(offset):
    log_weights = np.log(np.random.default_rng(0).uniform(1, 2, 500))
    right = np.exp(log_weights).sum() ** 2 / np.exp(2 * log_weights).sum()
    shifted = log_weights + offset if abs(offset) < 1e10 else np.full(500, offset)
    np.testing.assert_allclose(effective_sample_size(shifted), right if abs(offset) < 1e10 else 500, rtol=1e-9)
    assert effective_sample_size(np.array([0.0, -2000.0, -np.inf])) == 1.0
    assert effective_sample_size(np.array([-np.inf, -np.inf])) == 0.0


def test_nan_log_densities_are_counted_in_the_error():
    nan = lambda x: jnp.where(x[0] > 1.5, jnp.nan, -0.5 * jnp.sum(x**2))  # noqa: E731
    with pytest.raises(NumericError, match=r"log_density: nan at (\d+) of 1000 \(\d\.\d\d%\) of the flow's samples"):
        pf.importance_sample(Normal((2,)), nan, 1000, key=0)


def test_a_fit_that_cannot_be_trusted_warns():
    far = log_density_of(Normal((2,), loc=3.0))
    options = {"key": 0, "progress": False, "steps": 1, "learning_rate": 1e-9}
    with pytest.warns(UserWarning, match=r"fit_target: .* cannot be trusted: .* effective samples of 1,000 .* fewer"):
        pf.fit_target(pf.linear_flow(2, key=0), far, n_importance=1000, **options)
    _, history = pf.fit_target(pf.linear_flow(2, key=0), far, n_importance=50, **options)  # not meant to judge
    assert "too few to judge" in str(history.importance)


def test_fidelity_reports_the_same_doubts():
    result = fidelity(two_modes(2, 0.3), two_modes(2, 1e-3, 1.3), key=1, n=2000)
    assert result.effective_sample_size < 100
    assert result.weight_doubts() == weight_doubts(2000, result.effective_sample_size, result.pareto_k)
    assert result.weight_doubts()[0] in str(result)
    assert json.loads(json.dumps(result.to_dict()))["weight_doubts"] == result.weight_doubts()
    equal = fidelity(Normal((2,)), Normal((2,)), key=0, n=500)
    assert equal.weight_doubts() == []
    assert "not trusted" not in str(equal)


def test_pareto_k_of_any_spread_does_not_overflow():
    """The reciprocal of a quartile of the tail must not overflow if the weights span more than the float64 range."""
    for seed in range(300):
        random = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            k = pareto_k(random.normal(0.0, 10 ** random.uniform(0.0, 4.0), 200))
            assert np.isnan(k) or -1.0 < k < 500.0

"""Whether estimates from importance weights are trusted: by the number of effective samples and the tail, both."""

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


def scored(distribution):
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
    """A light tail is not enough: `k` alone calls half of these trustworthy."""
    right = expected_size(n, dim, epsilon, scale)
    assert right < 100
    found = pf.importance_sample(two_modes(dim, epsilon, scale), scored(two_modes(dim, 0.3)), n, key=key)
    assert not found.can_be_trusted
    assert f"{found.effective_sample_size:.1f} effective samples of {n:,}" in found.doubts()[0]
    for text in (str(found), repr(found)):
        assert "do not trust" in text
        assert found.doubts()[0] in text
    figures = json.loads(json.dumps(found.to_dict()))
    assert figures["can_be_trusted"] is False
    assert figures["doubts"] == found.doubts()
    np.testing.assert_allclose(figures["efficiency"], found.effective_sample_size / n)


@pytest.mark.parametrize(
    "distribution",
    [Normal((2,)), Normal((30,), loc=100.0), StudentT((3,), 2.0), two_modes(2, 0.3), Uniform((2,), low=-1.0, high=3.0)],
    ids=["normal", "normal in 30", "student", "mixture", "uniform"],
)
def test_a_proposal_that_is_the_target_is_trusted(distribution):
    """Weights that differ by rounding only have no tail, whatever a fit to the rounding would say."""
    found = pf.importance_sample(distribution, scored(distribution), 1000, key=0)
    assert found.can_be_trusted, str(found)
    assert found.pareto_k == 0.0
    np.testing.assert_allclose(found.efficiency, 1.0, atol=1e-4)
    assert "trust" not in str(found)


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
    found = pf.importance_sample(proposal, scored(target), 2000, key=0)
    assert found.can_be_trusted, str(found)
    assert abs(found.log_evidence) < 5 * found.log_evidence_error
    error = np.sqrt(1 / found.effective_sample_size - 1 / 2000)
    np.testing.assert_allclose(found.log_evidence_error, error, rtol=0.01)


def test_enough_effective_samples_with_a_heavy_tail_are_not_trusted():
    found = pf.importance_sample(Normal((1,), scale=0.3), scored(Normal((1,))), N, key=0)  # k = 1 - 0.3^2
    assert found.effective_sample_size > 100
    assert not found.can_be_trusted
    assert f"above {pareto_k_bound(N):.2f}" in found.doubts()[0]


def test_few_samples_are_too_few_to_tell():
    found = pf.importance_sample(Normal((2,)), scored(Normal((2,))), 60, key=0)
    assert not found.can_be_trusted
    assert found.doubts() == ["60 samples are too few to tell, 100 are the fewest"]
    assert weight_doubts(99, 99.0, 0.0)
    assert not weight_doubts(100, 100.0, 0.0)
    assert weight_doubts(1000, 500.0, np.nan) == ["the Pareto k of the weights cannot be told: too few of them differ"]
    assert len(weight_doubts(1000, np.nan, np.nan)) == 2


def test_the_bound_on_the_tail_grows_with_the_number_of_samples():
    """1 - 1 / log10 n: 0.5 at 100, 2/3 at 1,000, and no more than 0.7."""
    np.testing.assert_allclose([pareto_k_bound(n) for n in (100, 1000, 10**6)], [0.5, 2 / 3, 0.7])
    assert weight_doubts(200, 150.0, 0.65)
    assert not weight_doubts(N, 150.0, 0.65)


def test_equal_weights_and_few_that_differ():
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
def test_the_effective_size_does_not_overflow(offset):
    log_weights = np.log(np.random.default_rng(0).uniform(1, 2, 500))
    right = np.exp(log_weights).sum() ** 2 / np.exp(2 * log_weights).sum()
    shifted = log_weights + offset if abs(offset) < 1e10 else np.full(500, offset)
    np.testing.assert_allclose(effective_sample_size(shifted), right if abs(offset) < 1e10 else 500, rtol=1e-9)
    assert effective_sample_size(np.array([0.0, -2000.0, -np.inf])) == 1.0
    assert effective_sample_size(np.array([-np.inf, -np.inf])) == 0.0


def test_log_densities_that_are_no_numbers_are_counted():
    nan = lambda x: jnp.where(x[0] > 1.5, jnp.nan, -0.5 * jnp.sum(x**2))  # noqa: E731
    with pytest.raises(NumericError, match=r"log_density: nan at (\d+) of 1000 \(\d\.\d\d%\) of the flow's samples"):
        pf.importance_sample(Normal((2,)), nan, 1000, key=0)


def test_a_fit_that_cannot_be_trusted_warns():
    far = scored(Normal((2,), loc=3.0))
    options = {"key": 0, "progress": False, "steps": 1, "learning_rate": 1e-9}
    with pytest.warns(UserWarning, match=r"fit_target: .* cannot be trusted: .* effective samples of 1,000 .* fewer"):
        pf.fit_target(pf.linear_flow(2, key=0), far, n_importance=1000, **options)
    _, history = pf.fit_target(pf.linear_flow(2, key=0), far, n_importance=50, **options)  # not meant to judge
    assert "too few to tell" in str(history.importance)


def test_the_weights_of_a_student_are_judged_alike():
    found = fidelity(two_modes(2, 0.3), two_modes(2, 1e-3, 1.3), key=1, n=2000)
    assert found.effective_sample_size < 100
    assert found.weight_doubts() == weight_doubts(2000, found.effective_sample_size, found.pareto_k)
    assert found.weight_doubts()[0] in str(found)
    assert json.loads(json.dumps(found.to_dict()))["weight_doubts"] == found.weight_doubts()
    equal = fidelity(Normal((2,)), Normal((2,)), key=0, n=500)
    assert equal.weight_doubts() == []
    assert "not trusted" not in str(equal)


def test_weights_of_any_spread_give_a_shape_without_a_warning():
    """Weights that differ by more than float64 holds: the reciprocal of a quartile of the tail overflowed."""
    for seed in range(300):
        random = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            k = pareto_k(random.normal(0.0, 10 ** random.uniform(0.0, 4.0), 200))
            assert np.isnan(k) or -1.0 < k < 500.0

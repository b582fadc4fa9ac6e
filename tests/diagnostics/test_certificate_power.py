"""The power of `check`: planted faults of data fail, samples of the flow pass."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from planted_faults import FAULTS, HEALTHY, correlated_samples, normal, sample

import pushforward as pf
from pushforward.bijections import Elementwise, Sigmoid
from pushforward.diagnostics import check
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.classifier import classifier_row
from pushforward.diagnostics.comparison import (
    auc_of,
    comparison_row,
    context_ranks,
    effect_of,
    largest_differences,
    legendre,
    ranked,
)
from pushforward.diagnostics.copies import copies_row
from pushforward.diagnostics.edges import nudge_into_support
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.thickness import thickness_row

COMPARISON, CLASSIFIER, ATOMS, COPIES, DIMENSION = (
    "comparison with samples", "classifier", "values that repeat", "copies of training rows", "dimension of the rows",
)  # fmt: skip
DETECTED_BY = {
    "tails of t4": COMPARISON,
    "square dependence": COMPARISON,
    "signs of three columns": CLASSIFIER,
    "zeros in 3 %": ATOMS,
    "upper limit": ATOMS,
    "rounded to tenths": ATOMS,
    "tenth of the rows leaked": COPIES,
    "leaked rows with noise": COPIES,
    "spread by size of context": COMPARISON,
    "square of the context": COMPARISON,
    "class with another mean": COMPARISON,
}
QUICK = ("normal", "in (0, 1), at the ends")


@pytest.fixture(autouse=True)
def _compile_quickly():
    with quickly_compiled():
        yield


def row(certificate, name):
    return next(r for r in certificate.rows if r.name == name)


@pytest.mark.parametrize("fault", DETECTED_BY)
def test_planted_faults_are_detected(fault):
    certificate = check(**FAULTS[fault](2000, np.random.default_rng(0)), key=0)
    assert row(certificate, DETECTED_BY[fault]).ok is False, f"\n{certificate}"
    assert row(certificate, DETECTED_BY[fault]).fix


@pytest.mark.slow
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - set(DETECTED_BY)))
def test_every_planted_fault_is_detected(fault):
    assert not check(**FAULTS[fault](10_000, np.random.default_rng(0)), key=0).ok


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in HEALTHY]
)
def test_samples_of_the_flow_pass(name):
    certificate = check(**HEALTHY[name](2000, np.random.default_rng(0)), key=0)
    assert certificate.ok, f"\n{certificate}"


def test_few_rows_are_not_tested():
    x = np.random.default_rng(0).normal(size=(25, 3)) + np.array([0.7, 0, 0])
    certificate = check(normal(3), x)
    result = row(certificate, COMPARISON)
    assert result.ok is None
    assert "25 rows are too few: a shift of less than" in result.message
    assert certificate.verdict.startswith("Too few rows to detect a shift below")
    assert not check(normal(3), np.random.default_rng(1).normal(size=(150, 3)) + np.array([0.7, 0, 0])).ok


class TestComparison:
    def test_polynomials_are_orthonormal(self):
        u = np.linspace(-1, 1, 20_001)
        powers = np.stack(legendre(u, 6))
        np.testing.assert_allclose(powers @ powers.T / len(u), np.eye(6), atol=2e-3)

    def test_an_effect_is_the_auc_of_two_normal_distributions(self):
        random = np.random.default_rng(0)
        a, b = random.normal(size=4000) + 0.5, random.normal(size=4000)
        assert abs((a[:, None] > b).mean() - auc_of(0.5)) < 0.03
        assert effect_of(auc_of(0.3)) == pytest.approx(0.3)

    def test_false_alarms_are_as_rare_as_stated(self):
        """The rate is a thousandth: five of 200 have a probability of 3e-6. Values near the bound do occur."""
        random, exceeded, near = np.random.default_rng(0), 0, 0
        for _ in range(200):
            c = random.normal(size=(150, 1))
            x = c + random.standard_t(1.5, (150, 2))
            samples = c[:, None] + random.standard_t(1.5, (150, 4, 2))
            result = largest_differences([ranked(x, samples, ["a", "b"])], context_ranks(c))[0]
            exceeded += result.t > result.allowed
            near += result.t > 0.7 * result.allowed
        assert exceeded < 5
        assert near > 5

    def test_a_small_effect_passes_at_any_number_of_rows(self):
        random = np.random.default_rng(0)
        for shift, ok in ((0.05, True), (0.25, False)):
            part = ranked(random.normal(size=(20_000, 1)) + shift, random.normal(size=(20_000, 1, 1)), ["a"])
            result = comparison_row(largest_differences([part], None), 20_000, 1)
            assert result.ok is ok
            assert abs(result.value - auc_of(shift)) < 0.01
        assert result.fault == "the mean of a of the rows is not as in the flow's samples"

    def test_the_dependence_of_columns_is_named(self):
        random = np.random.default_rng(0)
        x, samples = correlated_samples(3, 0.4, 4000, random), random.normal(size=(4000, 1, 3))
        result = comparison_row(largest_differences([ranked(x, samples, ["a", "b", "c"])], None), 4000, 1)
        assert result.fault.startswith("the dependence of")


class TestClassifier:
    def test_rows_alike_have_an_auc_of_one_half(self):
        random = np.random.default_rng(0)
        values = []
        for _ in range(20):
            x, samples = random.normal(size=(400, 2)), random.normal(size=(400, 1, 2))
            result = classifier_row([ranked(x, samples, ["a", "b"])], None, random)
            assert result.ok
            values.append(result.value)
        assert max(values) < 0.5 + 5 * math.sqrt(401 / (12 * 200 * 200))

    def test_dependence_of_three_columns_is_detected(self):
        random = np.random.default_rng(0)
        signs = np.sign(random.normal(size=(3000, 3)))
        signs[:, 2] = signs[:, 0] * signs[:, 1]
        x, samples = signs * np.abs(random.normal(size=(3000, 3))), random.normal(size=(3000, 1, 3))
        part = ranked(x, samples, ["a", "b", "c"])
        assert comparison_row(largest_differences([part], None), 3000, 1).ok
        result = classifier_row([part], None, random)
        assert result.ok is False
        assert result.value > 0.6


class TestValuesThatRepeat:
    def test_the_message_names_the_value_and_its_column(self):
        random = np.random.default_rng(0)
        x, samples = random.normal(size=(2, 2000, 2))
        assert atoms_row(x, samples, Columns(None, (2,))).ok
        x[:60, 1] = 0.25
        result = atoms_row(x, samples, Columns(None, (2,)))
        assert result.ok is False
        assert result.fault.startswith("column 1 has 0.25 in 3.0% of the rows, and in 0.0%")

    def test_values_that_the_samples_repeat_as_often_pass(self):
        random = np.random.default_rng(0)
        x, samples = random.poisson(1.0, size=(2, 2000, 1)).astype(float)
        assert atoms_row(x, samples, Columns(None, (1,))).ok
        x[random.random(2000) < 0.2] = 0.0
        assert atoms_row(x, samples, Columns(None, (1,))).ok is False

    def test_zeros_of_a_rounded_column_are_detected(self):
        flow, random = (
            pf.Discretised(pf.bases.Normal((2,), loc=5.0, scale=2.0), steps=[1.0, 0.0]),
            np.random.default_rng(0),
        )
        x = sample(flow, 2000, random)
        assert row(check(flow, x), ATOMS).ok
        x[random.random(2000) < 0.1, 0] = 0.0
        assert "column 0 has 0 in" in row(check(flow, x), ATOMS).fault


class TestCopies:
    @pytest.mark.parametrize("dim", [1, 2, 6])
    def test_independent_rows_are_no_copies(self, dim):
        random = np.random.default_rng(0)
        x, train = random.normal(size=(1000, dim)), random.normal(size=(5000, dim))
        assert copies_row(x, train, random).ok
        x[:50] = train[:50]
        assert copies_row(x, train, random).ok is False

    def test_values_that_repeat_everywhere_are_no_copies(self):
        random = np.random.default_rng(0)
        x, train = (random.integers(0, 4, (n, 2)).astype(float) for n in (1000, 4000))
        assert copies_row(x, train, random).ok


class TestDimension:
    @pytest.mark.parametrize("correlation", [0.0, 0.9999])
    def test_narrow_rows_pass_if_samples_are_as_narrow(self, correlation):
        random = np.random.default_rng(0)
        x, samples = (correlated_samples(3, correlation, 2000, random) for _ in range(2))
        assert thickness_row(x, samples, random).ok

    def test_a_curve_is_distinguished_from_a_thin_tube(self):
        random = np.random.default_rng(0)
        t = random.uniform(0, 12, 2000)
        x = np.stack([np.cos(t), np.sin(t), t], 1)
        result = thickness_row(x, x[::-1] + 0.02 * random.normal(size=x.shape), random)
        assert result.ok is False
        assert result.value > 3


def test_rows_rounded_to_the_edge_are_nudged_into_the_support():
    flow = pf.Flow(pf.bases.Normal((1,), scale=8.0), Elementwise(Sigmoid(), (1,)))
    x = np.array([[0.5], [1 - 1e-12], [1.5], [0.3]])
    before = np.array([0.0, -np.inf, -np.inf, 0.0])
    moved, log_probs, count = nudge_into_support(flow, x, None, before, x)
    assert count == 1
    assert 0 < 1 - moved[1, 0] < 1e-6
    assert np.isfinite(log_probs[1])
    assert (moved[2, 0], log_probs[2]) == (1.5, -np.inf)


class TestIntegral:
    def test_mass_beyond_the_grid_is_not_missing(self):
        parts = [pf.bases.Normal((1,)), pf.bases.Normal((1,), scale=1e5)]
        result = row(check(pf.bases.Mixture(parts, weights=np.array([0.98, 0.02]))), "integral of the density")
        assert result.ok is not False

    def test_mass_that_is_never_sampled_is_detected(self):
        class Doubled(pf.bases.Mixture):
            """A mixture whose density counts the first component twice."""

            def log_prob_one(self, x, context, key):
                return jnp.logaddexp(
                    super().log_prob_one(x, context, key), self.components[0].log_prob_one(x + 9.0, context, key)
                )

        result = row(check(Doubled([pf.bases.Normal((1,))])), "integral of the density")
        assert result.ok is False
        assert "2.0000" in result.message


def test_over_fitting_row_states_the_flows_log_likelihood():
    """In the units of the flow's log-probabilities, of rounded columns too."""
    flow, random = pf.Discretised(pf.bases.Normal((2,), scale=3000.0), steps=[1000.0, 0.0]), np.random.default_rng(0)
    x, train = sample(flow, 400, random) + np.array([6000.0, 0.0]), sample(flow, 300, random)
    message = row(check(flow, x, train=train), "over-fitting").message
    for rows in (x, train):
        assert f"{float(np.mean(np.asarray(flow.log_prob(rows), np.float64))):.3f} " in message


def test_the_verdict_says_if_only_float32_fails():
    layers = pf.bijections.Standardise((2,)).filled(np.array([1e7, 0.0]), np.ones(2))
    flow = pf.Flow(pf.bases.Normal((2,)), pf.bijections.Chain([layers]))
    x = np.random.default_rng(0).normal(size=(300, 2)) + np.array([1e7, 0.0])
    verdict = check(flow, x).verdict
    assert "float32 is too coarse for this flow; in float64 it is healthy" in verdict, verdict

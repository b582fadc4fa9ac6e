"""What `check` must see of rows that are not the flow's draws, and must let pass of its own samples."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from planted_faults import FAULTS, HEALTHY, draws, normal, own

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
from pushforward.diagnostics.edges import inside
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.thickness import thickness_row

COMPARISON, CLASSIFIER, ATOMS, COPIES, DIMENSION = (
    "comparison with samples", "classifier", "values that repeat", "copies of training rows", "dimension of the rows",
)  # fmt: skip
SEEN = {
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
def _quickly():
    with quickly_compiled():
        yield


def row(certificate, name):
    return next(r for r in certificate.rows if r.name == name)


@pytest.mark.parametrize("fault", SEEN)
def test_a_planted_fault_is_seen(fault):
    certificate = check(**FAULTS[fault](2000, np.random.default_rng(0)), key=0)
    assert row(certificate, SEEN[fault]).ok is False, f"\n{certificate}"
    assert row(certificate, SEEN[fault]).remedy


@pytest.mark.slow
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - set(SEEN)))
def test_every_planted_fault_is_seen(fault):
    assert not check(**FAULTS[fault](10_000, np.random.default_rng(0)), key=0).ok


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in HEALTHY]
)
def test_samples_of_the_flow_itself_pass(name):
    certificate = check(**HEALTHY[name](2000, np.random.default_rng(0)), key=0)
    assert certificate.ok, f"\n{certificate}"


def test_few_rows_are_too_few_to_tell():
    x = np.random.default_rng(0).normal(size=(25, 3)) + np.array([0.7, 0, 0])
    certificate = check(normal(3), x)
    found = row(certificate, COMPARISON)
    assert found.ok is None
    assert "25 rows are too few to tell: a shift of less than" in found.sentence
    assert certificate.verdict.startswith("Too few rows to tell a shift below")
    assert not check(normal(3), np.random.default_rng(1).normal(size=(150, 3)) + np.array([0.7, 0, 0])).ok


class TestComparison:
    def test_polynomials_are_orthonormal(self):
        u = np.linspace(-1, 1, 20_001)
        powers = np.stack(legendre(u, 6))
        np.testing.assert_allclose(powers @ powers.T / len(u), np.eye(6), atol=2e-3)

    def test_an_effect_is_the_auc_of_two_normal_laws(self):
        random = np.random.default_rng(0)
        a, b = random.normal(size=4000) + 0.5, random.normal(size=4000)
        assert abs((a[:, None] > b).mean() - auc_of(0.5)) < 0.03
        assert effect_of(auc_of(0.3)) == pytest.approx(0.3)

    def test_false_alarms_are_as_rare_as_stated(self):
        """A thousandth: five of 200 have a probability of 3e-6. The bound is not idle: nine tenths of it are passed."""
        random, passed, near = np.random.default_rng(0), 0, 0
        for _ in range(200):
            c = random.normal(size=(150, 1))
            x = c + random.standard_t(1.5, (150, 2))
            drawn = c[:, None] + random.standard_t(1.5, (150, 4, 2))
            found = largest_differences([ranked(x, drawn, ["a", "b"])], context_ranks(c))[0]
            passed += found.t > found.allowed
            near += found.t > 0.7 * found.allowed
        assert passed < 5
        assert near > 5

    def test_a_small_effect_is_let_pass_at_any_number_of_rows(self):
        random = np.random.default_rng(0)
        for shift, ok in ((0.05, True), (0.25, False)):
            part = ranked(random.normal(size=(20_000, 1)) + shift, random.normal(size=(20_000, 1, 1)), ["a"])
            found = comparison_row(largest_differences([part], None), 20_000, 1)
            assert found.ok is ok
            assert abs(found.value - auc_of(shift)) < 0.01
        assert found.fault == "the mean of a of the rows is not as in the flow's samples"

    def test_the_dependence_of_columns_is_named(self):
        random = np.random.default_rng(0)
        x, drawn = draws(3, 0.4, 4000, random), random.normal(size=(4000, 1, 3))
        found = comparison_row(largest_differences([ranked(x, drawn, ["a", "b", "c"])], None), 4000, 1)
        assert found.fault.startswith("the dependence of")


class TestClassifier:
    def test_rows_alike_have_an_auc_of_one_half(self):
        random = np.random.default_rng(0)
        values = []
        for _ in range(20):
            x, drawn = random.normal(size=(400, 2)), random.normal(size=(400, 1, 2))
            found = classifier_row([ranked(x, drawn, ["a", "b"])], None, random)
            assert found.ok
            values.append(found.value)
        assert max(values) < 0.5 + 5 * math.sqrt(401 / (12 * 200 * 200))

    def test_a_ring_is_told_from_a_disc_of_the_same_margins(self):
        random = np.random.default_rng(0)
        signs = np.sign(random.normal(size=(3000, 3)))
        signs[:, 2] = signs[:, 0] * signs[:, 1]
        x, drawn = signs * np.abs(random.normal(size=(3000, 3))), random.normal(size=(3000, 1, 3))
        part = ranked(x, drawn, ["a", "b", "c"])
        assert comparison_row(largest_differences([part], None), 3000, 1).ok
        found = classifier_row([part], None, random)
        assert found.ok is False
        assert found.value > 0.6


class TestValuesThatRepeat:
    def test_a_value_and_its_column_are_named(self):
        random = np.random.default_rng(0)
        x, drawn = random.normal(size=(2, 2000, 2))
        assert atoms_row(x, drawn, Columns(None, (2,))).ok
        x[:60, 1] = 0.25
        found = atoms_row(x, drawn, Columns(None, (2,)))
        assert found.ok is False
        assert found.fault.startswith("column 1 has 0.25 in 3.0% of the rows, and in 0.0%")

    def test_values_that_the_samples_repeat_as_often_pass(self):
        random = np.random.default_rng(0)
        x, drawn = random.poisson(1.0, size=(2, 2000, 1)).astype(float)
        assert atoms_row(x, drawn, Columns(None, (1,))).ok
        x[random.random(2000) < 0.2] = 0.0
        assert atoms_row(x, drawn, Columns(None, (1,))).ok is False

    def test_zeros_of_a_rounded_column(self):
        flow = pf.Discretised(pf.bases.Normal((2,), loc=5.0, scale=2.0), steps=[1.0, 0.0])
        random = np.random.default_rng(0)
        x = own(flow, 2000, random)
        assert row(check(flow, x), ATOMS).ok
        x[random.random(2000) < 0.1, 0] = 0.0
        assert "column 0 has 0 in" in row(check(flow, x), ATOMS).fault


class TestCopies:
    @pytest.mark.parametrize("dim", [1, 2, 6])
    def test_rows_of_one_law_are_no_copies(self, dim):
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
    def test_narrow_rows_are_no_curve_if_samples_are_as_narrow(self, correlation):
        random = np.random.default_rng(0)
        assert thickness_row(draws(3, correlation, 2000, random), draws(3, correlation, 2000, random), random).ok

    def test_a_curve_beside_a_thin_tube(self):
        random = np.random.default_rng(0)
        t = random.uniform(0, 12, 2000)
        x = np.stack([np.cos(t), np.sin(t), t], 1)
        found = thickness_row(x, x[::-1] + 0.02 * random.normal(size=x.shape), random)
        assert found.ok is False
        assert found.value > 3


def test_rows_that_rounding_puts_at_the_end_of_a_support_lie_inside():
    flow = pf.Flow(pf.bases.Normal((1,), scale=8.0), Elementwise(Sigmoid(), (1,)))
    x = np.array([[0.5], [1 - 1e-12], [1.5], [0.3]])
    scores = np.array([0.0, -np.inf, -np.inf, 0.0])
    moved, found, count = inside(flow, x, None, scores, x)
    assert count == 1
    assert 0 < 1 - moved[1, 0] < 1e-6
    assert np.isfinite(found[1])
    assert (moved[2, 0], found[2]) == (1.5, -np.inf)


class TestIntegral:
    def test_mass_beyond_the_grid_is_not_missing(self):
        parts = [pf.bases.Normal((1,)), pf.bases.Normal((1,), scale=1e5)]
        found = row(check(pf.bases.Mixture(parts, weights=np.array([0.98, 0.02]))), "integral of the density")
        assert found.ok is not False

    def test_mass_that_is_never_drawn_is_too_much(self):
        class Doubled(pf.bases.Mixture):
            """A mixture whose density counts the first component twice."""

            def log_prob_one(self, x, context, key):
                return jnp.logaddexp(
                    super().log_prob_one(x, context, key), self.components[0].log_prob_one(x + 9.0, context, key)
                )

        found = row(check(Doubled([pf.bases.Normal((1,))])), "integral of the density")
        assert found.ok is False
        assert "2.0000" in found.sentence


def test_one_mean_for_the_same_rows():
    """In the units of the flow's own scores, of rounded columns too."""
    flow, random = pf.Discretised(pf.bases.Normal((2,), scale=3000.0), steps=[1000.0, 0.0]), np.random.default_rng(0)
    x, train = own(flow, 400, random) + np.array([6000.0, 0.0]), own(flow, 300, random)
    stated = row(check(flow, x, train=train), "over-fitting").sentence
    for rows in (x, train):
        assert f"{float(np.mean(np.asarray(flow.log_prob(rows), np.float64))):.3f} " in stated


def test_what_only_float32_cannot_hold_is_said():
    layers = pf.bijections.Standardise((2,)).filled(np.array([1e7, 0.0]), np.ones(2))
    flow = pf.Flow(pf.bases.Normal((2,)), pf.bijections.Chain([layers]))
    x = np.random.default_rng(0).normal(size=(300, 2)) + np.array([1e7, 0.0])
    verdict = check(flow, x).verdict
    assert "float32 is too coarse for this flow; in float64 it is healthy" in verdict, verdict

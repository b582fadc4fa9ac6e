"""Fitting to a target density, and importance sampling by a flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampling import quick_few

import pushforward as pf
from pushforward.diagnostics import pareto_k
from pushforward.errors import DataError, NumericError, ShapeError, TrainingDiverged

LOG_TWO_PI = float(np.log(2 * np.pi))
CENTRE = jnp.array([1.0, -2.0])
QUIET = {"key": 0, "progress": False}


def gaussian(x):
    """N((1, -2), [[1, 0.8], [0.8, 1]]) without its constant."""
    y = x - CENTRE
    return -0.5 * y @ jnp.linalg.inv(jnp.array([[1.0, 0.8], [0.8, 1.0]])) @ y


def two_modes(x):
    return jnp.logaddexp(-0.5 * jnp.sum((x - 2) ** 2), -0.5 * jnp.sum((x + 2) ** 2))


def uniform(x):
    return jnp.where(jnp.all(jnp.abs(x) < 1), 0.0, -jnp.inf)


def test_a_linear_flow_learns_a_gaussian():
    """At the optimum the path derivative of every sample is zero: the flow is exact, not only close."""
    flow, history = pf.fit_target(
        pf.linear_flow(2, key=0), gaussian, steps=2000, annealing=0.0, learning_rate=0.02, **QUIET
    )
    expected = LOG_TWO_PI + 0.5 * np.log(1 - 0.8**2)
    np.testing.assert_allclose(history.importance.log_evidence, expected, atol=1e-3)
    np.testing.assert_allclose(history.importance.reverse_kl, 0.0, atol=1e-3)
    assert history.importance.effective_sample_size > 9_990
    np.testing.assert_allclose(flow.bijection.forward(jnp.zeros(2)), [1.0, -2.0], atol=0.01)
    assert len(history.elbo) == len(history.seconds) == 50
    assert history.stop_reason == "finished"
    assert repr(history).startswith("TargetHistory(blocks=50, elbo=")


def test_the_path_derivative_vanishes_at_the_target_and_the_total_does_not():
    target = pf.linear_flow(2, key=0)
    log_density = lambda x: target.log_prob_one(x, None, None)  # noqa: E731

    def moved(**options):
        flow, _ = pf.fit_target(
            target, log_density, steps=20, annealing=0.0, ema=None, n_importance=2, **options, **QUIET
        )
        return max(float(jnp.abs(a - b).max()) for a, b in zip(*map(pf_arrays, (flow, target)), strict=True))

    assert moved(gradient="path", learning_rate=1e-4, optimizer=sgd()) < 1e-6
    assert moved(gradient="total", learning_rate=1e-4, optimizer=sgd()) > 1e-4


def sgd():
    import optax

    return optax.sgd(0.01)


def pf_arrays(flow):
    return [leaf for leaf in jax.tree.leaves(flow) if isinstance(leaf, jax.Array) and leaf.dtype.kind == "f"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"gradient": "total"}, marks=pytest.mark.slow),
        {"forward": 0.5},
        pytest.param({"forward": 1.0, "learning_rate": 0.02}, marks=pytest.mark.slow),
        {"pilot": 200},
    ],
)
def test_every_loss_learns_the_target(options):
    _, history = pf.fit_target(pf.linear_flow(2, key=0), gaussian, steps=1500, **options, **QUIET)
    assert history.importance.reverse_kl < 0.02
    assert history.importance.can_be_trusted


@pytest.mark.slow
def test_annealing_covers_both_modes():
    """From a narrow start the reverse divergence falls into one mode, and its weights give no warning.

    The flow's tails are thinner than the target's, which is a warning: one sample in 10,000 counts for hundreds.
    """
    with pytest.warns(UserWarning, match="the Pareto k of the weights is .*, above 0.70"):
        flow, history = pf.fit_target(pf.nsf(1, n_layers=2, width=16, key=0), two_modes, steps=1500, **QUIET)
    share = float((np.asarray(flow.sample(2000, key=1)) > 0).mean())
    assert 0.45 < share < 0.55  # five standard errors of a fair coin: 0.056
    np.testing.assert_allclose(history.importance.log_evidence, 0.5 * LOG_TWO_PI + np.log(2), atol=0.02)


def test_a_conditional_flow_is_fitted_to_a_family_of_targets():
    def target(x, c):
        return -0.5 * jnp.sum((x - 2 * c) ** 2)

    contexts = np.random.default_rng(0).uniform(-1, 1, (100, 1))
    flow = pf.linear_flow(1, context_dim=1, key=0, width=16)
    flow, history = pf.fit_target(flow, target, context=contexts, steps=1500, **QUIET)
    assert history.importance is None
    np.testing.assert_allclose(flow.context_scaling.scale, contexts.std(0))
    for c in (-0.8, 0.0, 0.8):
        sample = pf.importance_sample(flow.given([c]), lambda x, c=c: target(x, jnp.array([c])), 2000, key=1)
        assert sample.reverse_kl < 0.02
        np.testing.assert_allclose(sample.mean(), [2 * c], atol=0.15)


def test_a_pilot_fills_the_units_of_a_target():
    def target(x):
        return -0.5 * jnp.sum(((x - jnp.array([5.0, -3.0])) / jnp.array([0.02, 20.0])) ** 2)

    flow, history = pf.fit_target(pf.linear_flow(2, key=0), target, steps=200, pilot=1500, **QUIET)
    np.testing.assert_allclose(history.importance.log_evidence, LOG_TWO_PI + np.log(0.02 * 20), atol=0.01)
    filled = flow.bijection.bijections[-1]
    np.testing.assert_allclose(filled.scale, [0.02, 20.0], rtol=0.1)
    again, _ = pf.fit_target(flow, target, steps=1, pilot=10, **QUIET)
    np.testing.assert_array_equal(again.bijection.bijections[-1].scale, filled.scale)


def test_fit_target_is_reproducible():
    flows = [pf.fit_target(pf.linear_flow(2, key=0), gaussian, steps=5, n_importance=2, **QUIET)[0] for _ in range(2)]
    for one, two in zip(*map(pf_arrays, flows), strict=True):
        np.testing.assert_array_equal(one, two)


def test_keyboard_interrupt_returns_the_current_flow(monkeypatch):
    from pushforward.train import loop

    def interrupt(show, total, describe, first):
        class Bar:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return False

            def __call__(self, block, total):
                raise KeyboardInterrupt

        return Bar()

    monkeypatch.setattr(loop, "progress_bar", interrupt)
    _, history = pf.fit_target(pf.linear_flow(2, key=0), gaussian, steps=100, n_importance=2, **QUIET)
    assert history.stop_reason == "interrupted"
    assert len(history.elbo) == 1


def test_progress_is_printed(capsys):
    pf.fit_target(pf.linear_flow(2, key=0), gaussian, steps=3, n_importance=10, key=0)
    assert "evidence lower bound" in capsys.readouterr().err


class TestWrongUse:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"gradient": "score"}, "gradient: expected 'path' or 'total'"),
            ({"forward": 1.5}, "forward: expected a share from 0 to 1"),
            ({"annealing": -0.1}, "annealing: expected a share from 0 to 1"),
            ({"pilot": -1}, "pilot: expected a number of steps"),
            ({"steps": 0}, "steps: expected a whole number"),
            ({"learning_rate": 0.0}, "learning_rate: expected a positive number"),
            ({"ema": 1.0}, "ema: expected a decay"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            pf.fit_target(pf.linear_flow(2, key=0), gaussian, **options, **QUIET)

    def test_a_target_of_batches(self):
        with pytest.raises(ShapeError, match=r"log_density: expected one number for one sample of shape \(2,\)"):
            pf.fit_target(pf.linear_flow(2, key=0), lambda x: x, **QUIET)

    def test_a_target_of_another_shape(self):
        with pytest.raises(ShapeError, match="log_density: expected a function of one sample"):
            pf.importance_sample(pf.linear_flow(2, key=0), lambda x: x @ jnp.ones(3), 10, key=0)

    def test_a_target_that_returns_nothing(self):
        with pytest.raises(ShapeError, match="got no array"):
            pf.importance_sample(pf.linear_flow(2, key=0), lambda x: None, 10, key=0)

    def test_contexts(self):
        conditional = pf.linear_flow(2, context_dim=1, key=0, width=8)
        for flow, context, message in (
            (pf.linear_flow(2, key=0), [[1.0]], "context: expected none"),
            (conditional, None, "context: expected rows"),
            (conditional, np.zeros((0, 1)), "context: expected at least one row"),
        ):
            with pytest.raises(DataError, match=message):
                pf.fit_target(flow, lambda x, c=None: jnp.sum(x), context=context, **QUIET)
        with pytest.raises(ShapeError, match="expected an unconditional distribution"):
            pf.importance_sample(conditional, gaussian, 10, key=0)

    def test_too_few_samples(self):
        with pytest.raises(ValueError, match="n: expected a number of samples, at least 2"):
            pf.importance_sample(pf.linear_flow(2, key=0), gaussian, 1, key=0)

    def test_a_target_that_is_nan(self):
        with pytest.raises(NumericError, match=r"log_density: nan at 10 of 10 \(100.00%\) of the flow's samples"):
            pf.importance_sample(pf.linear_flow(2, key=0), lambda x: jnp.sum(x) * jnp.nan, 10, key=0)

    def test_a_target_elsewhere(self):
        with pytest.raises(NumericError, match="do not overlap"):
            pf.importance_sample(pf.linear_flow(2, key=0), lambda x: uniform(x - 100), 10, key=0)

    def test_a_bounded_target_under_an_unbounded_flow(self):
        with pytest.raises(TrainingDiverged, match="map the flow onto the support"):
            pf.fit_target(pf.linear_flow(2, key=0), uniform, steps=500, **QUIET)


class TestImportance:
    def test_known_moments(self):
        sample = pf.importance_sample(
            pf.linear_flow(2, key=0), lambda x: gaussian(x + jnp.array([1.0, -2.0])), 50_000, key=3
        )
        expected = LOG_TWO_PI + 0.5 * np.log(1 - 0.8**2)
        assert abs(sample.log_evidence - expected) < 5 * sample.log_evidence_error
        assert 0.001 < sample.log_evidence_error < 0.02
        np.testing.assert_allclose(sample.weights.sum(), 1.0)
        second = sample.mean(lambda x: np.outer(x, x))
        np.testing.assert_allclose(second, [[1.0, 0.8], [0.8, 1.0]], atol=0.1)
        rows = sample.resample(20_000, key=1)
        np.testing.assert_allclose(np.cov(rows.T), [[1.0, 0.8], [0.8, 1.0]], atol=0.1)
        assert "log evidence" in str(sample)
        assert sample.to_dict()["n"] == 50_000

    def test_a_narrow_proposal_is_not_trusted(self):
        narrow = pf.Flow(pf.bases.Normal((2,)), pf.bijections.Elementwise(pf.bijections.Affine(scale=0.4), (2,)))
        sample = pf.importance_sample(narrow, lambda x: -0.5 * jnp.sum(x**2), 5000, key=0)
        assert not sample.can_be_trusted
        assert "do not trust" in str(sample)

    def test_a_density_of_zero_weighs_nothing(self):
        sample = pf.importance_sample(pf.linear_flow(2, key=0), uniform, 20_000, key=0)
        assert abs(sample.log_evidence - np.log(4)) < 5 * sample.log_evidence_error
        assert sample.elbo == -np.inf


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_pareto_weights(k):
    """log w exponential with mean k. The posterior's deviation is about (1 + k) / sqrt(tail) = 0.07 with 670 in it."""
    log_weights = np.random.default_rng(1).exponential(k, 50_000)
    assert abs(pareto_k(log_weights) - k) < 5 * (1 + k) / np.sqrt(3 * np.sqrt(50_000))


def test_pareto_k_of_degenerate_weights():
    assert pareto_k(np.zeros(1000)) == 0.0
    assert np.isnan(pareto_k(np.arange(10.0)))
    assert np.isnan(pareto_k(np.full(100, -np.inf)))


@pytest.mark.parametrize("name", quick_few(pf.datasets.POTENTIAL_NAMES, "ring", "split_wave"))
def test_potentials_have_finite_mass_within_their_box(name):
    middles = (np.arange(600) + 0.5) / 50 - 6
    points = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
    mass = np.exp(np.asarray(jax.vmap(pf.datasets.potential(name))(points), np.float64)).reshape(600, 600) / 50**2
    assert np.isfinite(mass).all()
    is_inner = np.abs(middles) < 4.6
    np.testing.assert_allclose(mass[is_inner][:, is_inner].sum(), mass.sum(), rtol=1e-4)


def test_an_unknown_potential_is_refused():
    with pytest.raises(ValueError, match="name: expected one of ring, wave"):
        pf.datasets.potential("u1")

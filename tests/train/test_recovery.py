"""Consecutive failed steps: skipped, undone with half the learning rate, finally an error, for every objective."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import Cliff, data, flow_2d, trained_numbers

import pushforward as pf
from pushforward.errors import TrainingDiverged
from pushforward.train.recovery import Recovery
from pushforward.train.state import TrainState

QUIET = {"key": 0, "progress": False}
DISTIL = QUIET | {"batch_size": 32, "n_fidelity": 200, "tolerance": 100.0, "forward": 0.5, "annealing": 0.0}
NORMAL = pf.bases.Normal((2,))


def cliff_flow():
    """z + shift in the data's units, whose log-determinant is NaN once the shift has left a box of 0.1."""
    return pf.Flow(NORMAL, pf.bijections.Chain([Cliff(0.09), flow_2d().bijection.bijections[-1]]))


def normal(x):
    return -0.5 * jnp.sum(x**2)


def nan_beyond(bound):
    """The standard normal, whose log-density is NaN where the first coordinate exceeds a bound."""
    return lambda x: jnp.where(x[0] > bound, jnp.nan, normal(x))


def is_recovered(flow, history):
    assert 1 <= history.restarts <= 5
    assert history.skipped_steps >= 25 * history.restarts
    assert np.abs(flow.bijection.bijections[0].shift).max() < 0.1


def test_fit_target_restores_a_snapshot_after_consecutive_failures():
    flow, history = pf.fit_target(
        cliff_flow(), normal, steps=1000, batch_size=8, learning_rate=0.1, ema=None, annealing=0.0, gradient="total",
        n_importance=200, **QUIET,
    )  # fmt: skip
    is_recovered(flow, history)
    assert np.isfinite(history.elbo[-1])
    assert np.isfinite(history.importance.log_evidence)


def test_distill_restores_a_snapshot_after_consecutive_failures():
    student, result = pf.distill(
        NORMAL, cliff_flow(), steps=1000, learning_rate=0.1, ema=None, gradient="total", **DISTIL
    )
    is_recovered(student, result.history)
    assert np.isfinite([result.reverse_kl, result.forward_kl]).all()


@pytest.mark.parametrize("objective", ["fit_target", "distill"])
def test_repeated_failures_name_step_and_rate(objective):
    def train(steps):
        flow, options = pf.linear_flow(2, key=0), {"steps": steps, "learning_rate": 8e-3}
        if objective == "fit_target":
            return pf.fit_target(flow, nan_beyond(-9.0), batch_size=8, **options, **QUIET)
        return pf.distill(NORMAL, flow, penalty=lambda x: jnp.sum(x) * jnp.nan, **options, **DISTIL)

    with pytest.raises(TrainingDiverged, match=r"within steps \d+ to \d+ at learning rate 0\.00025: 25 steps in a row"):
        train(400)
    with pytest.raises(TrainingDiverged, match="none of 10 steps had a finite loss"):
        train(10)


def test_a_region_of_nan_costs_steps_and_not_the_fit():
    with pytest.warns(UserWarning, match=r"no importance sampling by the fitted flow: log_density: nan at \d+ of 1000"):
        flow, history = pf.fit_target(
            pf.linear_flow(2, key=0), nan_beyond(2.5), steps=200, batch_size=32, n_importance=1000, **QUIET
        )
    assert 0 < history.skipped_steps < 200
    assert history.importance is None
    assert all(np.isfinite(leaf).all() for leaf in trained_numbers(flow))


def test_the_forward_divergence_trains_on_a_target_that_is_zero_at_samples():
    """Every block has samples of density zero, so its evidence lower bound is -inf, but no step fails."""
    _, history = pf.fit_target(
        pf.linear_flow(2, key=0), lambda x: jnp.where(x[0] > -0.5, normal(x), -jnp.inf), steps=60, batch_size=64,
        forward=1.0, annealing=0.0, n_importance=1000, **QUIET,
    )  # fmt: skip
    assert history.skipped_steps == 0
    assert not np.isfinite(history.elbo).any()
    assert history.importance.effective_sample_size > 100


class Holed(pf.bases.AbstractDistribution):
    """A teacher: the standard normal, whose log-density is NaN where the first coordinate of a sample exceeds 2.5."""

    shape: tuple[int, ...] = (2,)
    context_shape: None = None

    def log_prob_one(self, x, context, key):
        return jnp.where(x[0] > 2.5, jnp.nan, NORMAL.log_prob_one(x, None, None))

    def sample_and_log_prob_one(self, key, context):
        x, log_prob = NORMAL.sample_and_log_prob_one(key, None)
        x = jnp.minimum(x, 2.5)
        return x, log_prob


def test_a_teacher_with_nan_in_a_region_still_gives_a_student():
    with pytest.warns(UserWarning, match="could not be compared with its teacher"):
        student, result = pf.distill(Holed(), pf.linear_flow(2, key=0), steps=60, **DISTIL | {"n_fidelity": 5000})
    assert 0 < result.history.skipped_steps < 60
    assert result.doubts(100.0)
    assert str(result).startswith("KL(student | teacher)   nan")
    assert all(np.isfinite(leaf).all() for leaf in trained_numbers(student))


def test_weights_from_which_no_step_succeeds_are_not_returned():
    """The second step leaves the box; the 18 that fail after it are too few for a restart."""
    runaway = optax.stateless(lambda updates, _: jax.tree.map(lambda u: jnp.full_like(u, 0.01), updates))
    flow = pf.Flow(NORMAL, pf.bijections.Chain([Cliff(0.085), flow_2d().bijection.bijections[-1]]))
    flow, history = pf.fit_target(
        flow, normal, steps=20, batch_size=8, ema=None, optimizer=runaway, n_importance=2, **QUIET
    )
    assert history.skipped_steps == 18
    np.testing.assert_allclose(flow.bijection.bijections[0].shift, 0.095, rtol=1e-5)


def train_state(step):
    """A state whose only parameter is the number of its steps so far."""
    count = jnp.zeros((), jnp.int32)
    return TrainState([jnp.asarray(float(step))], [], (), [], jax.random.key(0), count, jnp.ones(()), count, count)


def test_a_snapshot_from_which_every_step_fails_is_skipped():
    """The last step of a block leads to weights without a finite loss: a snapshot of them is useless."""
    starts, rates = [], []

    def steps(state, rate):
        starts.append(float(state.params[0]))
        rates.append(rate)
        if state.params[0] >= 60:  # every step of the block fails
            return state._replace(skipped_steps=state.skipped_steps + 30, bad_steps=state.bad_steps + 30), 0.0
        return state._replace(params=[state.params[0] + 30]), 30.0

    recovery, state = Recovery(0.4, adjustable=True, advice="Advice."), train_state(0)
    made = []
    for _ in range(4):
        state, _, finite = recovery.run(steps, state, 30, "here")
        made.append(finite)
    assert starts == [0, 30, 60, 30]
    assert made == [30, 30, 0, 30]
    assert rates == [0.4, 0.4, 0.4, 0.2]
    assert int(state.skipped_steps) == 60  # the failed block, and the one that is undone
    assert recovery.restarts == 1


def test_restarts_are_counted_and_limited():
    recovery, state = Recovery(0.32, adjustable=True, advice="Advice."), train_state(0)

    def fail(state, _):
        return state._replace(skipped_steps=state.skipped_steps + 30, bad_steps=state.bad_steps + 30), 0.0

    for _ in range(5):
        state, _, _ = recovery.run(fail, state, 30, "here")
    assert recovery.learning_rate == 0.01
    assert int(state.skipped_steps) == 150
    with pytest.raises(TrainingDiverged, match=r"diverged here at learning rate 0\.01: 25 steps in a row .* Advice\."):
        recovery.run(fail, state, 30, "here")


def test_a_callers_optimiser_has_no_rate_to_halve():
    with pytest.raises(TrainingDiverged, match="at the learning rate of `optimizer`: 25 steps in a row"):
        pf.fit(flow_2d(), data() , optimizer=optax.stateless(lambda u, _: jax.tree.map(lambda g: g * jnp.nan, u)),
               batch_size=20, max_epochs=3, **QUIET)  # fmt: skip


def test_without_validation_rows_the_weights_are_from_before_the_failure():
    """The second of 16 steps leaves the box: the epoch has a finite mean, and its weights have no density."""
    runaway = optax.stateless(lambda updates, _: jax.tree.map(lambda u: jnp.full_like(u, 0.01), updates))
    flow = pf.Flow(NORMAL, pf.bijections.Chain([Cliff(0.085), flow_2d().bijection.bijections[-1]]))
    flow, history = pf.fit(
        flow, data(), validation=0, batch_size=50, optimizer=runaway, ema=None, max_epochs=1, **QUIET
    )
    assert history.skipped_steps == 14
    assert np.isfinite(history.train).all()
    assert np.isfinite(flow.log_prob(data(5))).all()


def test_a_failed_epoch_without_validation_rows_does_not_return_the_start():
    """The last of the 10 steps of the second epoch leaves the box: no step of the third is finite."""
    climb = optax.stateless(lambda updates, _: jax.tree.map(lambda u: jnp.full_like(u, 0.01), updates))
    start = pf.Flow(NORMAL, pf.bijections.Chain([Cliff(-0.095), flow_2d().bijection.bijections[-1]]))
    flow, history = pf.fit(start, data(), validation=0, batch_size=80, optimizer=climb, ema=None, max_epochs=3, **QUIET)
    assert (history.best_epoch, history.skipped_steps) == (0, 10)
    np.testing.assert_allclose(flow.bijection.bijections[0].shift, 0.005, atol=1e-5)
    assert np.isfinite(flow.log_prob(data(5))).all()

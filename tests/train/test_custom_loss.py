"""`fit(loss=...)`, and the pieces of a training loop of one's own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import data, same, trained_numbers

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Standardise
from pushforward.train.custom_loss import custom_loss
from pushforward.train.data import Rows

QUIET = {"key": 0, "progress": False}


def flow():
    return pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Affine(shift=0.5), (2,)), Standardise((2,))]))


def negative_log_likelihood(flow, x, context, key):
    assert context is None
    return -flow.log_prob(x)


def test_the_negative_log_likelihood_trains_as_the_default():
    """With weights, in batches that do not divide the rows, far from zero; in the units of the data."""
    x, weights = data(333) + np.array([50.0, 0.0]), np.linspace(0.1, 2.0, 333)
    options = {"weights": weights, "batch_size": 64, "max_epochs": 2, "start": "given", **QUIET}
    plain, plain_history = pf.fit(flow(), x, **options)
    own, history = pf.fit(flow(), x, loss=negative_log_likelihood, **options)
    for ours, theirs in zip(trained_numbers(own), trained_numbers(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert not same(trained_numbers(own), trained_numbers(flow()))
    for name, tolerance in (
        ("validation", 1e-4),
        ("start", 1e-4),
        ("train", 1e-2),
    ):
        np.testing.assert_allclose(getattr(history, name), getattr(plain_history, name), atol=tolerance)
    assert history.best_epoch == plain_history.best_epoch
    assert np.isnan([history.gaussian, history.mixture, history.validation_without_copies]).all()
    assert (history.start_from, history.n_validation) == ("given", plain_history.n_validation)


def test_validation_counts_every_row_once_with_the_same_keys():
    rows = Rows(data(70), None, np.linspace(1.0, 2.0, 70))

    def noisy(flow, x, context, key):
        return x[:, 0] + jax.random.normal(key, (len(x),))

    first, second = (custom_loss(noisy, flow(), rows, 32).mean(flow(), rows, 32) for _ in range(2))
    assert first == second
    exact = custom_loss(lambda flow, x, context, key: x[:, 0], flow(), rows, 32).mean(flow(), rows, 32)
    np.testing.assert_allclose(exact, np.average(rows.x[:, 0], weights=rows.weights), rtol=1e-5)
    plain = Rows(data(70), None, None)
    whole = custom_loss(lambda flow, x, context, key: jnp.mean(x[:, 0]), flow(), plain, 32).mean(flow(), plain, 32)
    np.testing.assert_allclose(whole, plain.x[:64, 0].mean(), rtol=1e-5)  # of full batches


class Scaled(eqx.Module):
    factor: jax.Array

    def __call__(self, flow, x, context, key):
        return -self.factor * flow.log_prob(x)


@pytest.mark.parametrize(
    ("loss", "rows", "message"),
    [
        (Scaled(jnp.ones(())), data(20), "another hashable callable, got Scaled"),
        (lambda flow, x: x, data(20), r"of \(flow, x, context, key\), got one of \(flow, x\)"),
        (lambda flow, x, context, key: x, data(20), r"each of the 8 rows, or one number, got shape \(8, 2\)"),
        (lambda flow, x, context, key: None, data(20), "or one number, got NoneType"),
        (lambda flow, x, context, key: x[:, 0] + 1j, data(20), "real floating-point numbers, got complex64"),
        (
            negative_log_likelihood,
            data(20) + 1e6,
            "column 0 has a mean more than 1,000 times its spread",
        ),
    ],
)
def test_wrong_losses_are_refused(loss, rows, message):
    with pytest.raises((TypeError, ValueError), match=message):
        custom_loss(loss, flow(), Rows(rows, None, None), 8)


def test_one_number_cannot_be_weighted():
    with pytest.raises(ValueError, match="`weights` weight them, got one number"):
        custom_loss(lambda flow, x, context, key: jnp.mean(x), flow(), Rows(data(20), None, np.ones(20)), 8)


def test_a_loop_of_ones_own_needs_no_wrapper():
    """Plain `jax.jit` over the parameters, with the rest of the flow closed over, or over the arrays of the flow."""
    x, context = data(100) + 30.0, data(100, 1)[:, :1]
    conditional = pf.maf(dim=2, context_dim=1, n_layers=1, width=4, depth=1, key=0)
    start = pf.initialise(conditional, x, context=context)
    np.testing.assert_allclose(start.layers[-1].mean, x.mean(0), atol=0.2)
    assert bool(start.context_scaling.is_filled)
    trained, rest = eqx.partition(start, pf.trainable(start))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(trained, opt_state):
        loss = lambda trained: -jnp.mean(eqx.combine(trained, rest).log_prob(x, context))  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(trained)
        updates, opt_state = optimizer.update(gradient, opt_state, trained)
        return optax.apply_updates(trained, updates), opt_state, value

    opt_state, values = optimizer.init(trained), []
    for _ in range(5):
        trained, opt_state, value = step(trained, opt_state)
        values.append(float(value))
    assert values[-1] < values[0]
    arrays, static = eqx.partition(eqx.combine(trained, rest), eqx.is_array)
    jitted = jax.jit(lambda arrays: eqx.combine(arrays, static).log_prob(x, context))(arrays)
    np.testing.assert_allclose(jitted, eqx.combine(trained, rest).log_prob(x, context), rtol=1e-4, atol=1e-4)
    assert eqx.tree_equal(pf.refresh(start), start)
    assert eqx.tree_equal(pf.finalise(start), start)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: pf.initialise(flow(), data(1)), "x: expected at least 2 rows"),
        (lambda: pf.initialise(flow(), data(5)[:, :1]), r"x: expected shape \(n, 2\)"),
        (lambda: pf.fit_target(flow(), lambda x: x[0] + 1j, **QUIET), "log_density: expected a real number"),
    ],
)
def test_errors_name_the_argument(edit, message):
    with pytest.raises((TypeError, ValueError), match=message):
        edit()

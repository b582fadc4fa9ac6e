"""A caller's optimisers: extra arguments, skipped steps; and arrays of 16 bits, which are refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import data, flow_2d, numbers, same
from sampling import quick_few

import pushforward as pf
from pushforward.core.fields import trainable
from pushforward.train.checks import trained_flags
from pushforward.train.epochs import negative_log_likelihood
from pushforward.train.optimizer import update_rule, with_clipping
from pushforward.train.schedules import Schedule
from pushforward.train.state import init_state, restore, snapshot
from pushforward.train.step import run_steps
from pushforward.train.target_loss import TargetLoss

QUIET = {"key": 0, "progress": False}
NORMAL = pf.bases.MultivariateNormal(2, covariance=np.array([[2.0, 1.2], [1.2, 1.0]]))
ADAM = optax.adam(1e-2)

# each with its extra arguments beyond the gradient
OPTIMIZERS = {
    "plateau": (optax.contrib.reduce_on_plateau(patience=3), "value"),
    "polyak": (optax.polyak_sgd(0.05, f_min=-10.0), "value"),
    "momo": (optax.contrib.momo(0.05, lower_bound=-10.0), "value"),
    "lbfgs": (optax.lbfgs(0.05, linesearch=None), "the weights in its state"),
    "lbfgs zoom": (optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(4)), "value, grad, value_fn"),
    "backtracking": (optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(6)), "value, grad, value_fn"),
    "schedule free": (optax.contrib.schedule_free_sgd(0.05), "the weights in its state"),
    "sam": (optax.contrib.sam(optax.sgd(0.05), optax.sgd(0.01)), "no extra argument"),
    "sam in a chain": (optax.chain(optax.clip(1.0), optax.contrib.sam(optax.sgd(0.05), optax.sgd(0.01))), "none"),
    "opaque sam": (optax.contrib.sam(optax.sgd(0.05), optax.sgd(0.01), opaque_mode=True), "grad_fn"),
    "sophia": (optax.contrib.sophia(5e-3), "obj_fn"),
    "hyperparameters": (optax.inject_hyperparams(optax.sgd)(0.05), "nothing"),
    "noise": (optax.chain(optax.add_noise(1e-4, 0.5, jax.random.key(0)), optax.sgd(0.05)), "a typed key in its state"),
}


class Shifted(pf.bijections.AbstractBijection):
    """x = z + shift: one trained array, so that the programs of the tests compile fast."""

    shift: jax.Array
    shape: tuple[int, ...] = (2,)
    context_shape: None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z + self.shift, jnp.zeros(())

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x - self.shift, jnp.zeros(())


def shifted(at=0.5):
    return pf.Flow(pf.bases.Normal((2,)), Shifted(jnp.full(2, at)))


def size(flow):
    return float(np.abs(flow.bijection.shift).max())


@pytest.mark.parametrize("clip", quick_few((5.0, None), 5.0))
@pytest.mark.parametrize("name", quick_few(OPTIMIZERS, "plateau", "lbfgs zoom", "sam in a chain", "sophia", "noise"))
def test_optax_optimisers_train(name, clip):
    """The best shift of rows whose mean is zero is zero; plain descent at 0.05 leaves 0.5 * 0.95^40 = 0.06."""
    x = data() - data().mean(0)
    options = {"batch_size": 400, "max_epochs": 4, "validation": x, "clip": clip, "ema": None}
    optimizer = OPTIMIZERS[name][0]
    if name == "plateau":
        optimizer = optax.chain(optax.sgd(0.05), optimizer)
    flow, history = pf.fit(shifted(), x, optimizer=optimizer, **options, **QUIET)
    assert history.skipped_steps == 0
    assert size(flow) < 0.35  # every optimiser moved the right way, and most are near zero
    assert history.validation[-1] > history.start


def test_a_plateau_rule_that_never_acts_changes_nothing():
    plain, _ = pf.fit(shifted(), data(), optimizer=ADAM, batch_size=50, max_epochs=1, **QUIET)
    never = optax.chain(ADAM, optax.contrib.reduce_on_plateau(patience=10**6))
    ruled, _ = pf.fit(shifted(), data(), optimizer=never, batch_size=50, max_epochs=1, **QUIET)
    assert same(numbers(plain), numbers(ruled))


def watcher():
    """An optimiser that does nothing; its state is the sum of the values it got, their number, and whether `value_fn`
    agreed with each."""

    def update(updates, state, params=None, *, value, grad, value_fn, **_):
        agrees = jnp.abs(value_fn(params) - value) < 1e-5 * (1 + jnp.abs(value))
        return jax.tree.map(jnp.zeros_like, updates), (state[0] + value, state[1] + 1, state[2] & agrees)

    zero = jnp.zeros(())
    return optax.GradientTransformationExtraArgs(lambda _: (zero, zero, jnp.asarray(True)), update)


def test_the_value_is_the_negative_log_likelihood_of_the_batch():
    x = data(64)
    flow = shifted(0.0)
    rule = update_rule(watcher(), 5.0, None)
    partition, state = init_state(flow, trained_flags(flow, trainable(flow)), rule, jax.random.key(0))
    batches = (jnp.asarray(x, jnp.float32)[None], None, None)
    schedule = Schedule(1.0, 1.0, 0.0)
    state, total = run_steps(partition, rule, negative_log_likelihood, state, batches, None, 1, schedule)
    value, count, agrees = state.opt_state[1]
    expected = -np.mean(flow.log_prob(x))
    assert count == 1
    assert agrees
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(total, -expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", [optax.lbfgs(0.1, linesearch=None), optax.contrib.schedule_free_sgd(0.1)])
def test_a_skipped_step_does_not_change_the_optimiser_state(optimizer):
    flow = shifted()
    rule = update_rule(optimizer, 5.0, 0.9)
    partition, state = init_state(flow, trained_flags(flow, trainable(flow)), rule, jax.random.key(0))
    good = jnp.asarray(data(8), jnp.float32)
    batches = (jnp.stack([good, good.at[0, 0].set(jnp.nan)]), None, None)
    schedule = Schedule(2.0, 1.0, 0.9)

    def after(n_steps):
        _, fresh = init_state(flow, trained_flags(flow, trainable(flow)), rule, jax.random.key(0))
        return run_steps(partition, rule, negative_log_likelihood, fresh, batches, None, n_steps, schedule)[0]

    one, two = after(1), after(2)
    assert (int(two.skipped_steps), int(two.bad_steps)) == (1, 1)
    for part in ("params", "opt_state", "ema"):
        assert same(*([np.asarray(leaf) for leaf in jax.tree.leaves(getattr(c, part))] for c in (one, two)))
    assert not same([np.asarray(leaf) for leaf in jax.tree.leaves(one.opt_state)], [
        np.asarray(leaf) for leaf in jax.tree.leaves(state.opt_state)
    ])  # fmt: skip


def test_a_restored_snapshot_continues_as_the_state_would():
    """The state decides the samples of later steps: it holds the key and the number of steps."""
    flow, loss = shifted(), TargetLoss(lambda x: -0.5 * jnp.sum(x**2), 8, False, False, 0.0)
    rule = update_rule(ADAM, 5.0, 0.9)
    partition, state = init_state(flow, trained_flags(flow, trainable(flow)), rule, jax.random.key(3))

    def after(state):
        return run_steps(partition, rule, loss, state, None, (None, 0.0), 2, Schedule(4.0, 1.0, 0.9))[0]

    state = after(state)
    earlier = snapshot(state)
    ends = [snapshot(after(start)) for start in (state, restore(earlier), restore(earlier))]
    assert all(int(end.step) == 4 for end in ends)
    for end in ends[1:]:
        assert same(jax.tree.leaves(end.params), jax.tree.leaves(ends[0].params))
    _, fresh = init_state(flow, trained_flags(flow, trainable(flow)), rule, jax.random.key(3))
    assert not same(jax.tree.leaves(snapshot(after(fresh)).params), jax.tree.leaves(ends[0].params))


def test_a_search_needs_the_derivative_of_the_loss():
    """The path derivative is not the derivative of the batch's divergence; the total one is."""
    search, log_density = OPTIMIZERS["backtracking"][0], lambda x: -0.5 * jnp.sum(x**2)
    target = {"steps": 20, "batch_size": 64, "annealing": 0.0, "n_importance": 2, "optimizer": search, "ema": None}
    for loss in ({"gradient": "path"}, {"gradient": "total", "forward": 0.5}):
        with pytest.raises(ValueError, match=r"optimizer: it searches along the loss.*gradient='total' and forward=0"):
            pf.fit_target(shifted(), log_density, **target, **loss, **QUIET)
    flow, _ = pf.fit_target(shifted(), log_density, gradient="total", **target, **QUIET)
    assert size(flow) < 0.1


@pytest.mark.slow
def test_a_search_needs_the_derivative_of_the_loss_in_distillation():
    student = {"steps": 20, "batch_size": 64, "n_fidelity": 100, "optimizer": OPTIMIZERS["backtracking"][0]}
    student |= {"tolerance": 100.0, "ema": None}
    teacher = pf.bases.Normal((2,))
    with pytest.raises(ValueError, match=r"optimizer: it searches along the loss.*Use gradient='total'"):
        pf.distill(teacher, shifted(), **student, **QUIET)
    for loss in ({"gradient": "total"}, {"forward": 1.0}):
        flow, _ = pf.distill(teacher, shifted(), **student, **loss, **QUIET)
        assert size(flow) < 0.2


@pytest.mark.slow
def test_gradients_at_other_weights_may_be_estimates():
    """SAM asks for the gradient at a second point: the path derivative there is as good as at the first."""
    opaque, log_density = OPTIMIZERS["opaque sam"][0], lambda x: -0.5 * jnp.sum(x**2)
    flow, _ = pf.fit_target(
        shifted(), log_density, steps=60, batch_size=64, annealing=0.0, n_importance=2, optimizer=opaque, **QUIET
    )
    assert size(flow) < 0.4


def test_an_optimiser_that_reads_the_loss_serves_every_objective():
    rule = optax.chain(optax.adam(0.05), optax.contrib.reduce_on_plateau(patience=50))
    options = {"steps": 60, "batch_size": 64, "optimizer": rule, "ema": None}
    flow, _ = pf.fit_target(shifted(), lambda x: -0.5 * jnp.sum(x**2), n_importance=2, **options, **QUIET)
    assert size(flow) < 0.3
    flow, _ = pf.distill(pf.bases.Normal((2,)), shifted(), n_fidelity=100, tolerance=100.0, **options, **QUIET)
    assert size(flow) < 0.3


def test_unsupported_optimisers_are_refused():
    def update(updates, state, params=None, *, temperature):
        return updates, state

    asks = optax.GradientTransformationExtraArgs(lambda _: (), update)
    with pytest.raises(ValueError, match=r"optimizer: its update failed .*'?(value|temperature)"):
        pf.fit(shifted(), data(), optimizer=asks, batch_size=50, max_epochs=1, **QUIET)
    several = optax.MultiSteps(optax.sgd(0.05), 2)
    assert isinstance(with_clipping(several, None), optax.GradientTransformationExtraArgs)
    with pytest.raises(TypeError, match=r"optimizer: expected an optimiser of optax, .* got float"):
        with_clipping(0.1, None)


def narrowed(flow, dtype):
    """The flow in another type, standardisation included."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, flow
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("objective", ["fit", "fit_target", "distill", "distill teacher"])
def test_sixteen_bits_are_refused_before_training(objective, dtype):
    flow, low = flow_2d(), narrowed(flow_2d(), dtype)
    name = "student" if objective == "distill" else "teacher" if objective == "distill teacher" else "flow"
    with pytest.raises(
        ValueError, match=rf"{name}: expected .* got {dtype}, .*pushforward\.cast\({name}, \"float32\"\)"
    ):
        {
            "fit": lambda: pf.fit(low, data(), **QUIET),
            "fit_target": lambda: pf.fit_target(low, lambda x: -jnp.sum(x**2), **QUIET),
            "distill": lambda: pf.distill(NORMAL, low, **QUIET),
            "distill teacher": lambda: pf.distill(low, flow, **QUIET),
        }[objective]()


def test_one_narrow_array_is_refused_and_the_advice_works():
    where = lambda flow: flow.bijection.bijections[0]  # noqa: E731
    mixed = eqx.tree_at(where, flow_2d(), jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), where(flow_2d())))
    with pytest.raises(ValueError, match="got float16"):
        pf.fit(mixed, data(), **QUIET)
    flow, history = pf.fit(pf.cast(mixed, "float32"), data(), batch_size=50, max_epochs=1, **QUIET)
    assert min(leaf.dtype.itemsize for leaf in numbers(flow) if leaf.dtype.kind == "f") == 4
    assert np.isfinite(history.validation).all()

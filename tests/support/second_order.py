"""Second derivatives against central differences of first ones, in float64: the test of every custom derivative rule.

The objective is a fixed combination of the coordinates of the result and the log-determinant, as a function of the
value, the context and the trained parameters together. Its Hessian times a random direction must equal the central
difference of its gradient along that direction, by forward over reverse and by reverse over reverse mode.
"""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from compiling import quickly_compiled

import pushforward as pf
from pushforward.core.fields import cast
from pushforward.core.state import finalise

METHODS = ("forward_and_log_det", "inverse_and_log_det")
MODES = ("forward over reverse", "reverse over reverse")
_STEP, TOLERANCE = 1e-5, 1e-6


@contextlib.contextmanager
def double():
    """float64, and programs that compile quickly."""
    with jax.enable_x64(True), quickly_compiled():
        yield


def perturbed(bijection, scale=0.2, seed=0):
    """The bijection in float64 with noise added to the trained leaves.

    Certified norms end at their bound, where the factor of a Lipschitz layer has a kink; the last line steps beyond it.
    """
    generator = np.random.default_rng(seed)
    trained, rest = eqx.partition(cast(bijection, jnp.float64), pf.trainable(bijection))
    trained = jax.tree.map(lambda a: a + scale * generator.normal(size=a.shape), trained)
    trained, rest = eqx.partition(finalise(eqx.combine(trained, rest)), pf.trainable(bijection))
    return eqx.combine(jax.tree.map(lambda a: 1.01 * a, trained), rest)


def objective(bijection, method, seed=1, n=None):
    """A scalar function of (value, context, parameters) and a point; `n` samples under vmap."""
    generator = np.random.default_rng(seed)
    lead = () if n is None else (n,)
    value = jnp.asarray(0.6 * generator.normal(size=(*lead, *bijection.shape)))
    context = None if bijection.context_shape is None else generator.normal(size=(*lead, *bijection.context_shape))
    parameters, rest = eqx.partition(bijection, pf.trainable(bijection))
    weights = jnp.asarray(generator.normal(size=value.shape))

    def fn(point):
        value, context, parameters = point
        one = getattr(eqx.combine(parameters, rest), method)
        out, log_det = (one if n is None else jax.vmap(one, (0, None if context is None else 0)))(value, context)
        return jnp.sum(weights * jnp.sin(out)) + 0.7 * jnp.sum(log_det)

    return fn, (value, None if context is None else jnp.asarray(context), parameters)


def hessian_products(fn, point, seed=2):
    """The Hessian times a random direction, as trees of `point`: by differences, and a function for each mode."""
    generator = np.random.default_rng(seed)
    direction = jax.tree.map(lambda a: jnp.asarray(generator.normal(size=a.shape)), point)
    gradient = jax.grad(fn)

    def slope(point):
        return sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient(point), direction)), strict=True))

    first = jax.jit(gradient)
    above, below = (first(jax.tree.map(lambda a, d, t=t: a + t * d, point, direction)) for t in (_STEP, -_STEP))
    modes = {
        MODES[0]: jax.jit(lambda point: jax.jvp(gradient, (point,), (direction,))[1]),
        MODES[1]: jax.jit(jax.grad(slope)),
    }
    return jax.tree.map(lambda a, b: (a - b) / (2 * _STEP), above, below), modes


def error_of(got, right):
    """The largest error, relative to the largest number."""
    pairs = list(zip(jax.tree.leaves(got), jax.tree.leaves(right), strict=True))
    scale = max(1.0, *(float(jnp.abs(b).max(initial=0)) for _, b in pairs))
    return max(float(jnp.abs(a - b).max(initial=0)) for a, b in pairs) / scale


def check_second_derivatives(bijection, method, n=None):
    """Both modes against differences, in everything that the bijection depends on."""
    with double():
        fn, point = objective(perturbed(bijection), method, n=n)
        right, modes = hessian_products(fn, point)
        assert any(float(jnp.abs(leaf).max(initial=0)) > 1e-3 for leaf in jax.tree.leaves(right))
        for name, mode in modes.items():
            error = error_of(mode(point), right)
            assert error < TOLERANCE, f"{name}: {error:.1e}"

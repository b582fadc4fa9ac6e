"""Checks of every kind of derivative of a bijection against finite differences, in float64."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from compiling import quickly_compiled
from derivative_kinds import Derivatives, errors
from jax.flatten_util import ravel_pytree

import pushforward as pf
from pushforward.core.fields import cast
from pushforward.core.state import finalise

METHODS = ("forward_and_log_det", "inverse_and_log_det")
TOLERANCE = 1e-6


@contextlib.contextmanager
def double():
    """float64, and programs that compile quickly."""
    with jax.enable_x64(True), quickly_compiled():
        yield


def check_derivatives_of(one, parts):
    """All kinds for a function (trained, point, context) -> arrays, in all its inputs together."""
    vector, random = np.asarray(ravel_pytree(parts)[0]), np.random.default_rng(2)
    direction, other = random.normal(size=(2, len(vector)))
    got, right, _ = Derivatives(one, parts).with_differences(vector, direction, other)
    assert np.abs(right["forward over reverse"]).max() > 1e-3
    wrong = {kind: f"{error:.0e}" for kind, error in errors(got, right).items() if not error < TOLERANCE}
    assert not wrong, wrong


def check_derivatives(bijection, method):
    """All kinds for a method of a bijection with perturbed weights."""
    with double():
        bijection, random = perturbed(bijection), np.random.default_rng(1)
        trained, rest = eqx.partition(bijection, pf.trainable(bijection))
        shapes = bijection.shape, bijection.context_shape
        points, contexts = (None if shape is None else 0.6 * random.normal(size=(2, *shape)) for shape in shapes)

        def one(trained, point, context):
            return getattr(eqx.combine(trained, rest), method)(point, context)

        check_derivatives_of(one, jax.tree.map(jnp.asarray, (trained, points, contexts)))


def perturbed(bijection, scale=0.2, seed=0):
    """The bijection in float64 with noise added to the trained leaves.

    Certified norms end at their bound, where the factor of a Lipschitz layer has a kink; the last line steps beyond it.
    """
    generator = np.random.default_rng(seed)
    trained, rest = eqx.partition(cast(bijection, jnp.float64), pf.trainable(bijection))
    trained = jax.tree.map(lambda a: a + scale * generator.normal(size=a.shape), trained)
    trained, rest = eqx.partition(finalise(eqx.combine(trained, rest)), pf.trainable(bijection))
    return eqx.combine(jax.tree.map(lambda a: 1.01 * a, trained), rest)

"""The root solver: roots far out and at the ends of its first bracket, its gradients, and that it always ends."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.roots import monotone_root


def cubic(weights, x):
    return weights * x + x**3


@pytest.mark.parametrize("root", [0.0, 1e-30, 1.0, -1.0, 5.0, -21.0, 50.0, -1e6, 1e12])
def test_roots_near_and_far(root):
    with jax.enable_x64(True):
        y = cubic(2.0, jnp.asarray(root))
        np.testing.assert_allclose(monotone_root(cubic, jnp.asarray(2.0), y), root, rtol=4e-16)


def test_gradients_are_those_of_the_implicit_function():
    with jax.enable_x64(True):
        weights, x = jnp.asarray(2.0), 1.5
        y = cubic(weights, jnp.asarray(x))
        by_weights, by_y = jax.grad(lambda w, y: monotone_root(cubic, w, y), (0, 1))(weights, y)
        slope = 2 + 3 * x**2
        np.testing.assert_allclose([by_weights, by_y], [-x / slope, 1 / slope], rtol=1e-14)


def test_no_root_is_nan():
    bounded = monotone_root(lambda _, x: jnp.tanh(x), (), jnp.array([0.5, 2.0, jnp.nan, jnp.inf]))
    np.testing.assert_array_equal(np.isnan(bounded), [False, True, True, True])


@pytest.mark.parametrize("end", [1.0, -1.0, 5.0, -5.0, 21.0])
def test_an_image_that_is_rounded_otherwise_each_time_does_not_lead_astray(end):
    """The root lies at an end of a bracket, where the sign of the excess is then up to rounding."""
    signs = itertools.cycle((-1, 1, 1, -1, -1, 1))

    def rounded(_, x):
        noise = jax.pure_callback(lambda v: np.full_like(v, 1e-6 * next(signs)), x, x, vmap_method="expand_dims")
        return x + noise

    np.testing.assert_allclose(jax.jit(lambda y: monotone_root(rounded, (), y))(jnp.asarray(end)), end, atol=1e-5)

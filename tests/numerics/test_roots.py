"""Root solver: accuracy, implicit derivatives, failures, and a bound on its iterations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.roots import monotone_root


def cubic(weights, x):
    return weights * x + x**3


@pytest.mark.parametrize("root", [0.0, 1e-30, 1.0, -1.0, 5.0, -21.0, 50.0, -1e6, 1e12])
def test_roots_of_all_magnitudes(root):
    with jax.enable_x64(True):
        y = cubic(2.0, jnp.asarray(root))
        np.testing.assert_allclose(monotone_root(cubic, jnp.asarray(2.0), y), root, rtol=4e-16)


def test_gradients_are_implicit():
    with jax.enable_x64(True):
        weights, x = jnp.asarray(2.0), 1.5
        y = cubic(weights, jnp.asarray(x))
        by_weights, by_y = jax.grad(lambda w, y: monotone_root(cubic, w, y), (0, 1))(weights, y)
        slope = 2 + 3 * x**2
        np.testing.assert_allclose([by_weights, by_y], [-x / slope, 1 / slope], rtol=1e-14)


def test_result_is_nan_without_a_root():
    bounded = monotone_root(lambda _, x: jnp.tanh(x), (), jnp.array([0.5, 2.0, jnp.nan, jnp.inf]))
    np.testing.assert_array_equal(np.isnan(bounded), [False, True, True, True])


@pytest.mark.parametrize("end", [1.0, -1.0, 5.0, -5.0, 21.0])
def test_inconsistent_rounding_of_the_function_is_tolerated(end):
    """The root is an end of a bracket, where rounding then decides the sign."""
    signs = itertools.cycle((-1, 1, 1, -1, -1, 1))

    def rounded(_, x):
        noise = jax.pure_callback(lambda v: np.full_like(v, 1e-6 * next(signs)), x, x, vmap_method="expand_dims")
        return x + noise

    np.testing.assert_allclose(jax.jit(lambda y: monotone_root(rounded, (), y))(jnp.asarray(end)), end, atol=1e-5)


def test_second_derivatives_are_implicit():
    """With g the root of w x + x^3 = y: d2x/dy2 = -6 x / s^3, d2x/dw2 = (2 x s - 6 x^3) / s^3, s = w + 3 x^2."""
    with jax.enable_x64(True):
        w, x = jnp.asarray(2.0), 1.5
        y = cubic(w, jnp.asarray(x))
        (by_ww, _), (_, by_yy) = jax.jacrev(jax.grad(lambda w, y: monotone_root(cubic, w, y), (0, 1)), (0, 1))(w, y)
        slope = 2 + 3 * x**2
        np.testing.assert_allclose(by_yy, -6 * x / slope**3, rtol=1e-13)
        np.testing.assert_allclose(by_ww, (2 * x * slope - 6 * x**3) / slope**3, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_evaluations_is_bounded(dtype):
    """For a step function, which defeats interpolation."""
    with jax.enable_x64(dtype == "float64"):
        count = [0]

        def step(_, x):
            def counted(v):
                count[0] += 1
                return v

            x = jax.pure_callback(counted, x, x, vmap_method="expand_dims")
            return jnp.where(x < 1.2345, -1.0, 1.0) + 1e-6 * x

        root = monotone_root(step, (), jnp.asarray(0.0, dtype))
        np.testing.assert_allclose(root, 1.2345, rtol=1e-6)
        assert count[0] < 4 * jnp.finfo(dtype).bits + 70

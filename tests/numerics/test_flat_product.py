"""Products of vectors and one matrix, flat under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.flat_product import flat_product


def arrays(*shapes):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)])
def test_value_and_both_derivatives_are_those_of_a_product(shape):
    vectors, matrix, d_vectors, d_matrix = arrays(shape, (3, 2), shape, (3, 2))
    for function in (flat_product, jax.jit(flat_product)):
        got = jax.jvp(function, (vectors, matrix), (d_vectors, d_matrix))
        expected = jax.jvp(jnp.matmul, (vectors, matrix), (d_vectors, d_matrix))
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-5, atol=1e-6)
    weights = jnp.cos(jnp.arange(expected[0].size, dtype=jnp.float32)).reshape(expected[0].shape)
    for argument in (0, 1):
        first, second = (
            jax.grad(lambda *a, f=function: (weights * f(*a)).sum(), argument)(vectors, matrix)
            for function in (flat_product, jnp.matmul)
        )
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [(0, None), (1, None), (None, 0), (0, 0), (1, 2)])
def test_mapped_over_either_argument(axes):
    shapes = [[4, 3], [3, 2]]
    for shape, axis in zip(shapes, axes, strict=True):
        if axis is not None:
            shape.insert(axis, 5)
    vectors, matrix = arrays(*shapes)
    got, expected = (jax.vmap(function, axes)(vectors, matrix) for function in (flat_product, jnp.matmul))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_linear_in_the_vectors():
    vectors, matrix, cotangent = arrays((4, 3), (3, 2), (4, 2))
    (got,) = jax.linear_transpose(lambda v: flat_product(v, matrix), vectors)(cotangent)
    np.testing.assert_allclose(got, cotangent @ matrix.T, rtol=1e-5, atol=1e-6)


def test_gradient_of_a_mapped_product_sums_over_one_axis():
    """With the axes of `vmap` apart it would sum over two, for which XLA transposes both arrays."""
    vectors, matrix = arrays((7, 5, 3), (3, 2))

    def total(matrix):
        return jnp.square(jax.vmap(flat_product, (0, None))(vectors, matrix)).sum()

    text = jax.jit(jax.grad(total)).lower(matrix).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("tensor<7x5x" not in line for line in products)

"""One Newton step towards a fixed point, its linear system solved in a Krylov space (GMRES), matrix-free.

Reference: Saad & Schultz 1986; Knoll & Keyes 2004.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.networks import vector_norm

_KRYLOV = 60


def newton_step(fn: Callable[[Array], Array], z: Array, residual: Array) -> Float[Array, "size"]:
    """d with (I - J) d = residual as nearly as a Krylov space of up to 60 directions allows, J = dfn/dz."""
    _, push = jax.linearize(fn, z)
    n = min(z.size, _KRYLOV)
    length = vector_norm(residual, 2.0)
    start = jnp.zeros((n + 1, z.size), z.dtype).at[0].set(residual / jnp.where(length > 0, length, 1))

    def extend(j: Array | int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        """Arnoldi's step: the image of direction j, freed twice of the directions so far (those to come are zero)."""
        basis, hessenberg = state
        image = basis[j] - push(basis[j])
        parts = basis @ image
        image = image - parts @ basis
        again = basis @ image
        image = image - again @ basis
        left = vector_norm(image, 2.0)
        is_new = left > 10 * jnp.finfo(z.dtype).eps
        column = (parts + again).at[j + 1].set(jnp.where(is_new, left, 0))
        basis = basis.at[j + 1].set(jnp.where(is_new, image / jnp.where(is_new, left, 1), 0))
        return basis, hessenberg.at[:, j].set(column)

    basis, hessenberg = jax.lax.fori_loop(0, n, extend, (start, jnp.zeros((n + 1, n), z.dtype)))
    # a direction that brought nothing new leaves a column of zeros: its weight is then zero
    gram = hessenberg.T @ hessenberg
    gram = gram + jnp.diag(jnp.where(jnp.diagonal(gram) > 0, 0.0, 1.0).astype(z.dtype))
    weights = jnp.linalg.solve(gram, hessenberg[0] * length)
    return weights @ basis[:n]

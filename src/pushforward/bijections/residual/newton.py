"""One Newton-Krylov step towards a fixed point: the linear system is solved by matrix-free GMRES.

Reference: Saad & Schultz 1986; Knoll & Keyes 2004.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.networks import vector_norm

_KRYLOV_DIM = 60


def newton_step(fn: Callable[[Array], Array], z: Array, residual: Array) -> Float[Array, "size"]:
    """The d in a Krylov space of up to 60 dimensions that solves (I - J) d = residual best, J = dfn/dz."""
    _, push = jax.linearize(fn, z)
    n = min(z.size, _KRYLOV_DIM)
    length = vector_norm(residual, 2.0)
    start = jnp.zeros((n + 1, z.size), z.dtype).at[0].set(residual / jnp.where(length > 0, length, 1))

    def extend(j: Array | int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        """Arnoldi step: (I - J) times direction j, orthogonalised twice against the basis (later rows are zero)."""
        basis, hessenberg = state
        direction = basis[j] - push(basis[j])
        coefficients = basis @ direction
        direction = direction - coefficients @ basis
        correction = basis @ direction
        direction = direction - correction @ basis
        size = vector_norm(direction, 2.0)
        is_new = size > 10 * jnp.finfo(z.dtype).eps
        column = (coefficients + correction).at[j + 1].set(jnp.where(is_new, size, 0))
        basis = basis.at[j + 1].set(jnp.where(is_new, direction / jnp.where(is_new, size, 1), 0))
        return basis, hessenberg.at[:, j].set(column)

    basis, hessenberg = jax.lax.fori_loop(0, n, extend, (start, jnp.zeros((n + 1, n), z.dtype)))
    # a linearly dependent direction leaves a column of zeros: its weight is zero
    gram = hessenberg.T @ hessenberg
    gram = gram + jnp.diag(jnp.where(jnp.diagonal(gram) > 0, 0.0, 1.0).astype(z.dtype))
    weights = jnp.linalg.solve(gram, hessenberg[0] * length)
    return weights @ basis[:n]

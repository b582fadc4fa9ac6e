"""Inverses and determinants of batches of small complex matrices, by element-wise operations.

LAPACK is not used: in jax 0.10 several such calls of one program that share few threads can deadlock (a program of
`periodic_glow` at 8 x 8 x 3 did with two threads). Besides, one elimination gives both results.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


@jax.custom_jvp
def inverse_and_log_det(matrices: Complex[Array, "... C C"]) -> tuple[Complex[Array, "... C C"], Float[Array, "..."]]:
    """The inverse matrices and log|det|, by Gauss-Jordan elimination with partial pivoting.

    A singular matrix gives NaN or infinities. The derivatives are those of the formulas, not of the elimination:
    d A^-1 = -A^-1 dA A^-1, and d log|det A| = Re tr(A^-1 dA).
    """
    n = matrices.shape[-1]
    identity = jnp.broadcast_to(jnp.eye(n, dtype=matrices.dtype), matrices.shape)
    log_dets = jnp.zeros(matrices.shape[:-2], jnp.real(matrices).dtype)
    rows = jnp.arange(n).reshape((1,) * (matrices.ndim - 2) + (n,))

    def step(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        augmented, log_dets = state
        column = jax.lax.dynamic_index_in_dim(augmented, index, -1, keepdims=False)
        best = jnp.argmax(jnp.where(rows >= index, jnp.abs(column), -1.0), -1)[..., None]
        pivot_row = jnp.take_along_axis(augmented, best[..., None], -2)
        old_row = jax.lax.dynamic_index_in_dim(augmented, index, -2)
        augmented = jnp.where((rows == best)[..., None], old_row, augmented)
        pivot = jax.lax.dynamic_index_in_dim(pivot_row, index, -1)
        pivot_row = pivot_row / pivot
        factors = jax.lax.dynamic_index_in_dim(augmented, index, -1)
        augmented = jnp.where((rows == index)[..., None], pivot_row, augmented - factors * pivot_row)
        return augmented, log_dets + jnp.log(jnp.abs(pivot[..., 0, 0]))

    augmented, log_dets = jax.lax.fori_loop(0, n, step, (jnp.concatenate([matrices, identity], -1), log_dets))
    return augmented[..., n:], log_dets


@inverse_and_log_det.defjvp
def _jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (matrices,), (tangent,) = primals, tangents
    inverses, log_dets = inverse_and_log_det(matrices)
    relative = jnp.einsum("...ij,...jk->...ik", inverses, tangent, precision="highest")
    inverse_tangent = -jnp.einsum("...ij,...jk->...ik", relative, inverses, precision="highest")
    return (inverses, log_dets), (inverse_tangent, jnp.real(jnp.trace(relative, axis1=-2, axis2=-1)))

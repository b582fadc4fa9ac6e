"""Inverses and determinants of many small complex matrices at once, by element-wise operations alone.

Why not LAPACK: in jax 0.10 several such calls of one program may wait for each other for ever, when they share few
threads (the battery's program of a `periodic_glow` at 8 x 8 x 3 did so on two). Besides, one elimination gives both.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


@jax.custom_jvp
def inverted(matrices: Complex[Array, "... C C"]) -> tuple[Complex[Array, "... C C"], Float[Array, "..."]]:
    """The inverse matrices and log|det|, by Gauss-Jordan elimination with partial pivoting.

    A singular matrix gives NaN or infinities. The derivatives are those of the formulas, not of the elimination:
    d A^-1 = -A^-1 dA A^-1, and d log|det A| = Re tr(A^-1 dA).
    """
    n = matrices.shape[-1]
    unit = jnp.broadcast_to(jnp.eye(n, dtype=matrices.dtype), matrices.shape)
    log_dets = jnp.zeros(matrices.shape[:-2], jnp.real(matrices).dtype)
    rows = jnp.arange(n).reshape((1,) * (matrices.ndim - 2) + (n,))

    def step(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        wide, log_dets = state
        column = jax.lax.dynamic_index_in_dim(wide, index, -1, keepdims=False)
        best = jnp.argmax(jnp.where(rows >= index, jnp.abs(column), -1.0), -1)[..., None]
        pivot_row = jnp.take_along_axis(wide, best[..., None], -2)
        old_row = jax.lax.dynamic_index_in_dim(wide, index, -2)
        wide = jnp.where((rows == best)[..., None], old_row, wide)
        pivot = jax.lax.dynamic_index_in_dim(pivot_row, index, -1)
        pivot_row = pivot_row / pivot
        factors = jax.lax.dynamic_index_in_dim(wide, index, -1)
        wide = jnp.where((rows == index)[..., None], pivot_row, wide - factors * pivot_row)
        return wide, log_dets + jnp.log(jnp.abs(pivot[..., 0, 0]))

    wide, log_dets = jax.lax.fori_loop(0, n, step, (jnp.concatenate([matrices, unit], -1), log_dets))
    return wide[..., n:], log_dets


@inverted.defjvp
def _inverted_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (matrices,), (change,) = primals, tangents
    inverses, log_dets = inverted(matrices)
    turned = jnp.einsum("...ij,...jk->...ik", inverses, change, precision="highest")
    moved = -jnp.einsum("...ij,...jk->...ik", turned, inverses, precision="highest")
    return (inverses, log_dets), (moved, jnp.real(jnp.trace(turned, axis1=-2, axis2=-1)))

"""The sequential direction by full passes of the network: one pass for each rank, or Jacobi iterations.

Neither shares code with the cached recurrence; the tests use the first as its reference.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import AbstractAutoregressiveNetwork
from pushforward.numerics.arrays import is_array
from pushforward.numerics.fixed_point import fixed_point

Transform = Callable[[Array, Array], tuple[Array, Array]]
_MAX_UNROLLED_RANKS = 3


def solve_by_passes(
    network: AbstractAutoregressiveNetwork, transform: Transform, z: Array, context: Array | None
) -> tuple[Array, Array]:
    """x_i = transform(parameters_i(x, context), z_i), by one pass for each rank, of which its coordinates are used."""

    def one_pass(carry: tuple[Array, Array], rank: Array) -> tuple[tuple[Array, Array], None]:
        x, log_dets = carry
        new, new_log_dets = transform(network(x, context), z)
        is_rank = network.ranks == rank
        return (jnp.where(is_rank, new, x), jnp.where(is_rank, new_log_dets, log_dets)), None

    start = (jnp.zeros_like(z), jnp.zeros_like(z))
    unroll = network.n_ranks if network.n_ranks <= _MAX_UNROLLED_RANKS else 1
    (x, log_dets), _ = jax.lax.scan(one_pass, start, jnp.arange(network.n_ranks), unroll=unroll)
    return x, jnp.sum(log_dets)


def solve_by_jacobi(
    network: AbstractAutoregressiveNetwork,
    transform: Transform,
    z: Array,
    context: Array | None,
    tolerance: float,
    max_iterations: int,
) -> tuple[Array, Array, Array, Array]:
    """Jacobi iterations x <- transform(parameters(x, context), z).

    After k iterations the coordinates of rank below k are exact, so n_ranks iterations reach the solution, and one more
    confirms that nothing changes.

    Returns:
        x, log-determinant, number of iterations, and whether they converged.
    """
    arrays, static = eqx.partition((network, transform), is_array)

    def iterate(weights: tuple, x: Array) -> Array:
        arrays, z, context = weights
        network, transform = eqx.combine(arrays, static)
        # ranks that have not converged may overflow; the masks drop them, but zero times infinity is NaN
        return transform(network(jnp.where(jnp.isfinite(x), x, 0), context), z)[0]

    x, n_iterations, is_converged = fixed_point(
        iterate, (arrays, z, context), jnp.zeros_like(z), tolerance, max_iterations
    )
    log_dets = transform(network(x, context), z)[1]
    return x, jnp.sum(log_dets), n_iterations, is_converged

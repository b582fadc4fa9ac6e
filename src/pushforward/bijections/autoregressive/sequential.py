"""The sequential direction by whole passes of the network: in turn, or all coordinates at once until nothing changes.

Neither shares code with the cached recurrence, so the first is the reference that the tests hold it to.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import AbstractAutoregressiveNetwork
from pushforward.numerics.arrays import is_array
from pushforward.numerics.fixed_point import fixed_point

Mapped = Callable[[Array, Array], tuple[Array, Array]]
_UNROLLED_UP_TO = 3


def solve_by_passes(
    network: AbstractAutoregressiveNetwork, mapped: Mapped, z: Array, context: Array | None
) -> tuple[Array, Array]:
    """x_i = mapped(parameters_i(x, context), z_i), one pass for each rank, whose coordinates are kept."""

    def one_pass(carry: tuple[Array, Array], rank: Array) -> tuple[tuple[Array, Array], None]:
        x, log_dets = carry
        new, new_log_dets = mapped(network(x, context), z)
        here = network.ranks == rank
        return (jnp.where(here, new, x), jnp.where(here, new_log_dets, log_dets)), None

    start = (jnp.zeros_like(z), jnp.zeros_like(z))
    unroll = network.n_ranks if network.n_ranks <= _UNROLLED_UP_TO else 1
    (x, log_dets), _ = jax.lax.scan(one_pass, start, jnp.arange(network.n_ranks), unroll=unroll)
    return x, jnp.sum(log_dets)


def solve_by_jacobi(
    network: AbstractAutoregressiveNetwork,
    mapped: Mapped,
    z: Array,
    context: Array | None,
    tolerance: float,
    max_iterations: int,
) -> tuple[Array, Array, Array, Array]:
    """x, log-determinant, number of sweeps, and whether they settled: x <- mapped(parameters(x, context), z), repeated.

    After k sweeps the coordinates of rank below k are those of the solution, so n_ranks sweeps reach it and one more
    sees that nothing changes.
    """
    arrays, static = eqx.partition((network, mapped), is_array)

    def sweep(weights: tuple, x: Array) -> Array:
        arrays, z, context = weights
        network, mapped = eqx.combine(arrays, static)
        # what lies ahead of the settled ranks may have overflowed; masked, but zero times infinity is NaN
        return mapped(network(jnp.where(jnp.isfinite(x), x, 0), context), z)[0]

    x, n_sweeps, settled = fixed_point(sweep, (arrays, z, context), jnp.zeros_like(z), tolerance, max_iterations)
    log_dets = mapped(network(x, context), z)[1]
    return x, jnp.sum(log_dets), n_sweeps, settled

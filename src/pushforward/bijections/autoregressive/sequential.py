"""The sequential direction by Jacobi iterations, which share no code with the cached recurrence."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.numerics.arrays import is_array
from pushforward.numerics.fixed_point import fixed_point

# from x, z and the context to the values and log-slopes of all coordinates, with parameters computed from x
OnePass = Callable[[Array, Array, Array | None], tuple[Array, Array]]


def solve_by_jacobi(
    one_pass: OnePass, z: Array, context: Array | None, tolerance: float, max_iterations: int
) -> tuple[Array, Array, Array, Array]:
    """Jacobi iterations x <- one_pass(x, z, context).

    After k iterations the coordinates of rank below k are exact, so n_ranks iterations reach the solution, and one more
    confirms that nothing changes.

    Args:
        one_pass: a method of a module, whose arrays are those that the solution depends on.
        z, context: of one sample.
        tolerance: iterations stop when no coordinate changes by more than tolerance (1 + |x|).
        max_iterations: at most.

    Returns:
        x, log-determinant, number of iterations, and whether they converged.
    """
    arrays, static = eqx.partition(one_pass, is_array)

    def iterate(weights: tuple, x: Array) -> Array:
        arrays, z, context = weights
        # ranks that have not converged may overflow; the masks drop them, but zero times infinity is NaN
        return eqx.combine(arrays, static)(jnp.where(jnp.isfinite(x), x, 0), z, context)[0]

    x, n_iterations, is_converged = fixed_point(
        iterate, (arrays, z, context), jnp.zeros_like(z), tolerance, max_iterations
    )
    log_dets = one_pass(x, z, context)[1]
    return x, jnp.sum(log_dets), n_iterations, is_converged

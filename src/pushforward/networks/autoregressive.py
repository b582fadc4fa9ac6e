"""The protocol of autoregressive conditioners: a parallel pass and an optional sequential solve."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.network import AbstractNetwork, check_sizes

# transformer_fn(weights, parameters (P, ...), value (...)) -> (value, log-slope), element by element
TransformerFn = Callable[[Any, Array, Array], tuple[Array, Array]]
Ranks: TypeAlias = int | Sequence[int] | np.ndarray
_MAX_UNROLLED_RANKS = 3


class AbstractAutoregressiveNetwork(AbstractNetwork):
    """An autoregressive network that works on coordinates sorted by rank.

    An autoregressive layer takes any network `network(x, context, key=...)` -> (P, D) whose parameters of coordinate i
    depend on the coordinates of lower rank and on the context only. It may have `ranks` (D,), natural order otherwise,
    and `solve(transformer_fn, weights, z, context)`, which returns the x (D,) with
    x_i = transformer_fn(weights, parameters_i(x, context), z_i), rank by rank, and the log-determinant: the fast
    sequential direction, which caches what lower ranks computed.

    A subclass of this class implements `parameters` and `solve` on coordinates sorted by `order`: the dependence is
    then triangular for every order, and weights, masks and caches need no permutation.

    Attributes:
        order: (D,), the coordinate at each position.
        inverse_order: (D,), the position of each coordinate: the inverse permutation.
        ranks: (D,), the step at which each coordinate is computed; coordinates of equal rank do not depend on each
            other.
        n_ranks: number of distinct ranks, the length of the sequential direction.
        is_triangular: class variable; True if masks make the dependence right for all weights, so that layers need not
            test it.
    """

    order: eqx.AbstractVar[Int[Array, "..."]]
    inverse_order: eqx.AbstractVar[Int[Array, "..."]]
    ranks: eqx.AbstractVar[Int[Array, "..."]]
    n_ranks: eqx.AbstractVar[int]

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        """Parameters (P, D) of all coordinates, from x (D,) or from D times `n_features` features, grouped by D."""
        n_features = getattr(self, "n_features", 1)
        ordered = x[self.order] if n_features == 1 else x.reshape(-1, n_features)[self.order].reshape(-1)
        return self.parameters(ordered, context, key=key)[:, self.inverse_order]

    @abc.abstractmethod
    def parameters(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        """Parameters (P, D) of all coordinates, from x (D,), both sorted by `order`."""

    @abc.abstractmethod
    def solve(
        self, transformer_fn: TransformerFn, weights: Any, z: Array, context: Array | None = None
    ) -> tuple[Array, Array]:
        """x (D,) with x_i = transformer_fn(weights, parameters_i(x, context), z_i), sorted by `order`, and the
        log-determinant.
        """


def order_and_parameters(ranks: Ranks, out_shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The coordinate of each rank, and P, from the first two arguments of a network.

    >>> order_and_parameters((2, 0, 1), (4, 3))
    (array([1, 2, 0]), 4)
    """
    if isinstance(ranks, int | np.integer):
        check_sizes(ranks=int(ranks))
        ranks = np.arange(ranks)
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or sorted(ranks.tolist()) != list(range(len(ranks))):
        raise ShapeError(f"ranks: expected a permutation of 0..{ranks.size - 1}, got {ranks.tolist()}.")
    shape = tuple(out_shape) if isinstance(out_shape, Sequence) else out_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != len(ranks):
        raise ShapeError(f"out_shape: expected (P, {len(ranks)}), P numbers for each coordinate, got {out_shape}.")
    return np.argsort(ranks), shape[0]


def solve_by_passes(
    one_pass: Callable[[Array], tuple[Array, Array]], ranks: Array, n_ranks: int, z: Array
) -> tuple[Array, Array]:
    """The sequential direction by one full pass for each rank, of which the coordinates of that rank are used.

    Args:
        one_pass: from x (D,) to the values and log-slopes of all coordinates, with parameters computed from x.
        ranks: (D,), from 0 to n_ranks - 1.
        n_ranks: number of passes.
        z: (D,), for shape and dtype.

    Returns:
        x, and the log-determinant.
    """

    def step(carry: tuple[Array, Array], rank: Array) -> tuple[tuple[Array, Array], None]:
        x, log_dets = carry
        new, new_log_dets = one_pass(x)
        is_rank = ranks == rank
        return (jnp.where(is_rank, new, x), jnp.where(is_rank, new_log_dets, log_dets)), None

    carry = (jnp.zeros_like(z), jnp.zeros_like(z))
    if n_ranks <= _MAX_UNROLLED_RANKS:  # the first pass, of zeros, is then the same for a whole batch
        for rank in range(n_ranks):
            carry, _ = step(carry, jnp.asarray(rank))
    else:
        carry, _ = jax.lax.scan(step, carry, jnp.arange(n_ranks))
    return carry[0], jnp.sum(carry[1])

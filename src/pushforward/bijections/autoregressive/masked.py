"""The masked autoregressive layer: one direction in one pass, the other sequential."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.bijections.autoregressive.sequential import solve_by_jacobi
from pushforward.bijections.scalar import apply_transformer, n_parameters, transformer_named
from pushforward.bijections.scalar.slope_check import check_never_singular
from pushforward.bijections.scalar.transformer import transformer_fn
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import check_angles_seen, is_circular
from pushforward.core.fields import emitted
from pushforward.core.network_call import call_network, check_output
from pushforward.errors import InverseError
from pushforward.networks import AbstractAutoregressiveNetwork
from pushforward.networks.autoregressive import Ranks, solve_by_passes
from pushforward.networks.order_check import check_order, checked_ranks
from pushforward.numerics.arrays import on_device

METHODS = ("cached", "jacobi", "sequential")
_MAX_SEQUENTIAL_RANKS = 3


class MaskedAutoregressive(AbstractBijection):
    """Masked autoregressive layer: x_i = h(z_i; theta_i(x_j of lower rank, context)), with the ranks of the network.

    The Jacobian is triangular in that order: log|det| = sum_i log h'(z_i; theta_i). `inverse` (data to base, density)
    takes one pass of the network. `forward` (sampling) computes one rank after another. `Inverse` of this layer
    exchanges the two: stacks of the layer are MAF, stacks of its inverse are IAF.

    Args:
        transformer: h, a name in `TRANSFORMERS` or a scalar bijection.
        network: an autoregressive conditioner such as `MaskedMLP`, or any other, called as network(x, context, key=...)
            with x (D,): returns (P, D), P = n_parameters(transformer), or P D numbers, column i a function of the
            coordinates of lower rank. For a transformer of the circle it is one in `PeriodicInputs`. A method
            `solve(transformer_fn, weights, z, context)` is its fast sequential direction (see
            `AbstractAutoregressiveNetwork`).
        ranks: (D,) integers, the rank of each coordinate, or D for the natural order; by default the network's `ranks`.
            Coordinates of equal rank do not depend on one another.
        context_shape: shape of the context that the network takes, or None.
        method: how `forward` is computed. "cached": the network caches what it computed for lower ranks. "jacobi":
            Jacobi iterations of all coordinates until nothing changes, at most as many as there are ranks; fast if the
            dependence is weak or the device is wide. "sequential": one full pass for each rank, the plain reference.
            None: cached where the network has `solve`, but sequential up to three ranks, where that is faster.
        tolerance: Jacobi iterations stop when no coordinate changes by more than tolerance (1 + |x|); 0 means equal
            bits.
        max_iterations: maximum number of Jacobi iterations; by default the number of ranks plus one, which always
            suffices.

    Cost: inverse one pass of the network. Forward: cached about one pass in arithmetic, in n_ranks short steps;
    jacobi (iterations + 1) passes; sequential n_ranks passes. The gradient of the cached direction is implicit, at the
    cost of about one more sequential direction and one pass with its gradient. So is that of the Jacobi iterations.

    Raises:
        ShapeError: if the network's output does not fit.
        ValueError: if the transformer's slope can vanish, as it declares or as a trial shows, an option is unknown, the
            network has no `solve` with method="cached", or its parameters depend on coordinates of the same or of
            higher rank. A trial shows the last, which perturbs inputs under random weights, once, in the constructor
            (but not under a trace, as in `vmap` over keys).
        InverseError: if the Jacobi iterations do not converge (NaN under a trace, which `sample` and `log_prob`
            report).

    Reference: Papamakarios, Pavlakou & Murray 2017, sections 3.1-3.2 (MAF); Kingma et al. 2016, section 3 (IAF);
    Jacobi: Song, Meng, Liao & Ermon 2021, section 3. The cached direction is ours.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import MaskedAutoregressive
        >>> from pushforward.networks import MaskedMLP
        >>> layer = MaskedAutoregressive("affine", MaskedMLP(3, (2, 3), width=8, depth=1, key=jax.random.key(0)))
        >>> print(layer.forward(jnp.arange(3.0)))                                 # starts as the identity
        [0. 1. 2.]
    """

    transformer: AbstractBijection = emitted()
    network: Callable[..., Array]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    method: str = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)
    ranks: Int[Array, "..."] | None = None  # None: those of an `AbstractAutoregressiveNetwork`
    n_ranks: int | None = eqx.field(static=True, default=None)

    def __init__(
        self,
        transformer: str | AbstractBijection,
        network: Callable[..., Array],
        *,
        ranks: Ranks | None = None,
        context_shape: tuple[int, ...] | None = None,
        method: str | None = None,
        tolerance: float = 0.0,
        max_iterations: int | None = None,
    ) -> None:
        self.transformer, self.network = transformer_named(transformer), network
        check_never_singular(self.transformer)
        check_angles_seen(self.transformer, network)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        is_sorted = isinstance(network, AbstractAutoregressiveNetwork)
        self.ranks = self.n_ranks = None  # those of the network
        if is_sorted and ranks is None:
            self.shape, n_ranks = network.order.shape, network.n_ranks
        else:
            known = checked_ranks(network, ranks)
            self.shape, n_ranks = known.shape, len(np.unique(known))
            if not is_sorted:
                self.ranks, self.n_ranks = on_device(known, jnp.int32), n_ranks
        is_sequential = n_ranks <= _MAX_SEQUENTIAL_RANKS or not has_solve(network)
        default = "sequential" if is_sequential else "cached"
        self.method, self.tolerance = default if method is None else method, float(tolerance)
        self.max_iterations = n_ranks + 1 if max_iterations is None else max_iterations
        if self.method == "cached" and not has_solve(network):
            raise ValueError(
                f"method: expected 'sequential' or 'jacobi', because {type(network).__name__} has no method `solve`; "
                "got 'cached'."
            )
        if not getattr(network, "is_triangular", False):
            check_output(network, self.shape, self.context_shape, self._out_shape, self._meaning)
            check_order(network, checked_ranks(network, ranks), self.context_shape, self._out_shape[0])

    def __check_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}.")
        if not self.tolerance >= 0 or self.max_iterations < 1:
            raise ValueError(
                f"tolerance, max_iterations: expected at least 0 and at least 1, got {self.tolerance} and "
                f"{self.max_iterations}."
            )
        check_output(self.network, self.shape, self.context_shape, self._out_shape, self._meaning)

    @property
    def _out_shape(self) -> tuple[int, ...]:
        """Shape of the network's output."""
        return (n_parameters(self.transformer), *self.shape)

    @property
    def _meaning(self) -> str:
        n, dim = self._out_shape
        return f"{n} parameters of {type(self.transformer).__name__} for each of {dim} coordinates"

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        if self.method == "jacobi":
            x, log_det, _ = self.forward_by_jacobi(z, context)
            return x, log_det
        network: Any = self.network
        # files of older versions have "cached" for networks that had passes as their `solve`
        if self.method == "cached" and has_solve(network):
            fn, weights = transformer_fn(self.transformer, inverse=False)
            if not isinstance(network, AbstractAutoregressiveNetwork):
                return network.solve(fn, weights, z, context)
            x, log_det = network.solve(fn, weights, z[network.order], context)
            return x[network.inverse_order], log_det
        ranks = network.ranks if self.ranks is None else self.ranks
        n_ranks = network.n_ranks if self.n_ranks is None else self.n_ranks
        return solve_by_passes(lambda x: self._one_pass(x, z, context), ranks, n_ranks, z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        network = self.network
        if not isinstance(network, AbstractAutoregressiveNetwork):
            parameters = call_network(network, x, context, self._out_shape, key=key)
            z, log_det = apply_transformer(self.transformer, parameters, x, inverse=True)
            return z, jnp.sum(log_det)
        x = x[network.order]
        parameters = network.parameters(x, context, key=key)
        z, log_det = apply_transformer(self.transformer, parameters, x, inverse=True)
        return z[network.inverse_order], jnp.sum(log_det)

    def circular_coordinates(self) -> np.ndarray:
        """Which coordinates are angles (bool, of the event shape)."""
        return np.full(self.shape, is_circular(self.transformer))

    def forward_by_jacobi(self, z: Array, context: Array | None = None) -> tuple[Array, Array, Int[Array, ""]]:
        """x, log|det| and the number of iterations, by Jacobi iterations whatever the `method`.

        Args:
            z: (D,).
            context: of `context_shape`, or None.
        """
        x, log_det, n_iterations, is_converged = solve_by_jacobi(
            self._one_pass, z, context, self.tolerance, self.max_iterations
        )
        if not isinstance(is_converged, jax.core.Tracer) and not is_converged:
            raise InverseError(
                f"Jacobi iterations did not converge within max_iterations={self.max_iterations} (tolerance="
                f"{self.tolerance:g}): {self.shape[0] + 1} always suffice if all numbers stay finite."
            )
        return jnp.where(is_converged, x, jnp.nan), jnp.where(is_converged, log_det, jnp.nan), n_iterations

    def _one_pass(self, x: Array, z: Array, context: Array | None) -> tuple[Any, Any]:
        """The transformed z and the log-slopes, with the parameters that the network computes from x."""
        parameters = call_network(self.network, x, context, self._out_shape)
        return apply_transformer(self.transformer, parameters, z, inverse=False)


def has_solve(network: Any) -> bool:
    """Whether a network has a fast sequential direction."""
    return callable(getattr(network, "solve", None))

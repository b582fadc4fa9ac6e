"""Coupling layers: a part of the coordinates is transformed, with parameters from a network of the other part."""

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.bijections.scalar import apply_transformer, n_parameters, transformer_named
from pushforward.bijections.scalar.slope_check import check_never_singular
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular, with_angles
from pushforward.core.fields import emitted
from pushforward.core.network_call import call_network, check_output
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device


class Coupling(AbstractBijection):
    """Coupling layer: x^A = h(z^A; theta(z^B, context)), x^B = z^B.

    The Jacobian is triangular: log|det| = sum over A of log h'. The transformer h is any scalar bijection; the network
    emits its P parameters for each of the |A| coordinates, added to its start values.

    Args:
        transformer: a name in `TRANSFORMERS` or a scalar bijection.
        mask: bool array of the event shape, True for the transformed part A; both parts must be non-empty. See
            `halves`, `alternating`, `random_half`, `checkerboard`, `channel_wise`.
        network: called as network(z^B, context, key=...), returns shape (P, |A|), P = n_parameters(transformer), or
            P |A| numbers; or a module of one array, such as `equinox.nn.MLP`, which is called with [z^B; context].
        context_shape: shape of the network's context, or None.
        circular: bool array of the event shape, True for coordinates that are angles; by default all where the
            transformer's support is the circle, else none. The network gets the cosine and sine of angles in z^B:
            first the other coordinates, then all cosines, then all sines.

    Cost: one pass of the network and |A| evaluations of h (or of its inverse), the same in both directions.

    Raises:
        ShapeError: if a part is empty or the network's output does not fit.
        ValueError: if the transformer's slope can vanish, as it declares or as a trial shows.

    Reference: Dinh, Krueger & Bengio 2015, section 3; Dinh, Sohl-Dickstein & Bengio 2017, section 3.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Coupling, halves
        >>> from pushforward.networks import MLP
        >>> network = MLP(1, (2, 2), width=8, depth=1, key=jax.random.key(0))     # affine: two numbers a coordinate
        >>> layer = Coupling("affine", halves(3), network)
        >>> print(layer.forward(jnp.arange(3.0)))                                 # starts as the identity
        [0. 1. 2.]
    """

    transformer: AbstractBijection = emitted()
    network: Callable[..., Array]
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    n_transformed: int = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    angles: tuple[bool, ...] = eqx.field(static=True, default=())  # of z^B; files of versions without it have none

    def __init__(
        self,
        transformer: str | AbstractBijection,
        mask: np.ndarray,
        network: Callable[..., Array],
        *,
        context_shape: tuple[int, ...] | None = None,
        circular: np.ndarray | None = None,
    ) -> None:
        mask = np.asarray(mask)
        if mask.dtype != bool or not (mask.any() and not mask.all()):
            raise ShapeError(
                f"mask: expected a bool array with both True (transformed) and False (conditioning) entries, got "
                f"{mask.astype(int).tolist()}. One coordinate alone cannot be coupled: use Elementwise."
            )
        self.transformer, self.network = transformer_named(transformer), network
        check_never_singular(self.transformer)
        self.n_transformed, self.shape = int(mask.sum()), mask.shape
        self.context_shape = None if context_shape is None else tuple(context_shape)
        is_angle = is_circular(self.transformer)
        circular = np.full(mask.shape, is_angle) if circular is None else np.asarray(circular)
        if circular.dtype != bool or circular.shape != mask.shape or (circular[mask] != is_angle).any():
            raise ShapeError(
                f"circular: expected a bool array of shape {mask.shape}, {is_angle} for transformed coordinates by the "
                f"support of {type(self.transformer).__name__}, got {circular.tolist()}."
            )
        # Angles come last, so that layers with different masks but equal counts have equal static fields.
        order = np.argsort(np.where(mask, 0, 1 + circular).reshape(-1), kind="stable")
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.angles = tuple(circular.reshape(-1)[order[self.n_transformed :]].tolist())

    def __check_init__(self) -> None:
        n_conditioning = math.prod(self.shape) - self.n_transformed
        n, n_transformed = self._out_shape
        meaning = (
            f"{n} parameters of {type(self.transformer).__name__} for each of {n_transformed} transformed coordinates"
        )
        in_shape = (n_conditioning + sum(self.angles),)
        check_output(self.network, in_shape, self.context_shape, self._out_shape, meaning)

    @property
    def _out_shape(self) -> tuple[int, int]:
        """Shape of the network's output."""
        return n_parameters(self.transformer), self.n_transformed

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._couple(z, context, key, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._couple(x, context, key, inverse=True)

    def circular_coordinates(self) -> np.ndarray:
        """Which coordinates are angles (bool, of the event shape)."""
        n_angles = (is_circular(self.transformer),) * self.n_transformed
        return np.array([*n_angles, *self.angles] if self.angles else [False] * math.prod(self.shape))[
            np.asarray(self.inverse_order)
        ].reshape(self.shape)

    def _couple(
        self, value: Array, context: Array | None, key: PRNGKeyArray | None, inverse: bool
    ) -> tuple[Array, Array]:
        ordered = value.reshape(-1)[self.order]
        transformed, conditioning = ordered[: self.n_transformed], ordered[self.n_transformed :]
        inputs = with_angles(conditioning, self.angles)
        parameters = call_network(self.network, inputs, context, self._out_shape, key=key)
        transformed, log_det = apply_transformer(self.transformer, parameters, transformed, inverse)
        out = jnp.concatenate([transformed, conditioning])[self.inverse_order]
        return out.reshape(self.shape), jnp.sum(log_det)

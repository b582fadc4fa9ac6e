"""The element-wise layer: one scalar bijection per coordinate, without shared parameters."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.transformer import apply_transformer, check_transformer, n_parameters
from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import is_circular
from pushforward.core.fields import emitted
from pushforward.numerics.arrays import zeros


class Elementwise(AbstractBijection):
    """Element-wise layer: x_i = h(z_i; theta_i), with free parameters theta_i for every coordinate.

    The Jacobian is diagonal, so log|det| = sum_i log h'(z_i; theta_i). Context enters through
    `Conditional(Elementwise(...), network)`.

    Args:
        transformer: a scalar bijection h; its leaves are the start values.
        shape: event shape, such as (D,).

    Cost: D evaluations of h, or of its inverse.

    Raises:
        TypeError: if the transformer is no bijection.
        ShapeError: if it is conditional or of another shape than ().

    Reference: Kobyzev, Prince & Brubaker 2021, section 3.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Elementwise
        >>> layer = Elementwise(Affine(), shape=(2,))
        >>> print(layer.forward(jnp.array([1.0, 2.0])))
        [1. 2.]
    """

    transformer: AbstractBijection = emitted()
    parameters: Float[Array, "P D"]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, transformer: AbstractBijection, shape: tuple[int, ...]) -> None:
        check_transformer(transformer)
        self.transformer, self.shape, self.context_shape = transformer, tuple(shape), None
        self.parameters = zeros((n_parameters(transformer), math.prod(shape)))

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(z, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(x, inverse=True)

    def circular_coordinates(self) -> np.ndarray:
        """Which coordinates are angles (bool, of the event shape)."""
        return np.full(self.shape, is_circular(self.transformer))

    def _apply(self, value: Array, inverse: bool) -> tuple[Array, Array]:
        out, log_det = apply_transformer(self.transformer, self.parameters, value.reshape(-1), inverse)
        return out.reshape(self.shape), jnp.sum(log_det)

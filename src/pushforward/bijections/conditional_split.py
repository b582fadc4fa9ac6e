"""A part of the coordinates transformed by any conditional bijection, given the rest."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.circles import circular_coordinates, with_angles
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device


class ConditionalSplit(AbstractBijection):
    """Coupling of a whole layer: x^A = T(z^A; context = [z^B, context]), x^B = z^B.

    `Coupling` transforms each coordinate of A by a scalar bijection; here T is any conditional bijection, such as a
    `MaskedAutoregressive` layer. The log-determinant is that of T.

    Args:
        inner: T, of shape (|A|,), with a context of shape (n,), n = |B| + the number of angles in B + that of the own
            context: first the coordinates of B on the line, then the cosines and the sines of its angles, then the
            context.
        mask: bool array (D,), True for the transformed part A; both parts must be non-empty.
        context_shape: shape (C,) of the own context, or None.
        circular: bool array (D,), True for coordinates that are angles; by default all where T treats all of A as
            such, none where it treats none so.

    Cost: that of T, in both directions.

    Raises:
        ShapeError: if a part is empty or T does not fit.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017, section 3; a vector map in a coupling: Papamakarios et al. 2021,
    section 3.1.2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import ConditionalSplit, MaskedAutoregressive
        >>> from pushforward.networks import MaskedMLP
        >>> network = MaskedMLP(2, (2, 2), width=8, depth=1, context_size=1, key=jax.random.key(0))
        >>> inner = MaskedAutoregressive("affine", network, context_shape=(1,))
        >>> layer = ConditionalSplit(inner, jnp.array([True, False, True]))
        >>> print(layer.forward(jnp.arange(3.0)))                                 # starts as the identity
        [0. 1. 2.]
    """

    inner: AbstractBijection
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    angles: tuple[bool, ...] = eqx.field(static=True)  # of z^B
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        inner: AbstractBijection,
        mask: np.ndarray,
        *,
        context_shape: tuple[int, ...] | None = None,
        circular: np.ndarray | None = None,
    ) -> None:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.ndim != 1 or not (mask.any() and not mask.all()):
            raise ShapeError(f"mask: expected a bool vector with both True and False entries, got {mask.tolist()}.")
        if inner.shape != (mask.sum(),):
            raise ShapeError(f"inner: expected shape ({mask.sum()},) as the mask has, got {inner.shape}.")
        angles = circular_coordinates(inner)
        if circular is None and angles.any() and not angles.all():
            raise ShapeError(
                "circular: expected a bool array, because some coordinates of `inner` are angles; got None."
            )
        circular = np.asarray(np.full(mask.shape, angles.all()) if circular is None else circular)
        if circular.dtype != bool or circular.shape != mask.shape:
            raise ShapeError(f"circular: expected a bool array of shape {mask.shape}, got {circular.tolist()}.")
        self.inner, self.shape = inner, mask.shape
        self.context_shape = None if context_shape is None else tuple(context_shape)
        order = np.argsort(np.where(mask, 0, 1 + circular), kind="stable")  # angles last, as in `Coupling`
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.angles = tuple(circular[order[inner.shape[0] :]].tolist())

    def __check_init__(self) -> None:
        expected = (len(self.angles) + sum(self.angles) + (self.context_shape or (0,))[0],)
        if self.inner.context_shape != expected:
            raise ShapeError(
                f"inner: expected a context of shape {expected}: the other coordinates, an angle as cosine and sine, "
                f"and the context; got {self.inner.context_shape}."
            )

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        part, rest, conditioning = self._parts(z, context)
        part, log_det = self.inner.forward_and_log_det(part, conditioning, key=key)
        return jnp.concatenate([part, rest])[self.inverse_order], log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        part, rest, conditioning = self._parts(x, context)
        part, log_det = self.inner.inverse_and_log_det(part, conditioning, key=key)
        return jnp.concatenate([part, rest])[self.inverse_order], log_det

    def circular_coordinates(self) -> np.ndarray:
        """Which coordinates are angles (bool, of the event shape)."""
        return np.concatenate([circular_coordinates(self.inner), self.angles])[np.asarray(self.inverse_order)]

    def _parts(self, value: Array, context: Array | None) -> tuple[Array, Array, Array]:
        part, rest = jnp.split(value[self.order], [self.inner.shape[0]])
        conditioning = with_angles(rest, self.angles)
        return part, rest, conditioning if context is None else jnp.concatenate([conditioning, context])

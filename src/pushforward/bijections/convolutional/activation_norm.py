"""A trained shift and scale for each channel, initialised from data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.arrays import zeros

_CONSTANT = 8.0  # rounding of a constant channel, in units in the last place of its largest value


class ActivationNormalisation(AbstractBijection):
    """Shift and scale of each channel (the last axis): x = shift + exp(log_scale) z, the same at every pixel.

    log|det| = H W sum_c log_scale_c. The identity until `pushforward.initialise` or `fit` sets both so that z
    has mean zero and variance one in every channel. They are set once; then they are trained.

    Args:
        shape: event shape, (H, W, C) or a vector's (D,).

    Leaves (unconstrained): `shift` (C,), `log_scale` (C,).

    Cost: O(H W C) in both directions, log-determinant O(C).

    Raises:
        ShapeError: if the shape has no last axis.
        DataError: in `initialised`, if there are no samples or some are not finite.

    Reference: Kingma & Dhariwal 2018 (Glow), section 3.1. Deviation: all training data instead of a batch.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import ActivationNormalisation
        >>> layer = ActivationNormalisation((2,)).initialised(np.array([[1.0, 5.0], [3.0, 9.0]]))
        >>> print(layer.inverse(jnp.array([1.0, 5.0])))
        [-1. -1.]
    """

    shift: Float[Array, "..."]
    log_scale: Float[Array, "..."]
    is_filled: np.ndarray | Bool[Array, "..."] = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...]) -> None:
        if not shape or min(shape) < 1:
            raise ShapeError(f"shape: expected at least one axis, each of at least 1, got {tuple(shape)}.")
        self.shift, self.log_scale, self.is_filled = zeros(shape[-1]), zeros(shape[-1]), np.zeros((), bool)
        self.shape, self.context_shape = tuple(shape), None

    def initialised(self, x: np.ndarray, context: np.ndarray | None = None) -> "ActivationNormalisation":
        """The layer with the moments of samples x (n, *shape), computed in float64; once filled, unchanged.

        A constant channel has the scale one.
        """
        if bool(self.is_filled):
            return self
        samples = np.asarray(x, np.float64)
        if samples.shape[1:] != self.shape or not len(samples):
            raise DataError(
                f"expected at least one row of shape {self.shape}, got an array of shape {samples.shape}.", "x"
            )
        if not np.isfinite(samples).all():
            raise DataError("expected finite rows, got NaN or infinite values. Drop or repair them.", "x")
        pixels = samples.reshape(-1, self.shape[-1])
        mean, spread = pixels.mean(0), pixels.std(0)
        dtype = self.shift.dtype
        rounding = _CONSTANT * float(jnp.finfo(dtype).eps) * np.abs(pixels).max(0)
        log_scale = np.log(np.where(spread > rounding, spread, 1.0))
        return eqx.tree_at(
            lambda layer: (layer.shift, layer.log_scale, layer.is_filled),
            self,
            (jnp.asarray(mean, dtype), jnp.asarray(log_scale, dtype), np.ones((), bool)),
        )

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        shift, scale = (jnp.broadcast_to(leaf, z.shape) for leaf in (self.shift, jnp.exp(self.log_scale)))
        return shift + scale * z, self._log_det()

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        shift, scale = (jnp.broadcast_to(leaf, x.shape) for leaf in (self.shift, jnp.exp(-self.log_scale)))
        return scale * (x - shift), -self._log_det()

    def _log_det(self) -> Array:
        n_pixels = 1
        for side in self.shape[:-1]:
            n_pixels *= side
        return n_pixels * jnp.sum(self.log_scale)

"""The outermost layer of a table: every column by a map of its own, from the line onto what the column can hold."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijection import AbstractBijection
from pushforward.bijections.elementwise.bins import held
from pushforward.bijections.elementwise.heavy_tails import with_tails, without_tails
from pushforward.errors import ShapeError
from pushforward.fields import fixed
from pushforward.numerics import magnitude


class ColumnMaps(AbstractBijection):
    """Fixed element-wise maps from the line onto the columns of a table, by kind:

        real      x = centre + scale z
        positive  x = lower + exp(z)
        softplus  x = lower + scale log(1 + exp(z)), whose upper tail is that of z
        bounded   x = lower + (upper - lower) sigmoid(z)
        circular  as bounded, the circle [lower, upper) being cut at `centre`; every x is brought into it by periods
        heavy     x = centre + scale * s ((2 Phi(-|z|))^(-l) - 1) / l,  s = sign(z), l the index of that side

    Outside the support of a column the density is zero: there the inverse gives a z of 0 and a log-determinant of -inf,
    so that a flow's log_prob is -inf. An end of a support is outside. Numbers are kept in NumPy float64, whatever JAX's
    default. On a circle the density is that of one period; at the cut it need not be continuous.

    Args:
        kinds: for each of D columns one of `COLUMN_KINDS`.
        lower, upper: ends of supports (D,); an end that a kind does not use is ignored.
        centre, scale: (D,), as above.
        index: of the tails of heavy columns, below and above (D, 2): P(|x| > t) falls like t^(-1/l).

    Cost: O(D) in both directions.

    Raises:
        ValueError: for an unknown kind, ends that are not in order, a scale or an index that is not positive.
        ShapeError: if an array does not fit.

    Reference: elementary; of heavy columns Hickling & Prangle 2024, section 3 (see `HeavyTails`).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import ColumnMaps
        >>> layer = ColumnMaps(("positive", "bounded"), lower=[0.0, 0.0], upper=[0.0, 10.0])
        >>> print(layer.forward(jnp.zeros(2)))
        [1. 5.]
    """

    lower: np.ndarray | Array = fixed()
    upper: np.ndarray | Array = fixed()
    centre: np.ndarray | Array = fixed()
    scale: np.ndarray | Array = fixed()
    index: np.ndarray | Array = fixed()
    kinds: tuple[str, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        lower: Any = 0.0,
        upper: Any = 1.0,
        centre: Any = 0.0,
        scale: Any = 1.0,
        index: Any = 0.1,
    ) -> None:
        self.kinds, dim = tuple(kinds), len(kinds)
        self.lower, self.upper, self.centre, self.scale = (
            _array(name, value, (dim,))
            for name, value in (("lower", lower), ("upper", upper), ("centre", centre), ("scale", scale))
        )
        self.index = _array("index", index, (dim, 2))
        self.shape, self.context_shape = (dim,), None

    def __check_init__(self) -> None:
        for column, kind in enumerate(self.kinds):
            if kind not in COLUMN_KINDS:
                raise ValueError(f"kinds: expected {', '.join(COLUMN_KINDS)}, got {kind!r} for column {column}.")
            low, high = float(self.lower[column]), float(self.upper[column])
            if kind in ("bounded", "circular") and not low < high:
                raise ValueError(f"lower, upper: expected ends in order, got {low} and {high} for column {column}.")
            if not (self.scale[column] > 0 and (np.asarray(self.index[column]) > 0).all()):
                raise ValueError(f"scale, index: expected positive numbers, got others for column {column}.")

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._mapped(z, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._mapped(x, inverse=True)

    def _mapped(self, value: Array, inverse: bool) -> tuple[Array, Array]:
        out, log_det = value, jnp.zeros((), value.dtype)
        for kind, (forward, backward, names) in _MAPS.items():
            columns = np.array([place for place, own in enumerate(self.kinds) if own == kind], int)
            if columns.size:
                numbers = (jnp.asarray(getattr(self, name), value.dtype)[columns] for name in names)
                image, log_slope = (backward if inverse else forward)(value[columns], *numbers)
                out, log_det = out.at[columns].set(image), log_det + jnp.sum(log_slope)
        return out, log_det


def _array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.ndim and array.shape != shape:
        raise ShapeError(f"{name}: expected one number or an array of shape {shape}, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array}. Leave unused ends out.")
    return np.broadcast_to(array, shape).copy()


def _scaled(z: Array, centre: Array, scale: Array) -> tuple[Array, Array]:
    return centre + scale * z, jnp.log(scale)


def _unscaled(x: Array, centre: Array, scale: Array) -> tuple[Array, Array]:
    return (x - centre) / scale, -jnp.log(scale)


def _exp(z: Array, lower: Array) -> tuple[Array, Array]:
    return lower + jnp.exp(z), z


def _log(x: Array, lower: Array) -> tuple[Array, Array]:
    inside = x > lower
    z = jnp.log(jnp.where(inside, x - lower, 1.0))
    return z, jnp.where(inside, -z, -jnp.inf)


def _softplus(z: Array, lower: Array, scale: Array) -> tuple[Array, Array]:
    return lower + scale * jax.nn.softplus(z), jnp.log(scale) + jax.nn.log_sigmoid(z)


def _softplus_inverse(x: Array, lower: Array, scale: Array) -> tuple[Array, Array]:
    inside = x > lower
    share = jnp.where(inside, (x - lower) / scale, jnp.log(2.0).astype(x.dtype))
    # log(exp(s) - 1) = s + log(1 - exp(-s)), which neither overflows nor cancels
    log_rest = jnp.log(-jnp.expm1(-share))
    return share + log_rest, jnp.where(inside, -jnp.log(scale) - log_rest, -jnp.inf)


def _sigmoid(z: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    # from the nearer end, so that no digit of the distance to it is lost
    width, size = upper - lower, magnitude(z)
    share = jnp.exp(-size) / (1.0 + jnp.exp(-size))
    x = jnp.where(z < 0, lower + width * share, upper - width * share)
    return x, jnp.log(width) - size - 2.0 * jnp.log1p(jnp.exp(-size))


def _logit(x: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    above, below = x - lower, upper - x
    inside = (above > 0) & (below > 0)
    log_above, log_below = (jnp.log(jnp.where(inside, part, 1.0)) for part in (above, below))
    slope = jnp.log(upper - lower) - log_above - log_below
    return log_above - log_below, jnp.where(inside, slope, -jnp.inf)


def _turned(z: Array, lower: Array, upper: Array, centre: Array) -> tuple[Array, Array]:
    width = upper - lower
    x, log_slope = _sigmoid(z, centre, centre + width)
    return lower + jnp.mod(x - lower, width), log_slope


def _cut(x: Array, lower: Array, upper: Array, centre: Array) -> tuple[Array, Array]:
    width, tiny = upper - lower, float(jnp.finfo(x.dtype).eps)
    # the cut itself belongs to the circle: it counts as the point next to it
    share = held(jnp.mod((x - centre) / width, 1.0), tiny, 1.0 - tiny)
    z, log_slope = _logit(share, jnp.zeros_like(share), jnp.ones_like(share))
    return z, log_slope - jnp.log(width)


def _tails(z: Array, centre: Array, scale: Array, index: Array) -> tuple[Array, Array]:
    x, log_slope = with_tails(z, jnp.where(z >= 0, index[:, 1], index[:, 0]))
    return centre + scale * x, jnp.log(scale) + log_slope


def _normal(x: Array, centre: Array, scale: Array, index: Array) -> tuple[Array, Array]:
    centred = (x - centre) / scale
    z, log_slope = without_tails(centred, jnp.where(centred >= 0, index[:, 1], index[:, 0]))
    return z, log_slope - jnp.log(scale)


# kind: forward, inverse, and the numbers they take
_MAPS: dict[str, tuple[Callable[..., tuple[Array, Array]], Callable[..., tuple[Array, Array]], tuple[str, ...]]] = {
    "real": (_scaled, _unscaled, ("centre", "scale")),
    "positive": (_exp, _log, ("lower",)),
    "softplus": (_softplus, _softplus_inverse, ("lower", "scale")),
    "bounded": (_sigmoid, _logit, ("lower", "upper")),
    "circular": (_turned, _cut, ("lower", "upper", "centre")),
    "heavy": (_tails, _normal, ("centre", "scale", "index")),
}
COLUMN_KINDS = tuple(_MAPS)

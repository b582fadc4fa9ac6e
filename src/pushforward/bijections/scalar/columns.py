"""The outermost layer of a table: a map from the real line onto the support of each column."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.scalar.bins import straight_through_clip
from pushforward.bijections.scalar.cells import from_cells, pad_cells, to_cells
from pushforward.bijections.scalar.heavy_tails import with_tails, without_tails
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError
from pushforward.numerics.elementary import magnitude
from pushforward.numerics.moments import FAR


class ColumnMaps(AbstractBijection):
    """Fixed element-wise maps from the real line onto the columns of a table, by kind:

        real      x = centre + scale z
        positive  x = lower + exp(z)
        softplus  x = lower + scale log(1 + exp(z)), whose upper tail is that of z
        bounded   x = lower + (upper - lower) sigmoid(z)
        circular  as bounded, with the circle [lower, upper) cut at `centre`; x is reduced modulo the period
        heavy     x = centre + scale * s ((2 Phi(-|z|))^(-l) - 1) / l,  s = sign(z), l the index of that side
        cells     x = F^-1(Phi(z)), F linear over each cell with its share as mass: with the shares of the cells in the
                  data, a standard normal z has exactly these masses; beyond an end with a tail F is normal

    Outside the support of a column the density is zero: there the inverse gives a z of 0 and a log-determinant of -inf,
    so that a flow's log_prob is -inf. The ends of a support are outside it. Arrays are in NumPy float64, whatever JAX's
    default. On a circle the density is that of one period; it may be discontinuous at the cut.

    Args:
        kinds: for each of D columns one of `COLUMN_KINDS`.
        lower, upper: ends of supports (D,); an end that a kind does not use is ignored.
        centre, scale: (D,), see above.
        index: of the tails of heavy columns, below and above (D, 2): P(|x| > t) falls like t^(-1/l).
        cells: for each column of kind cells, in order, its increasing edges (K + 1,) and its shares (K + 2,): of the
            lower tail, which may be 0, of the K cells, and of the upper tail.

    Cost: O(D) in both directions; of cells O(K) each.

    Raises:
        ValueError: for an unknown kind, ends that are not in order, a scale or an index that is not positive, cells
            whose edges do not increase or whose shares are not positive.
        ShapeError: if an array does not fit.

    Reference: elementary; heavy: Hickling & Prangle 2024, section 3; cells: the probability integral transform.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import ColumnMaps
        >>> layer = ColumnMaps(("positive", "bounded"), lower=[0.0, 0.0], upper=[0.0, 10.0])
        >>> print(layer.forward(jnp.zeros(2)))
        [1. 5.]
    """

    lower: np.ndarray | Array = frozen()
    upper: np.ndarray | Array = frozen()
    centre: np.ndarray | Array = frozen()
    scale: np.ndarray | Array = frozen()
    index: np.ndarray | Array = frozen()
    kinds: tuple[str, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    cells: tuple[np.ndarray | Array, ...] = frozen(default=())  # edges, probabilities below and above them, shares

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        lower: Any = 0.0,
        upper: Any = 1.0,
        centre: Any = 0.0,
        scale: Any = 1.0,
        index: Any = 0.1,
        cells: Sequence[tuple[Any, Any]] = (),
    ) -> None:
        self.kinds, dim = tuple(kinds), len(kinds)
        self.lower, self.upper, self.centre, self.scale = (
            _array(name, value, (dim,))
            for name, value in (("lower", lower), ("upper", upper), ("centre", centre), ("scale", scale))
        )
        self.index = _array("index", index, (dim, 2))
        self.shape, self.context_shape = (dim,), None
        self.cells = pad_cells(cells) if cells else ()

    def __check_init__(self) -> None:
        count = self.kinds.count("cells")
        if count != (got := len(self.cells[0]) if self.cells else 0):
            raise ValueError(f"cells: expected edges and shares for {count} columns of kind cells, got {got}.")
        for column, kind in enumerate(self.kinds):
            if kind not in COLUMN_KINDS:
                raise ValueError(f"kinds: expected {', '.join(COLUMN_KINDS)}, got {kind!r} for column {column}.")
            low, high = float(self.lower[column]), float(self.upper[column])
            if kind in ("bounded", "circular") and not low < high:
                raise ValueError(f"lower, upper: expected ends in order, got {low} and {high} for column {column}.")
            if not (self.scale[column] > 0 and (np.asarray(self.index[column]) > 0).all()):
                raise ValueError(f"scale, index: expected positive numbers, got others for column {column}.")

    def centred(self) -> tuple["ColumnMaps", np.ndarray | None]:
        lower, upper, centre, scale = (
            np.asarray(part, np.float64) for part in (self.lower, self.upper, self.centre, self.scale)
        )
        kinds = np.array(self.kinds)
        origin = np.where(np.isin(kinds, ("real", "heavy")), centre, 0.0)
        origin = np.where(np.isin(kinds, ("positive", "softplus", "bounded", "circular")), lower, origin)
        width = np.where(np.isin(kinds, ("bounded", "circular")), upper - lower, scale)
        width = np.where(kinds == "positive", 0.0, width)  # near its end every digit matters
        far = np.abs(origin) > FAR * width
        if lower.shape != self.shape or not far.any():
            return self, None
        offset = np.where(far, origin, 0.0)
        ends = lower - offset, upper - offset, centre - offset
        return eqx.tree_at(lambda layer: (layer.lower, layer.upper, layer.centre), self, ends), offset

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(z, inverse=False)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(x, inverse=True)

    def _apply(self, value: Array, inverse: bool) -> tuple[Array, Array]:
        out, log_det = value, jnp.zeros((), value.dtype)
        for kind, (forward, backward, names) in _MAPS.items():
            columns = np.array([index for index, other in enumerate(self.kinds) if other == kind], int)
            if columns.size:
                if kind == "cells":
                    arrays = (jnp.asarray(part, value.dtype) for part in self.cells)
                else:
                    arrays = (jnp.asarray(getattr(self, name), value.dtype)[columns] for name in names)
                mapped, log_slope = (backward if inverse else forward)(value[columns], *arrays)
                out, log_det = out.at[columns].set(mapped), log_det + jnp.sum(log_slope)
        return out, log_det


def _array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.ndim and array.shape != shape:
        raise ShapeError(f"{name}: expected one number or an array of shape {shape}, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array}. Omit unused ends.")
    return np.broadcast_to(array, shape).copy()


def _shift_scale(z: Array, centre: Array, scale: Array) -> tuple[Array, Array]:
    return centre + scale * z, jnp.log(scale)


def _shift_scale_inverse(x: Array, centre: Array, scale: Array) -> tuple[Array, Array]:
    return (x - centre) / scale, -jnp.log(scale)


def _exp(z: Array, lower: Array) -> tuple[Array, Array]:
    return _above(lower + jnp.exp(z), lower), z


def _above(x: Array, end: Array) -> Array:
    """x, or the next number above the open end if x was rounded to it."""
    return jnp.where(x <= end, jnp.nextafter(jax.lax.stop_gradient(end), jnp.full_like(end, jnp.inf)), x)


def _below(x: Array, end: Array) -> Array:
    """x, or the next number below the open end if x was rounded to it."""
    return jnp.where(x >= end, jnp.nextafter(jax.lax.stop_gradient(end), jnp.full_like(end, -jnp.inf)), x)


def _log(x: Array, lower: Array) -> tuple[Array, Array]:
    in_support = ~(x <= lower)  # NaN propagates: it comes from an error
    z = jnp.log(jnp.where(in_support, x - lower, 1.0))
    return z, jnp.where(in_support, -z, -jnp.inf)


def _softplus(z: Array, lower: Array, scale: Array) -> tuple[Array, Array]:
    return _above(lower + scale * jax.nn.softplus(z), lower), jnp.log(scale) + jax.nn.log_sigmoid(z)


def _softplus_inverse(x: Array, lower: Array, scale: Array) -> tuple[Array, Array]:
    in_support = ~(x <= lower)  # NaN propagates: it comes from an error
    share = jnp.where(in_support, (x - lower) / scale, jnp.log(2.0).astype(x.dtype))
    # log(exp(s) - 1) = s + log(1 - exp(-s)), which neither overflows nor cancels
    log_rest = jnp.log(-jnp.expm1(-share))
    return share + log_rest, jnp.where(in_support, -jnp.log(scale) - log_rest, -jnp.inf)


def _sigmoid(z: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    # computed from the nearer end, so that the distance to it keeps its digits
    width, size = upper - lower, magnitude(z)
    share = jnp.exp(-size) / (1.0 + jnp.exp(-size))
    x = jnp.where(z < 0, lower + width * share, upper - width * share)
    return _below(_above(x, lower), upper), jnp.log(width) - size - 2.0 * jnp.log1p(jnp.exp(-size))


def _logit(x: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    above, below = x - lower, upper - x
    in_support = ~((above <= 0) | (below <= 0))
    log_above, log_below = (jnp.log(jnp.where(in_support, part, 1.0)) for part in (above, below))
    slope = jnp.log(upper - lower) - log_above - log_below
    return log_above - log_below, jnp.where(in_support, slope, -jnp.inf)


def _circular(z: Array, lower: Array, upper: Array, centre: Array) -> tuple[Array, Array]:
    width = upper - lower
    x, log_slope = _sigmoid(z, centre, centre + width)
    return lower + jnp.mod(x - lower, width), log_slope


def _circular_inverse(x: Array, lower: Array, upper: Array, centre: Array) -> tuple[Array, Array]:
    width, tiny = upper - lower, float(jnp.finfo(x.dtype).eps)
    # the cut belongs to the circle: it is moved to the next point
    share = straight_through_clip(jnp.mod((x - centre) / width, 1.0), tiny, 1.0 - tiny)
    z, log_slope = _logit(share, jnp.zeros_like(share), jnp.ones_like(share))
    return z, log_slope - jnp.log(width)


def _heavy(z: Array, centre: Array, scale: Array, index: Array) -> tuple[Array, Array]:
    x, log_slope = with_tails(z, jnp.where(z >= 0, index[:, 1], index[:, 0]))
    return centre + scale * x, jnp.log(scale) + log_slope


def _heavy_inverse(x: Array, centre: Array, scale: Array, index: Array) -> tuple[Array, Array]:
    centred = (x - centre) / scale
    z, log_slope = without_tails(centred, jnp.where(centred >= 0, index[:, 1], index[:, 0]))
    return z, log_slope - jnp.log(scale)


# kind: forward, inverse, and their arguments
_MAPS: dict[str, tuple[Callable[..., tuple[Array, Array]], Callable[..., tuple[Array, Array]], tuple[str, ...]]] = {
    "real": (_shift_scale, _shift_scale_inverse, ("centre", "scale")),
    "positive": (_exp, _log, ("lower",)),
    "softplus": (_softplus, _softplus_inverse, ("lower", "scale")),
    "bounded": (_sigmoid, _logit, ("lower", "upper")),
    "circular": (_circular, _circular_inverse, ("lower", "upper", "centre")),
    "heavy": (_heavy, _heavy_inverse, ("centre", "scale", "index")),
    "cells": (from_cells, to_cells, ()),
}
COLUMN_KINDS = tuple(_MAPS)

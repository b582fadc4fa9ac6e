"""Circular columns as bounded ones: the density of one period, for tests that need one over the whole line."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import Chain, ColumnMaps
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.diagnostics.certificate import Row, bounded_row
from pushforward.numerics.programs import flatten, float_type

NAME = "circular columns"
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Circles:
    """The circular columns of a table, each restricted to one period [start, start + width).

    A circular column has the same density at x, x + width, x + 2 width, ...: over the line it does not integrate to
    one, and a round trip returns to x only up to periods.
    """

    columns: np.ndarray
    start: np.ndarray
    width: np.ndarray
    margin: np.ndarray
    layer: ColumnMaps
    bounded_layer: ColumnMaps

    def wrap(self, x: np.ndarray) -> np.ndarray:
        """x (n, D), float64, with circular columns moved into their intervals by whole periods."""
        offsets = np.mod(x[:, self.columns] - self.start, self.width)
        out = x.copy()
        out[:, self.columns] = self.start + np.clip(offsets, self.margin, self.width - self.margin)
        return out

    def row(self, points: np.ndarray) -> Row:
        """Whether the layer equals the bounded layer that replaces it: both maps at points (n, D), in float64.

        Points next to a cut are left out: their latents are dominated by rounding.
        """

        def distance(left: Any, right: Any) -> float:
            return float(np.nan_to_num(np.abs(np.asarray(left) - np.asarray(right)), nan=np.inf).max())

        with jax.enable_x64(True):
            z, log_det = jax.jit(jax.vmap(self.bounded_layer.inverse_and_log_det))(points)
            share = (points[:, self.columns] - self.start) / self.width
            in_support = np.isfinite(np.asarray(log_det)) & (np.abs(share - 0.5) < 0.5 - _ROUNDING).all(1)
            if not in_support.any():
                return Row(NAME, None, None, None, "No point lies inside the supports of all columns.")
            points, z, log_det = points[in_support], z[in_support], log_det[in_support]
            layer_z, inverse_log_det = jax.jit(jax.vmap(self.layer.inverse_and_log_det))(points)
            layer_x, forward_log_det = jax.jit(jax.vmap(self.layer.forward_and_log_det))(z)
        back, before = (part[:, self.columns] / self.width for part in (self.wrap(np.asarray(layer_x)), points))
        error = max(
            distance(layer_z, z), distance(inverse_log_det, log_det), distance(forward_log_det, -log_det),
            distance(back, before),
        )  # fmt: skip
        message = f"Over one period, the layer's maps and log-determinants differ by {error:.2g}."
        return bounded_row(
            NAME, error, _ROUNDING, message, message, "the layer of circular columns is not the map it should be",
            "Look at its two directions: both log-determinants are those of a logistic map from cut to cut.",
        )  # fmt: skip


def restrict_to_one_period(distribution: AbstractDistribution) -> tuple[AbstractDistribution, Circles | None]:
    """A flow whose circular columns are bounded ones from cut to cut, and these columns; None where there are none.

    In the intervals density and samples are the same; outside the density is zero.
    """
    if not isinstance(distribution, Flow) or not isinstance(distribution.bijection, Chain):
        return distribution, None
    layers = distribution.bijection.bijections
    if not isinstance(layers[-1], ColumnMaps) or "circular" not in layers[-1].kinds:
        return distribution, None
    maps = layers[-1]
    lower, upper = np.array(maps.lower), np.array(maps.upper)
    columns = np.flatnonzero([kind == "circular" for kind in maps.kinds])
    width = (upper - lower)[columns]
    lower[columns] = start = np.array(maps.centre)[columns]
    upper[columns] = start + width
    bounded_layer = ColumnMaps(
        ["bounded" if kind == "circular" else kind for kind in maps.kinds],
        lower=lower, upper=upper, centre=maps.centre, scale=maps.scale, index=maps.index,
    )  # fmt: skip
    flow: Any = eqx.tree_at(lambda f: f.bijection, distribution, Chain([*layers[:-1], bounded_layer]))
    # the cut belongs to the circle, the end of an interval does not: a margin of two units in the last place
    eps = float(jnp.finfo(float_type(flatten(distribution)[0])).eps)
    return flow, Circles(columns, start, width, 2 * eps * (np.abs(start) + width), maps, bounded_layer)

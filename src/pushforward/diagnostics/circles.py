"""Circular columns cut open: a density of one period alone, for tests that look at the whole line."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import Chain, ColumnMaps
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.diagnostics.certificate import Row
from pushforward.numerics.programs import flatten, float_type

NAME = "circular columns"
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Circles:
    """The circles among the columns of a table, each an interval [start, start + width) that begins at its cut.

    A circular column has one density for x, x + width, x + 2 width, ...: over the line it does not integrate to one,
    and a map's inverse leads back to x only up to periods.
    """

    columns: np.ndarray
    start: np.ndarray
    width: np.ndarray
    margin: np.ndarray
    layer: ColumnMaps
    opened: ColumnMaps

    def into(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, D), float64, with circular columns brought into their intervals by periods."""
        turned = np.mod(rows[:, self.columns] - self.start, self.width)
        out = rows.copy()
        out[:, self.columns] = self.start + np.clip(turned, self.margin, self.width - self.margin)
        return out

    def row(self, points: np.ndarray) -> Row:
        """Whether the layer itself is what was put in its place: both maps at points (n, D) inside, in float64.

        Next to a cut rounding alone decides how far out a latent lies; such points are left out.
        """

        def apart(left: Any, right: Any) -> float:
            return float(np.nan_to_num(np.abs(np.asarray(left) - np.asarray(right)), nan=np.inf).max())

        with jax.enable_x64(True):
            z, log_det = jax.jit(jax.vmap(self.opened.inverse_and_log_det))(points)
            share = (points[:, self.columns] - self.start) / self.width
            inside = np.isfinite(np.asarray(log_det)) & (np.abs(share - 0.5) < 0.5 - _ROUNDING).all(1)
            if not inside.any():
                return Row(NAME, None, None, None, "No point lies inside the supports of all columns.")
            points, z, log_det = points[inside], z[inside], log_det[inside]
            found, found_log_det = jax.jit(jax.vmap(self.layer.inverse_and_log_det))(points)
            image, image_log_det = jax.jit(jax.vmap(self.layer.forward_and_log_det))(z)
        back, before = (part[:, self.columns] / self.width for part in (self.into(np.asarray(image)), points))
        off = max(
            apart(found, z), apart(found_log_det, log_det), apart(image_log_det, -log_det), apart(back, before)
        )  # fmt: skip
        words = f"Cut open, the layer's maps and log-determinants differ by {off:.2g}."
        if off <= _ROUNDING:
            return Row(NAME, off, _ROUNDING, True, words)
        return Row(
            NAME, off, _ROUNDING, False, words, "the layer of circular columns is not the map it should be",
            "Look at its two directions: both log-determinants are those of a logistic map from cut to cut.",
        )  # fmt: skip


def cut_open(distribution: AbstractDistribution) -> tuple[AbstractDistribution, Circles | None]:
    """A flow whose circular columns are bounded ones from cut to cut, and these circles; None where there are none.

    Within the intervals density and samples are the same; outside them the density is zero.
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
    opened = ColumnMaps(
        ["bounded" if kind == "circular" else kind for kind in maps.kinds],
        lower=lower, upper=upper, centre=maps.centre, scale=maps.scale, index=maps.index,
    )  # fmt: skip
    flow: Any = eqx.tree_at(lambda f: f.bijection, distribution, Chain([*layers[:-1], opened]))
    # the cut belongs to the circle, and an end does not: two units in the last place of the flow's own numbers
    eps = float(jnp.finfo(float_type(flatten(distribution)[0])).eps)
    return flow, Circles(columns, start, width, 2 * eps * (np.abs(start) + width), maps, opened)

"""Circular columns and angles within one period, for tests that need a density over the whole line.

The density of a circular column is the same at x, x + period, x + 2 periods, ...: over the line it does not integrate
to one, and a round trip returns to x only up to periods.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections import Chain, ColumnMaps, Standardise
from pushforward.bijections.scalar.cells import unpad_cells
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import layers_of
from pushforward.core.circles import circular_coordinates
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.float64 import in_float64
from pushforward.core.flow import Flow
from pushforward.diagnostics.row import Row, bounded_row
from pushforward.numerics.programs import flatten, float_type

NAME = "circular columns"
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Circles:
    """The circular columns of a table, each restricted to one period [start, start + width)."""

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


class _OneTurn(AbstractBijection):
    """The identity where all angles lie in [-pi, pi], up to rounding; elsewhere z = 0 and a log-determinant of -inf."""

    circular: tuple[bool, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, circular: np.ndarray) -> None:
        self.circular, self.shape = tuple(circular.reshape(-1).tolist()), circular.shape
        self.context_shape = None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return z, jnp.zeros((), z.dtype)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        beyond = np.reshape(self.circular, self.shape) & (jnp.abs(x) > np.pi * (1 + _ROUNDING))
        return jnp.where(beyond, 0.0, x), jnp.where(beyond.any(), -jnp.inf, jnp.zeros((), x.dtype))


@dataclasses.dataclass(frozen=True)
class Angles:
    """The coordinates (bool, of the event shape) of a flow that its layers treat as angles."""

    circular: np.ndarray
    flow: Flow

    def wrap(self, x: np.ndarray) -> np.ndarray:
        """x (n, *shape), float64, with angles moved into [-pi, pi) by whole turns."""
        return np.where(self.circular, np.mod(x + np.pi, 2 * np.pi) - np.pi, x)

    def row(self, points: np.ndarray) -> Row:
        """Whether log-densities at points (n, *shape) are the same a turn further and on both sides of the cut, in
        float64."""
        ends = (np.where(self.circular, end, points) for end in (-np.pi, np.pi))
        with jax.enable_x64(True):
            flow = in_float64(self.flow)
            contexts = None
            if flow.context_shape is not None:
                contexts = np.zeros(flow.context_shape) if flow.context_scaling is None else flow.context_scaling.mean
            score = jax.jit(jax.vmap(lambda x: flow.log_prob_one(x, contexts, None)))
            here, further, left, right = (
                np.asarray(score(at)) for at in (points, points + 2 * np.pi * self.circular, *ends)
            )
        with np.errstate(invalid="ignore"):
            gaps = np.nan_to_num(np.abs(np.stack([here - further, left - right])), nan=np.inf)
        turn, cut = (float(np.quantile(gap, 0.99)) for gap in gaps)
        message = f"Log-densities differ by {turn:.2g} a turn further, and by {cut:.2g} across the cut."
        return bounded_row(
            NAME, max(turn, cut), _ROUNDING, message, message, "the density is not that of a circle",
            "Give networks the cosine and the sine of angles, and transform angles by circular maps only.",
        )  # fmt: skip


def restrict_to_one_period(distribution: AbstractDistribution) -> tuple[AbstractDistribution, Circles | Angles | None]:
    """A flow whose circular columns are bounded ones from cut to cut, and these columns; None where there are none.

    In the intervals density and samples are the same; outside the density is zero. Likewise for the angles of a flow
    whose layers map circles.
    """
    if not isinstance(distribution, Flow):
        return distribution, None
    layers = layers_of(distribution.bijection)
    if not isinstance(layers[-1], ColumnMaps) or "circular" not in layers[-1].kinds:
        circular = circular_coordinates(distribution.bijection)
        if not circular.any():
            return distribution, None
        turn = _OneTurn(circular)
        # the outermost layer stays: its centre is subtracted in float64, and it is the identity on angles
        index = len(layers) - isinstance(layers[-1], Standardise | ColumnMaps)
        chain = Chain([*layers[:index], turn, *layers[index:]])
        return eqx.tree_at(lambda f: f.bijection, distribution, chain), Angles(circular, distribution)
    maps = layers[-1]
    lower, upper = np.array(maps.lower), np.array(maps.upper)
    columns = np.flatnonzero([kind == "circular" for kind in maps.kinds])
    width = (upper - lower)[columns]
    lower[columns] = start = np.array(maps.centre)[columns]
    upper[columns] = start + width
    bounded_layer = ColumnMaps(
        ["bounded" if kind == "circular" else kind for kind in maps.kinds],
        lower=lower, upper=upper, centre=maps.centre, scale=maps.scale, index=maps.index,
        cells=unpad_cells(maps.cells) if maps.cells else (),
    )  # fmt: skip
    flow: Any = eqx.tree_at(lambda f: f.bijection, distribution, Chain([*layers[:-1], bounded_layer]))
    # the cut belongs to the circle, the end of an interval does not: a margin of two units in the last place
    eps = float(jnp.finfo(float_type(flatten(distribution)[0])).eps)
    return flow, Circles(columns, start, width, 2 * eps * (np.abs(start) + width), maps, bounded_layer)

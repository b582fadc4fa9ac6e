"""The block neural autoregressive layer: a network that is itself a triangular, monotone map."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.networks import checked_order
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import on_device, zeros
from pushforward.numerics.elementary import soft_clamp
from pushforward.numerics.roots import monotone_root

_MIN_SLOPE = 0.1  # of the activation, so that the map is onto the real line
_START_REACH, _START_DEVIATION = 0.2, 0.2  # at the start: scale of the inputs of hidden units; spread between units
_LOG_BOUND = 7.0  # of the logarithms of positive weights and of row norms


class BlockAutoregressive(AbstractBijection):
    """Block neural autoregressive layer: z = f(x; context), z_i strictly increasing in x_i, any function of x_<i.

        h_0 = x,  h_l = a(W_l h_{l-1} + C_l context + b_l),  z = g x + (1 - g) (W_n h_{n-1} + C_n context + b_n)

    Every coordinate has `n_units` units a layer. Blocks of W below the diagonal are free, those on it positive (exp),
    those above it zero; each row is scaled to a trained norm. a(u) = 0.1 u + 0.9 tanh(u) is unbounded, so that f is
    onto and the density integrates to one; g = sigmoid(gates), one number a coordinate and 1/2 at the start, keeps the
    tails of the data near those of the base. log|det| = sum_i log (g_i + (1 - g_i) product_i), where product_i is the
    product of the diagonal blocks and slopes.

    Args:
        dim: number of coordinates D.
        n_units: hidden units of each coordinate.
        depth: number of hidden layers.
        order: a permutation of 0..D-1, `order[t]` being the coordinate of rank t; natural by default.
        context_dim: length of the context, or None.
        key: for the start weights.

    Cost: inverse (density) one pass of a network of D n_units units; forward (sampling) D passes and D scalar root
    searches of O(depth n_units^2) a step.

    Raises:
        ShapeError: if `order` is not a permutation.
        ValueError: if a size is not positive.

    Reference: De Cao, Titov & Aziz 2019, sections 3.1-3.2, and the gated skip of their experiments. Deviation: the
    activation has a minimum slope, because with tanh alone the range is bounded.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import BlockAutoregressive
        >>> layer = BlockAutoregressive(2, key=jax.random.key(0))
        >>> z = layer.inverse(jnp.array([0.5, -1.0]))
        >>> print(jnp.round(layer.forward(z), 4))
        [ 0.5 -1. ]
    """

    weights: tuple[Float[Array, "..."], ...]
    log_norms: tuple[Float[Array, "..."], ...]
    context_weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    gates: Float[Array, "..."]
    order: Int[Array, "..."]
    ranks: Int[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        *,
        n_units: int = 8,
        depth: int = 2,
        order: Sequence[int] | np.ndarray | None = None,
        context_dim: int | None = None,
        key: PRNGKeyArray,
    ) -> None:
        for name, size in {"dim": dim, "n_units": n_units, "depth": depth}.items():
            if size < 1:
                raise ShapeError(f"{name}: expected at least 1, got {size}.")
        order = checked_order(dim, order)
        sizes = [1, *[n_units] * depth, 1]
        self.weights = tuple(
            normal(jax.random.fold_in(key, i), (dim, sizes[i + 1], dim, sizes[i]), _START_DEVIATION)
            for i in range(depth + 1)
        )
        # norms that make the start nearly linear with slope one: units have inputs of about _START_REACH
        norms = [_START_REACH, *[1 / math.sqrt(n_units)] * (depth - 1), 1 / (_START_REACH * math.sqrt(n_units))]
        self.log_norms = tuple(zeros((dim, size)) + math.log(norm) for size, norm in zip(sizes[1:], norms, strict=True))
        n_context = context_dim or 0
        self.context_weights = tuple(
            normal(jax.random.fold_in(key, depth + 1 + i), (dim, size, n_context), 1.0 / math.sqrt(max(n_context, 1)))
            for i, size in enumerate(sizes[1:] if n_context else [])
        )
        self.biases = tuple(
            normal(jax.random.fold_in(key, 2 * depth + 2 + i), (dim, size), 0.0 if i == depth else _START_DEVIATION)
            for i, size in enumerate(sizes[1:])
        )
        self.gates = zeros(dim)
        self.order, self.ranks = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.shape, self.context_shape = (dim,), None if context_dim is None else (context_dim,)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        matrices, offsets = self._matrices(), self._offsets(context)
        blocks = [_diagonal(matrix) for matrix in matrices]
        dim = self.shape[0]

        def step(hidden: list[Array], inputs: tuple) -> tuple[list[Array], tuple[Array, Array]]:
            rank, z, gate, rows, blocks, offsets = inputs
            # contributions of lower ranks; higher ranks are still zero
            offsets = [
                offset + jnp.tensordot(row, units, 2) for offset, row, units in zip(offsets, rows, hidden, strict=True)
            ]
            x = monotone_root(_value, (gate, blocks, offsets), z)
            values, log_slope = _values_and_log_slope(gate, blocks, offsets, x)
            hidden = [
                jax.lax.dynamic_update_index_in_dim(units, value, rank, 0)
                for units, value in zip(hidden, values, strict=True)
            ]
            return hidden, (x, log_slope)

        hidden = [jnp.zeros((dim, matrix.shape[3]), z.dtype) for matrix in matrices]
        inputs = (jnp.arange(dim), z[self.order], self.gates, matrices, blocks, offsets)
        _, (x, log_slopes) = jax.lax.scan(step, hidden, inputs)
        return x[self.ranks], -jnp.sum(log_slopes)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        matrices, offsets = self._matrices(), self._offsets(context)
        x = x[self.order]
        hidden, log_slopes = x[:, None], jnp.zeros_like(x)
        slope = jnp.ones_like(hidden)
        for index, (matrix, offset) in enumerate(zip(matrices, offsets, strict=True)):
            hidden = jnp.tensordot(matrix, hidden, 2) + offset
            slope = jnp.sum(_diagonal(matrix) * slope[:, None, :], 2)
            if index < len(matrices) - 1:
                slope = slope * _slope(hidden)
                hidden = _activation(hidden)
            size = jnp.sum(slope, 1, keepdims=True)
            log_slopes, slope = log_slopes + jnp.log(size[:, 0]), slope / size
        z, log_slopes = _gated(self.gates, x, hidden[:, 0], log_slopes)
        return z[self.ranks], jnp.sum(log_slopes)

    def _matrices(self) -> list[Array]:
        """The weights, with blocks positive on the diagonal and zero above it, rows scaled to their norms."""
        dim = self.shape[0]
        rows, columns = np.indices((dim, dim))
        matrices = []
        for raw, log_norm in zip(self.weights, self.log_norms, strict=True):
            diagonal, below = ((rows == columns)[:, None, :, None], (rows > columns)[:, None, :, None])
            matrix = jnp.where(diagonal, jnp.exp(soft_clamp(raw, _LOG_BOUND)), jnp.where(below, raw, 0))
            length = jnp.sqrt(jnp.sum(matrix**2, (2, 3), keepdims=True))
            matrices.append(matrix * (jnp.exp(soft_clamp(log_norm, _LOG_BOUND))[:, :, None, None] / length))
        return matrices

    def _offsets(self, context: Array | None) -> list[Array]:
        if context is None:
            return list(self.biases)
        return [b + jnp.tensordot(c, context, 1) for b, c in zip(self.biases, self.context_weights, strict=True)]


def _diagonal(matrix: Array) -> Array:
    """The diagonal blocks (D, out, in) of (D, out, D, in)."""
    return jnp.moveaxis(jnp.diagonal(matrix, axis1=0, axis2=2), 2, 0)


def _activation(u: Array) -> Array:
    return _MIN_SLOPE * u + (1 - _MIN_SLOPE) * jnp.tanh(u)


def _slope(u: Array) -> Array:
    return _MIN_SLOPE + (1 - _MIN_SLOPE) * (1 - jnp.tanh(u) ** 2)


def _gated(gate: Array, x: Array, value: Array, log_slope: Array) -> tuple[Array, Array]:
    """g x + (1 - g) value, and its log-slope."""
    log_share, log_rest = -jax.nn.softplus(-gate), -jax.nn.softplus(gate)
    return jnp.exp(log_share) * x + jnp.exp(log_rest) * value, jnp.logaddexp(log_share, log_rest + log_slope)


def _values_and_log_slope(
    gate: Array, blocks: list[Array], offsets: list[Array], x: Array
) -> tuple[list[Array], Array]:
    """The units of one coordinate in every layer, and the log-slope of its value z."""
    hidden, slope, total = x[None], jnp.ones((1,), x.dtype), jnp.zeros((), x.dtype)
    values = [hidden]
    for index, (block, offset) in enumerate(zip(blocks, offsets, strict=True)):
        hidden, slope = block @ hidden + offset, block @ slope
        if index < len(blocks) - 1:
            slope, hidden = slope * _slope(hidden), _activation(hidden)
            values.append(hidden)
        size = jnp.sum(slope)
        total, slope = total + jnp.log(size), slope / size
    return values, _gated(gate, x, hidden[0], total)[1]


def _value(weights: tuple[Array, list[Array], list[Array]], x: Array) -> Array:
    """z of one coordinate."""
    gate, blocks, offsets = weights
    hidden = x[None]
    for index, (block, offset) in enumerate(zip(blocks, offsets, strict=True)):
        hidden = block @ hidden + offset
        hidden = _activation(hidden) if index < len(blocks) - 1 else hidden
    return _gated(gate, x, hidden[0], jnp.zeros_like(x))[0]

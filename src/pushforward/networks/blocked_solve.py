"""A masked perceptron run in order, block by block: the sequential direction at about the price of one pass.

Step t needs the hidden units of degree t alone, and each is a dot product with numbers that are known by then. Steps
are taken in blocks: at the start of a block one matrix product per layer collects what all earlier blocks contribute,
then a short unrolled recurrence adds what is found inside the block. A scan over blocks keeps compilation short, large
products keep the speed of a pass. Everything known lies in one cache per layer, [1; context; units so far], and a
row of weights is [bias | context weights | weights], so that bias and context ride in the large product.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.networks.autoregressive import Law


class BlockedSolve:
    """The recurrence as a function of (data, weights), ready for `numerics.trailing_batch`.

    Args:
        law: law(law_weights, parameters (P, ...), z (...)) -> (x, log-slope), element by element.
        degrees: (W,) degrees of the hidden units, not decreasing; the same in every hidden layer.
        activation: of the hidden units.
        residual: whether the layers after the first form pairs with skips.
        out_shape: (P, D).
    """

    def __init__(
        self,
        law: Law,
        degrees: np.ndarray,
        activation: Callable[[Array], Array],
        residual: bool,
        out_shape: tuple[int, ...],
    ) -> None:
        self.law, self.activation, self.residual = law, activation, residual
        self.n_parameters, self.dim = out_shape
        self.size = block_size(self.dim)
        self.n_blocks = -(-self.dim // self.size)
        self.n_steps = self.n_blocks * self.size  # the last block may hold steps beyond D, whose results are dropped
        self.slots, self.per_step = _slots(degrees, self.n_steps)

    def __call__(self, data: tuple[Array, ...], weights: tuple) -> tuple[Array, Array]:
        """x, in order as z is, and the log-determinant.

        Args:
            data: (z,) or (z, context), each with or without a trailing batch axis.
            weights: masked matrices (out, in), biases, masked output weight (P, D, W) and bias (P, D), context weights
                (of each layer and of the output, or none), weights of the law.
        """
        matrices, biases, out_weight, out_bias, context_weights, law_weights = weights
        z, tail = data[0], data[0].shape[1:]
        head = [jnp.ones((1, *tail), z.dtype)]
        if len(data) > 1:
            head.append(jnp.broadcast_to(data[1], (data[1].shape[0], *tail)))
        head = jnp.concatenate(head)
        rows = self._rows(matrices, context_weights, biases, out_weight, out_bias)
        # cache 0 holds the coordinates, cache l the units of hidden layer l
        widths = [1] + [self.per_step] * len(matrices)
        caches = [jnp.concatenate([head, jnp.zeros((self.n_steps * width, *tail), z.dtype)]) for width in widths]
        padding = [(0, self.n_steps - self.dim)] + [(0, 0)] * len(tail)
        steps_z = jnp.pad(z, padding).reshape(self.n_blocks, self.size, *tail)

        def block(carry: tuple[list[Array], Array], inputs: tuple) -> tuple[tuple[list[Array], Array], None]:
            caches, total = carry
            index, rows, z = inputs
            known = [row @ cache for row, cache in zip(rows, caches, strict=True)]
            starts = [len(head) + index * self.size * width for width in widths]
            inner = [
                jax.lax.dynamic_slice_in_dim(row, start, self.size * width, 1)
                for row, start, width in zip(rows, starts, widths, strict=True)
            ]
            found, log_dets = self._inside(known, inner, z, law_weights)
            first = index * self.size
            total = total + sum(
                jnp.where(first + step < self.dim, log_det, 0.0) for step, log_det in enumerate(log_dets)
            )
            caches = [
                jax.lax.dynamic_update_slice_in_dim(cache, jnp.concatenate(new), start, 0)
                for cache, new, start in zip(caches, found, starts, strict=True)
            ]
            return (caches, total), None

        start = (caches, jnp.zeros(tail, z.dtype))
        (caches, total), _ = jax.lax.scan(block, start, (jnp.arange(self.n_blocks), rows, steps_z))
        return caches[0][len(head) : len(head) + self.dim], total

    def _inside(
        self, known: list[Array], inner: list[Array], z: Array, law_weights: Any
    ) -> tuple[list[list[Array]], list[Array]]:
        """The steps of one block, unrolled: for each cache what was found, and the log-slopes."""
        n_hidden = len(known) - 1
        shape = (self.n_parameters, self.size)
        known_out = known[-1].reshape(*shape, *z.shape[1:])
        inner_out = inner[-1].reshape(*shape, -1)
        found: list[list[Array]] = [[] for _ in known]
        log_dets = []
        for step in range(self.size):
            at = slice(step * self.per_step, (step + 1) * self.per_step)
            stream = None
            for layer in range(n_hidden):
                value = known[layer][at]
                if found[layer]:
                    here = jnp.concatenate(found[layer])
                    value = value + inner[layer][at, : len(here)] @ here
                if self.residual and layer % 2 == 0:
                    stream = value if stream is None else stream + value
                    value = stream
                found[layer + 1].append(self.activation(value))
            here = jnp.concatenate(found[-1])
            parameters = known_out[:, step] + jnp.tensordot(inner_out[:, step, : len(here)], here, 1)
            x, log_det = self.law(law_weights, parameters, z[step])
            found[0].append(x[None])
            log_dets.append(log_det)
        return found, log_dets

    def _rows(
        self, matrices: list[Array], context_weights: tuple, biases: tuple, out: Array, out_bias: Array
    ) -> list[Array]:
        """For each layer and the output: rows [bias | context | inputs], block by block, units in their slots."""
        beyond = self.n_steps - self.dim
        rows = []
        for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            left = [bias[:, None], context_weights[index].T] if context_weights else [bias[:, None]]
            inputs = _place(matrix, self.slots)
            inputs = _place(inputs.T, self.slots).T if index else jnp.pad(inputs, ((0, 0), (0, beyond)))
            full = jnp.concatenate([_place(jnp.concatenate(left, 1), self.slots), inputs], 1)
            rows.append(full.reshape(self.n_blocks, self.size * self.per_step, -1))
        last = jnp.moveaxis(_place(jnp.moveaxis(out, 2, 0), self.slots), 0, 2)
        left = [out_bias[..., None], context_weights[-1]] if context_weights else [out_bias[..., None]]
        last = jnp.pad(jnp.concatenate([*left, last], 2), ((0, 0), (0, beyond), (0, 0)))
        last = jnp.moveaxis(last.reshape(self.n_parameters, self.n_blocks, self.size, -1), 1, 0)
        return [*rows, last.reshape(self.n_blocks, self.n_parameters * self.size, -1)]


def block_size(dim: int) -> int:
    """Steps in a block: about eleven blocks, and sixteen from 128 coordinates on.

    Few blocks make the products large, short blocks make the unrolled part small (it is what takes time to compile).
    """
    return max(round(dim / 11), 1) if dim < 128 else -(-dim // 16)


def _slots(degrees: np.ndarray, n_steps: int) -> tuple[np.ndarray, int]:
    """For every step an equal number of places for units, each with its unit's index or -1."""
    counts = np.bincount(degrees, minlength=n_steps)
    per_step = max(int(counts.max()), 1)
    slots = np.full((n_steps, per_step), -1)
    for degree in np.flatnonzero(counts):
        slots[degree, : counts[degree]] = np.flatnonzero(degrees == degree)
    return slots.reshape(-1), per_step


def _place(rows: Array, slots: np.ndarray) -> Array:
    """Rows of units moved to their slots, zeros elsewhere; a run without gaps is copied, not gathered."""
    used = np.flatnonzero(slots >= 0)
    first, last = int(used[0]), int(used[-1])
    if np.array_equal(slots[first : last + 1], np.arange(len(rows))):
        return jnp.pad(rows, ((first, len(slots) - 1 - last), *[(0, 0)] * (rows.ndim - 1)))
    padded = jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]), rows.dtype)])
    return padded[np.where(slots >= 0, slots, len(rows))]

"""A masked network run in order, block by block: every unit is computed once, when its inputs are known.

Step t needs the units of degree t alone, and each is a dot product with numbers that are known by then. Steps are taken
in blocks: at the start of a block one matrix product per layer collects what all earlier blocks contribute, then a
short unrolled recurrence adds what is found inside the block. A scan over blocks keeps compilation short, large
products keep the speed of a pass. Everything known lies in one cache per layer, [head; units so far], and a row of
weights is [left | weights], so that what all rows share (bias, context) rides in the large product. The scan has three
stages: in the first, products read a third of the caches, in the second two thirds, which saves a third of their work.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# (index of the layer, its inputs' sum, the stream of a residual network so far, data of these units) -> (units, stream)
Unit = Callable[[int, Array, Array | None, Any], tuple[Array, Array | None]]
# (outputs of the step (n_out, ...), data of the step) -> (what the first layer sees of it (n_in, ...), result)
Step = Callable[[Array, Any], tuple[Array, Any]]


_STAGES = 3


class BlockedRecurrence:
    """The recurrence of D steps over hidden layers of equal degrees, for arrays with or without a trailing batch axis.

    Args:
        degrees: (W,) degrees of the hidden units, not decreasing: a unit of degree d sees the steps before d, and step
            t sees the units up to degree t. Units that no step sees are left out.
        dim: D.
        n_in: numbers that a step puts before the first layer.
        n_out: numbers that a step reads from the last layer.
    """

    def __init__(self, degrees: np.ndarray, dim: int, n_in: int, n_out: int) -> None:
        self.dim, self.n_in, self.n_out = dim, n_in, n_out
        self.size = block_size(dim)
        self.n_blocks = -(-dim // self.size)
        self.n_steps = self.n_blocks * self.size  # the last block may hold steps beyond D, whose results are dropped
        self.slots, self.per_step = _slots(degrees, self.n_steps)

    def __call__(
        self,
        head: Array,
        layers: Sequence[tuple[Array, Array]],
        last: tuple[Array, Array],
        unit: Unit,
        step: Step,
        unit_data: Sequence[Array] | None,
        step_data: Any,
    ) -> Any:
        """The results of all steps, stacked along a leading axis D.

        Args:
            head: (H, ...), what every row sees.
            layers: for each hidden layer its left columns (W, H) and its masked matrix, (W, D n_in) or (W, W).
            last: left columns (n_out, D, H) and masked matrix (n_out, D, W) of what a step reads.
            unit: makes units of what they receive.
            step: makes the inputs of later steps, and a result, of what a step reads.
            unit_data: for each layer an array (W, ...), or None.
            step_data: arrays (D, ...).
        """
        tail = head.shape[1:]
        rows = self._rows(layers, last)
        widths = [self.n_in] + [self.per_step] * len(layers)
        caches = [jnp.concatenate([head, jnp.zeros((self.n_steps * width, *tail), head.dtype)]) for width in widths]
        unit_data = None if unit_data is None else [self._blocks(_place(data, self.slots)) for data in unit_data]
        beyond = self.n_steps - self.dim
        step_data = jax.tree.map(lambda leaf: self._blocks(_pad(leaf, 0, beyond)), step_data)

        n_stages = min(_STAGES, self.n_blocks)

        def collect(stage: int, rows: list[Array], caches: list[Array]) -> list[Array]:
            """The large products, over no more of the caches than can be filled by the end of this stage."""
            steps = -(-self.n_blocks * (stage + 1) // n_stages) * self.size
            ends = [len(head) + steps * width for width in widths]
            return [row[:, :end] @ cache[:end] for row, cache, end in zip(rows, caches, ends, strict=True)]

        stages = [functools.partial(collect, stage) for stage in range(n_stages)]

        def block(caches: list[Array], inputs: tuple) -> tuple[list[Array], Any]:
            index, rows, unit_data, step_data = inputs
            known = jax.lax.switch(index * n_stages // self.n_blocks, stages, rows, caches)
            starts = [len(head) + index * self.size * width for width in widths]
            inner = [
                jax.lax.dynamic_slice_in_dim(row, start, self.size * width, 1)
                for row, start, width in zip(rows, starts, widths, strict=True)
            ]
            found, results = self._inside(known, inner, unit, step, unit_data, step_data)
            caches = [
                jax.lax.dynamic_update_slice_in_dim(cache, jnp.concatenate(new), start, 0)
                for cache, new, start in zip(caches, found, starts, strict=True)
            ]
            return caches, jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

        _, results = jax.lax.scan(block, caches, (jnp.arange(self.n_blocks), rows, unit_data, step_data))
        return jax.tree.map(lambda leaf: leaf.reshape(self.n_steps, *leaf.shape[2:])[: self.dim], results)

    def _inside(
        self, known: list[Array], inner: list[Array], unit: Unit, step: Step, unit_data: Any, step_data: Any
    ) -> tuple[list[list[Array]], list[Any]]:
        """The steps of one block, unrolled: for each cache what was found, and the results."""
        n_hidden = len(known) - 1
        shape = (self.n_out, self.size)
        known_out = known[-1].reshape(*shape, *known[-1].shape[1:])
        inner_out = inner[-1].reshape(*shape, -1)
        found: list[list[Array]] = [[] for _ in known]
        results = []
        for index in range(self.size):
            at = slice(index * self.per_step, (index + 1) * self.per_step)
            stream = None
            for layer in range(n_hidden):
                value = known[layer][at]
                if found[layer]:
                    here = jnp.concatenate(found[layer])
                    value = value + inner[layer][at, : len(here)] @ here
                value, stream = unit(layer, value, stream, None if unit_data is None else unit_data[layer][at])
                found[layer + 1].append(value)
            here = jnp.concatenate(found[-1])
            read = known_out[:, index] + jnp.tensordot(inner_out[:, index, : len(here)], here, 1)
            seen, result = step(read, jax.tree.map(lambda leaf, index=index: leaf[index], step_data))
            found[0].append(seen)
            results.append(result)
        return found, results

    def _rows(self, layers: Sequence[tuple[Array, Array]], last: tuple[Array, Array]) -> list[Array]:
        """For each layer and the last: rows [left | inputs], block by block, units in their slots."""
        beyond = self.n_steps - self.dim
        rows = []
        for index, (left, matrix) in enumerate(layers):
            inputs = _place(matrix, self.slots)
            inputs = _place(inputs.T, self.slots).T if index else _pad(inputs, 1, beyond * self.n_in)
            rows.append(self._blocks(jnp.concatenate([_place(left, self.slots), inputs], 1)))
        left, matrix = last
        full = jnp.concatenate([left, jnp.moveaxis(_place(jnp.moveaxis(matrix, 2, 0), self.slots), 0, 2)], 2)
        full = _pad(full, 1, beyond).reshape(self.n_out, self.n_blocks, self.size, -1)
        return [*rows, jnp.moveaxis(full, 1, 0).reshape(self.n_blocks, self.n_out * self.size, -1)]

    def _blocks(self, rows: Array) -> Array:
        """Rows of all steps, cut into blocks."""
        return rows.reshape(self.n_blocks, len(rows) // self.n_blocks, *rows.shape[1:])


def block_size(dim: int) -> int:
    """Steps in a block: about eleven blocks, and sixteen from 128 coordinates on.

    Few blocks make the products large, short blocks make the unrolled part small (it is what takes time to compile).
    """
    return max(round(dim / 11), 1) if dim < 128 else -(-dim // 16)


def _slots(degrees: np.ndarray, n_steps: int) -> tuple[np.ndarray, int]:
    """For every step an equal number of places for units, each with its unit's index or -1."""
    counts = np.bincount(degrees, minlength=n_steps)[:n_steps]
    per_step = max(int(counts.max()), 1)
    slots = np.full((n_steps, per_step), -1)
    for degree in np.flatnonzero(counts):
        slots[degree, : counts[degree]] = np.flatnonzero(degrees == degree)
    return slots.reshape(-1), per_step


def _place(rows: Array, slots: np.ndarray) -> Array:
    """Rows of units moved to their slots, zeros elsewhere; a run without gaps is copied, not gathered."""
    used = np.flatnonzero(slots >= 0)
    if not used.size:
        return jnp.zeros((len(slots), *rows.shape[1:]), rows.dtype)
    first, last = int(used[0]), int(used[-1])
    rows = rows[: slots.max() + 1]  # units are sorted by degree: those without a slot come last
    if np.array_equal(slots[first : last + 1], np.arange(len(rows))):
        return jnp.pad(rows, ((first, len(slots) - 1 - last), *[(0, 0)] * (rows.ndim - 1)))
    padded = jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]), rows.dtype)])
    return padded[np.where(slots >= 0, slots, len(rows))]


def _pad(array: Array, axis: int, n: int) -> Array:
    """Zeros at the end of an axis."""
    return jnp.pad(array, [(0, n if here == axis else 0) for here in range(array.ndim)]) if n else array

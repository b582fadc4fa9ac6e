"""The blocked recurrence of a masked network: every unit is computed once, when its inputs are known.

Step t needs the units of degree t only, and each is a dot product with units computed before. Steps are grouped in
blocks: at the start of a block, one matrix product per layer sums the contributions of all earlier blocks; then a short
unrolled recurrence adds those of the block itself. A scan over blocks keeps compilation short, and large products keep
the speed of a pass. Each layer has one cache, [head; units so far], and a row of weights is [left | weights], so that
bias and context are part of the large product. The scan has three stages: in the first, products read a third of the
caches, in the second two thirds, which saves a third of their work.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# (index of the layer, pre-activations, skip connection of a residual network, data of these units) -> (units, skip)
UnitFn = Callable[[int, Array, Array | None, Any], tuple[Array, Array | None]]
# (outputs of the step (n_out, ...), data of the step) -> (inputs of the first layer (n_in, ...), result)
StepFn = Callable[[Array, Any], tuple[Array, Any]]


_N_STAGES = 3


class BlockedRecurrence:
    """The recurrence of D steps over hidden layers of equal degrees, for arrays with or without a trailing batch axis.

    Args:
        degrees: (W,) degrees of the hidden units, non-decreasing: a unit of degree d depends on the steps before d, and
            step t on the units up to degree t. Units that no step uses are left out.
        dim: D.
        n_in: number of inputs of the first layer that a step computes.
        n_out: number of outputs of the last layer that a step reads.
    """

    def __init__(self, degrees: np.ndarray, dim: int, n_in: int, n_out: int) -> None:
        self.dim, self.n_in, self.n_out = dim, n_in, n_out
        self.size = block_size(dim)
        self.n_blocks = -(-dim // self.size)
        self.n_steps = self.n_blocks * self.size  # steps beyond D pad the last block; their results are dropped
        self.slots, self.per_step = _slots(degrees, self.n_steps)

    def __call__(
        self,
        head: Array,
        layers: Sequence[tuple[Array, Array]],
        last: tuple[Array, Array],
        unit_fn: UnitFn,
        step_fn: StepFn,
        unit_data: Sequence[Array] | None,
        step_data: Any,
    ) -> Any:
        """The results of all steps, stacked along a leading axis D.

        Args:
            head: (H, ...), inputs of every row: one and the context.
            layers: for each hidden layer its left columns (W, H) and its masked matrix, (W, D n_in) or (W, W).
            last: left columns (n_out, D, H) and masked matrix (n_out, D, W) of the outputs.
            unit_fn: computes units from their pre-activations.
            step_fn: computes the inputs of later steps, and a result, from the outputs of a step.
            unit_data: for each layer an array (W, ...), or None.
            step_data: arrays (D, ...).
        """
        tail = head.shape[1:]
        rows = self._rows(layers, last)
        widths = [self.n_in] + [self.per_step] * len(layers)
        caches = [jnp.concatenate([head, jnp.zeros((self.n_steps * width, *tail), head.dtype)]) for width in widths]
        unit_data = None if unit_data is None else [self._blocks(_to_slots(data, self.slots)) for data in unit_data]
        n_padding = self.n_steps - self.dim
        step_data = jax.tree.map(lambda leaf: self._blocks(_pad(leaf, 0, n_padding)), step_data)

        n_stages = min(_N_STAGES, self.n_blocks)

        def collect(stage: int, rows: list[Array], caches: list[Array]) -> list[Array]:
            """The large products, over the part of the caches that is filled by the end of this stage."""
            steps = -(-self.n_blocks * (stage + 1) // n_stages) * self.size
            ends = [len(head) + steps * width for width in widths]
            return [row[:, :end] @ cache[:end] for row, cache, end in zip(rows, caches, ends, strict=True)]

        stages = [functools.partial(collect, stage) for stage in range(n_stages)]

        def block(caches: list[Array], inputs: tuple) -> tuple[list[Array], Any]:
            index, rows, unit_data, step_data = inputs
            collected = jax.lax.switch(index * n_stages // self.n_blocks, stages, rows, caches)
            starts = [len(head) + index * self.size * width for width in widths]
            block_rows = [
                jax.lax.dynamic_slice_in_dim(row, start, self.size * width, 1)
                for row, start, width in zip(rows, starts, widths, strict=True)
            ]
            units, results = self._run_block(collected, block_rows, unit_fn, step_fn, unit_data, step_data)
            caches = [
                jax.lax.dynamic_update_slice_in_dim(cache, jnp.concatenate(new), start, 0)
                for cache, new, start in zip(caches, units, starts, strict=True)
            ]
            return caches, jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

        _, results = jax.lax.scan(block, caches, (jnp.arange(self.n_blocks), rows, unit_data, step_data))
        return jax.tree.map(lambda leaf: leaf.reshape(self.n_steps, *leaf.shape[2:])[: self.dim], results)

    def _run_block(
        self,
        collected: list[Array],
        block_rows: list[Array],
        unit_fn: UnitFn,
        step_fn: StepFn,
        unit_data: Any,
        step_data: Any,
    ) -> tuple[list[list[Array]], list[Any]]:
        """The steps of one block, unrolled: the new entries of each cache, and the results."""
        n_hidden = len(collected) - 1
        shape = (self.n_out, self.size)
        collected_out = collected[-1].reshape(*shape, *collected[-1].shape[1:])
        out_rows = block_rows[-1].reshape(*shape, -1)
        units: list[list[Array]] = [[] for _ in collected]  # of the inputs and of each hidden layer
        results = []
        for index in range(self.size):
            slots = slice(index * self.per_step, (index + 1) * self.per_step)
            skip = None
            for layer in range(n_hidden):
                value = collected[layer][slots]
                if units[layer]:
                    inputs = jnp.concatenate(units[layer])
                    value = value + block_rows[layer][slots, : len(inputs)] @ inputs
                value, skip = unit_fn(layer, value, skip, None if unit_data is None else unit_data[layer][slots])
                units[layer + 1].append(value)
            inputs = jnp.concatenate(units[-1])
            outputs = collected_out[:, index] + jnp.tensordot(out_rows[:, index, : len(inputs)], inputs, 1)
            new_inputs, result = step_fn(outputs, jax.tree.map(lambda leaf, index=index: leaf[index], step_data))
            units[0].append(new_inputs)
            results.append(result)
        return units, results

    def _rows(self, layers: Sequence[tuple[Array, Array]], last: tuple[Array, Array]) -> list[Array]:
        """Rows [left | weights] of each hidden layer and of the output, by block, units in their slots."""
        n_padding = self.n_steps - self.dim
        rows = []
        for index, (left, matrix) in enumerate(layers):
            inputs = _to_slots(matrix, self.slots)
            inputs = _to_slots(inputs.T, self.slots).T if index else _pad(inputs, 1, n_padding * self.n_in)
            rows.append(self._blocks(jnp.concatenate([_to_slots(left, self.slots), inputs], 1)))
        left, matrix = last
        full = jnp.concatenate([left, jnp.moveaxis(_to_slots(jnp.moveaxis(matrix, 2, 0), self.slots), 0, 2)], 2)
        full = _pad(full, 1, n_padding).reshape(self.n_out, self.n_blocks, self.size, -1)
        return [*rows, jnp.moveaxis(full, 1, 0).reshape(self.n_blocks, self.n_out * self.size, -1)]

    def _blocks(self, rows: Array) -> Array:
        """The rows of all steps, split into blocks."""
        return rows.reshape(self.n_blocks, len(rows) // self.n_blocks, *rows.shape[1:])


def block_size(dim: int) -> int:
    """Steps in a block: about eleven blocks, sixteen from 128 coordinates on.

    Few blocks make the products large; short blocks keep the unrolled part, and so the compile time, small.
    """
    return max(round(dim / 11), 1) if dim < 128 else -(-dim // 16)


def _slots(degrees: np.ndarray, n_steps: int) -> tuple[np.ndarray, int]:
    """The unit index of every slot or -1 for an empty slot, and the number of slots per step, equal for all steps."""
    counts = np.bincount(degrees, minlength=n_steps)[:n_steps]
    per_step = max(int(counts.max()), 1)
    slots = np.full((n_steps, per_step), -1)
    for degree in np.flatnonzero(counts):
        slots[degree, : counts[degree]] = np.flatnonzero(degrees == degree)
    return slots.reshape(-1), per_step


def _to_slots(rows: Array, slots: np.ndarray) -> Array:
    """Rows of units moved to their slots, zeros elsewhere; a contiguous run is copied, not gathered."""
    used = np.flatnonzero(slots >= 0)
    if not used.size:
        return jnp.zeros((len(slots), *rows.shape[1:]), rows.dtype)
    first, last = int(used[0]), int(used[-1])
    rows = rows[: slots.max() + 1]  # units are sorted by degree, so those without a slot come last
    if np.array_equal(slots[first : last + 1], np.arange(len(rows))):
        return jnp.pad(rows, ((first, len(slots) - 1 - last), *[(0, 0)] * (rows.ndim - 1)))
    padded = jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]), rows.dtype)])
    return padded[np.where(slots >= 0, slots, len(rows))]


def _pad(array: Array, axis: int, n: int) -> Array:
    """`array` with n zeros appended along an axis."""
    return jnp.pad(array, [(0, n if dim == axis else 0) for dim in range(array.ndim)]) if n else array

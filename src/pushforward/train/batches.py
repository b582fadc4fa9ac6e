"""Shuffled batches, gathered on the host into buffers of one size, so that the training program never changes."""

from collections.abc import Iterator

import numpy as np

from pushforward.train.data import Rows

_BUFFER_STEPS = 64


class Batches:
    """Endless epochs of shuffled batches of the rows.

    Args:
        rows: what to train on.
        batch: rows in a step; the rows left over by whole batches rest for one pass.
        passes: how often an epoch goes through the rows.
        dtype: type in which the flow computes.
    """

    def __init__(self, rows: Rows, batch: int, passes: int, dtype: np.dtype) -> None:
        parts = (rows.x, rows.context, rows.weights)
        self.parts = tuple(None if part is None else part.astype(dtype) for part in parts)
        self.batch, self.passes, self.n_rows = batch, passes, len(rows)

    def empty(self) -> tuple[np.ndarray | None, ...]:
        """A buffer of zeros: (S, B, ...) for events, contexts and weights, None for what there is not."""
        return tuple(
            None if part is None else np.zeros((_BUFFER_STEPS, self.batch, *part.shape[1:]), part.dtype)
            for part in self.parts
        )

    def epoch(self, random: np.random.Generator) -> Iterator[tuple[tuple[np.ndarray | None, ...], int]]:
        """Buffers, each with the number of its batches that are filled."""
        used = self.n_rows // self.batch * self.batch
        order = np.concatenate([random.permutation(self.n_rows)[:used] for _ in range(self.passes)])
        order = order.reshape(-1, self.batch)
        for start in range(0, len(order), _BUFFER_STEPS):
            index = order[start : start + _BUFFER_STEPS]
            buffer = self.empty()
            for target, part in zip(buffer, self.parts, strict=True):
                if target is not None and part is not None:
                    target[: len(index)] = part[index]
            yield buffer, len(index)

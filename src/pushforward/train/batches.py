"""Shuffled batches in buffers of one size on the host, so that one training program serves any number of rows."""

from collections.abc import Iterator

import numpy as np

from pushforward.train.data import Rows

_BUFFER_STEPS = 64


class Batches:
    """Epochs of shuffled batches of the rows.

    Args:
        rows: training rows.
        batch: rows in a step; a pass omits the rows that do not fill a batch.
        passes: number of passes over the rows in an epoch.
        dtype: type in which the flow computes.
    """

    def __init__(self, rows: Rows, batch: int, passes: int, dtype: np.dtype) -> None:
        parts = (rows.x, rows.context, rows.weights)
        self.parts = tuple(None if part is None else part.astype(dtype) for part in parts)
        self.batch, self.passes, self.n_rows = batch, passes, len(rows)

    def empty(self) -> tuple[np.ndarray | None, ...]:
        """A buffer of zeros: (S, B, ...) for events, contexts and weights, None for those that are missing."""
        return tuple(
            None if part is None else np.zeros((_BUFFER_STEPS, self.batch, *part.shape[1:]), part.dtype)
            for part in self.parts
        )

    def epoch(self, random: np.random.Generator) -> Iterator[tuple[tuple[np.ndarray | None, ...], int]]:
        """Buffers, each with the number of its filled batches."""
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

"""The order in which training uses the rows."""

from typing import Any

import numpy as np


class Order:
    """Shuffled passes over the rows, each without those that do not fill a batch.

    Args:
        n_rows, batch_size: number of rows, in all and in a batch.
        random: shuffles.
    """

    def __init__(self, n_rows: int, batch_size: int, random: np.random.Generator) -> None:
        self._n_rows, self._batch_size, self._random = n_rows, batch_size, random
        self._before, self._rest = random.bit_generator.state, np.empty((0, batch_size), np.int64)

    def take(self, n_batches: int) -> np.ndarray:
        """Row numbers (n_batches, batch_size) of the next batches."""
        parts, n_more = [self._rest], n_batches - len(self._rest)
        while n_more > 0:
            parts.append(self._shuffled())
            n_more -= len(parts[-1])
        batches = np.concatenate(parts)
        self._rest = batches[n_batches:]
        return batches[:n_batches]

    def position(self) -> dict[str, Any]:
        """What decides all later batches: the generator before the last pass, and how much of that pass is left."""
        return {"random": self._before, "left": len(self._rest)}

    def resume(self, position: dict[str, Any]) -> None:
        """Go on from such a position."""
        self._random.bit_generator.state = position["random"]
        batches = self._shuffled()
        self._rest = batches[len(batches) - position["left"] :]

    def _shuffled(self) -> np.ndarray:
        """The batches of another pass."""
        self._before = self._random.bit_generator.state
        used = self._n_rows // self._batch_size * self._batch_size
        return self._random.permutation(self._n_rows)[:used].reshape(-1, self._batch_size)

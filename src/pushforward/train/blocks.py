"""Blocks of steps, between which a run is validated: so many, or as many as fit into a time."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

_BLOCKS = 50
_FIRST_STEPS = 10  # of a timed run, to learn its speed
_GROWTH = 8  # of a block over the one before, whose speed may have been measured badly
_VALIDATION_SHARE = 0.1  # most of the time of a timed run that validation may take


class Position(NamedTuple):
    """Where a run goes on: the index of its next block, the number of steps so far, and the seconds spent."""

    index: int = 0
    step: int = 0
    seconds: float = 0.0


class Block(NamedTuple):
    """Steps between two validations: their numbers, and their name in an error message."""

    steps: range
    name: str


class Blocks:
    """Consecutive blocks of steps, equally long but for one step.

    Args:
        n_steps: in all blocks.
        n_blocks: number of blocks, at most `n_steps`.
        name: of a block, from its `index` and its `first` and `last` step (exclusive).
        stop: number of blocks after which the run ends early, or None.

    Attributes:
        unit: what progress calls a block.
    """

    unit = "epoch"

    def __init__(
        self, n_steps: int, n_blocks: int, name: str = "within steps {first} to {last}", stop: int | None = None
    ) -> None:
        self.n_steps, self.n_blocks, self.name, self.stop = n_steps, n_blocks, name, stop

    def since(self, position: Position) -> Iterator[tuple[int, Block]]:
        """The blocks from a position on, each with its index."""
        for index in range(position.index, self.stop or self.n_blocks):
            first, last = (round(self.n_steps * end / self.n_blocks) for end in (index, index + 1))
            yield index, Block(range(first, last), self.name.format(index=index, first=first, last=last))

    def measured(self, run_seconds: float, validation_seconds: float) -> None:
        """Note how long the last block and its validation took; here of no consequence."""


class TimedBlocks(Blocks):
    """Blocks that end at a time: `n_steps` and `n_blocks` are planned anew after each, by the speed of the last.

    The last block ends with the time, or later if it ran slower than the one before. Validation takes a tenth of the
    time at most, by longer blocks.

    Args:
        deadline: the end, by `time.perf_counter`.
        most: number of steps after which the run ends earlier.
    """

    unit = "block"

    def __init__(self, deadline: float, most: int) -> None:
        super().__init__(most, min(_BLOCKS, most))
        self.deadline, self.most, self._seconds = deadline, most, (0.0, 0.0)

    def since(self, position: Position) -> Iterator[tuple[int, Block]]:
        """The blocks from a position on, each with its index."""
        index, step, deadline = position.index, position.step, self.deadline - position.seconds
        size = min(_FIRST_STEPS, self.most - step)
        while size:
            yield index, Block(range(step, step + size), self.name.format(index=index, first=step, last=step + size))
            step, index = step + size, index + 1
            a_step, validation = max(self._seconds[0] / size, 1e-9), self._seconds[1]
            left = max(deadline - time.perf_counter(), 0.0)
            total = min(step + left / a_step, self.most)
            usual = max(total / _BLOCKS, validation / _VALIDATION_SHARE / a_step, 1.0)
            n_left = round(left / (usual * a_step + validation)) or 1  # blocks, each with its validation
            steps_left = min(max(int((left - n_left * validation) / a_step), 0), self.most - step)
            self.n_steps, self.n_blocks = step + steps_left, index + math.ceil(steps_left / usual)
            size = min(steps_left if steps_left < 1.5 * usual else int(usual), _GROWTH * size)

    def measured(self, run_seconds: float, validation_seconds: float) -> None:
        """Note how long the last block and its validation took."""
        self._seconds = run_seconds, validation_seconds


def blocks_of(steps: int) -> Blocks:
    """The steps in at most 50 blocks."""
    return Blocks(steps, min(_BLOCKS, steps))


def no_finite_step(history: Any, blocks: Blocks) -> str | None:
    """That all steps failed, or were undone after others had failed; None otherwise."""
    if history.skipped_steps < blocks.n_steps:
        return None
    return f"none of {blocks.n_steps} steps had a finite loss and gradient"

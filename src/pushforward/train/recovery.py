"""Recovery from consecutive failed steps: back to a snapshot with half the learning rate, for every objective."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pushforward.errors import TrainingDiverged
from pushforward.train.state import TrainState, restore, snapshot

GIVE_UP = 25  # consecutive failed steps
_RESTARTS = 5


class Recovery:
    """Runs steps, and restores a snapshot after `GIVE_UP` consecutive failed steps.

    The compiled loop skips a failed step, whose loss or gradient is not finite. A snapshot is made before each block of
    steps that follows a step that did not fail. Each restart halves the learning rate from there on.

    Args:
        learning_rate: at the start.
        adjustable: whether the learning rate can be halved; that of a caller's optimiser cannot.
        advice: what the error suggests.

    Attributes:
        learning_rate: the current one.
        restarts: number of restarts so far.
        snapshots: the last two, each with the number of steps since.
    """

    def __init__(self, learning_rate: float, *, adjustable: bool, advice: str) -> None:
        self.learning_rate, self.restarts = learning_rate, 0
        self._adjustable, self._advice = adjustable, advice
        self.snapshots: list[tuple[TrainState, int]] = []

    def describe_rate(self) -> str:
        """The learning rate as text."""
        return f"learning rate {self.learning_rate:g}" if self._adjustable else "the learning rate of `optimizer`"

    def run(
        self, steps: Callable[[TrainState, float], tuple[TrainState, Any]], state: TrainState, n_steps: int, where: str
    ) -> tuple[TrainState, float, int]:
        """Run a block of steps.

        Args:
            steps: from the state, whose buffers it consumes, and the learning rate to the state after the block and a
                sum over the steps that did not fail.
            state: at the start of the block.
            n_steps: number of steps in the block.
            where: the name of the block, for the error.

        Returns:
            The state to continue from, the sum, and the number of steps that did not fail.

        Raises:
            TrainingDiverged: if consecutive steps failed and the learning rate cannot be halved, or was five times.
        """
        skipped_before = int(state.skipped_steps)
        self.remember(state)
        state, total = steps(state, self.learning_rate)
        n_finite = n_steps - (int(state.skipped_steps) - skipped_before)
        restored = self.recover(state, n_steps, where)
        return state if restored is None else restored, float(total), n_finite

    def remember(self, state: TrainState) -> None:
        """Make a snapshot of the state before a block, if the last step did not fail."""
        if not int(state.bad_steps):
            self.snapshots = [*self.snapshots[-1:], (snapshot(state), 0)]

    def recover(self, state: TrainState, n_steps: int, where: str) -> TrainState | None:
        """The state to continue from after a block of so many steps; None for the state itself."""
        self.snapshots = [(earlier, since + n_steps) for earlier, since in self.snapshots]
        return self._restore(state, where) if int(state.bad_steps) >= GIVE_UP else None

    def _restore(self, state: TrainState, where: str) -> TrainState:
        if self.restarts == _RESTARTS or not self._adjustable:
            raise TrainingDiverged(
                f"training diverged {where} at {self.describe_rate()}: {GIVE_UP} steps in a row had a loss or gradient "
                f"that is not finite. {self._advice}"
            )
        self.restarts += 1
        self.learning_rate /= 2
        earlier, since = self.snapshots[-1]
        if len(self.snapshots) > 1 and int(state.skipped_steps) - int(earlier.skipped_steps) >= since:
            # no step from this snapshot succeeded: its parameters have no finite loss any more
            self.snapshots.pop()
            earlier, since = self.snapshots[-1]
        # the steps that are undone count as skipped, and the randomness does not repeat
        skipped = earlier.skipped_steps + np.int32(since)
        return restore(earlier._replace(step=state.step, skipped_steps=skipped))

"""Recovery from consecutive failed steps: back to a snapshot with half the learning rate, for every objective."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.errors import TrainingDiverged
from pushforward.numerics.arrays import is_array
from pushforward.train.steps import TrainState

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
    """

    def __init__(self, learning_rate: float, *, adjustable: bool, advice: str) -> None:
        self.learning_rate, self.restarts = learning_rate, 0
        self._adjustable, self._advice = adjustable, advice
        self._snapshots: list[tuple[TrainState, int]] = []  # the last two, each with the number of steps since

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
        if not int(state.bad_steps):
            self._snapshots = [*self._snapshots[-1:], (jax.tree.map(_on_host, state), 0)]
        state, total = steps(state, self.learning_rate)
        self._snapshots = [(snapshot, since + n_steps) for snapshot, since in self._snapshots]
        n_finite = n_steps - (int(state.skipped_steps) - skipped_before)
        if int(state.bad_steps) >= GIVE_UP:
            state = self._restore(int(state.skipped_steps), where)
        return state, float(total), n_finite

    def _restore(self, skipped_steps: int, where: str) -> TrainState:
        rate = f"learning rate {self.learning_rate:g}" if self._adjustable else "the learning rate of `optimizer`"
        if self.restarts == _RESTARTS or not self._adjustable:
            raise TrainingDiverged(
                f"training diverged {where} at {rate}: {GIVE_UP} steps in a row had a loss or gradient that is not "
                f"finite. {self._advice}"
            )
        self.restarts += 1
        self.learning_rate /= 2
        snapshot, since = self._snapshots[-1]
        if len(self._snapshots) > 1 and skipped_steps - int(snapshot.skipped_steps) >= since:
            # no step from this snapshot succeeded: its parameters have no finite loss any more
            self._snapshots.pop()
            snapshot, since = self._snapshots[-1]
        # the steps that are undone count as skipped
        state = snapshot._replace(skipped_steps=snapshot.skipped_steps + np.int32(since))
        return jax.tree.map(_on_device, state)


def _on_host(leaf: Any) -> Any:
    """A copy that the compiled loop cannot donate: in NumPy, except typed random keys, which NumPy cannot hold."""
    return jnp.copy(leaf) if is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.array(leaf)


def _on_device(leaf: Any) -> Any:
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else jnp.asarray(leaf)

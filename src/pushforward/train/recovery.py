"""What training does where steps fail in a row: back to a snapshot with half the learning rate, for every objective."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.errors import TrainingDiverged
from pushforward.numerics.arrays import is_array
from pushforward.train.steps import Course

GIVE_UP = 25  # failed steps in a row
_RESTARTS = 5


class Recovery:
    """Runs steps, and goes back to a snapshot after `GIVE_UP` failed steps in a row.

    A failed step, whose loss or gradient is not finite, is skipped by the compiled loop. A snapshot is made before each
    block of steps that follows a step that did not fail. Each return halves the learning rate from there on.

    Args:
        learning_rate: at the start.
        adjustable: whether the learning rate can be halved; that of a caller's optimiser cannot.
        advice: what the error suggests.

    Attributes:
        learning_rate: in force now.
        restarts: number of returns so far.
    """

    def __init__(self, learning_rate: float, *, adjustable: bool, advice: str) -> None:
        self.learning_rate, self.restarts = learning_rate, 0
        self._adjustable, self._advice = adjustable, advice
        self._snapshots: list[tuple[Course, int]] = []  # the last two, each with the number of steps since

    def run(
        self, steps: Callable[[Course, float], tuple[Course, Any]], course: Course, n_steps: int, where: str
    ) -> tuple[Course, float, int]:
        """A block of steps.

        Args:
            steps: from the course, whose memory it takes, and the learning rate to the course after the block and a
                sum over the steps that did not fail.
            course: at the start of the block.
            n_steps: number of steps in the block.
            where: the block in words, for the error.

        Returns:
            The course to go on from, the sum, and the number of steps that did not fail.

        Raises:
            TrainingDiverged: if steps failed in a row and the learning rate cannot be halved, or was five times.
        """
        skipped = int(course.skipped)
        if not int(course.streak):
            self._snapshots = [*self._snapshots[-1:], (jax.tree.map(_on_host, course), 0)]
        course, total = steps(course, self.learning_rate)
        self._snapshots = [(snapshot, since + n_steps) for snapshot, since in self._snapshots]
        made = n_steps - (int(course.skipped) - skipped)
        if int(course.streak) >= GIVE_UP:
            course = self._restored(int(course.skipped), where)
        return course, float(total), made

    def _restored(self, skipped: int, where: str) -> Course:
        rate = f"learning rate {self.learning_rate:g}" if self._adjustable else "the learning rate of `optimizer`"
        if self.restarts == _RESTARTS or not self._adjustable:
            raise TrainingDiverged(
                f"training diverged {where} at {rate}: {GIVE_UP} steps in a row had a loss or gradient that is not "
                f"finite. {self._advice}"
            )
        self.restarts += 1
        self.learning_rate /= 2
        snapshot, since = self._snapshots[-1]
        if len(self._snapshots) > 1 and skipped - int(snapshot.skipped) >= since:
            # no step succeeded from there: the weights had left the finite losses in the step before
            self._snapshots.pop()
            snapshot, since = self._snapshots[-1]
        course = snapshot._replace(skipped=snapshot.skipped + np.int32(since))  # what is undone counts as skipped
        return jax.tree.map(_on_device, course)


def _on_host(leaf: Any) -> Any:
    """A copy that the compiled loop cannot take: in NumPy, but for typed random keys, which NumPy does not know."""
    return jnp.copy(leaf) if is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.array(leaf)


def _on_device(leaf: Any) -> Any:
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else jnp.asarray(leaf)

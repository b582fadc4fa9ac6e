"""Checkpoints of a training run, by Orbax: all that decides its later steps, so that it continues bit for bit.

A checkpoint holds the state of the steps, the best weights so far, the snapshots of the recovery, the order of the rows
and the history. It is written after a block, when the last one is some minutes old, and at the end of the run.
"""

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pushforward.errors import CheckpointError, MissingExtra
from pushforward.numerics.arrays import on_device
from pushforward.numerics.programs import flatten, unflatten
from pushforward.train.blocks import Position, TimedBlocks
from pushforward.train.state import is_key, restore, snapshot

_SECONDS = 300.0  # between checkpoints
_KEEP = 2


class Checkpoint:
    """The checkpoints of one run in a folder.

    Args:
        folder: made if it is not there.
        resume: whether to continue the run whose checkpoints the folder holds; without any the run starts afresh.

    Raises:
        MissingExtra: without Orbax.
        CheckpointError: if the folder holds checkpoints and `resume` is False.
    """

    def __init__(self, folder: str | Path, *, resume: bool) -> None:
        try:
            import orbax.checkpoint  # noqa: F401
        except ModuleNotFoundError:
            raise MissingExtra("orbax-checkpoint", "scale", "fit(checkpoint=)") from None
        self.folder, self._last, self._stored = Path(folder).absolute(), time.monotonic(), 0
        if not resume and self.folder.exists() and any(self.folder.iterdir()):
            raise CheckpointError(
                f"checkpoint: {folder} is not empty. Pass resume=True to continue the run that it holds, or an empty "
                "folder to start a new one."
            )

    def stage(self, name: str) -> "Checkpoint":
        """Checkpoints of a part of the run, in a folder below."""
        return Checkpoint(self.folder / name, resume=True)

    def is_due(self) -> bool:
        """Whether the last checkpoint is some minutes old."""
        return time.monotonic() - self._last > _SECONDS

    def save(self, position: Position, trainer: Any, selection: Any) -> None:
        """Write a checkpoint, unless that of this position is there; it is complete when this returns."""
        import orbax.checkpoint as ocp

        if position.index == self._stored:
            return
        recovery, best, earlier = trainer.recovery, selection.best, selection.earlier
        states = [trainer.state, *(state for state, _ in recovery.snapshots)]
        order = trainer.objective.order
        arrays = {
            "states": {str(k): _leaves(state) for k, state in enumerate(states)},
            "best": _numbered(flatten(best.flow)[0]),
            "earlier": _numbered(flatten(earlier.flow)[0]),
        }
        rest = {
            "run": _identity(trainer),
            "position": position._asdict(),
            "order": order.position(),
            "history": dataclasses.asdict(trainer.objective.history) | {"earlier": None},
            "recovery": [recovery.learning_rate, recovery.restarts, [since for _, since in recovery.snapshots]],
            "best": [best.block, best.value],
            "earlier": [earlier.block, earlier.value],
        }
        with self._manager() as manager:
            stored = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), rest=ocp.args.JsonSave(rest))
            manager.save(position.index, args=stored, force=True)
            manager.wait_until_finished()
        self._last, self._stored = time.monotonic(), position.index

    def load(self, trainer: Any, selection: Any) -> Position:
        """Bring a run to the state of the last checkpoint, if there is one; where it goes on.

        Raises:
            CheckpointError: if the checkpoint is of another run.
        """
        import orbax.checkpoint as ocp

        with self._manager() as manager:
            index = manager.latest_step()
            if index is None:
                return Position()
            stored = manager.restore(
                index, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(), rest=ocp.args.JsonRestore())
            )
        arrays, rest, objective = stored.arrays, stored.rest, trainer.objective
        for name, value in _identity(trainer).items():
            if rest["run"][name] != value:
                raise CheckpointError(
                    f"checkpoint: {self.folder} holds another run: its {name} is {rest['run'][name]}, here {value}. "
                    "Pass the arguments of that run, or an empty folder."
                )
        states = [_state(arrays["states"][str(k)], trainer.state) for k in range(len(arrays["states"]))]
        recovery = trainer.recovery
        recovery.learning_rate, recovery.restarts, since = rest["recovery"]
        recovery.snapshots = list(zip((snapshot(state) for state in states[1:]), since, strict=True))
        trainer.state = restore(states[0])
        for name in ("best", "earlier"):
            flow = _flow(arrays[name], trainer.flow)
            setattr(selection, name, type(selection.best)(flow, *rest[name]))
        objective.order.resume(rest["order"])
        for name, value in rest["history"].items():
            setattr(objective.history, name, value)
        self._stored = index
        return Position(**rest["position"])

    def _manager(self) -> Any:
        import orbax.checkpoint as ocp

        return ocp.CheckpointManager(self.folder, options=ocp.CheckpointManagerOptions(max_to_keep=_KEEP, create=True))


def _identity(trainer: Any) -> dict[str, Any]:
    """What must be equal for a run to continue; numbers and text.

    A caller's loss and optimiser are functions, of which only the state can be compared.
    """
    objective, options = trainer.objective, trainer.options
    validation = objective.validation
    held_out = () if validation is None else (validation.x, validation.context, validation.weights)
    return {
        "number of rows": objective.n_rows,
        "batch_size": objective.batch_size,
        "number of blocks": "by time" if isinstance(objective.blocks, TimedBlocks) else objective.blocks.n_blocks,
        "last block": objective.blocks.stop,
        "patience": objective.patience,
        "learning rate": options.learning_rate,
        "clip": options.clip,
        "ema": options.ema,
        "loss": "of the caller" if objective.custom_loss is not None else "likelihood",
        "optimizer": str(jax.tree.structure(trainer.state.opt_state)) if options.optimizer is not None else "default",
        "rows": _digest(objective.parts),
        "validation rows": _digest(held_out),
        "start": _digest(flatten(trainer.flow)[0]),
        "trained parts": _digest(
            [np.asarray(trainer.partition.trained), *trainer.partition.masks(trainer.state.frozen)]
        ),
    }


def _digest(arrays: Any) -> str:
    """A short hash of arrays, None among them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _numbered(arrays: list[Any]) -> dict[str, np.ndarray]:
    return {str(k): np.asarray(leaf) for k, leaf in enumerate(arrays) if leaf.size}  # Orbax refuses empty arrays


def _leaves(state: Any) -> dict[str, np.ndarray]:
    return _numbered([jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(state)])


def _state(stored: dict[str, Any], like: Any) -> Any:
    """The state of these leaves, with the structure of another."""
    leaves, structure = jax.tree.flatten(like)
    values = [stored[str(k)] if leaf.size else leaf for k, leaf in enumerate(leaves)]
    return jax.tree.unflatten(
        structure,
        [
            jax.random.wrap_key_data(on_device(value), impl=jax.random.key_impl(leaf)) if is_key(leaf) else value
            for value, leaf in zip(values, leaves, strict=True)
        ],
    )


def _flow(stored: dict[str, Any], like: Any) -> Any:
    """The flow of these arrays, with the structure of another, whose host arrays stay on the host."""
    arrays, static = flatten(like)
    values = [stored[str(k)] if leaf.size else leaf for k, leaf in enumerate(arrays)]
    values = [
        np.asarray(value) if isinstance(leaf, np.ndarray) else on_device(value)
        for value, leaf in zip(values, arrays, strict=True)
    ]
    return unflatten(values, static)

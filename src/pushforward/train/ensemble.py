"""Training of ensembles: all members at once by one compiled program, with early stopping for each member."""

import math
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from pushforward.core.ensemble import Ensemble
from pushforward.core.fields import trainable as trainable_filter
from pushforward.core.flow import Flow
from pushforward.core.state import has_hook
from pushforward.errors import TrainingDiverged
from pushforward.numerics.threads import with_jax_settings
from pushforward.train.blocks import Block, Position
from pushforward.train.checks import trained_flags
from pushforward.train.data import warn_of_share_outside
from pushforward.train.epochs import Epochs, LikelihoodObjective, check_finalised, generator
from pushforward.train.history import EnsembleHistory, History
from pushforward.train.loop import Options, Selection
from pushforward.train.member_steps import run_members
from pushforward.train.member_validation import MemberValidation
from pushforward.train.optimizer import update_rule
from pushforward.train.prepare import FitData
from pushforward.train.progress import progress_bar
from pushforward.train.recovery import Recovery
from pushforward.train.schedules import Schedule, cosine
from pushforward.train.state import extract_flow, finalise_trained, init_state, snapshot
from pushforward.train.units import restore_units

_BUFFER_NUMBERS = 1 << 25  # most numbers in a buffer of batches


def train_members(
    flow: Ensemble,
    history: EnsembleHistory,
    data: FitData,
    epochs: Epochs,
    options: Options,
    title: str = "",
    loss: Callable[..., Any] | None = None,
) -> tuple[Ensemble, EnsembleHistory]:
    """The ensemble after training, and its history; the counterpart of `train_on_rows`.

    Each member is trained as a single flow would be: it has an order of the rows, failed steps, restarts and early
    stopping of its own, and its weights of the best epoch are returned. All have the same validation rows, so that the
    likelihood of the mixture is validated by rows that no member was trained on. A member that has stopped or diverged
    does not change any more.

    Args:
        flow, history, data, epochs, options, title: as for `train_on_rows`.
        loss: None; the caller's own losses are refused.

    Raises:
        ValueError: for a loss of the caller's own.
        TrainingDiverged: if all members diverged.
    """
    if loss is not None:
        raise ValueError(
            "loss: expected None for an Ensemble, whose members are trained and compared by their likelihoods. Fit the "
            "members one by one with that loss, and stack them: pushforward.Ensemble(flows)."
        )
    if options.checkpoint is not None:
        raise ValueError("checkpoint: expected None for an Ensemble, whose training is not stored yet.")
    objective = LikelihoodObjective(flow, data, epochs, history)
    original: Any = flow[0]
    if isinstance(original, Flow):
        warn_of_share_outside(objective.flow[0], objective.parts[0], stacklevel=3)
    trainer = _MemberTrainer(objective, history, options)
    trainer.start()

    def describe(index: int) -> str:
        return f"{title and f'{title}: '}{objective.describe(index)}, {sum(trainer.is_active)} of {len(flow)} members"

    with progress_bar(options.progress, objective.blocks.n_blocks, describe, "first steps") as report:
        try:
            for index, block in objective.blocks.since(Position()):
                trainer.block(index, block)
                report(index, objective.blocks.n_blocks)
                if not any(trainer.is_active):
                    break
        except KeyboardInterrupt:
            trainer.interrupt()
    fitted = restore_units(trainer.result(), flow)
    return fitted, history


class _MemberTrainer:
    """The training of the members: their states, and which of them are still trained.

    Args:
        objective: of the ensemble; its rows are those of every member.
        history: filled in place.
        options: of training.

    Attributes:
        is_active: whether each member is still trained.
    """

    def __init__(self, objective: LikelihoodObjective, history: EnsembleHistory, options: Options) -> None:
        self.objective, self.history, self.options = objective, history, options
        self.members = list(objective.flow)
        keys = jax.random.split(options.key, len(self.members))
        pairs = [jax.random.split(key) for key in keys]  # as `fit` splits the key of a single flow
        self.orders = [objective.order_of(generator(pair[0])) for pair in pairs]
        self.rule = update_rule(options.optimizer, options.clip, options.ema)
        flags = self._trained_flags(options.trainable)
        starts = [init_state(m, flags, self.rule, pair[1]) for m, pair in zip(self.members, pairs, strict=True)]
        self.partition, self.states = starts[0][0], [state for _, state in starts]
        adjustable = self.rule.is_default
        self.recoveries = [
            Recovery(options.learning_rate, adjustable=adjustable, advice=objective.advice) for _ in self.members
        ]
        self.schedule = Schedule(float(objective.blocks.n_steps), options.learning_rate, float(options.ema or 0.0))
        self.is_active = [True] * len(self.members)
        self.validation = MemberValidation(objective.validation, objective.offsets[1], len(self.members))
        n_numbers = len(self.members) * objective.batch_size * sum(p[0].size for p in objective.parts if p is not None)
        objective.buffer_steps = max(1, min(objective.buffer_steps, _BUFFER_NUMBERS // n_numbers))
        history.members = [
            History(
                n_train=history.n_train, n_validation=history.n_validation, gaussian=history.gaussian,
                start_from=history.start_from, batch_size=history.batch_size,
            )
            for _ in self.members
        ]  # fmt: skip

    def _trained_flags(self, chosen: Any) -> tuple[bool | np.ndarray, ...]:
        """For each array of a member, whether it is trained: the same parts in all members."""
        if jax.tree.structure(chosen) == jax.tree.structure(self.objective.flow):
            chosen = chosen.stacked
            if any(np.ndim(flag) for flag in jax.tree.leaves(chosen)):
                raise ValueError(
                    "trainable: expected the same parts in all members of an Ensemble, got masks of stacked arrays. "
                    "Choose the parts of one member: pushforward.freeze(flows[0], lambda f: f.layers[0])."
                )
        self.chosen = chosen
        return trained_flags(self.members[0], trainable_filter(self.members[0]) if chosen is None else chosen)

    def start(self) -> None:
        """Validate the members before training; meanwhile the steps compile."""
        started, history = time.perf_counter(), self.history
        with ThreadPoolExecutor(1) as executor:
            log_probs = executor.submit(with_jax_settings(self.validation.log_probs), self.objective.flow)
            self._steps([self.objective.empty_buffer()] * len(self.members), 0)
            self.validation.best = log_probs.result()
        history.compile_seconds = time.perf_counter() - started
        values, patience = self.validation.means(self.validation.best), self.objective.patience
        self.selections = [
            Selection(snapshot(state), value, patience) for state, value in zip(self.states, values, strict=True)
        ]
        for member, value in zip(history.members, values, strict=True):
            member.start = value
        history.start = self.validation.of_mixture(self.validation.best)

    def block(self, index: int, block: Block) -> None:
        """Run a block, the one of this index, for the active members, validate them, and stop those without progress.

        Raises:
            TrainingDiverged: if the last active members diverged and no other has stopped before.
        """
        objective, history, was_active = self.objective, self.history, list(self.is_active)
        self.schedule = self.schedule._replace(total_steps=float(objective.blocks.n_steps))  # it may be replanned
        started = time.perf_counter()
        means = self._run(block)
        validation_started = time.perf_counter()
        snapshots = [snapshot(state) for state in self.states]
        flows = [
            extract_flow(self.partition, state, member) for state, member in zip(snapshots, self.members, strict=True)
        ]
        log_probs = self.validation.log_probs(flows)
        values = self.validation.means(log_probs)
        usable = [active and math.isfinite(value) for active, value in zip(was_active, values, strict=True)]
        mixture = self.validation.of_mixture(np.where(np.asarray(usable)[:, None], log_probs, self.validation.best))
        rates = [self._learning_rate(k, int(state.step)) for k, state in enumerate(snapshots)]
        seconds = time.perf_counter() - self.options.started
        for k, member in enumerate(history.members):
            if not was_active[k]:
                continue
            member.train.append(means[k] + objective.offsets[0])
            if objective.validation is not None:
                member.validation.append(values[k])
            member.learning_rate.append(rates[k])
            member.seconds.append(seconds)
            member.skipped_steps, member.restarts = int(snapshots[k].skipped_steps), self.recoveries[k].restarts
            selection, earlier = self.selections[k], self.selections[k].best
            selection.consider(snapshots[k], index, values[k], means[k], snapshots[k])
            if selection.best is not earlier:
                self.validation.best[k] = log_probs[k]
            member.best_epoch = selection.best.block
            if self.is_active[k] and selection.is_over(index):
                self._stop(k, "early stopping")
        active_means = [mean for mean, active in zip(means, was_active, strict=True) if active and math.isfinite(mean)]
        history.train.append(float(np.mean(active_means)) + objective.offsets[0] if active_means else math.nan)
        if objective.validation is not None:
            history.validation.append(mixture)
        history.learning_rate.append(max(rates))
        history.seconds.append(seconds)
        history.skipped_steps = sum(member.skipped_steps for member in history.members)
        history.restarts = sum(member.restarts for member in history.members)
        objective.blocks.measured(validation_started - started, time.perf_counter() - validation_started)

    def interrupt(self) -> None:
        """Ctrl-C: the members that are still trained stop."""
        for k in np.flatnonzero(self.is_active):
            self._stop(int(k), "interrupted")

    def result(self) -> Ensemble:
        """The ensemble of the members at their best weights, in the units of training; fills the history.

        Raises:
            TrainingDiverged: if no member has a finite likelihood.
        """
        history, objective = self.history, self.objective
        reasons = [member.stop_reason for member in history.members]
        is_interrupted = "interrupted" in reasons
        if not is_interrupted and (failure := objective.failure()):
            rate = self.recoveries[0].describe_rate()
            raise TrainingDiverged(f"training diverged at {rate}: {failure}. {objective.advice}")
        history.stop_reason = next(
            (reason for reason in ("interrupted", "finished", "early stopping") if reason in reasons), "diverged"
        )
        failed = [k for k, reason in enumerate(reasons) if reason == "diverged"]
        if failed:
            warnings.warn(
                f"fit: {len(failed)} of {len(reasons)} members diverged (number {', '.join(map(str, failed))}) and are "
                "returned with their best weights before that. Leave them out by flows[[...]], or use a smaller "
                "learning_rate.",
                stacklevel=4,
            )
        history.best_epoch = max(selection.best.block for selection in self.selections)
        best = [selection.best.flow for selection in self.selections]
        flows = [
            finalise_trained(extract_flow(self.partition, state, member), self.chosen)
            for state, member in zip(best, self.members, strict=True)
        ]
        result = Ensemble(flows)
        history.final = self.validation.of_mixture(self.validation.best)
        if objective.validation is not None and has_hook(result, "finalised"):
            finalised = self.validation.of_mixture(self.validation.log_probs(result))
            check_finalised(finalised, history.final, history)
        return result

    def _run(self, block: Block) -> list[float]:
        """Run a block; for each member the mean of the reported numbers over its finite steps, NaN without such."""
        totals, n_finite = np.zeros(len(self.members)), np.zeros(len(self.members), int)
        for parts in zip(*(self.objective.batches(block, order) for order in self.orders), strict=True):
            n_steps, skipped = parts[0][1], self._n_skipped()
            for k in np.flatnonzero(self.is_active):
                self.recoveries[k].remember(self.states[k])
            active = np.asarray(self.is_active)
            totals += self._steps([buffer for buffer, _ in parts], n_steps)
            n_finite += np.where(active, n_steps - (self._n_skipped() - skipped), 0)
            self._recover(n_steps, block.name)
        return [float(total / n) if n else math.nan for total, n in zip(totals, n_finite, strict=True)]

    def _steps(self, batches: list[Any], n_steps: int) -> np.ndarray:
        """So many steps of the active members; the sums of their reported numbers."""
        schedules = [self.schedule._replace(learning_rate=recovery.learning_rate) for recovery in self.recoveries]
        counts, objective = [n_steps if active else 0 for active in self.is_active], self.objective
        self.states, totals = run_members(
            self.partition, self.rule, objective.loss, self.states, batches, objective.shared, counts, schedules
        )
        return totals

    def _n_skipped(self) -> np.ndarray:
        return np.asarray([int(state.skipped_steps) for state in self.states])

    def _recover(self, n_steps: int, where: str) -> None:
        """Restore an earlier state of each member whose last steps failed, or give it up."""
        for k in np.flatnonzero(self.is_active):
            try:
                state = self.recoveries[k].recover(self.states[k], n_steps, where)
            except TrainingDiverged:
                self._stop(int(k), "diverged")
                if all(member.stop_reason == "diverged" for member in self.history.members):
                    raise
                continue
            if state is not None:
                self.states[k] = state

    def _stop(self, k: int, reason: str) -> None:
        self.is_active[k], self.history.members[k].stop_reason = False, reason

    def _learning_rate(self, k: int, step: int) -> float:
        if not self.rule.is_default:
            return math.nan
        return float(cosine(self.schedule._replace(learning_rate=self.recoveries[k].learning_rate), step, np))

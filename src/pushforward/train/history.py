"""History of a fit."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class History:
    """History of a fit. Log-likelihoods are mean nats per row in the data's units, one entry an epoch.

    With `loss=`, the lists `train` and `validation`, and `start`, hold minus the mean loss instead, so that higher is
    better; the figures of baselines and copies are then empty.

    Attributes:
        train: mean over the epoch's batches, as the weights change.
        validation: of the validation rows after the epoch; empty without such rows.
        seconds: wall time since the start of `fit`, compilation included.
        learning_rate: at the end of the epoch (nan with a caller's optimiser).
        start: validation log-likelihood before the first step (nan without validation rows); that of the baseline where
            an untrained baseline is returned.
        best_epoch: index of the epoch whose weights were returned; -1 for those of the start.
        stop_reason: "finished", "early stopping" or "interrupted"; "diverged" where a second training, from a baseline,
            diverged and the baseline is returned.
        start_from: where training started: "given" (the flow unchanged), "columns" (standardised), "margins" (columns
            of normal distributions, by `MarginalGaussianization`), "gaussian"
            (whitened), "baseline" (the linear Gaussian or the mixture, where a first training did not clearly exceed
            it; with `best_epoch` -1 that baseline is returned, and the curves are those of the training that did not
            exceed it).
        mixture: validation log-likelihood of a mixture of normals, its size chosen by the BIC; nan without one.
        gaussian: validation log-likelihood of a full Gaussian (linear in the context, if any), the baseline of a flow.
        skipped_steps: steps skipped because loss or gradient was not finite, and steps undone by a restart.
        restarts: how often consecutive steps failed, so that training restored a snapshot and halved the learning rate.
        compile_seconds: time to compile the programs that train and that validate.
        validation_without_copies: validation log-likelihood, under the returned weights, of those rows that have no
            equal training row (context included); `best_validation` where no row has one, nan where all have one or
            without validation rows. It is below `best_validation` where the flow memorises rows, and also where values
            repeat by nature, because rows without an equal one are then the rare ones.
        earlier: the history of the first training where a second one, from a baseline, followed; else None.
        n_train, n_validation: row counts.
        n_refit: number of rows to which the returned flow was fitted again, validation rows included; 0 if it was not.
        n_validation_copies: number of validation rows that have an equal training row.
        batch_size: rows a step.
    """

    train: list[float] = dataclasses.field(default_factory=list)
    validation: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    learning_rate: list[float] = dataclasses.field(default_factory=list)
    start: float = float("nan")
    best_epoch: int = -1
    stop_reason: str = "finished"
    gaussian: float = float("nan")
    mixture: float = float("nan")
    start_from: str = "given"
    skipped_steps: int = 0
    restarts: int = 0
    compile_seconds: float = 0.0
    validation_without_copies: float = float("nan")
    n_train: int = 0
    n_validation: int = 0
    n_validation_copies: int = 0
    n_refit: int = 0
    batch_size: int = 0
    earlier: "History | None" = None

    @property
    def best_validation(self) -> float:
        """Validation log-likelihood of the returned flow, as fitted to the training rows alone; training log-likelihood
        without validation rows."""
        curve = self.validation or self.train
        return curve[self.best_epoch] if self.best_epoch >= 0 else self.start

    def to_dict(self) -> dict:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

    @property
    def returned(self) -> str:
        """What `fit` returned: "trained", "baseline" (a Gaussian or a mixture of normals), or "start" (untrained)."""
        if self.best_epoch >= 0:
            return "trained"
        return "baseline" if self.start_from == "baseline" else "start"

    def __repr__(self) -> str:
        return one_line(
            self, n_train=self.n_train, n_validation=self.n_validation, epochs=len(self.train),
            best_epoch=self.best_epoch, best_validation=self.best_validation, gaussian=self.gaussian,
            mixture=self.mixture, seconds=self.seconds[-1] if self.seconds else 0.0, stop_reason=self.stop_reason,
            returned=self.returned,
        )  # fmt: skip


@dataclasses.dataclass(repr=False)
class EnsembleHistory(History):
    """History of a fit of an `Ensemble`: that of the mixture, and one of each member.

    `validation` and `start` are the validation log-likelihoods of the mixture, of the members as they are after the
    epoch (a member that has stopped: its best weights). `train` is the mean over the members, `learning_rate` the
    largest, `skipped_steps` and `restarts` the sums; `best_epoch` is the last epoch whose weights a member has.

    Attributes:
        members: the histories of the members; their curves end where they stopped. A `stop_reason` is also "diverged".
        final: validation log-likelihood of the returned mixture.
    """

    members: list[History] = dataclasses.field(default_factory=list)
    final: float = float("nan")

    @property
    def best_validation(self) -> float:
        """Validation log-likelihood of the returned mixture, as for `History`."""
        if not self.validation:
            return self.train[-1] if self.best_epoch >= 0 else self.start
        return self.final if self.best_epoch >= 0 else self.start

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"(members={len(self.members)}, ", 1)


def one_line(history: Any, **figures: Any) -> str:
    """The class of a history and its figures, in one line; without those that are NaN.

    >>> one_line(History(), epochs=3, gaussian=float("nan"), seconds=1.23456)
    'History(epochs=3, seconds=1.235)'
    """
    shown = []
    for name, value in figures.items():
        if not isinstance(value, float):
            shown.append(f"{name}={value!r}")
        elif not math.isnan(value):
            shown.append(f"{name}={value:.4g}")
    return f"{type(history).__name__}({', '.join(shown)})"

"""What a training run leaves behind."""

import dataclasses


@dataclasses.dataclass
class History:
    """The course of a fit. Log-likelihoods are mean nats per row in the data's own units, one entry an epoch.

    Attributes:
        train: mean over the epoch's batches, as the weights moved.
        validation: on the held-out rows after the epoch; empty when nothing was held out.
        seconds: wall time since the start of `fit`, compilation included.
        learning_rate: at the end of the epoch (nan under an optimiser of the caller's).
        start: held-out nats before the first step (nan when nothing was held out); those of the baseline where one is
            returned untrained.
        best_epoch: index of the epoch whose weights were returned; -1 for those of the start.
        stop_reason: "finished", "early stopping" or "interrupted"; "diverged" where a second training did, from a
            baseline, which is then returned.
        start_from: where training started: "given" (the flow as it was), "columns" (standardised), "gaussian"
            (whitened), "baseline" (the linear Gaussian or the mixture that a first training fell short of or did not
            clearly pass; with `best_epoch` -1 that baseline is what was returned, and the courses are those of the
            training that did not pass it).
        mixture: validation nats of a mixture of normals, its size by the BIC; nan where there is none.
        gaussian: held-out nats of a full Gaussian (linear in the context, if any): the floor a flow must beat.
        skipped_steps: steps left out because loss or gradient was not finite, and steps undone by a restart.
        restarts: how often training went back, and halved its learning rate, after steps that failed in a row.
        compile_seconds: time spent compiling the programs that train and that score held-out rows.
        validation_without_copies: held-out nats, under the weights that were returned, of those validation rows that
            have no equal training row (context included); `best_validation` where no row has, nan where all have or
            nothing was held out. Below `best_validation` where the flow remembers rows; also where values repeat of
            themselves, for rows without an equal one are then the rare ones.
        n_train, n_validation: row counts.
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
    batch_size: int = 0

    @property
    def best_validation(self) -> float:
        """Held-out nats of what was returned, of a baseline as fitted to the training rows alone; training nats when
        nothing was held out."""
        course = self.validation or self.train
        return course[self.best_epoch] if self.best_epoch >= 0 else self.start

    def to_dict(self) -> dict:
        """Plain JSON-able values."""
        return dataclasses.asdict(self)

"""The flow that validation has chosen, fitted once more to all rows: few rows are too dear to leave a tenth out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pushforward.errors import TrainingDiverged
from pushforward.train.epochs import FEW_ROWS, Epochs
from pushforward.train.history import History
from pushforward.train.prepare import FitData
from pushforward.train.start import Baselines, refit_baseline

Training = Callable[..., tuple[Any, History]]


def is_worthwhile(refit: bool | None, data: FitData) -> bool:
    """Whether to fit again: as the caller says, by default where the validation rows are a share of few rows."""
    if data.validation is None or not data.is_drawn:
        return False
    return (len(data.train) + len(data.validation)) / data.replicates < FEW_ROWS if refit is None else refit


def fitted_to_all_rows(
    fitted: Any, initial: Any, data: FitData, history: History, found: Baselines | None, epochs: Epochs, train: Training
) -> Any:
    """The flow after as many epochs as validation has chosen, from the same start, on all rows.

    The validation likelihood in the history is that of the flow before, so it stays an estimate for new rows. The flow
    as it was is returned where the second training diverges or is interrupted.

    Args:
        fitted, history: after training.
        initial: the flow before training, its fixed layers filled.
        data: with validation rows.
        found: the baselines where the flow is one of them or was trained from one, else None.
        epochs: of the training.
        train: trains a flow on rows: (flow, history, data=, epochs=, title=).
    """
    if history.best_epoch < 0 and found is None:  # the flow that was passed
        return fitted
    held_out: Any = data.validation
    rows = data.train.concatenate(held_out)
    start = initial if found is None else refit_baseline(initial, rows, found, data.replicates)
    history.n_refit = len(rows)
    if history.best_epoch < 0:
        return start
    again = epochs._replace(max_epochs=epochs.plan(len(data.train))[1], stop=history.best_epoch + 1, deadline=None)
    second = History(n_train=len(rows), start_from=history.start_from)
    try:
        flow, second = train(
            start, second, data=replace(data, train=rows, validation=None), epochs=again, title="all rows"
        )
    except TrainingDiverged:
        second.stop_reason = "diverged"
    if second.stop_reason != "finished":
        history.n_refit = 0
        if second.stop_reason == "interrupted":
            history.stop_reason = "interrupted"
        return fitted
    return flow

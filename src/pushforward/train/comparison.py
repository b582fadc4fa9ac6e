"""A trained flow against classical baselines: the better of them is returned, or a flow trained again from one."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pushforward.bases import Mixture
from pushforward.errors import TrainingDiverged
from pushforward.train.history import History
from pushforward.train.prepare import FitData
from pushforward.train.start import Baselines, baseline_start, baselines, falls_short, is_likelier
from pushforward.train.units import log_probs_in_units

Training = Callable[..., tuple[Any, History]]  # (flow, history, title=...) -> (the trained flow, the history)


def compare_with_baselines(
    fitted: Any, initial: Any, data: FitData, history: History, train: Training, known: Baselines | None = None
) -> tuple[Any, History, Baselines | None]:
    """The fitted flow if it is clearly likelier than its baselines; else the better one, or a flow trained from it.

    A warning reports if the returned flow is below the baselines. The third result is the baselines where the returned
    flow is one of them or was trained from one; else None.

    Args:
        fitted: the flow after training.
        initial: the flow before training, its fixed layers filled.
        data: with validation rows.
        history: of the training.
        train: trains a flow on the same data.
        known: the baselines where they are fitted already.
    """
    validation: Any = data.validation
    offset = data.offsets[1]
    try:
        log_probs = log_probs_in_units(fitted, validation)
        fitted_baselines = known or baselines(initial, data.train, validation, 0, data.replicates)
        baseline_log_probs = fitted_baselines.better(validation)
        if fitted_baselines.mixture is not None:
            history.mixture = float(np.average(fitted_baselines.mixture, weights=validation.weights)) + offset
        if is_likelier(log_probs, baseline_log_probs, validation):
            return fitted, history, None
        start: Any = baseline_start(initial, data.train, fitted_baselines)
        start_log_probs = log_probs_in_units(start, validation)
    except KeyboardInterrupt:
        history.stop_reason = "interrupted"
        return fitted, history, None
    retrained, second = start, replace(history, start_from="baseline", best_epoch=-1)
    second.start = float(np.average(start_log_probs, weights=validation.weights)) + offset
    if falls_short(log_probs, fitted_baselines, validation):
        retrained, second = _retrain(start, start_log_probs, validation, second, history, train)
    if second.stop_reason == "interrupted":  # the caller must learn of it, whichever flow is returned
        history.stop_reason = "interrupted"
        if not second.train:
            return fitted, history, None
    is_start_as_good = not is_likelier(log_probs, start_log_probs, validation)
    if is_start_as_good or second.best_validation > history.best_validation:
        fitted, history = retrained, second
        log_probs = start_log_probs if retrained is start else log_probs_in_units(retrained, validation)
    if falls_short(log_probs, fitted_baselines, validation):
        _warn(history, float(np.average(baseline_log_probs, weights=validation.weights)) + offset)
    return fitted, history, fitted_baselines if history.start_from == "baseline" else None


def report_baselines(fitted: Any, initial: Any, data: FitData, history: History) -> None:
    """Enter the likelihood of the baselines into the history, and warn where an ensemble is below them.

    It is not replaced by a baseline, as a flow is: copies of a baseline would not disagree.

    Args:
        fitted, initial, data, history: as for `compare_with_baselines`.
    """
    validation: Any = data.validation
    fitted_baselines = baselines(initial, data.train, validation, 0, data.replicates)
    if fitted_baselines.mixture is not None:
        history.mixture = float(np.average(fitted_baselines.mixture, weights=validation.weights)) + data.offsets[1]
    if falls_short(log_probs_in_units(fitted, validation), fitted_baselines, validation):
        best = float(np.average(fitted_baselines.better(validation), weights=validation.weights))
        _warn(history, best + data.offsets[1])


def _warn(history: History, best: float) -> None:
    """Warn that the returned flow is below the baselines, whose likelihood is `best`."""
    advice = "Train longer, or use a larger flow."
    if math.isfinite(history.mixture):
        advice = (
            "Train longer, use a larger flow, or start from the mixture (pushforward.FlowDensity(base='mixture'); on "
            "the command line --base mixture)."
        )
    warnings.warn(
        f"fit: the flow has {history.best_validation:.3f} nats a row on the validation rows, a Gaussian or a "
        f"mixture of normals {best:.3f}. {advice}",
        stacklevel=4,
    )


def describe_baseline(flow: Any, history: History) -> str:
    """State that a baseline is returned, which one, and how to get the trained flow.

    Args:
        flow: the returned baseline.
        history: with the curve of the training that did not exceed it.
    """
    n_normals = len(flow.base.components) if isinstance(flow.base, Mixture) else 1
    baseline = f"mixture of {n_normals} normals" if n_normals > 1 else "Gaussian"
    values = [value for value in history.validation if math.isfinite(value)]
    trained = f"; the trained flow had {max(values):.3f}" if values else ""
    return (
        f"fit: the returned flow is a {baseline}, because the trained flow was not clearly likelier on the validation "
        f'rows (the {baseline.split()[0]} has {history.start:.3f} nats a row{trained}). Pass start="given" to get the '
        "trained flow."
    )


def count_copies(flow: Any, data: FitData, history: History) -> None:
    """Enter the number of validation rows that are copies into the history, and the likelihood of the others."""
    rows, is_copy = data.validation, data.is_copy
    if rows is None or is_copy is None:
        return
    history.n_validation_copies = int(is_copy.sum())
    history.validation_without_copies = math.nan if is_copy.all() else history.best_validation
    if is_copy.any() and not is_copy.all():
        weights = None if rows.weights is None else rows.weights[~is_copy]
        mean = float(np.average(log_probs_in_units(flow, rows)[~is_copy], weights=weights))
        history.validation_without_copies = mean + data.offsets[1]


def _retrain(
    start: Any, start_log_probs: np.ndarray, validation: Any, history: History, earlier: History, train: Training
) -> tuple[Any, History]:
    """The flow trained from a baseline if it is clearly likelier, else the baseline; and the training history.

    Args:
        start, start_log_probs: the baseline, and its log-densities of the validation rows.
        validation: these rows.
        history: of the baseline.
        earlier: of the first training.
        train: as for `compare_with_baselines`.
    """
    second = History(
        gaussian=history.gaussian, mixture=history.mixture, start_from="baseline", start=history.start,
        n_train=history.n_train, n_validation=history.n_validation, earlier=earlier,
    )  # fmt: skip
    kind = "a mixture of normals" if isinstance(start.base, Mixture) else "the Gaussian"
    try:
        retrained, second = train(start, second, title=f"again from {kind}")
        if is_likelier(log_probs_in_units(retrained, validation), start_log_probs, validation):
            return retrained, second
    except TrainingDiverged:  # the baseline is still good
        second.stop_reason = "diverged"
    except KeyboardInterrupt:
        second.stop_reason = "interrupted"
    second.best_epoch = -1
    return start, second

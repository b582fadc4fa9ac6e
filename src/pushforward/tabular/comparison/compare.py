"""Comparison of flows and classical densities by cross-validation: test log-likelihood, time, memory, size."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.core.named_rows import to_array
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.moments import standard_error
from pushforward.recipes import RECIPES
from pushforward.tabular.comparison.entries import Entry, Leaderboard
from pushforward.tabular.comparison.fold import BASELINES, MIXTURE, Fold, Outcome, Split
from pushforward.tabular.comparison.peak_memory import peak_megabytes, reset_peak
from pushforward.tabular.schema import infer_schema
from pushforward.train.data import as_column, as_rows, column_names
from pushforward.train.split import folds as folds_of
from pushforward.train.split import group_numbers, time_numbers

DEFAULT_FLOWS = ("nsf", "maf", "nsf+mixture")
_FOLDS = 5


def compare(
    x: Any,
    *,
    names: Sequence[str] | None = None,
    flows: Sequence[str] = DEFAULT_FLOWS,
    context: Any = None,
    columns: Mapping[str, Any] | None = None,
    detect: bool = True,
    folds: int | None = None,
    groups: Any = None,
    time: Any = None,
    key: int = 0,
    settings: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Leaderboard:
    """Fit flows and classical densities to the same rows, and compare their log-likelihoods on test rows.

    The rows are shuffled and split into folds. In each fold one part is for the test. A fifth of the others is for
    validation: early stopping, the choice of a flow, of the number of components and of the bandwidth. The rest is for
    training. The margin is that of the flows chosen on validation, fold by fold. The schema is inferred without the
    test rows, except that a grid or a support that excludes a test row is not detected; all models use it. Baselines
    model the columns without maps; rounded columns have the same noise and are scored at the same points as for
    flows. A flow's name with "+mixture" starts from a mixture of normals, see `fit_columns`.

    Args:
        x: rows (n, columns), finite: an array, or a frame of pandas or polars.
        names: of the columns; by default those of a frame, or x0, x1, ...
        flows: names of recipes for tables, with or without "+mixture".
        context: (n, c); all models, baselines too, are then densities of x given the context.
        columns: declarations, as for `infer_schema`.
        detect: whether the types of other columns are detected.
        folds: number of folds, 5 by default; 1 for a single test part of a fifth.
        groups: (n,) labels, as for `pushforward.fit`: rows with one label are in one part of every fold.
        time: (n,) numbers or dates (of NumPy, pandas, or ISO 8601 text), for a single fold: the latest fifth of the
            rows is for the test, the latest fifth of the others for validation; rows of equal time are in one part.
        key: seed of the folds, the initial weights and training.
        settings: of all recipes that have them, such as {"width": 32}.
        training: options of `pushforward.fit`.
        report: called with a line after each model.

    Returns:
        A `Leaderboard`.

    Raises:
        ShapeError: if x, the context, groups or time have the wrong shape or length.
        DataError: for unknown flows, values that are not finite, too few rows, and as `infer_schema` and `fit`.
        MissingExtra: without scikit-learn, which the mixture needs.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(size=(60, 2))
        >>> board = pf.compare(x, flows=["nice"], folds=1, settings={"width": 8}, training={"max_epochs": 1})
        >>> sorted(entry.name for entry in board.entries)
        ['Gaussian', 'Gaussian mixture', 'Kernel density', 'nice']
    """
    x, context, names = _arrays(x, context, names)
    if groups is not None and time is not None:
        raise DataError("groups, time: expected one of them, got both: pass only one.")
    folds = (_FOLDS if time is None else 1) if folds is None else folds
    _check(x, flows, folds)
    numbers = None if groups is None else group_numbers(groups, len(x))
    times = None if time is None else time_numbers(time, len(x))
    outcomes: dict[str, list[Outcome]] = {}
    first_schema, tests = None, []
    for index, (train, validation, test) in enumerate(
        folds_of(len(x), folds, np.random.default_rng(key), numbers, times)
    ):
        split, rest = Split(x, context, train, validation, test), np.concatenate([validation, train])
        schema = infer_schema(x[rest], names, declarations=columns, detect=detect, others=x[test])
        first_schema = first_schema or schema
        tests.append(test)
        fold = Fold(split, schema, key, dict(settings or {}), dict(training or {}))
        for name in (*flows, *BASELINES):
            outcome = _with_peak_memory(lambda name=name, fold=fold: fold.run(name))
            outcomes.setdefault(name, []).append(outcome)
            report(f"fold {index + 1} of {folds}: {name} {outcome.scores.mean():.3f}")
    entries = sorted(
        (_entry(name, by_fold) for name, by_fold in outcomes.items()), key=lambda entry: -entry.test_log_likelihood
    )
    best = max(
        (entry for entry in entries if entry.is_flow), key=lambda entry: _sort_key(entry.validation_log_likelihood)
    )
    picks = tuple(
        max(flows, key=lambda name: _sort_key(outcomes[name][index].validation_log_likelihood))
        for index in range(folds)
    )
    is_bound = first_schema is not None and first_schema.is_rounded
    board = Leaderboard(tuple(entries), best.name, picks, is_bound, first_schema)
    rival = outcomes[board.rival.name]
    differences = [outcomes[name][index].scores - rival[index].scores for index, name in enumerate(picks)]
    return dataclasses.replace(board, margin_error=_margin_error(differences, tests, numbers))


def _margin_error(differences: list[np.ndarray], tests: list[np.ndarray], groups: np.ndarray | None) -> float | None:
    """Standard error of the mean over folds of mean score differences of the test rows; a group is in one fold."""
    errors = [
        standard_error(part, None if groups is None else groups[test])
        for part, test in zip(differences, tests, strict=True)
    ]
    known = [error for error in errors if error is not None]
    return float(math.sqrt(np.square(known).sum()) / len(errors)) if len(known) == len(errors) else None


def _sort_key(log_likelihood: float | None) -> float:
    """The log-likelihood; None and NaN rank last."""
    return -math.inf if log_likelihood is None or math.isnan(log_likelihood) else log_likelihood


def _arrays(x: Any, context: Any, names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Rows and contexts as finite 2-D arrays of one length, and the names of the columns."""
    arrays: list[np.ndarray | None] = [None, None]
    for index, (name, value) in enumerate((("x", x), ("context", context))):
        if value is not None:
            shape = np.shape(to_array(value))
            if len(shape) != 2 or not shape[1]:
                raise ShapeError(f"{name}: expected rows (n, columns), got shape {shape}. {as_column(name)}")
            arrays[index] = as_rows(name, value, shape[1:])
    rows, contexts = arrays
    if rows is None or (contexts is not None and len(contexts) != len(rows)):
        lengths = " and ".join("none" if array is None else f"{len(array)} rows" for array in arrays)
        raise ShapeError(f"x, context: expected one context for each row, got {lengths}.")
    names = column_names(x) if names is None else list(names)
    names = [f"x{index}" for index in range(rows.shape[1])] if names is None else names
    if len(names) != rows.shape[1]:
        raise ShapeError(f"names: expected one for each of {rows.shape[1]} columns, got {len(names)}.")
    return rows, contexts, names


def _check(x: np.ndarray, flows: Sequence[str], folds: int) -> None:
    for flow in flows:
        if flow.removesuffix(MIXTURE) not in RECIPES:
            raise DataError(f"expected names among {', '.join(RECIPES)}, with +mixture or not, got {flow!r}.", "flows")
    if not flows or len(set(flows)) < len(flows):
        raise DataError(f"expected at least one, each once, got {list(flows)}.", "flows")
    if not 1 <= folds <= len(x) // 5:
        raise DataError(f"expected 1 to a fifth of the {len(x)} rows, got {folds}: add rows, or take fewer.", "folds")


def _with_peak_memory(run: Callable[[], Outcome]) -> Outcome:
    """Run a model, and add the peak memory of the process meanwhile, where the system measures it."""
    is_reset = reset_peak()
    outcome = run()
    outcome.peak_megabytes = peak_megabytes() if is_reset else None
    return outcome


def _entry(name: str, outcomes: list[Outcome]) -> Entry:
    def mean(values: list[Any]) -> Any:
        return None if any(value is None for value in values) else float(np.mean(values))

    folds = tuple(float(outcome.scores.mean()) for outcome in outcomes)
    errors = np.array([outcome.standard_error for outcome in outcomes], float)
    peaks = [outcome.peak_megabytes for outcome in outcomes if outcome.peak_megabytes is not None]
    return Entry(
        name=name,
        is_flow=outcomes[0].validation_log_likelihood is not None,
        validation_log_likelihood=mean([outcome.validation_log_likelihood for outcome in outcomes]),
        test_log_likelihood=float(np.mean(folds)),
        standard_error=float(math.sqrt(np.sum(np.square(errors))) / len(errors)),
        folds=folds,
        fit_seconds=mean([outcome.fit_seconds for outcome in outcomes]),
        score_seconds=mean([outcome.score_seconds for outcome in outcomes]),
        sample_seconds=mean([outcome.sample_seconds for outcome in outcomes]),
        peak_megabytes=max(peaks, default=None),
        parameters=outcomes[0].parameters,
        setting=outcomes[0].setting,
        n_test_copies=sum(int(outcome.is_copy.sum()) for outcome in outcomes if outcome.is_copy is not None),
        test_log_likelihood_without_copies=_without_copies(outcomes),
    )


def _without_copies(outcomes: list[Outcome]) -> float | None:
    """Mean score of the test rows of all folds that have no equal row in their fold's other parts."""
    scores = [out.scores if out.is_copy is None else out.scores[~out.is_copy] for out in outcomes]
    joined = np.concatenate(scores)
    return float(joined.mean()) if len(joined) else None

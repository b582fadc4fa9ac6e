"""Fitting for both estimators: recipe, seed and training from an estimator's parameters and checked rows."""

import contextlib
import dataclasses
import inspect
import math
import warnings
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.core.named_rows import NamedRows
from pushforward.errors import DataError, OffsetWarning
from pushforward.recipes import RECIPES
from pushforward.tabular.schema import TableSchema, fit_columns, infer_schema
from pushforward.train import fit
from pushforward.train.history import History

_STRUCTURE = ("n_layers", "width", "depth", "whiten")
_TRAINING = ("batch_size", "max_epochs", "max_seconds", "patience", "learning_rate")
_SET_BY_FIT = ("dim", "key", "context_dim")
_SEEDS = 2**32


def fit_distribution(
    estimator: Any, x: NamedRows, context: np.ndarray | None, seed: int, groups: Any = None
) -> tuple[AbstractDistribution, History, TableSchema | None]:
    """Fit a distribution to rows, for both estimators.

    Args:
        estimator: with the parameters of `FlowDensity`, not validated.
        x: rows (n, d) to model, finite float64.
        context: (n, c) for p(x | context), or None.
        seed: of the initial weights, the split, the order of training and the noise.
        groups: (n,) labels, which the split does not divide, or None.

    Returns:
        The distribution in the units of x, the history of its training, and the schema of its columns. The schema is
        None if `columns` and `base` are: the flow then models the columns of x directly.

    Raises:
        ValueError: a parameter is out of range, or the recipe has no such setting.
        DataError: the rows cannot be modelled; the message names the argument of the estimator, X or y.
    """
    recipe, settings = recipe_of(estimator)
    names = {"x": "X"} if context is None else {"x": "y", "context": "X"}
    training: dict[str, Any] = _set_parameters(estimator, _TRAINING) | {
        "key": seed, "context": context, "validation": _to_python(estimator.validation),
        "progress": bool(estimator.progress), "groups": groups,
    }  # fmt: skip

    def build(dim: int) -> Flow:
        return recipe(dim, key=seed, **settings, **_context_dim(context))

    noisy = dataclasses.replace(x, rows=_add_noise(x.rows, estimator.noise, seed))
    if estimator.columns is None and estimator.base is None:
        with _renamed_argument(names), _no_offset_warning(x.rows):
            flow, history = fit(build(x.rows.shape[1]), noisy if x.columns else noisy.rows, **training)
            return flow, history, None
    if estimator.base not in (None, "mixture"):
        raise ValueError(f"base: expected 'mixture' or None, got {estimator.base!r}.")
    with _renamed_argument(names | {"columns": "columns", "groups": "groups"}, otherwise=names["x"]):
        schema = _infer_schema(estimator.columns, x)
        for column in schema.columns if estimator.noise else ():
            if column.is_rounded or column.kind not in ("real", "heavy"):
                raise ValueError(
                    f"noise: expected 0 where a column is rounded or has bounds, as {column.name!r} is "
                    f"({column.describe()}): noise would leave its support. Set noise to 0, or declare the column real."
                )
        model, history = fit_columns(schema, build, noisy.rows, base=estimator.base, **training)
        return model, history, schema


def _infer_schema(columns: Any, x: NamedRows) -> TableSchema:
    """The schema for a `columns` parameter: "detect", or a dictionary by column names (indices without names)."""
    names = x.columns or [f"x{index}" for index in range(x.rows.shape[1])]
    if isinstance(columns, str) and columns == "detect":
        return infer_schema(x.rows, names)
    if columns is not None and not isinstance(columns, Mapping):
        raise ValueError(
            f"columns: expected 'detect', a dictionary of columns and their types, or None, got {columns!r}."
        )
    declarations = {}
    for name, declaration in (columns or {}).items():
        is_index = isinstance(name, int | np.integer) and not isinstance(name, bool)
        if is_index and not 0 <= name < len(names):
            raise ValueError(f"columns: expected column indices from 0 to {len(names) - 1}, got {name}.")
        declarations[names[name] if is_index else name] = declaration
    return infer_schema(x.rows, names, declarations=declarations, detect=False)


def recipe_of(estimator: Any) -> tuple[Callable[..., Flow], dict[str, Any]]:
    """The recipe, by the estimator's `flow`, and those of its settings that are not defaults.

    Raises:
        ValueError: for an unknown recipe, or a setting that it does not have.
    """
    flow = estimator.flow
    recipe = RECIPES.get(flow) if isinstance(flow, str) else flow
    if not callable(recipe):
        raise ValueError(
            f"flow: expected one of {', '.join(RECIPES)}, or a function with their signature, got {flow!r}."
        )
    options = dict(estimator.flow_options or {})
    for name in (*_STRUCTURE, *_SET_BY_FIT):
        if name in options:
            fix = f"Set {name}= of the estimator" if name in _STRUCTURE else "Leave it out: `fit` sets it"
            raise ValueError(f"flow_options: expected settings that are not set elsewhere, got {name!r}. {fix}.")
    settings = _set_parameters(estimator, _STRUCTURE) | {name: _to_python(value) for name, value in options.items()}
    parameters = inspect.signature(recipe).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in settings.keys() - parameters.keys():
            argument = "flow_options" if name in options else name
            raise ValueError(
                f"{argument}: the flow {getattr(recipe, '__name__', recipe)!r} has no setting {name!r}, got "
                f"{settings[name]!r}. Leave it out, or use another flow."
            )
    return recipe, settings


def to_seed(random_state: Any) -> int:
    """A seed from a scikit-learn random state: an int, a RandomState (which advances), or None.

    None uses fresh entropy of the operating system; NumPy's global generator is not used.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(_SEEDS))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_SEEDS, dtype=np.uint32))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and 0 <= random_state < _SEEDS:
        return int(random_state)
    raise ValueError(
        f"random_state: expected an int from 0 to {_SEEDS - 1}, a numpy.random.RandomState or None, got "
        f"{random_state!r}."
    )


def positive_integer(name: str, value: Any) -> int:
    """The value as an int; a ValueError if it is not an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}.")
    return int(value)


def _set_parameters(estimator: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The parameters that are not None; None means the library's default."""
    return {name: _to_python(value) for name in names if (value := getattr(estimator, name)) is not None}


def _to_python(value: Any) -> Any:
    """Convert a NumPy scalar, as set by a search over `numpy.arange`, to a Python number."""
    return value.item() if isinstance(value, np.generic) else value


def _context_dim(context: np.ndarray | None) -> dict[str, int]:
    return {} if context is None else {"context_dim": context.shape[1]}


def _add_noise(rows: np.ndarray, noise: Any, seed: int) -> np.ndarray:
    """Add normal noise to each column, `noise` times its standard deviation; a constant column does not change."""
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not 0 <= noise < math.inf:
        raise ValueError(f"noise: expected a share of each column's standard deviation, 0 or more, got {noise!r}.")
    if noise == 0:
        return rows
    return rows + float(noise) * rows.std(0) * np.random.default_rng(seed).standard_normal(rows.shape)


@contextlib.contextmanager
def _renamed_argument(names: dict[str, str], otherwise: str = "") -> Generator[None]:
    """Replace the argument of `fit` that an error names by the estimator's argument, as in `names`.

    An error that names none of these arguments gets the argument `otherwise`.
    """
    try:
        yield
    except DataError as fault:
        if fault.argument in names:
            raise DataError(fault.reason, names[fault.argument]) from fault
        if not otherwise:
            raise
        raise DataError(str(fault), otherwise) from fault


@contextlib.contextmanager
def _no_offset_warning(rows: np.ndarray) -> Generator[None]:
    """Suppress the warning of `fit` that float32 scores lose large means: estimators standardise and score in float64.

    Python's warning filters are shared by all threads, so they are changed only for rows that cause this warning.
    """
    if not (np.abs(rows.mean(0)) > 1e4 * rows.std(0)).any():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OffsetWarning)
        yield

"""From an estimator's parameters and checked rows to a fitted flow: the recipe, the seed, the training."""

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
from pushforward.errors import DataError
from pushforward.recipes import RECIPES
from pushforward.tabular.schema import Plan, fit_columns, infer_schema
from pushforward.train import fit
from pushforward.train.history import History

_STRUCTURE = ("n_layers", "width", "depth", "whiten")
_TRAINING = ("batch_size", "max_epochs", "patience", "learning_rate")
_OWN = ("dim", "key", "context_dim")
_SEEDS = 2**32


def fitted(
    estimator: Any, x: NamedRows, context: np.ndarray | None, seed: int, groups: Any = None
) -> tuple[AbstractDistribution, History, Plan | None]:
    """The one way from rows to a fitted distribution, for both estimators.

    Args:
        estimator: holds the parameters of `FlowDensity`, as the caller gave them.
        x: rows (n, d) to model, finite float64.
        context: (n, c) for p(x | context), or None.
        seed: decides the start weights, the held-out rows, the order of training and the noise.
        groups: (n,) labels of rows that are held out together, or None.

    Returns:
        The distribution in the units of x, the course of its training, and the plan of its columns: None where
        `columns` and `base` are, for then the columns of x are the flow's as they are.

    Raises:
        ValueError: a parameter is out of range, or the recipe has no such setting.
        DataError: the rows cannot be modelled; the sentence names the argument of the estimator, X or y.
    """
    recipe, settings = recipe_of(estimator)
    names = {"x": "X"} if context is None else {"x": "y", "context": "X"}
    training: dict[str, Any] = _given(estimator, _TRAINING) | {
        "key": seed, "context": context, "validation": _plain(estimator.validation),
        "progress": bool(estimator.progress), "groups": groups,
    }  # fmt: skip

    def build(dim: int) -> Flow:
        return recipe(dim, key=seed, **settings, **_width_of(context))

    noisy = dataclasses.replace(x, rows=_with_noise(x.rows, estimator.noise, seed))
    if estimator.columns is None and estimator.base is None:
        with _told_as(names), _no_word_of_offsets(x.rows):
            flow, history = fit(build(x.rows.shape[1]), noisy if x.columns else noisy.rows, **training)
            return flow, history, None
    if estimator.base not in (None, "mixture"):
        raise ValueError(f"base: expected 'mixture' or None, got {estimator.base!r}.")
    with _told_as(names | {"columns": "columns", "groups": "groups"}, otherwise=names["x"]):
        plan = _planned(estimator.columns, x)
        for column in plan.columns if estimator.noise else ():
            if column.is_rounded or column.kind not in ("real", "heavy"):
                raise ValueError(
                    f"noise: expected 0 where a column is rounded or has bounds, as {column.name!r} is "
                    f"({column.describe()}): noise would lead out of it. Leave noise out, or declare the column real."
                )
        model, history = fit_columns(plan, build, noisy.rows, base=estimator.base, **training)
        return model, history, plan


def _planned(columns: Any, x: NamedRows) -> Plan:
    """The plan of a `columns` parameter: "detect", or a dictionary of names (places, where there are none)."""
    names = x.columns or [f"x{place}" for place in range(x.rows.shape[1])]
    if isinstance(columns, str) and columns == "detect":
        return infer_schema(x.rows, names)
    if columns is not None and not isinstance(columns, Mapping):
        raise ValueError(
            f"columns: expected 'detect', a dictionary of columns and their kinds, or None, got {columns!r}."
        )
    found = {}
    for name, kind in (columns or {}).items():
        is_place = isinstance(name, int | np.integer) and not isinstance(name, bool)
        if is_place and not 0 <= name < len(names):
            raise ValueError(f"columns: expected places from 0 to {len(names) - 1}, got {name}.")
        found[names[name] if is_place else name] = kind
    return infer_schema(x.rows, names, declarations=found, detect=False)


def recipe_of(estimator: Any) -> tuple[Callable[..., Flow], dict[str, Any]]:
    """The recipe that `flow` names, or is, and those of its settings that the caller gave; the rest are its defaults.

    Raises:
        ValueError: no such recipe, or a setting that it does not have.
    """
    flow = estimator.flow
    recipe = RECIPES.get(flow) if isinstance(flow, str) else flow
    if not callable(recipe):
        raise ValueError(
            f"flow: expected one of {', '.join(RECIPES)}, or a function that is called as those are, got {flow!r}."
        )
    options = dict(estimator.flow_options or {})
    for name in (*_STRUCTURE, *_OWN):
        if name in options:
            remedy = f"Set {name}= of the estimator" if name in _STRUCTURE else "Leave it out: the data decide it"
            raise ValueError(f"flow_options: expected settings without one of their own, got {name!r}. {remedy}.")
    settings = _given(estimator, _STRUCTURE) | {name: _plain(value) for name, value in options.items()}
    known = inspect.signature(recipe).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for name in settings.keys() - known.keys():
            where = "flow_options" if name in options else name
            raise ValueError(
                f"{where}: the flow {getattr(recipe, '__name__', recipe)!r} has no setting {name!r}, got "
                f"{settings[name]!r}. Leave it out, or use another flow."
            )
    return recipe, settings


def seed_of(random_state: Any) -> int:
    """A seed from what scikit-learn calls a random state: an int, a RandomState (which moves on), or None.

    None takes fresh entropy from the operating system; NumPy's global generator is neither read nor moved.
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


def whole_number(name: str, value: Any) -> int:
    """A count of at least one, or a sentence."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}.")
    return int(value)


def _given(estimator: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The parameters that are not None; None leaves the library's own default."""
    return {name: _plain(value) for name in names if (value := getattr(estimator, name)) is not None}


def _plain(value: Any) -> Any:
    """A number of Python for one of NumPy, such as a search over `numpy.arange` sets."""
    return value.item() if isinstance(value, np.generic) else value


def _width_of(context: np.ndarray | None) -> dict[str, int]:
    return {} if context is None else {"context_dim": context.shape[1]}


def _with_noise(rows: np.ndarray, noise: Any, seed: int) -> np.ndarray:
    """The rows, each column with normal noise of `noise` of its own spread; a constant column has none and stays."""
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not 0 <= noise < math.inf:
        raise ValueError(f"noise: expected a share of each column's spread, 0 or more, got {noise!r}.")
    if noise == 0:
        return rows
    return rows + float(noise) * rows.std(0) * np.random.default_rng(seed).standard_normal(rows.shape)


@contextlib.contextmanager
def _told_as(names: dict[str, str], otherwise: str = "") -> Generator[None]:
    """Faults of `fit`, whose sentences begin with its own argument, told of the estimator's argument; those that begin
    with none of them are told of the argument `otherwise`."""
    try:
        yield
    except DataError as fault:
        argument, colon, rest = str(fault).partition(":")
        if argument not in names:
            if not otherwise:
                raise
            raise DataError(f"{otherwise}: {fault}") from fault
        raise DataError(names[argument] + colon + rest) from fault


@contextlib.contextmanager
def _no_word_of_offsets(rows: np.ndarray) -> Generator[None]:
    """Large means are no trouble here: `fit` standardises in float64 and the estimators score in it.

    Its warning that a float32 score would lose them is silenced where it would come, and nowhere else: the filters of
    Python's warnings are shared by all threads, so they are left alone as a rule.
    """
    if not (np.abs(rows.mean(0)) > 1e4 * rows.std(0)).any():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*mean more than 10,000 times its spread", UserWarning)
        yield

"""Initialisation from data, for a custom training loop."""

from typing import Any, TypeVar

import numpy as np

from pushforward.core.dequantised import Dequantised
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.core.mixture import AbstractMixture
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.data import column_names, dequantise_rows
from pushforward.train.prepare import rows_of
from pushforward.train.ranges import check_range
from pushforward.train.units import initialise_flow

AnyFlow = TypeVar("AnyFlow", bound=AbstractDistribution)


def initialise(flow: AnyFlow, x: Any, *, context: Any = None) -> AnyFlow:
    """The flow with its data-dependent layers filled from samples, as `fit` does before its first step.

    It fills `Standardise`, the standardisation of the context and `ActivationNormalisation`; a layer that is filled
    already stays as it is. A custom training loop calls it once before the first step, `refresh` after each step,
    and `finalise` after the last.

    Args:
        flow: a `Flow`, a `Dequantised` flow for integers, or a `Mixture` or an `Ensemble`, whose flows are all filled
            from the same samples.
        x: (n, *shape), as for `fit`.
        context: (n, *context_shape) for a conditional flow.

    Raises:
        TypeError: if `flow` is none of these.
        DataError, ShapeError: if the samples do not fit the flow.
        ValueError: if there are fewer than 2 rows, or a layer cannot be filled from them.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
        >>> flow = pf.initialise(pf.nice(dim=2, n_layers=2, width=8, key=0), x)
        >>> print(np.abs(flow.layers[-1].mean - 3) < 0.5)
        [ True True]
    """
    model: Any = flow
    if not isinstance(model, Flow | Dequantised | AbstractMixture):
        raise TypeError(
            "flow: expected a Flow, a Dequantised flow, or a Mixture or an Ensemble of them, got "
            f"{type(flow).__name__}."
        )
    rows = rows_of(flow, "x", x, "context", context, None)
    if len(rows) < 2:
        raise ValueError(f"x: expected at least 2 rows, got {len(rows)} (1 sample has no spread).")
    single = float_type(flatten(flow)[0]) == np.float32
    check_range("x", rows.x, column_names(x), single)
    if rows.context is not None:
        check_range("context", rows.context, column_names(context), single)
    return initialise_flow(flow, dequantise_rows(flow, rows, np.random.default_rng(0)))

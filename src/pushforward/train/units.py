"""Training happens in standardised units: filled from the data, taken out of the flow for training, put back after."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import LinearRegression, Whiten
from pushforward.core.chain import Chain
from pushforward.core.circles import circular_coordinates
from pushforward.core.dequantised import Dequantised
from pushforward.core.flow import Flow
from pushforward.core.standardise import Standardise
from pushforward.core.state import initialise
from pushforward.numerics.moments import compress
from pushforward.train.data import Rows, spline_bounds

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)


def initialised(flow: AnyFlow, train: Rows) -> AnyFlow:
    """The flow with everything that starts from data started, its context's standardisation included."""
    if isinstance(flow, Dequantised):
        started = initialised(flow.flow, train) if isinstance(flow.flow, Flow) else flow.flow
        return eqx.tree_at(lambda d: d.flow, flow, started)
    if flow.context_scaling is not None and train.context is not None:
        flow = eqx.tree_at(lambda f: f.context_scaling, flow, flow.context_scaling.initialised(train.context))
    context = context_rows(flow, train.context)
    outer, bounds = outer_standardise(flow), spline_bounds(flow)
    if outer is not None:  # into the box of the narrowest spline, with a tenth to spare
        reach, whiten = 0.9 * min(bounds) if bounds else None, whitening_layer(flow)
        circular = circular_coordinates(flow.bijection)
        outer = outer.initialised(train.x, reach=None if whiten else reach, circular=circular)
        flow = eqx.tree_at(outer_standardise, flow, outer)
        if whiten is not None:
            rows = (train.x - np.asarray(outer.mean)) / np.asarray(outer.scale)
            whiten = whiten.initialised(rows, reach=reach, weights=train.weights)
            flow = eqx.tree_at(whitening_layer, flow, whiten)
    return eqx.tree_at(lambda f: f.bijection, flow, initialise(flow.bijection, train.x, context))


def standardised(flow: AnyFlow, train: Rows, held: Rows | None) -> tuple[AnyFlow, Rows, Rows | None, float]:
    """The flow and the rows in standardised units, and the nats to add for the data's own.

    The layers stay in the tree with the identity's moments, so the programs compiled here serve the fitted flow too.
    Whole numbers stay what they are.
    """
    if isinstance(flow, Dequantised):
        return flow, train, held, 0.0
    outer, offset = outer_standardise(flow), 0.0
    if outer is not None:
        offset -= float(np.log(np.asarray(outer.scale)).sum())
    if (whiten := _fixed_whiten(flow)) is not None:
        offset -= float(np.log(np.diagonal(np.asarray(whiten.factor))).sum())
    return _with_moments(flow, None), _in_units(flow, train), held and _in_units(flow, held), offset


def _in_units(flow: Flow, rows: Rows) -> Rows:
    """The rows behind the fixed layers outside: standardised, less the regression on the context, white."""
    x, context, outer, scaling = rows.x, rows.context, outer_standardise(flow), flow.context_scaling
    if outer is not None:
        x = (x - np.asarray(outer.mean)) / np.asarray(outer.scale)
    if scaling is not None and context is not None:
        context = (context - np.asarray(scaling.mean)) / np.asarray(scaling.scale)
    if _fixed_whiten(flow) is not None:
        x = whitened(flow, x, context_rows(flow, rows.context))
    return Rows(x, context, rows.weights)


def scores_in_units(flow: AnyFlow, rows: Rows) -> np.ndarray:
    """Log-densities (n,) in the data's units, of rows that take the units of training in float64."""
    inner, rows, _, added = standardised(flow, rows, None)
    return np.asarray(inner.log_prob(rows.x, rows.context), np.float64) + added


def restandardised(flow: AnyFlow, like: AnyFlow) -> AnyFlow:
    """The flow with the outer standardisations of `like`."""
    if isinstance(flow, Dequantised):
        return flow
    return _with_moments(flow, like)


def context_rows(flow: Flow, context: np.ndarray | None) -> np.ndarray | None:
    """Contexts as the layers see them: standardised, then embedded."""
    if flow.context_scaling is not None and context is not None:
        context = (context - np.asarray(flow.context_scaling.mean)) / np.asarray(flow.context_scaling.scale)
        if flow.context_scaling.compress:
            context = compress(context, np)[0]
    if flow.embed is not None:
        context = np.asarray(jax.vmap(flow.embed)(jnp.asarray(context)))
    return context


def whitened(flow: Flow, rows: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    """Standardised rows as the layers behind `Whiten` see them; as they are where there is none."""
    whiten, regression = whitening_layer(flow), regression_layer(flow)
    if regression is not None and context is not None:
        rows = rows - context @ np.asarray(regression.coefficients).T
    if whiten is None:
        return rows
    return np.linalg.solve(np.asarray(whiten.factor), (rows - np.asarray(whiten.mean)).T).T


def whitening_layer(flow: Any) -> Whiten | None:
    """The `Whiten` next to the outermost layer of a flow, a `LinearRegression` aside, where there is one."""
    layers = [layer for layer in _layers(flow)[:-1] if not isinstance(layer, LinearRegression)]
    return layers[-1] if layers and isinstance(layers[-1], Whiten) else None


def regression_layer(flow: Any) -> LinearRegression | None:
    """The `LinearRegression` next to the outermost layer of a flow, where there is one."""
    layers = _layers(flow)
    return layers[-2] if len(layers) > 1 and isinstance(layers[-2], LinearRegression) else None


def outer_standardise(flow: Any) -> Standardise | None:
    """The outermost layer of a flow where that is a `Standardise`."""
    chain = flow.bijection
    last = chain.bijections[-1] if isinstance(chain, Chain) else chain
    return last if isinstance(last, Standardise) else None


def _layers(flow: Any) -> tuple[Any, ...]:
    return flow.bijection.bijections if isinstance(flow.bijection, Chain) else (flow.bijection,)


def _fixed_whiten(flow: Any) -> Whiten | None:
    """The `Whiten` that training leaves out; where a network embeds the context, none: what it sees changes."""
    return whitening_layer(flow) if flow.embed is None else None


def _fixed_regression(flow: Any) -> LinearRegression | None:
    return regression_layer(flow) if flow.embed is None else None


def _without_moments(layer: Any) -> Any:
    """The layer as the identity, and filled."""
    if isinstance(layer, Standardise):
        return eqx.tree_at(lambda s: (s.mean, s.scale), layer, (np.zeros(layer.shape), np.ones(layer.shape)))
    if isinstance(layer, Whiten):
        dim = layer.shape[0]
        return eqx.tree_at(lambda w: (w.mean, w.factor), layer, (np.zeros(dim), np.eye(dim)))
    return eqx.tree_at(lambda r: r.coefficients, layer, np.zeros_like(np.asarray(layer.coefficients)))


def _with_moments(flow: Any, like: Any) -> Any:
    for where in (outer_standardise, _fixed_whiten, _fixed_regression, lambda f: f.context_scaling):
        layer = where(flow)
        if layer is not None:
            flow = eqx.tree_at(where, flow, _without_moments(layer) if like is None else where(like))
    return flow

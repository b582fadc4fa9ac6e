"""Training happens in standardised units: filled from the data, taken out of the flow for training, put back after."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import Whiten
from pushforward.circles import circular_coordinates
from pushforward.compose import Chain, Standardise
from pushforward.dequantise import Dequantised
from pushforward.flow import Flow
from pushforward.moments import compressed
from pushforward.state import initialise
from pushforward.train.data import Rows, spline_bounds

AnyFlow = TypeVar("AnyFlow", Flow, Dequantised)


def initialised(flow: AnyFlow, train: Rows) -> AnyFlow:
    """The flow with everything that starts from data started, its context's standardisation included."""
    if isinstance(flow, Dequantised):
        started = initialised(flow.flow, train) if isinstance(flow.flow, Flow) else flow.flow
        return eqx.tree_at(lambda d: d.flow, flow, started)
    scaling, context = flow.context_scaling, train.context
    if scaling is not None and context is not None:
        scaling = scaling.initialised(context)
        context = (context - np.asarray(scaling.mean)) / np.asarray(scaling.scale)
        if scaling.compress:
            context = np.asarray(compressed(jnp.asarray(context))[0])
    if flow.embed is not None:
        context = np.asarray(jax.vmap(flow.embed)(jnp.asarray(context)))
    flow = eqx.tree_at(lambda f: f.context_scaling, flow, scaling, is_leaf=lambda leaf: leaf is None)
    outer, bounds = outer_standardise(flow), spline_bounds(flow)
    if outer is not None:  # into the box of the narrowest spline, with a tenth to spare
        reach, whiten = 0.9 * min(bounds) if bounds else None, _whiten(flow)
        circular = circular_coordinates(flow.bijection)
        if whiten is None or not bounds:
            flow = eqx.tree_at(outer_standardise, flow, outer.initialised(train.x, reach=reach, circular=circular))
        else:
            outer = outer.initialised(train.x, circular=circular)
            rows = (train.x - np.asarray(outer.mean)) / np.asarray(outer.scale)
            flow = eqx.tree_at(outer_standardise, flow, outer)
            flow = eqx.tree_at(_whiten, flow, whiten.initialised(rows, reach=reach))
    return eqx.tree_at(lambda f: f.bijection, flow, initialise(flow.bijection, train.x, context))


def standardised(flow: AnyFlow, train: Rows, held: Rows | None) -> tuple[AnyFlow, Rows, Rows | None, float]:
    """The flow and the rows in standardised units, and the nats to add for the data's own.

    The layers stay in the tree with the identity's moments, so the programs compiled here serve the fitted flow too.
    Whole numbers stay what they are.
    """
    if isinstance(flow, Dequantised):
        return flow, train, held, 0.0
    offset = 0.0
    for layer, field in ((outer_standardise(flow), "x"), (flow.context_scaling, "context")):
        if layer is None:
            continue
        mean, scale = np.asarray(layer.mean), np.asarray(layer.scale)
        train, held = (
            rows and Rows(**{**vars(rows), field: (getattr(rows, field) - mean) / scale}) for rows in (train, held)
        )
        offset -= float(np.log(scale).sum()) if field == "x" else 0.0
    return _with_moments(flow, None), train, held, offset


def restandardised(flow: AnyFlow, like: AnyFlow) -> AnyFlow:
    """The flow with the outer standardisations of `like`."""
    if isinstance(flow, Dequantised):
        return flow
    return _with_moments(flow, like)


def whitened(flow: Flow, rows: np.ndarray) -> np.ndarray:
    """Standardised rows as the layers behind `Whiten` see them; as they are where there is none."""
    whiten = _whiten(flow)
    if whiten is None:
        return rows
    return np.linalg.solve(np.asarray(whiten.factor), (rows - np.asarray(whiten.mean)).T).T


def _whiten(flow: Any) -> Whiten | None:
    chain = flow.bijection
    layers = chain.bijections if isinstance(chain, Chain) else ()
    return layers[-2] if len(layers) > 1 and isinstance(layers[-2], Whiten) else None


def outer_standardise(flow: Any) -> Standardise | None:
    """The outermost layer of a flow where that is a `Standardise`."""
    chain = flow.bijection
    last = chain.bijections[-1] if isinstance(chain, Chain) else chain
    return last if isinstance(last, Standardise) else None


def _with_moments(flow: Any, like: Any) -> Any:
    for where in (outer_standardise, lambda f: f.context_scaling):
        layer = where(flow)
        if layer is None:
            continue
        if like is None:
            new = eqx.tree_at(lambda s: (s.mean, s.scale), layer, (np.zeros(layer.shape), np.ones(layer.shape)))
        else:
            new = where(like)
        flow = eqx.tree_at(where, flow, new)
    return flow

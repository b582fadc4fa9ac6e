"""Standardised units of training: filled from the data, removed from the flow for training, restored afterwards."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import LinearRegression, MarginalGaussianization, Whiten
from pushforward.core.chain import layers_of
from pushforward.core.circles import circular_coordinates
from pushforward.core.dequantised import Dequantised
from pushforward.core.ensemble import Ensemble
from pushforward.core.flow import Flow
from pushforward.core.mixture import AbstractMixture
from pushforward.core.standardise import Standardise
from pushforward.core.state import initialise_layers
from pushforward.numerics.moments import compress
from pushforward.train.data import Rows, reach_in_box


def initialise_flow(flow: Any, train: Rows) -> Any:
    """The flow, its layers that depend on data and its context's standardisation initialised from the training rows.

    Each component of a `Mixture` and each member of an `Ensemble` is initialised from all rows.
    """
    if isinstance(flow, Dequantised):
        return eqx.tree_at(lambda d: d.flow, flow, initialise_flow(flow.flow, train))
    if isinstance(flow, AbstractMixture):
        return flow.with_parts([initialise_flow(part, train) for part in flow.parts])
    if not isinstance(flow, Flow):
        return flow
    if flow.context_scaling is not None and train.context is not None:
        flow = eqx.tree_at(lambda f: f.context_scaling, flow, flow.context_scaling.initialised(train.context))
    context = context_rows(flow, train.context)
    outer, whiten, reach = outer_standardise(flow), whitening_layer(flow), reach_in_box(flow)
    if outer is not None:
        circular = circular_coordinates(flow.bijection)
        outer = outer.initialised(train.x, reach=None if whiten else reach, circular=circular)
        flow = eqx.tree_at(outer_standardise, flow, outer)
        if whiten is not None:
            whiten = whiten.initialised(standard_samples(flow, train.x), reach=reach, weights=train.weights)
            flow = eqx.tree_at(whitening_layer, flow, whiten)
    return eqx.tree_at(lambda f: f.bijection, flow, initialise_layers(flow.bijection, train.x, context))


def flows_in(model: Any) -> list[Flow]:
    """The flows whose densities of the rows a model combines: itself, those of a mixture, those of an ensemble.

    Empty where a part has no outermost `Standardise`, so that there are no units to remove.
    """
    if isinstance(model, AbstractMixture):
        parts = [flows_in(part) for part in model.parts]
        return [flow for part in parts for flow in part] if all(parts) else []
    return [model] if isinstance(model, Flow) and outer_standardise(model) is not None else []


def _with_flows(model: Any, flows: Iterator[Flow]) -> Any:
    """The model with other flows in the order of `flows_in`."""
    if isinstance(model, AbstractMixture):
        return model.with_parts([_with_flows(part, flows) for part in model.parts])
    return next(flows)


class Standardised(NamedTuple):
    """A flow and rows in the units of training, and what to add to the log-densities of each for the data's units.

    Attributes:
        flow, train, validation: in these units; `validation` is None without such rows.
        log_dets, validation_log_dets: nats to add, (n,) and (m,).
    """

    flow: Any
    train: Rows
    validation: Rows | None
    log_dets: np.ndarray
    validation_log_dets: np.ndarray


def standardise(flow: Any, train: Rows, validation: Rows | None) -> Standardised:
    """The flow and the rows in standardised units.

    The layers stay in the tree with the identity's moments, so one compiled program also serves the fitted flow.
    Integers are not standardised. Flows that a model combines may have unequal moments, if they were filled from other
    rows: the rows are then in the units of the first, and the others have the moments that remain.
    """
    flows = [flow] if isinstance(flow, Flow) else flows_in(flow)
    if not flows:
        return _standardised(flow, train, validation, lambda rows: (rows, np.zeros(len(rows))))
    first: Any = flows[0]
    if not all(have_equal_moments(first, other) for other in flows[1:]):
        return _in_units_of_first(flow, flows, train, validation)
    flow = _with_flows(flow, iter([_with_moments(part, None) for part in flows]))
    return _standardised(flow, train, validation, lambda rows: _in_units(first, rows))


def _standardised(
    flow: Any, train: Rows, validation: Rows | None, in_units: Callable[[Rows], tuple[Rows, np.ndarray]]
) -> Standardised:
    rows, log_dets = in_units(train)
    others, other_log_dets = (None, np.zeros(0)) if validation is None else in_units(validation)
    return Standardised(flow, rows, others, log_dets, other_log_dets)


def have_equal_moments(left: Any, right: Any) -> bool:
    """Whether the layers that training removes are equal in two flows."""
    return all(bool(eqx.tree_equal(where(left), where(right))) for where in _MOMENTS)


def _in_units_of_first(flow: Any, flows: list[Flow], train: Rows, validation: Rows | None) -> Standardised:
    """As `standardise`, for flows of unequal moments; only `Standardise` layers and context scalings are removed."""
    first, relative = flows[0], []
    for part in flows:
        for where in (outer_standardise, lambda f: f.context_scaling):
            layer, unit = where(part), where(first)
            if layer is not None and unit is not None:
                moments = (layer.mean - unit.mean) / unit.scale, layer.scale / unit.scale
                part = eqx.tree_at(where, part, eqx.tree_at(lambda s: (s.mean, s.scale), layer, moments))
        relative.append(part)

    outer: Any = outer_standardise(first)
    offset = -float(np.log(np.asarray(outer.scale)).sum())

    def in_units(rows: Rows) -> tuple[Rows, np.ndarray]:
        inner = Rows(standard_samples(first, rows.x), _standard_contexts(first, rows.context), rows.weights)
        return inner, np.full(len(rows), offset)

    return _standardised(_with_flows(flow, iter(relative)), train, validation, in_units)


def _in_units(flow: Flow, rows: Rows) -> tuple[Rows, np.ndarray]:
    """The rows after the fixed outer layers, and the log-determinants (n,) of these.

    They are standardised, then Gaussianized column by column, or whitened after the regression on the context.
    """
    x, outer, log_dets = standard_samples(flow, rows.x), outer_standardise(flow), np.zeros(len(rows))
    if outer is not None:
        log_dets -= float(np.log(np.asarray(outer.scale)).sum())
    if (marginal := marginal_layer(flow)) is not None:
        x, marginal_log_dets = marginal.to_normal(x)
        log_dets += marginal_log_dets
    if (whiten := _fixed_whiten(flow)) is not None:
        x = whiten_rows(flow, x, context_rows(flow, rows.context))
        log_dets -= float(np.log(np.diagonal(np.asarray(whiten.factor))).sum())
    return Rows(x, _standard_contexts(flow, rows.context), rows.weights), log_dets


def log_probs_in_units(flow: Any, rows: Rows) -> np.ndarray:
    """Log-densities (n,) in the data's units; the rows are standardised in float64."""
    inner, rows, _, log_dets, _ = standardise(flow, rows, None)
    if isinstance(inner, Ensemble):  # the program that training has compiled
        return log_mean_exp(np.asarray(inner.log_probs(rows.x, rows.context), np.float64)) + log_dets
    return np.asarray(inner.log_prob(rows.x, rows.context), np.float64) + log_dets


def log_mean_exp(log_probs: np.ndarray) -> np.ndarray:
    """The log-densities (n,) of the mixture with equal weights of log-densities (k, n)."""
    with np.errstate(invalid="ignore"):  # NaN where a member has no density
        return np.logaddexp.reduce(log_probs, 0) - np.log(len(log_probs))


def restore_units(flow: Any, like: Any) -> Any:
    """The flow with the outer standardisations of `like`."""
    if isinstance(flow, Flow):
        return _with_moments(flow, like)
    flows, originals = flows_in(flow), flows_in(like)
    if not flows:
        return flow
    return _with_flows(flow, iter([_with_moments(*pair) for pair in zip(flows, originals, strict=True)]))


def standard_samples(flow: Any, x: np.ndarray) -> np.ndarray:
    """Samples after the outermost layer of a flow, if that is a `Standardise`."""
    outer = outer_standardise(flow)
    return x if outer is None else (x - np.asarray(outer.mean)) / np.asarray(outer.scale)


def _standard_contexts(flow: Flow, context: np.ndarray | None) -> np.ndarray | None:
    scaling = flow.context_scaling
    if scaling is None or context is None:
        return context
    return (context - np.asarray(scaling.mean)) / np.asarray(scaling.scale)


def context_rows(flow: Flow, context: np.ndarray | None) -> np.ndarray | None:
    """Contexts as inputs of the layers: standardised, then embedded."""
    context = _standard_contexts(flow, context)
    if flow.context_scaling is not None and context is not None and flow.context_scaling.compress:
        context = compress(context, np)[0]
    if flow.embed is not None:
        context = np.asarray(jax.vmap(flow.embed)(jnp.asarray(context)))
    return context


def whiten_rows(flow: Flow, rows: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    """Standardised rows after `Whiten`; unchanged where there is none."""
    whiten, regression = whitening_layer(flow), regression_layer(flow)
    if regression is not None and context is not None:
        rows = rows - context @ np.asarray(regression.coefficients).T
    if whiten is None:
        return rows
    return np.linalg.solve(np.asarray(whiten.factor), (rows - np.asarray(whiten.mean)).T).T


def whitening_layer(flow: Any) -> Whiten | None:
    """The `Whiten` next to the outermost layer of a flow (a `LinearRegression` may be between), or None."""
    layers = [layer for layer in layers_of(flow.bijection)[:-1] if not isinstance(layer, LinearRegression)]
    return layers[-1] if layers and isinstance(layers[-1], Whiten) else None


def marginal_layer(flow: Any) -> MarginalGaussianization | None:
    """The `MarginalGaussianization` next to the outermost layer of a flow, or None."""
    layers = layers_of(flow.bijection)
    return layers[-2] if len(layers) > 1 and isinstance(layers[-2], MarginalGaussianization) else None


def regression_layer(flow: Any) -> LinearRegression | None:
    """The `LinearRegression` next to the outermost layer of a flow, or None."""
    layers = layers_of(flow.bijection)
    return layers[-2] if len(layers) > 1 and isinstance(layers[-2], LinearRegression) else None


def outer_standardise(flow: Any) -> Standardise | None:
    """The outermost layer of a flow if it is a `Standardise`, else None."""
    last = layers_of(flow.bijection)[-1]
    return last if isinstance(last, Standardise) else None


def _fixed_whiten(flow: Any) -> Whiten | None:
    """The `Whiten` that is fixed in training; None where a trained network embeds the context."""
    return whitening_layer(flow) if flow.embed is None else None


def _fixed_regression(flow: Any) -> LinearRegression | None:
    return regression_layer(flow) if flow.embed is None else None


_MOMENTS = (outer_standardise, marginal_layer, _fixed_whiten, _fixed_regression, lambda f: f.context_scaling)


def _without_moments(layer: Any) -> Any:
    """The layer as the identity, and filled."""
    if isinstance(layer, Standardise):
        return eqx.tree_at(lambda s: (s.mean, s.scale), layer, (np.zeros(layer.shape), np.ones(layer.shape)))
    if isinstance(layer, MarginalGaussianization):
        knots = np.tile([-1.0, 1.0], (layer.shape[0], 1))
        return eqx.tree_at(lambda m: (m.x_knots, m.z_knots), layer, (knots, knots.copy()))
    if isinstance(layer, Whiten):
        dim = layer.shape[0]
        return eqx.tree_at(lambda w: (w.mean, w.factor), layer, (np.zeros(dim), np.eye(dim)))
    return eqx.tree_at(lambda r: r.coefficients, layer, np.zeros_like(np.asarray(layer.coefficients)))


def _with_moments(flow: Any, like: Any) -> Any:
    for where in _MOMENTS:
        layer = where(flow)
        if layer is not None:
            flow = eqx.tree_at(where, flow, _without_moments(layer) if like is None else where(like))
    return flow

"""Where training starts: at independent columns, at the full Gaussian of the rows, or at a mixture of normals.

A flow learns correlations and clusters by gradient steps, and may end below the Gaussian or the mixture that a formula
or a few iterations give. So strong correlations, with each other and with the context, go into fixed layers
(`LinearRegression`, `Whiten`) before training; a flow that ended below its baselines is trained again from a mixture
of normals as its base; and one that is not clearly likelier than them gives way to them: among models that validation
cannot tell apart, the simplest (the rule of one standard error, Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).
"""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np

from pushforward.bases import Mixture, MultivariateNormal, Normal
from pushforward.bases.expectation_maximisation import NormalMixture, fit_normal_mixture, refit_normal_mixture
from pushforward.bijections import LinearRegression, Whiten
from pushforward.bijections.linear.regression import clip_context
from pushforward.core.chain import Chain
from pushforward.core.circles import circular_coordinates
from pushforward.core.flow import Flow
from pushforward.numerics.moments import CONTEXT_LIMIT, standard_error
from pushforward.train.data import Rows, spline_bounds
from pushforward.train.units import context_rows, outer_standardise, whitened, whitening_layer

_DETERMINED = 0.1  # share of a column's variance that the others and the context leave, below which it is determined
_LARGEST_DIM = 128  # of an event whose correlations are looked at
_FEWEST_GROUPS = 5  # from which their differences are judged
_ROWS_FOR_SIZE = 5_000  # from which the size of a mixture is chosen
_ROWS_OF_MIXTURE = 50_000  # that it is fitted to
_MIN_SCALE = 1e-8  # below the floor of expectation-maximisation
_NEGLIGIBLE = 0.01  # nats a row
_COPIES = 0.05  # share of a column's values that repeat, from which likelihoods of narrow components mean nothing


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Classical densities of the validation rows.

    Attributes:
        gaussian: log-densities (n,) under a full Gaussian, linear in the context, in the data's units.
        mixture: those under a mixture of normals, its size by the BIC; None where there is none: with a context, and
            where values of a column repeat, for then a narrow component has no bound.
        fitted: the better of the two, of rows behind `Standardise` and `Whiten`: the coordinates of the base where the
            other layers start as the identity. None with a context.
    """

    gaussian: np.ndarray
    mixture: np.ndarray | None
    fitted: NormalMixture | None

    def better(self, rows: Rows) -> np.ndarray:
        """Log-densities (n,) of the better of the two, of the rows they were made of."""
        if self.mixture is None or _mean(self.mixture, rows) <= _mean(self.gaussian, rows):
            return self.gaussian
        return self.mixture


def may_start_jointly(flow: Any) -> bool:
    """Whether `fit` may choose the start of this flow: the recipe allows it and its base is the standard normal law."""
    if not isinstance(flow, Flow) or flow.embed is not None or not isinstance(flow.base, Normal):
        return False
    outer = outer_standardise(flow)
    is_vector = (
        len(flow.shape) == 1 and flow.shape[0] <= _LARGEST_DIM and not circular_coordinates(flow.bijection).any()
    )
    is_standard = bool((np.asarray(flow.base.loc) == 0).all() and (np.asarray(flow.base.scale) == 1).all())
    return is_vector and is_standard and outer is not None and outer.joint_start and isinstance(flow.bijection, Chain)


def whitened_start(flow: Flow, train: Rows, validation: Rows | None) -> Flow:
    """The flow behind `LinearRegression` and `Whiten` where a column is determined by the others, else as it is.

    A column is determined where the others and the context leave less than a tenth of its variance. The full Gaussian
    must then also be likelier than independent columns, on the validation rows by more than a standard error; without
    such rows the training rows decide.

    Args:
        flow: whose `Standardise` is filled and which has no `Whiten` yet.
        train, validation: rows in the data's units.
    """
    if whitening_layer(flow) is not None:
        return flow
    x, context = _standard(flow, train)
    regression, whiten = _joint_layers(x, context, train.weights)
    factor = np.asarray(whiten.factor)
    mean = np.average(x, 0, train.weights)
    deviation = np.sqrt(np.average(np.square(x - mean), 0, train.weights))
    left = 1 / np.diag(np.linalg.inv(factor @ factor.T)) / np.maximum(deviation**2, 1e-300)
    if not left.min() < _DETERMINED:
        return flow
    rows = train if validation is None else validation
    held, held_context = _standard(flow, rows)
    alone = Whiten(len(factor)).filled(mean, np.diag(deviation))
    gain = _gaussian_scores(regression, whiten, held, held_context) - _gaussian_scores(None, alone, held, None)
    if not _mean(gain, rows) > _error(gain, rows):
        return flow
    bounds = spline_bounds(flow)
    if bounds:
        regression, whiten = _joint_layers(x, context, train.weights, reach=0.9 * min(bounds))
    return with_layers(flow, regression, whiten)


def with_layers(flow: Flow, regression: LinearRegression | None, whiten: Whiten) -> Flow:
    """The flow with these layers in front of its `Standardise`; `Whiten` is scaled into the box of its splines."""
    chain: Any = flow.bijection
    *layers, outer = chain.bijections
    while layers and isinstance(layers[-1], LinearRegression | Whiten):
        layers.pop()
    between = [whiten] if regression is None else [whiten, regression]
    return eqx.tree_at(lambda f: f.bijection, flow, Chain([*layers, *between, outer]))


def baselines(flow: Flow, train: Rows, validation: Rows, seed: int, replicates: int = 1) -> Baselines:
    """Gaussian and mixture of the training rows, scored on the validation rows; all rows in the data's units.

    Args:
        flow: as training started it, its fixed layers filled.
        train, validation: rows.
        seed: of the mixture.
        replicates: how many rows are one, with noise of its own in each: the BIC counts them as one.
    """
    outer: Any = outer_standardise(flow)
    log_scale = float(np.log(np.asarray(outer.scale)).sum())
    x, context = _standard(flow, train)
    held, held_context = _standard(flow, validation)
    if context is not None:
        regression, whiten = _joint_layers(x, context, train.weights)
        return Baselines(_gaussian_scores(regression, whiten, held, held_context) - log_scale, None, None)
    if (layer := whitening_layer(flow)) is not None:
        log_scale += float(np.log(np.diag(np.asarray(layer.factor))).sum())
    x, held = whitened(flow, x), whitened(flow, held)
    one = fit_normal_mixture(x, train.weights, sizes=(1,), seed=seed)
    gaussian = one.log_prob(held) - log_scale
    if _repeats(train.x[::replicates]):
        return Baselines(gaussian, None, one)
    several = fit_normal_mixture(*_some(x, train.weights, _ROWS_FOR_SIZE), seed=seed, replicates=replicates)
    if len(x) > _ROWS_FOR_SIZE:
        several = refit_normal_mixture(several, *_some(x, train.weights, _ROWS_OF_MIXTURE))
    mixture = several.log_prob(held) - log_scale
    is_better = _mean(mixture, validation) > _mean(gaussian, validation)
    return Baselines(gaussian, mixture, several if is_better else one)


def baseline_start(flow: Flow, train: Rows, found: Baselines) -> Flow:
    """The flow that starts at the better of the baselines: behind a linear Gaussian, or over a mixture of normals.

    Args:
        flow: as training started it.
        train: rows in the data's units.
        found: what `baselines` made of them.
    """
    fitted = found.fitted
    if fitted is None:
        x, context = _standard(flow, train)
        bounds = spline_bounds(flow)
        reach = 0.9 * min(bounds) if bounds else None
        flow = with_layers(flow, *_joint_layers(x, context, train.weights, reach=reach))
        if reach is None:
            return flow
        fitted = fit_normal_mixture(whitened(flow, x, context), train.weights, sizes=(1,))  # as wide as the box wants
    components = [
        MultivariateNormal(flow.shape[0], loc=loc, covariance=covariance, min_scale=_MIN_SCALE)
        for loc, covariance in zip(fitted.means, fitted.covariances, strict=True)
    ]
    base = components[0] if len(components) == 1 else Mixture(components, weights=fitted.weights)
    return eqx.tree_at(lambda f: f.base, flow, base)


def baseline_of(flow: Flow, rows: Rows, found: Baselines) -> Flow:
    """The flow at the better of the baselines, fitted again to these rows: for a flow that training did not improve.

    Args:
        flow: as training started it.
        rows: training and validation rows, in the data's units.
        found: what `baselines` made of the training rows.
    """
    if found.fitted is not None:
        few = _some(whitened(flow, _standard(flow, rows)[0]), rows.weights, _ROWS_OF_MIXTURE)
        found = dataclasses.replace(found, fitted=refit_normal_mixture(found.fitted, *few))
    return baseline_start(flow, rows, found)


def falls_short(scores: np.ndarray, found: Baselines, rows: Rows) -> bool:
    """Whether log-densities (n,) of the validation rows are below the better baseline's by more than a standard error.

    Less than a hundredth of a nat is nothing: it is what float32 and an average of the weights make of equal densities.
    """
    loss = found.better(rows) - scores
    if not np.isfinite(loss).all():  # rows of density zero, which a Gaussian never has
        return True
    return _mean(loss, rows) > max(_error(loss, rows), _NEGLIGIBLE)


def is_likelier(scores: np.ndarray, others: np.ndarray, rows: Rows) -> bool:
    """Whether log-densities (n,) of the validation rows are above others by more than a standard error.

    The best of many epochs is above the baseline it started at by chance alone.
    """
    if not (np.isfinite(scores).all() and np.isfinite(others).all()):
        return bool(np.isfinite(scores).all())
    gain = scores - others
    return _mean(gain, rows) > _error(gain, rows)


def _joint_layers(
    x: np.ndarray, context: np.ndarray | None, weights: np.ndarray | None, *, reach: float | None = None
) -> tuple[LinearRegression | None, Whiten]:
    """Least squares on the context, and the Gaussian of what it leaves, of rows without absurd contexts; no regression
    where rows are few."""
    regression, dim = None, x.shape[1]
    if context is not None:
        inside = (np.abs(context) <= CONTEXT_LIMIT).all(1)
        x, context, weights = x[inside], context[inside], None if weights is None else weights[inside]
    if context is not None and len(x) >= 2 * (context.shape[1] + 1):
        root = np.ones(len(x)) if weights is None else np.sqrt(weights)
        design = np.hstack([np.ones((len(x), 1)), context]) * root[:, None]
        coefficients = np.linalg.lstsq(design, x * root[:, None], rcond=None)[0][1:].T
        regression = LinearRegression(dim, context.shape[1], CONTEXT_LIMIT).filled(coefficients)
        x = x - context @ coefficients.T
    return regression, Whiten(dim).initialised(x, reach=reach, weights=weights)


def _standard(flow: Flow, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows and contexts as the layers behind the outer standardisations see them."""
    outer: Any = outer_standardise(flow)
    return (rows.x - np.asarray(outer.mean)) / np.asarray(outer.scale), context_rows(flow, rows.context)


def _gaussian_scores(
    regression: LinearRegression | None, whiten: Whiten, x: np.ndarray, context: np.ndarray | None
) -> np.ndarray:
    """Log-densities (n,) under the normal law of these layers."""
    if regression is not None and context is not None:
        x = x - clip_context(context, regression.limit, np) @ np.asarray(regression.coefficients).T
    factor = np.asarray(whiten.factor)
    z = np.linalg.solve(factor, (x - np.asarray(whiten.mean)).T)
    return -0.5 * np.square(z).sum(0) - 0.5 * len(z) * np.log(2 * np.pi) - np.log(np.diag(factor)).sum()


def _some(x: np.ndarray, weights: np.ndarray | None, most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """At most so many of the rows with their weights, drawn at random, in their order."""
    if len(x) <= most:
        return x, weights
    few = np.sort(np.random.default_rng(0).permutation(len(x))[:most])
    return x[few], None if weights is None else weights[few]


def _repeats(x: np.ndarray) -> bool:
    """Whether more than a twentieth of the values of a column repeat others."""
    return any(len(np.unique(column)) < (1 - _COPIES) * len(column) for column in x.T)


def _mean(scores: np.ndarray, rows: Rows) -> float:
    return float(np.average(scores, weights=rows.weights))


def _error(scores: np.ndarray, rows: Rows) -> float:
    """Standard error of the weighted mean, infinite of a single row. Rows of one group are not independent, groups are;
    of fewer than five groups, which do not tell how they differ, the rows are taken as independent."""
    groups = rows.groups
    if groups is not None and len(np.unique(groups)) < _FEWEST_GROUPS:
        groups = None
    error = standard_error(scores, groups, rows.weights)
    return np.inf if error is None else error

"""The start of training: independent columns, the full Gaussian of the rows, or a mixture of normals.

A flow learns correlations and clusters by gradient steps, and may end below the Gaussian or the mixture that a formula
or a few iterations give. So strong correlations, with each other and with the context, go into fixed layers
(`LinearRegression`, `Whiten`) before training. A flow that ends below its baselines is trained again, with a mixture of
normals as its base. If a flow is not clearly likelier than a baseline, the baseline is returned: among models that
validation cannot distinguish, the simplest (the rule of one standard error, Breiman, Friedman, Olshen & Stone 1984,
section 3.4.3).
"""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np

from pushforward.bases import Mixture, MultivariateNormal, Normal
from pushforward.bases.expectation_maximisation import NormalMixture, fit_normal_mixture, refit_normal_mixture
from pushforward.bijections import LinearRegression, MarginalGaussianization, Whiten
from pushforward.bijections.linear.regression import clip_context
from pushforward.core.chain import Chain
from pushforward.core.circles import circular_coordinates
from pushforward.core.ensemble import Ensemble, per_member
from pushforward.core.flow import Flow
from pushforward.numerics.moments import CONTEXT_LIMIT, standard_error
from pushforward.train.data import Rows, reach_in_box
from pushforward.train.repeats import has_copies
from pushforward.train.units import (
    context_rows,
    have_equal_moments,
    marginal_layer,
    outer_standardise,
    standard_samples,
    whiten_rows,
    whitening_layer,
)

_DETERMINED = 0.1  # unexplained share of a column's variance below which other columns or the context determine it
_LARGEST_DIM = 128  # of an event for a joint start
_FEWEST_GROUPS = 5  # for a standard error from the differences of groups
_ROWS_FOR_SIZE = 5_000  # most rows for the choice of a mixture's size
_ROWS_OF_MIXTURE = 50_000  # most rows for the fit of a mixture
_MIN_SCALE = 1e-8  # below the smallest scale of expectation-maximisation
_NEGLIGIBLE = 0.01  # nats a row
_MARGINAL_ROWS = 100_000  # fewest rows for histograms of the columns: fewer are over-fitted behind them
_FLOOR = 0.01  # standard deviations of a column: least width of a component where values repeat


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Log-densities of the validation rows under classical models.

    Attributes:
        gaussian: log-densities (n,) under a full Gaussian, linear in the context, in the data's units.
        mixture: log-densities (n,) under a mixture of normals, its size chosen by the BIC; where values of a column
            repeat, components have a least width. None with a context.
        fitted: the better of the two, of rows after `Standardise` and `Whiten`: the coordinates of the base, as the
            other layers start as the identity. None with a context.
    """

    gaussian: np.ndarray
    mixture: np.ndarray | None
    fitted: NormalMixture | None

    def better(self, rows: Rows) -> np.ndarray:
        """Log-densities (n,) of the better of the two; `rows` are the validation rows."""
        if self.mixture is None or _mean(self.mixture, rows) <= _mean(self.gaussian, rows):
            return self.gaussian
        return self.mixture


def may_start_jointly(flow: Any) -> bool:
    """Whether `fit` may choose the start: the recipe allows it, and the base is the standard normal distribution.

    The members of an ensemble start alike, and only if all have the same standardisation.
    """
    if isinstance(flow, Ensemble):
        members = list(flow)
        return may_start_jointly(members[0]) and all(have_equal_moments(members[0], other) for other in members[1:])
    if not isinstance(flow, Flow) or flow.embed is not None or not isinstance(flow.base, Normal):
        return False
    if marginal_layer(flow) is not None:  # an earlier fit has chosen
        return False
    outer = outer_standardise(flow)
    is_vector = (
        len(flow.shape) == 1 and flow.shape[0] <= _LARGEST_DIM and not circular_coordinates(flow.bijection).any()
    )
    is_standard = bool((np.asarray(flow.base.loc) == 0).all() and (np.asarray(flow.base.scale) == 1).all())
    return is_vector and is_standard and outer is not None and outer.joint_start and isinstance(flow.bijection, Chain)


@per_member
def whitened_start(flow: Flow, train: Rows, validation: Rows | None) -> Flow:
    """The flow with `LinearRegression` and `Whiten` if other columns determine a column, else unchanged.

    A column is determined if the others and the context explain more than nine tenths of its variance. The full
    Gaussian must also be likelier than independent columns by more than a standard error, on the validation rows or,
    without such rows, on the training rows.

    Args:
        flow: a flow whose `Standardise` is filled.
        train, validation: rows in the data's units.
    """
    if whitening_layer(flow) is not None:
        return flow
    x, context = _standard(flow, train)
    regression, whiten = _joint_layers(x, context, train.weights)
    factor = np.asarray(whiten.factor)
    mean = np.average(x, 0, train.weights)
    deviation = np.sqrt(np.average(np.square(x - mean), 0, train.weights))
    unexplained = 1 / np.diag(np.linalg.inv(factor @ factor.T)) / np.maximum(deviation**2, 1e-300)
    if not unexplained.min() < _DETERMINED:
        return flow
    rows = train if validation is None else validation
    y, y_context = _standard(flow, rows)
    independent = Whiten(len(factor)).filled(mean, np.diag(deviation))
    gain = _gaussian_log_probs(regression, whiten, y, y_context) - _gaussian_log_probs(None, independent, y, None)
    if not _mean(gain, rows) > _standard_error(gain, rows):
        return flow
    if (reach := reach_in_box(flow)) is not None:
        regression, whiten = _joint_layers(x, context, train.weights, reach=reach)
    return with_joint_layers(flow, regression, whiten)


@per_member
def marginal_start(flow: Flow, train: Rows, validation: Rows | None) -> Flow:
    """The flow with `MarginalGaussianization` if columns are far from normal, else unchanged.

    Histograms of the columns must be likelier than normal distributions by more than a standard error and a hundredth
    of a nat, on the validation rows or, without such rows, on the training rows. Columns whose values repeat have no
    histogram: its bins would narrow to such a value.

    Args:
        flow: a flow whose `Standardise` is filled.
        train, validation: rows in the data's units.
    """
    if len(train) < _MARGINAL_ROWS or whitening_layer(flow) is not None or marginal_layer(flow) is not None:
        return flow
    x, rows = _standard(flow, train)[0], train if validation is None else validation
    y, mean, deviation = _standard(flow, rows)[0], x.mean(0), x.std(0)
    layer = MarginalGaussianization(x.shape[1]).initialised(x)
    images = np.array(layer.z_knots)
    repeats = np.asarray([has_copies(column) for column in train.x.T])
    images[repeats] = ((np.asarray(layer.x_knots) - mean[:, None]) / deviation[:, None])[repeats]
    layer = MarginalGaussianization(x.shape[1]).filled(np.asarray(layer.x_knots), images)
    z, log_dets = layer.to_normal(y)
    normal = (y - mean) / deviation
    gain = log_dets + 0.5 * (np.square(normal) - np.square(z)).sum(1) + np.log(deviation).sum()
    if not _mean(gain, rows) > max(_standard_error(gain, rows), _NEGLIGIBLE):
        return flow
    chain: Any = flow.bijection
    *layers, outer = chain.bijections
    return eqx.tree_at(lambda f: f.bijection, flow, Chain([*layers, layer, outer]))


def with_joint_layers(flow: Flow, regression: LinearRegression | None, whiten: Whiten) -> Flow:
    """The flow with these layers before its `Standardise`; they replace those it has."""
    chain: Any = flow.bijection
    *layers, outer = chain.bijections
    while layers and isinstance(layers[-1], LinearRegression | Whiten):
        layers.pop()
    between = [whiten] if regression is None else [whiten, regression]
    return eqx.tree_at(lambda f: f.bijection, flow, Chain([*layers, *between, outer]))


def baselines(flow: Flow | Ensemble, train: Rows, validation: Rows, seed: int, replicates: int = 1) -> Baselines:
    """Gaussian and mixture fitted to the training rows, evaluated on the validation rows.

    Args:
        flow: before training, its fixed layers filled.
        train, validation: rows in the data's units.
        seed: of the mixture.
        replicates: how many consecutive rows are one row with different noise: the BIC counts them once.
    """
    if isinstance(flow, Ensemble):  # all members have the same fixed layers
        flow = flow[0]
    outer: Any = outer_standardise(flow)
    log_scale = float(np.log(np.asarray(outer.scale)).sum())
    x, context = _standard(flow, train)
    y, y_context = _standard(flow, validation)
    if context is not None:
        regression, whiten = _joint_layers(x, context, train.weights)
        return Baselines(_gaussian_log_probs(regression, whiten, y, y_context) - log_scale, None, None)
    if (layer := whitening_layer(flow)) is not None:
        log_scale += float(np.log(np.diag(np.asarray(layer.factor))).sum())
    x, y = whiten_rows(flow, x), whiten_rows(flow, y)
    one = fit_normal_mixture(x, train.weights, sizes=(1,), seed=seed)
    gaussian = one.log_prob(y) - log_scale
    floor = _floor(flow, train.x[::replicates])
    several = fit_normal_mixture(
        *_subsample(x, train.weights, _ROWS_FOR_SIZE), seed=seed, replicates=replicates, floor=floor
    )
    if len(x) > _ROWS_FOR_SIZE:
        several = refit_normal_mixture(several, *_subsample(x, train.weights, _ROWS_OF_MIXTURE), floor)
    mixture = several.log_prob(y) - log_scale
    is_better = _mean(mixture, validation) > _mean(gaussian, validation)
    return Baselines(gaussian, mixture, several if is_better else one)


def _floor(flow: Flow, rows: np.ndarray) -> np.ndarray | None:
    """The covariance that each component of a mixture has at least, after `Standardise` and `Whiten`; None for none.

    In columns whose values repeat the likelihood of a mixture has no bound, as a component may narrow to a value of
    only two rows. There a component has the width of the usual gap between two values at least, up to a hundredth of a
    standard deviation.
    """
    widths = np.asarray([_gap(column) if has_copies(column) else 0.0 for column in rows.T])
    if not widths.any():
        return None
    floor, whiten = np.diag(np.square(widths)), whitening_layer(flow)
    if whiten is None:
        return floor
    inverse = np.linalg.inv(np.asarray(whiten.factor))
    return inverse @ floor @ inverse.T


def _gap(column: np.ndarray) -> float:
    """The median gap between two different values, in standard deviations, between 1e-4 and 1e-2."""
    values = np.unique(column)
    return float(np.clip(np.median(np.diff(values)) / column.std(), 1e-4, _FLOOR)) if len(values) > 1 else _FLOOR


def baseline_start(flow: Flow, train: Rows, fitted_baselines: Baselines) -> Flow:
    """The flow that starts at the better of the baselines: layers of a linear Gaussian, or a mixture as its base.

    Args:
        flow: before training.
        train: rows in the data's units.
        fitted_baselines: from `baselines`.
    """
    fitted = fitted_baselines.fitted
    if fitted is None:
        x, context = _standard(flow, train)
        reach = reach_in_box(flow)
        flow = with_joint_layers(flow, *_joint_layers(x, context, train.weights, reach=reach))
        if reach is None:
            return flow
        fitted = fit_normal_mixture(whiten_rows(flow, x, context), train.weights, sizes=(1,))  # as wide as the box
    components = [
        MultivariateNormal(flow.shape[0], loc=loc, covariance=covariance, min_scale=_MIN_SCALE)
        for loc, covariance in zip(fitted.means, fitted.covariances, strict=True)
    ]
    base = components[0] if len(components) == 1 else Mixture(components, weights=fitted.weights)
    return eqx.tree_at(lambda f: f.base, flow, base)


def refit_baseline(flow: Flow, rows: Rows, fitted_baselines: Baselines, replicates: int = 1) -> Flow:
    """The flow at the better of the baselines, fitted again to all rows: for a flow that training did not improve.

    Args:
        flow: before training.
        rows: training and validation rows, in the data's units.
        fitted_baselines: from `baselines`, of the training rows.
        replicates: as for `baselines`.
    """
    if fitted_baselines.fitted is not None:
        x, floor = whiten_rows(flow, _standard(flow, rows)[0]), _floor(flow, rows.x[::replicates])
        if len(fitted_baselines.fitted.weights) > 1 and len(x) <= _ROWS_FOR_SIZE:  # its size is chosen anew
            fitted = fit_normal_mixture(x, rows.weights, replicates=replicates, floor=floor)
        else:
            subsample = _subsample(x, rows.weights, _ROWS_OF_MIXTURE)
            fitted = refit_normal_mixture(fitted_baselines.fitted, *subsample, floor)
        fitted_baselines = dataclasses.replace(fitted_baselines, fitted=fitted)
    return baseline_start(flow, rows, fitted_baselines)


def falls_short(log_probs: np.ndarray, fitted_baselines: Baselines, rows: Rows) -> bool:
    """Whether log-densities (n,) of the validation rows are below the better baseline's by more than a standard error.

    Less than a hundredth of a nat is negligible: float32 and an average of the weights change equal densities by that.
    """
    loss = fitted_baselines.better(rows) - log_probs
    if not np.isfinite(loss).all():  # rows of density zero, which a Gaussian never has
        return True
    return _mean(loss, rows) > max(_standard_error(loss, rows), _NEGLIGIBLE)


def is_likelier(log_probs: np.ndarray, others: np.ndarray, rows: Rows) -> bool:
    """Whether log-densities (n,) of the validation rows are above others by more than a standard error.

    The best of many epochs exceeds the baseline it started at by chance alone.
    """
    if not (np.isfinite(log_probs).all() and np.isfinite(others).all()):
        return bool(np.isfinite(log_probs).all())
    gain = log_probs - others
    return _mean(gain, rows) > _standard_error(gain, rows)


def _joint_layers(
    x: np.ndarray, context: np.ndarray | None, weights: np.ndarray | None, *, reach: float | None = None
) -> tuple[LinearRegression | None, Whiten]:
    """Least squares on the context, and the Gaussian of the residuals, from rows without extreme contexts.

    There is no regression where rows are fewer than two to a coefficient.
    """
    regression, dim = None, x.shape[1]
    if context is not None:
        is_sound = (np.abs(context) <= CONTEXT_LIMIT).all(1)
        x, context, weights = x[is_sound], context[is_sound], None if weights is None else weights[is_sound]
    if context is not None and len(x) >= 2 * (context.shape[1] + 1):
        root = np.ones(len(x)) if weights is None else np.sqrt(weights)
        design = np.hstack([np.ones((len(x), 1)), context]) * root[:, None]
        coefficients = np.linalg.lstsq(design, x * root[:, None], rcond=None)[0][1:].T
        regression = LinearRegression(dim, context.shape[1], CONTEXT_LIMIT).filled(coefficients)
        x = x - context @ coefficients.T
    return regression, Whiten(dim).initialised(x, reach=reach, weights=weights)


def _standard(flow: Flow, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows and contexts after the outer standardisations."""
    return standard_samples(flow, rows.x), context_rows(flow, rows.context)


def _gaussian_log_probs(
    regression: LinearRegression | None, whiten: Whiten, x: np.ndarray, context: np.ndarray | None
) -> np.ndarray:
    """Log-densities (n,) under the normal distribution of these layers."""
    if regression is not None and context is not None:
        x = x - clip_context(context, regression.limit, np) @ np.asarray(regression.coefficients).T
    factor = np.asarray(whiten.factor)
    z = np.linalg.solve(factor, (x - np.asarray(whiten.mean)).T)
    return -0.5 * np.square(z).sum(0) - 0.5 * len(z) * np.log(2 * np.pi) - np.log(np.diag(factor)).sum()


def _subsample(x: np.ndarray, weights: np.ndarray | None, most: int) -> tuple[np.ndarray, np.ndarray | None]:
    """At most `most` of the rows with their weights, drawn at random, in their order."""
    if len(x) <= most:
        return x, weights
    index = np.sort(np.random.default_rng(0).permutation(len(x))[:most])
    return x[index], None if weights is None else weights[index]


def _mean(values: np.ndarray, rows: Rows) -> float:
    return float(np.average(values, weights=rows.weights))


def _standard_error(values: np.ndarray, rows: Rows) -> float:
    """Standard error of the weighted mean, infinite for a single row.

    Groups are independent, rows of one group are not; with fewer than five groups, whose variance cannot be estimated,
    the rows are treated as independent.
    """
    groups = rows.groups
    if groups is not None and len(np.unique(groups)) < _FEWEST_GROUPS:
        groups = None
    error = standard_error(values, groups, rows.weights)
    return np.inf if error is None else error

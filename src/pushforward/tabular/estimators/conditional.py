"""The density of targets given rows as an estimator: a regressor that knows the whole conditional distribution."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin  # noqa: TID253
from sklearn.utils.validation import check_consistent_length, check_is_fitted  # noqa: TID253

from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.core.named_rows import NamedRows, to_array
from pushforward.errors import ShapeError
from pushforward.tabular.estimators.fitting import fitted, seed_of, whole_number
from pushforward.tabular.estimators.rows import (
    checked_rows,
    checked_targets,
    common_draws,
    modelled,
    target_names,
    whole,
)
from pushforward.tabular.estimators.summaries import mean_of, quantiles_of

_BLOCK = 2**20  # numbers drawn at a time, 8 MB


class ConditionalFlowDensity(RegressorMixin, BaseEstimator):
    """A conditional flow as a regressor of scikit-learn: models p(y | x) = p_base(T^-1(y; x)) |det dT^-1(y; x)/dy|.

    Where an ordinary regressor gives the mean of y, this one has the distribution: of any shape, of a spread that
    depends on x, of several targets together. `score` is the mean log-density and not R^2, whatever the name of the
    mixin: it judges the whole distribution, and it is what a search over parameters should maximise.

    Args:
        flow: a recipe by name ("nsf", "maf", "real_nvp", ...), or a function called as recipes are.
        columns: what the columns of y hold: None for real numbers; a dictionary such as {"income": "positive", "age":
            "count"} by their names (by their places 0, 1, ... where there are none); or "detect" to look at the values.
            See `pushforward.tabular.schema.infer_schema`. Where a column is rounded, scores are lower bounds of
            log-masses.
        base: "mixture" to start from a mixture of normals fitted by EM, for few rows and many clusters; or None.
        n_draws: samples for each row in `predict` and `predict_quantiles`.
        n_layers, width, depth, whiten, flow_options, batch_size, max_epochs, patience, learning_rate, validation,
            progress, random_state: as for `FlowDensity`.
        noise: as for `FlowDensity`, added to y. For targets that are rounded or take few values.

    Attributes:
        flow_: the fitted `Flow`, whose context is X; `pushforward.save(path, estimator.flow_)` keeps it safely.
        plan_: the `Plan` of the columns, or None where `columns` and `base` are None.
        history_: the `History` of its training, as for `FlowDensity`.
        seed_: what `random_state` gave in `fit`; predictions draw by it.
        n_outputs_: number of targets k.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Cost: `fit` and `log_prob` as for `FlowDensity`; predictions are n_draws forward passes a row.

    Raises:
        ValueError: in `fit`, if a parameter is out of range; DataError (a ValueError) for NaN or infinite values and
            for a constant target. Constant columns of X are no fault.
        sklearn.exceptions.NotFittedError: in every other method before `fit`.
        TrainingDiverged: see `pushforward.fit`. Ctrl-C is passed on, after the best weights so far have been kept.

    Reference: Winkler, Worrall, Hoogeboom & Welling 2019; noise: Rothfuss et al. 2019.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> random = np.random.default_rng(0)
        >>> X = random.normal(size=(500, 1))
        >>> y = X[:, 0] ** 2 + random.normal(size=500)
        >>> model = pf.ConditionalFlowDensity("maf", n_layers=2, width=8, max_epochs=2, random_state=0).fit(X, y)
        >>> model.log_prob(X, y).shape, model.predict(X).shape, model.sample(X[:3], 10, random_state=0).shape
        ((500,), (500,), (3, 10))
        >>> model.predict_quantiles(X[:3], [0.05, 0.5, 0.95]).shape
        (3, 3)
    """

    def __init__(
        self,
        flow: Any = "nsf",
        *,
        columns: Any = None,
        base: Any = None,
        n_draws: Any = 256,
        n_layers: Any = None,
        width: Any = None,
        depth: Any = None,
        whiten: Any = None,
        flow_options: Any = None,
        batch_size: Any = None,
        max_epochs: Any = None,
        patience: Any = None,
        learning_rate: Any = None,
        validation: Any = 0.1,
        noise: Any = 0.0,
        progress: Any = False,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.columns = columns
        self.base = base
        self.n_draws = n_draws
        self.n_layers = n_layers
        self.width = width
        self.depth = depth
        self.whiten = whiten
        self.flow_options = flow_options
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.validation = validation
        self.noise = noise
        self.progress = progress
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        # Says to scikit-learn's checks that `score` need not exceed 0.5, as R^2 would on their data: it is in nats.
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> "ConditionalFlowDensity":
        """Maximise the mean of log p(y | x) over the rows.

        Args:
            X: (n, d) numbers, at least 2 rows: array, list of lists, or frame of pandas or polars.
            y: (n,) or (n, k) numbers.
            groups: (n,) labels, as for `pushforward.fit`: rows with one label are held out together, or not at all.
        """
        x = checked_rows(self, X, reset=True, least=2)
        targets = checked_targets(self, y)
        check_consistent_length(x, targets)
        whole_number("n_draws", self.n_draws)
        seed = seed_of(self.random_state)
        rows = NamedRows(targets.reshape(len(x), -1), target_names(y))
        self.flow_, self.history_, self.plan_ = fitted(self, rows, x, seed, groups)
        self.seed_, self.n_outputs_, self._is_flat = seed, rows.rows.shape[1], targets.ndim == 1
        if self.history_.stop_reason == "interrupted":
            raise KeyboardInterrupt("fit was interrupted; the best weights so far are kept.")
        return self

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """log p(y_i | x_i) of each row in nats, in the units of y.

        Args:
            X: (n, d).
            y: (n,) or (n, k), as in `fit`; (n,) and (n, 1) are the same.

        Returns:
            (n,) float64.
        """
        check_is_fitted(self)
        x, targets = checked_rows(self, X), checked_targets(self, y)
        check_consistent_length(x, targets)
        targets = targets.reshape(len(x), -1)
        if targets.shape[1] != self.n_outputs_:
            raise ShapeError(f"y: expected {self.n_outputs_} targets a row, as in fit, got {targets.shape[1]}.")
        return np.array(log_prob_float64(self.flow_, modelled(self.plan_, targets, "y"), x))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean of log p(y_i | x_i) in nats, weighted if you like; not R^2.

        Args:
            X: (n, d).
            y: (n,) or (n, k).
            sample_weight: (n,) non-negative numbers with a positive sum, or None.
        """
        scores = self.log_prob(X, y)
        if sample_weight is None:
            return float(scores.mean())
        weights = np.asarray(to_array(sample_weight), np.float64)
        if weights.shape != scores.shape or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ValueError(
                f"sample_weight: expected {len(scores)} non-negative numbers with a positive sum, one a row, got "
                f"{_weights_fault(weights, scores.shape)}. Correct them, or pass None."
            )
        return float(np.average(scores, weights=weights))

    def sample(self, X: Any, n_samples: Any = 1, random_state: Any = None) -> np.ndarray:
        """Draw targets for each row, independently.

        Args:
            X: (n, d).
            n_samples: how many for each row.
            random_state: int, RandomState, or None for fresh entropy.

        Returns:
            (n, n_samples) float64 where y in `fit` was one-dimensional, else (n, n_samples, k).
        """
        check_is_fitted(self)
        x = checked_rows(self, X)
        drawn = sample_float64(self.flow_, whole_number("n_samples", n_samples), seed_of(random_state), x)
        return self._shaped(np.ascontiguousarray(np.moveaxis(whole(self.plan_, drawn), 0, 1)))

    def predict(self, X: Any) -> np.ndarray:
        """The mean of y given each row, from `n_draws` samples; of a circular target the direction of the mean vector.

        A fitted estimator gives the same numbers at each call, and for each row whatever its company. Their standard
        error is the conditional spread of y over sqrt(n_draws): with 256 draws 6 % of it, which raises the squared
        error of a perfect model by 0.4 %. The same draws of the base serve all rows, so rows err in the same direction
        and their differences are more exact.

        Args:
            X: (n, d).

        Returns:
            Float64, (n,) where y in `fit` was one-dimensional, else (n, k).
        """
        return self._shaped(self._over_draws(X, lambda drawn: mean_of(self.plan_, drawn)))[:, 0]

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of each target given each row, from the samples that `predict` uses.

        A quantile q of n_draws samples lies, in terms of probability, within sqrt(q (1 - q) / n_draws) of q (one
        standard error): 0.05 is right to 0.014 with 256 draws. For finer ones raise n_draws (`set_params` will do).
        Of a rounded target a quantile is one of its values; of a circular one they are counted from its cut.

        Args:
            X: (n, d).
            quantiles: numbers in (0, 1).

        Returns:
            Float64, (n, n_quantiles) where y in `fit` was one-dimensional, else (n, n_quantiles, k).
        """
        levels = np.atleast_1d(np.asarray(quantiles, np.float64))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles: expected numbers between 0 and 1, got {quantiles!r}.")
        return self._shaped(self._over_draws(X, lambda drawn: quantiles_of(self.plan_, drawn, levels)))

    def _over_draws(self, X: Any, statistic: Any) -> np.ndarray:
        """A statistic of the draws (rows, n_draws, k), block by block of rows."""
        check_is_fitted(self)
        x, n = checked_rows(self, X), whole_number("n_draws", self.n_draws)
        block = max(1, _BLOCK // (n * self.n_outputs_))
        starts = range(0, len(x), block)
        return np.concatenate(
            [statistic(whole(self.plan_, common_draws(self.flow_, x[i : i + block], n, self.seed_))) for i in starts]
        )

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[..., 0] if self._is_flat else values


def _weights_fault(weights: np.ndarray, shape: tuple[int, ...]) -> str:
    if weights.shape != shape:
        return f"shape {weights.shape}"
    bad = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    return f"{weights[bad[0]]:g} at row {bad[0]}" if bad.size else f"a sum of {weights.sum():g}"

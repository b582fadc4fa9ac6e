"""Conditional density of targets given rows, as a scikit-learn regressor."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin  # noqa: TID253
from sklearn.utils.validation import check_consistent_length, check_is_fitted  # noqa: TID253

from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.core.named_rows import NamedRows, to_array
from pushforward.errors import ShapeError, warn_deprecated
from pushforward.tabular.estimators.fitting import fit_distribution, positive_integer, to_seed
from pushforward.tabular.estimators.rows import (
    check_rows,
    check_targets,
    common_samples,
    drop_constants,
    fill_constants,
    target_names,
)
from pushforward.tabular.estimators.summaries import sample_mean, sample_quantiles

_BLOCK = 2**20  # numbers sampled at a time, 8 MB


class ConditionalFlowDensity(RegressorMixin, BaseEstimator):
    """A conditional flow as a scikit-learn regressor: models p(y | x) = p_base(T^-1(y; x)) |det dT^-1(y; x)/dy|.

    An ordinary regressor predicts the mean of y. This one models the distribution: of any shape, with a spread that
    depends on x, of several targets jointly. `score` is the mean log-density, not R^2 as for other regressors: it
    measures the full distribution, and a search over parameters should maximise it.

    Args:
        flow: a recipe by name ("nsf", "maf", "real_nvp", ...), or a function called as recipes are.
        columns: types of the columns of y: None for real numbers; a dictionary such as {"income": "positive", "age":
            "count"} by column name (by index 0, 1, ... without names); or "detect" to infer them from the values. See
            `pushforward.tabular.schema.infer_schema`. Scores of rounded columns are lower bounds of log-masses.
        base: "mixture" to start from a mixture of normals fitted by EM, for few rows and many clusters; or None.
        n_draws: samples for each row in `predict` and `predict_quantiles`.
        n_layers, width, depth, whiten, flow_options, batch_size, max_epochs, max_seconds, patience,
            learning_rate, validation, progress, random_state: as for `FlowDensity`.
        noise: as for `FlowDensity`, added to y. For targets that are rounded or have few values.

    Attributes:
        flow_: the fitted `Flow`, whose context is X; save it by `pushforward.save(path, estimator.flow_)`.
        schema_: the `TableSchema` of the columns, or None where `columns` and `base` are None.
        history_: the `History` of its training, as for `FlowDensity`.
        seed_: from `random_state` in `fit`; the seed of predictions.
        n_outputs_: number of targets k.
        n_features_in_, feature_names_in_: as for all scikit-learn estimators.

    Cost: `fit` and `log_prob` as for `FlowDensity`; predictions are n_draws forward passes a row.

    Raises:
        ValueError: in `fit`, if a parameter is out of range; DataError (a ValueError) for NaN or infinite values and
            for a constant target. Columns of X may be constant.
        sklearn.exceptions.NotFittedError: in every other method before `fit`.
        TrainingDiverged: see `pushforward.fit`.
        KeyboardInterrupt: in `fit`, after Ctrl-C; the estimator then has the best weights so far.

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
        max_seconds: Any = None,
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
        self.max_seconds = max_seconds
        self.patience = patience
        self.learning_rate = learning_rate
        self.validation = validation
        self.noise = noise
        self.progress = progress
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        # for scikit-learn's checks: `score`, in nats, need not exceed 0.5 on their data as R^2 would
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> "ConditionalFlowDensity":
        """Maximise the mean of log p(y | x) over the rows.

        Args:
            X: (n, d) numbers, at least 2 rows: array, list of lists, or frame of pandas or polars.
            y: (n,) or (n, k) numbers.
            groups: (n,) labels, as for `pushforward.fit`: rows with one label are on one side of the split.
        """
        x = check_rows(self, X, reset=True, least=2)
        targets = check_targets(self, y)
        check_consistent_length(x, targets)
        positive_integer("n_draws", self.n_draws)
        seed = to_seed(self.random_state)
        rows = NamedRows(targets.reshape(len(x), -1), target_names(y))
        self.flow_, self.history_, self.schema_ = fit_distribution(self, rows, x, seed, groups)
        self.seed_, self.n_outputs_, self._is_flat = seed, rows.rows.shape[1], targets.ndim == 1
        if self.history_.stop_reason == "interrupted":
            raise KeyboardInterrupt("fit was interrupted; the estimator has the best weights so far.")
        return self

    @property
    def plan_(self) -> Any:
        """The deprecated name of `schema_`."""
        warn_deprecated("plan_")
        return self.schema_

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """log p(y_i | x_i) of each row in nats, in the units of y.

        Args:
            X: (n, d).
            y: (n,) or (n, k), as in `fit`; (n,) and (n, 1) are the same.

        Returns:
            (n,) float64.
        """
        check_is_fitted(self)
        x, targets = check_rows(self, X), check_targets(self, y)
        check_consistent_length(x, targets)
        targets = targets.reshape(len(x), -1)
        if targets.shape[1] != self.n_outputs_:
            raise ShapeError(f"y: expected {self.n_outputs_} targets a row, as in fit, got {targets.shape[1]}.")
        return np.array(log_prob_float64(self.flow_, drop_constants(self.schema_, targets, "y"), x))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean of log p(y_i | x_i) in nats, weighted by `sample_weight`; not R^2.

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
        """Sample targets for each row, independently.

        Args:
            X: (n, d).
            n_samples: number of samples for each row.
            random_state: int, RandomState, or None for fresh entropy.

        Returns:
            (n, n_samples) float64 where y in `fit` was one-dimensional, else (n, n_samples, k).
        """
        check_is_fitted(self)
        x = check_rows(self, X)
        samples = sample_float64(self.flow_, positive_integer("n_samples", n_samples), to_seed(random_state), x)
        return self._squeeze(np.ascontiguousarray(np.moveaxis(fill_constants(self.schema_, samples), 0, 1)))

    def predict(self, X: Any) -> np.ndarray:
        """The mean of y given each row, from `n_draws` samples; of a circular target the direction of the mean vector.

        Repeated calls return equal numbers, and the prediction for a row does not depend on the other rows. The
        standard error is the conditional standard deviation of y over sqrt(n_draws): 6 % of it with 256 samples, which
        raises the squared error of a perfect model by 0.4 %. All rows use the same samples of the base, so their errors
        are correlated, and differences between rows are more exact.

        Args:
            X: (n, d).

        Returns:
            Float64, (n,) where y in `fit` was one-dimensional, else (n, k).
        """
        return self._squeeze(self._over_samples(X, lambda samples: sample_mean(self.schema_, samples)))[:, 0]

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Quantiles of each target given each row, from the samples that `predict` uses.

        The standard error of the quantile q of n_draws samples, as a probability, is sqrt(q (1 - q) / n_draws): 0.014
        for q = 0.05 with 256 samples. Raise n_draws for a smaller error (by `set_params`). The quantile of a rounded
        target is one of its values; quantiles of a circular one are counted from its cut.

        Args:
            X: (n, d).
            quantiles: numbers in (0, 1).

        Returns:
            Float64, (n, n_quantiles) where y in `fit` was one-dimensional, else (n, n_quantiles, k).
        """
        levels = np.atleast_1d(np.asarray(quantiles, np.float64))
        if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles: expected numbers between 0 and 1, got {quantiles!r}.")
        return self._squeeze(self._over_samples(X, lambda samples: sample_quantiles(self.schema_, samples, levels)))

    def _over_samples(self, X: Any, statistic: Any) -> np.ndarray:
        """A statistic of samples (rows, n_draws, k), block by block of rows."""
        check_is_fitted(self)
        x, n = check_rows(self, X), positive_integer("n_draws", self.n_draws)
        block = max(1, _BLOCK // (n * self.n_outputs_))
        blocks = (x[start : start + block] for start in range(0, len(x), block))
        samples = (common_samples(self.flow_, rows, n, self.seed_) for rows in blocks)
        return np.concatenate([statistic(fill_constants(self.schema_, part)) for part in samples])

    def _squeeze(self, values: np.ndarray) -> np.ndarray:
        return values[..., 0] if self._is_flat else values


def _weights_fault(weights: np.ndarray, shape: tuple[int, ...]) -> str:
    if weights.shape != shape:
        return f"shape {weights.shape}"
    bad = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    return f"{weights[bad[0]]:g} at row {bad[0]}" if bad.size else f"a sum of {weights.sum():g}"

"""Density of rows as a scikit-learn estimator: scores, samples, transforms, outliers."""

from typing import Any

import numpy as np
from sklearn.base import (  # noqa: TID253
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_array, check_is_fitted  # noqa: TID253

from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.core.named_rows import NamedRows
from pushforward.errors import ShapeError, warn_deprecated
from pushforward.tabular.estimators.fitting import fit_distribution, positive_integer, to_seed
from pushforward.tabular.estimators.rows import (
    check_finite,
    check_rows,
    check_support,
    drop_constants,
    feature_names,
    fill_constants,
    from_base,
    to_base,
)


# OutlierMixin comes before DensityMixin, so that scikit-learn's checks treat the estimator as an outlier detector; they
# have no checks of densities.
class FlowDensity(ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A normalizing flow as a scikit-learn density estimator: log p(x) = log p_base(T^-1(x)) + log|det dT^-1/dx|.

    Works with `Pipeline`, `GridSearchCV`, `clone` and `cross_val_score`: the constructor stores parameters, `fit`
    validates them. Training uses JAX's default float type, float32; every result is NumPy float64 in the units of X.
    Columns are standardised in float64: an offset of 1e9 or a unit of 1e-12 does no harm.

    Args:
        flow: a recipe by name ("nsf", "maf", "real_nvp", ...), or a function called as recipes are.
        columns: types of the columns of X: None for real numbers; a dictionary such as {"income": "positive", "age":
            "count"} by column name (by index 0, 1, ... without names); or "detect" to infer them from the values. See
            `pushforward.tabular.schema.infer_schema`. Scores of rounded columns are lower bounds of log-masses.
        base: "mixture" to start from a mixture of normals fitted by EM, for few rows and many clusters; or None.
        contamination: share of the training rows that `predict` labels outliers, in (0, 0.5].
        n_layers, width, depth, whiten: settings of the recipe; None for its defaults. `whiten=True` starts from the
            Gaussian of the data.
        flow_options: dictionary of further settings of the recipe, such as {"n_bins": 16}.
        batch_size, max_epochs, max_seconds, patience, learning_rate: as for `pushforward.fit`; None for its defaults.
        validation: share of the rows for early stopping; 0 for none. The split does not divide the `groups` of `fit`.
        noise: standard deviation of normal noise added to the training rows once, as a share of each column's standard
            deviation. For rounded values, repeated rows and linearly dependent columns, whose density has no upper
            bound. The model is then that of the noisy rows.
        progress: show the progress of training.
        random_state: int, `numpy.random.RandomState`, or None for fresh entropy. NumPy's global generator is not used.

    Attributes:
        flow_: the fitted `Flow`; save it by `pushforward.save(path, estimator.flow_)`.
        schema_: the `TableSchema` of the columns, or None where `columns` and `base` are None.
        history_: the `History` of its training; its `best_validation` is the log-likelihood of the validation rows, its
            `validation_without_copies` that of the validation rows without an equal training row.
        offset_: the score below which `predict` labels a row an outlier.
        n_features_in_, feature_names_in_: as for all scikit-learn estimators.

    Cost: `fit` as `pushforward.fit`, then one pass over the training rows for `offset_`. `score_samples`, `predict` and
    `transform` are one inverse pass of the flow, `sample` and `inverse_transform` one forward pass.

    Raises:
        ValueError: in `fit`, if a parameter is out of range; DataError (a ValueError) for NaN or infinite values, for
            constant columns, whose density is infinite, and for columns that depend on each other linearly.
        sklearn.exceptions.NotFittedError: in every other method before `fit`.
        TrainingDiverged: see `pushforward.fit`.
        KeyboardInterrupt: in `fit`, after Ctrl-C; the estimator then has the best weights so far.

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021; Buitinck et al. 2013 (the interface).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(500, 2))
        >>> density = pf.FlowDensity("real_nvp", n_layers=2, width=8, max_epochs=2, random_state=0).fit(X)
        >>> density.score_samples(X).shape, density.sample(3, random_state=0).shape, density.transform(X).shape
        ((500,), (3, 2), (500, 2))
        >>> int((density.predict(X) == -1).sum())
        50
    """

    n_features_in_: int

    def __init__(
        self,
        flow: Any = "nsf",
        *,
        columns: Any = None,
        base: Any = None,
        contamination: Any = 0.1,
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
        self.contamination = contamination
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

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> "FlowDensity":
        """Maximise the mean of log p(x) over the rows.

        Args:
            X: (n, d) numbers, at least 2 rows: array, list of lists, or frame of pandas or polars.
            y: ignored, for pipelines.
            groups: (n,) labels, as for `pushforward.fit`: rows with one label are on one side of the split.
        """
        x = check_rows(self, X, reset=True, least=2)
        share = _check_share(self.contamination)
        rows, seed = NamedRows(x, feature_names(self)), to_seed(self.random_state)
        flow, history, schema = fit_distribution(self, rows, None, seed, groups)
        offset = float(np.quantile(log_prob_float64(flow, drop_constants(schema, x)), share))
        self.flow_, self.history_, self.schema_, self.offset_ = flow, history, schema, offset
        if history.stop_reason == "interrupted":
            raise KeyboardInterrupt("fit was interrupted; the estimator has the best weights so far.")
        return self

    @property
    def plan_(self) -> Any:
        """The deprecated name of `schema_`."""
        warn_deprecated("plan_")
        return self.schema_

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each row in nats, in the units of X.

        Args:
            X: (n, d).

        Returns:
            (n,) float64; -inf outside the support of a bounded flow.
        """
        check_is_fitted(self)
        x = check_rows(self, X)
        return np.array(log_prob_float64(self.flow_, drop_constants(self.schema_, x)))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows in nats, which `GridSearchCV` and `cross_val_score` maximise.

        `score` of scikit-learn's `KernelDensity` is the sum, that of `GaussianMixture` the mean. Means are comparable
        between folds of unequal size.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: Any = 1, random_state: Any = None) -> np.ndarray:
        """Sample rows from the fitted density.

        Args:
            n_samples: number of rows.
            random_state: int, RandomState, or None for fresh entropy; that of the constructor is for `fit` only.

        Returns:
            (n_samples, d) float64. With an int, the first m of n samples equal those of a call for m.
        """
        check_is_fitted(self)
        samples = sample_float64(self.flow_, positive_integer("n_samples", n_samples), to_seed(random_state))
        return np.array(fill_constants(self.schema_, samples))

    def transform(self, X: Any) -> np.ndarray:
        """z = T^-1(x): for a good fit, independent columns of the base (standard normal in most recipes).

        Args:
            X: (n, d).

        Returns:
            (n, d) float64, or a frame as set by `set_output`.

        Raises:
            DataError: for a row outside the support of a column: it has no z.
        """
        check_is_fitted(self)
        x = check_rows(self, X)
        return to_base(self.flow_, check_support(self.schema_, drop_constants(self.schema_, x)))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """x = T(z): from the base to the units of the data; values of rounded columns are not rounded.

        Args:
            X: (n, d), rows z as returned by `transform`.

        Returns:
            (n, d) float64.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=np.float64, order="C", ensure_all_finite=False, estimator=self)
        if z.shape[1] != self._n_features_out:
            raise ShapeError(f"X: expected {self._n_features_out} columns, as from transform, got {z.shape[1]}.")
        return fill_constants(self.schema_, from_base(self.flow_, check_finite("X", z, [])))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples(X) - offset_`: below zero for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for inliers and -1 for outliers: rows less probable than the share `contamination` of the training rows."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def _n_features_out(self) -> int:
        """Number of columns of the base, those of the data without constant ones; for `get_feature_names_out`."""
        return self.flow_.shape[0]


def _check_share(contamination: Any) -> float:
    is_number = isinstance(contamination, float | int | np.number) and not isinstance(contamination, bool)
    if not (is_number and 0 < contamination <= 0.5):
        raise ValueError(f"contamination: expected a share above 0 and up to 0.5, got {contamination!r}.")
    return float(contamination)

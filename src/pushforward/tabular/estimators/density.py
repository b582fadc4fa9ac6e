"""The density of rows as an estimator: scores, samples, transforms, outliers."""

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
from pushforward.errors import ShapeError
from pushforward.tabular.estimators.fitting import fitted, seed_of, whole_number
from pushforward.tabular.estimators.rows import (
    checked_rows,
    finite,
    from_base,
    modelled,
    names_of,
    supported,
    to_base,
    whole,
)


# OutlierMixin comes before DensityMixin, so that scikit-learn takes the estimator for a detector of outliers and holds
# it to what it asks of those, beside what it asks of every transformer. Of densities it asks nothing more.
class FlowDensity(ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A normalizing flow as a density estimator of scikit-learn: log p(x) = log p_base(T^-1(x)) + log|det dT^-1/dx|.

    For `Pipeline`, `GridSearchCV`, `clone` and `cross_val_score`. All parameters are only stored; `fit` looks at them.
    Trained in float32, or what JAX takes by default; every result is NumPy float64, in the units of X. Columns are
    standardised on the way: an offset of 1e9 or a unit of 1e-12 costs nothing.

    Args:
        flow: a recipe by name ("nsf", "maf", "real_nvp", ...), or a function called as recipes are.
        columns: what the columns of X hold: None for real numbers; a dictionary such as {"income": "positive", "age":
            "count"} by their names (by their places 0, 1, ... where there are none); or "detect" to look at the values.
            See `pushforward.tabular.schema.infer_schema`. Where a column is rounded, scores are lower bounds of
            log-masses.
        base: "mixture" to start from a mixture of normals fitted by EM, for few rows and many clusters; or None.
        contamination: share of the training rows that `predict` is to call outliers, in (0, 0.5].
        n_layers, width, depth, whiten: settings of the recipe; None takes its own. `whiten=True` starts from the
            Gaussian of the data.
        flow_options: dictionary of further settings of the recipe, such as {"n_bins": 16}.
        batch_size, max_epochs, patience, learning_rate: as for `pushforward.fit`; None takes its own.
        validation: share of the rows that are held out for early stopping; 0 holds out nothing. `groups` of `fit` keeps
            rows together.
        noise: standard deviation of normal noise added to the training rows once, as a share of each column's spread.
            A remedy for rounded values, repeated rows and columns that depend on each other linearly, in all of which
            a density has no bound. The model is then that of the noisy rows.
        progress: show the course of training.
        random_state: int, `numpy.random.RandomState`, or None for fresh entropy. NumPy's global generator is not used.

    Attributes:
        flow_: the fitted `Flow`; `pushforward.save(path, estimator.flow_)` is the safe way to keep it.
        plan_: the `Plan` of the columns, or None where `columns` and `base` are None.
        history_: the `History` of its training; its `best_validation` is the log-likelihood of the held-out rows, its
            `validation_without_copies` that of those among them that have no equal training row.
        offset_: the score below which `predict` says outlier.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Cost: `fit` as `pushforward.fit`, then one pass over the training rows for `offset_`. `score_samples`, `predict` and
    `transform` are one inverse pass of the flow, `sample` and `inverse_transform` one forward pass.

    Raises:
        ValueError: in `fit`, if a parameter is out of range; DataError (a ValueError) for NaN or infinite values, for
            constant columns, whose density is infinite, and for columns that depend on each other linearly.
        sklearn.exceptions.NotFittedError: in every other method before `fit`.
        TrainingDiverged: see `pushforward.fit`. Ctrl-C is passed on, after the best weights so far have been kept.

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
            groups: (n,) labels, as for `pushforward.fit`: rows with one label are held out together, or not at all.
        """
        x = checked_rows(self, X, reset=True, least=2)
        share = _checked_share(self.contamination)
        flow, history, plan = fitted(self, NamedRows(x, names_of(self)), None, seed_of(self.random_state), groups)
        offset = float(np.quantile(log_prob_float64(flow, modelled(plan, x)), share))
        self.flow_, self.history_, self.plan_, self.offset_ = flow, history, plan, offset
        if history.stop_reason == "interrupted":
            raise KeyboardInterrupt("fit was interrupted; the best weights so far are kept.")
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of each row in nats, in the units of X.

        Args:
            X: (n, d).

        Returns:
            (n,) float64; -inf outside the support of a bounded flow.
        """
        check_is_fitted(self)
        x = checked_rows(self, X)
        return np.array(log_prob_float64(self.flow_, modelled(self.plan_, x)))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows in nats: what `GridSearchCV` and `cross_val_score` maximise.

        `KernelDensity` gives the sum here, `GaussianMixture` the mean. The mean compares folds of unequal size.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: Any = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows from the fitted density.

        Args:
            n_samples: how many.
            random_state: int, RandomState, or None for fresh entropy; the estimator's own is for `fit` alone.

        Returns:
            (n_samples, d) float64. With an int, the first m of n are those that a call for m gives.
        """
        check_is_fitted(self)
        drawn = sample_float64(self.flow_, whole_number("n_samples", n_samples), seed_of(random_state))
        return np.array(whole(self.plan_, drawn))

    def transform(self, X: Any) -> np.ndarray:
        """z = T^-1(x): independent columns of the base (standard normal in most recipes) where the fit is good.

        Args:
            X: (n, d).

        Returns:
            (n, d) float64, or the frame that `set_output` asks for.

        Raises:
            DataError: for a row outside the support of a column, which no z is mapped to.
        """
        check_is_fitted(self)
        x = checked_rows(self, X)
        return to_base(self.flow_, supported(self.plan_, modelled(self.plan_, x)))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """x = T(z): from the base back to the units of the data; rounded columns come back unrounded.

        Args:
            X: (n, d), rows z as `transform` gives them.

        Returns:
            (n, d) float64.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=np.float64, order="C", ensure_all_finite=False, estimator=self)
        if z.shape[1] != self._n_features_out:
            raise ShapeError(f"X: expected {self._n_features_out} columns, as transform gives, got {z.shape[1]}.")
        return whole(self.plan_, from_base(self.flow_, finite("X", z, [])))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples(X) - offset_`: below zero for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for inliers and -1 for outliers: rows less probable than the share `contamination` of the training rows."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def _n_features_out(self) -> int:
        """For `get_feature_names_out`: the base has as many columns as the data, but for constant ones."""
        return self.flow_.shape[0]


def _checked_share(contamination: Any) -> float:
    is_number = isinstance(contamination, float | int | np.number) and not isinstance(contamination, bool)
    if not (is_number and 0 < contamination <= 0.5):
        raise ValueError(f"contamination: expected a share above 0 and up to 0.5, got {contamination!r}.")
    return float(contamination)

"""One fold of a comparison: models are trained and chosen on its rows, and scored once on the test rows."""

import dataclasses
import functools
import inspect
import math
import time

import numpy as np

from pushforward.core.fields import count_parameters
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.recipes import RECIPES
from pushforward.tabular import baselines
from pushforward.tabular.schema import TableSchema, fit_columns, n_copies
from pushforward.train.data import Rows
from pushforward.train.split import has_equal_row

MIXTURE = "+mixture"  # after the name of a flow that starts from a mixture of normals
BASELINES = {
    "Gaussian": baselines.gaussian,
    "Gaussian mixture": baselines.gaussian_mixture,
    "Kernel density": baselines.kernel_density,
}
_SAMPLES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A table, and the indices of the rows of each part."""

    x: np.ndarray
    context: np.ndarray | None
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def context_of(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self.context is None else self.context[indices]

    @functools.cached_property
    def is_copy(self) -> np.ndarray:
        """(n_test,) whether a test row equals a row of the other parts, context included."""
        rest = np.concatenate([self.train, self.validation])
        test, others = (Rows(self.x[indices], self.context_of(indices), None) for indices in (self.test, rest))
        return has_equal_row(test, others)


@dataclasses.dataclass
class Outcome:
    """Results of one model on one fold: `scores` (n_test,) of test rows, `is_copy` (n_test,) as in `Split`."""

    scores: np.ndarray
    standard_error: float | None
    fit_seconds: float | None
    score_seconds: float | None
    validation_log_likelihood: float | None = None
    sample_seconds: float | None = None
    parameters: int | None = None
    setting: str = ""
    peak_megabytes: float | None = None
    is_copy: np.ndarray | None = None


class Fold:
    """One fold: fits a model by name, and scores it."""

    def __init__(self, split: Split, schema: TableSchema, key: int, settings: dict, training: dict) -> None:
        self.split, self.schema, self.key, self.settings, self.training = split, schema, key, settings, training

    def run(self, name: str) -> Outcome:
        return self.baseline(name) if name in BASELINES else self.flow(name)

    def flow(self, name: str) -> Outcome:
        recipe = RECIPES[name.removesuffix(MIXTURE)]
        parameters = inspect.signature(recipe).parameters
        options = {option: value for option, value in self.settings.items() if option in parameters}
        split, n_context = self.split, None if self.split.context is None else self.split.context.shape[1]
        start = time.perf_counter()
        model, history = fit_columns(
            self.schema, lambda dim: recipe(dim, key=self.key, context_dim=n_context, **options), split.x[split.train],
            key=self.key, context=split.context_of(split.train),
            validation=(split.x[split.validation], split.context_of(split.validation)),
            base="mixture" if name.endswith(MIXTURE) else None,
            **({"progress": False} | self.training),
        )  # fmt: skip
        if history.stop_reason == "interrupted":
            raise KeyboardInterrupt("compare was interrupted before the training of a flow ended.")
        fit_end = time.perf_counter()
        scores = log_prob_float64(model, self.schema.drop_constants(split.x[split.test]), split.context_of(split.test))
        score_end = time.perf_counter()
        sample_float64(model, _SAMPLES, self.key, None if split.context is None else split.context[split.test[0]])
        sample_end = time.perf_counter()
        is_finite = len(scores) > 1 and bool(np.isfinite(scores).all())
        error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if is_finite else math.inf
        return Outcome(
            scores, error, fit_end - start, score_end - fit_end, history.best_validation, sample_end - score_end,
            count_parameters(model), f"{len(history.train)} epochs", is_copy=split.is_copy,
        )  # fmt: skip

    def baseline(self, name: str) -> Outcome:
        """Fit a baseline to the modelled columns, without maps; rounded columns have noise and bin widths.

        As for a flow: trained and chosen on as many copies with noise, scored by the mean density at the same points.
        """
        split, schema = self.split, self.schema
        random = np.random.default_rng(self.key)
        copies = n_copies(schema, len(split.train))
        # copy after copy, so that the first rows are not copies of a few
        row_indices = [np.tile(split.train, copies), np.tile(split.validation, copies)]
        parts = [schema.dequantise(split.x[indices][:, schema.modelled_indices], random) for indices in row_indices]
        test = split.x[split.test][:, schema.modelled_indices]
        points = schema.bin_points(test)
        n_points = points.shape[1]
        contexts = None
        if split.context is not None:
            contexts = [split.context[indices] for indices in (*row_indices, np.repeat(split.test, n_points))]
        result = BASELINES[name](*parts, points.reshape(-1, points.shape[2]), contexts=contexts, points=n_points)
        return Outcome(
            np.asarray(result.scores) + schema.log_bin_widths(test), result.standard_error, result.fit_seconds,
            result.score_seconds, setting=result.setting, is_copy=split.is_copy,
        )  # fmt: skip

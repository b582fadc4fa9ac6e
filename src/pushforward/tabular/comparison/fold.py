"""All models on one fold: trained and chosen on rows of their own, scored on the test rows once."""

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
from pushforward.tabular.schema import Plan, fit_columns, n_copies
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
    """A table and the indices of the rows of each part."""

    x: np.ndarray
    context: np.ndarray | None
    train: np.ndarray
    held: np.ndarray
    test: np.ndarray

    def given(self, places: np.ndarray) -> np.ndarray | None:
        return None if self.context is None else self.context[places]

    @functools.cached_property
    def is_copy(self) -> np.ndarray:
        """(n_test,) whether a test row has an equal one among the others, context included."""
        rest = np.concatenate([self.train, self.held])
        test, others = (Rows(self.x[index], self.given(index), None) for index in (self.test, rest))
        return has_equal_row(test, others)


@dataclasses.dataclass
class Outcome:
    """One model on one fold: `scores` (n_test,) of test rows, `is_copy` which of them equal a row of the others."""

    scores: np.ndarray
    standard_error: float
    fit_seconds: float
    score_seconds: float
    validation_log_likelihood: float | None = None
    sample_seconds: float | None = None
    parameters: int | None = None
    setting: str = ""
    peak_megabytes: float | None = None
    is_copy: np.ndarray | None = None


class Contest:
    """All models on one fold."""

    def __init__(self, split: Split, plan: Plan, key: int, settings: dict, training: dict) -> None:
        self.split, self.plan, self.key, self.settings, self.training = split, plan, key, settings, training

    def run(self, name: str) -> Outcome:
        return self.baseline(name) if name in BASELINES else self.flow(name)

    def flow(self, name: str) -> Outcome:
        recipe = RECIPES[name.removesuffix(MIXTURE)]
        known = inspect.signature(recipe).parameters
        options = {option: value for option, value in self.settings.items() if option in known}
        split, n_context = self.split, None if self.split.context is None else self.split.context.shape[1]
        start = time.perf_counter()
        model, history = fit_columns(
            self.plan, lambda dim: recipe(dim, key=self.key, context_dim=n_context, **options), split.x[split.train],
            key=self.key, context=split.given(split.train),
            validation=(split.x[split.held], split.given(split.held)),
            base="mixture" if name.endswith(MIXTURE) else None,
            **({"progress": False} | self.training),
        )  # fmt: skip
        if history.stop_reason == "interrupted":
            raise KeyboardInterrupt("compare was interrupted: a flow trained by half is no entry.")
        fitted = time.perf_counter()
        scores = log_prob_float64(model, self.plan.select(split.x[split.test]), split.given(split.test))
        scored = time.perf_counter()
        given = split.given(split.test[:1])
        sample_float64(model, _SAMPLES, self.key, None if given is None else given[0])
        drawn = time.perf_counter()
        is_known = len(scores) > 1 and bool(np.isfinite(scores).all())
        error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if is_known else math.inf
        return Outcome(
            scores, error, fitted - start, scored - fitted, history.best_validation, drawn - scored,
            count_parameters(model), f"{len(history.train)} epochs", is_copy=split.is_copy,
        )  # fmt: skip

    def baseline(self, name: str) -> Outcome:
        """On the modelled columns as they are, with noise and volumes of cells where some are rounded.

        As a flow is: trained and chosen on as many noisy copies, scored by the mean density of the same points.
        """
        split, plan = self.split, self.plan
        random = np.random.default_rng(self.key)
        copies = n_copies(plan, len(split.train))
        # copy after copy, so that the first rows are not all copies of a few
        places = [np.tile(split.train, copies), np.tile(split.held, copies)]
        parts = [plan.dequantise(split.x[index][:, plan.modelled], random) for index in places]
        points = plan.bin_points(split.x[split.test][:, plan.modelled])
        n_points = points.shape[1]
        given = None
        if split.context is not None:
            given = [split.context[index] for index in (*places, np.repeat(split.test, n_points))]
        line = BASELINES[name](*parts, points.reshape(-1, points.shape[2]), contexts=given, points=n_points)
        log_volumes = plan.log_volumes(split.x[split.test][:, plan.modelled])
        return Outcome(
            line.scores + log_volumes, line.standard_error, line.fit_seconds, line.score_seconds,
            setting=line.setting, is_copy=split.is_copy,
        )  # fmt: skip

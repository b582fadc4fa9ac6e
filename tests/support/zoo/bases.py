"""Base distributions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import pushforward as pf
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import count_parameters
from zoo.builders import network
from zoo.rows import CONTEXT_DIM


@dataclass(frozen=True)
class Base:
    """A base distribution: its constructor and, where there is one, the frozen SciPy distribution of one coordinate.

    Attributes:
        build: makes it.
        oracle: makes an object with `logpdf` and `cdf`, for coordinate 0 of a base with independent coordinates; None
            if SciPy has no counterpart.
        support: an interval.
    """

    build: Callable[[], AbstractDistribution]
    oracle: Callable[[], Any] | None = None
    support: tuple[float, float] = (-np.inf, np.inf)


def _scipy_normal() -> Any:
    from scipy import stats

    return stats.norm(1.0, 2.0)


def _normals(*locs: float) -> list[AbstractDistribution]:
    return [pf.bases.Normal((1,), loc=loc) for loc in locs]


def _conditional_base() -> AbstractDistribution:
    base = pf.bases.MultivariateNormal(2)
    return pf.bases.ConditionalBase(base, network(CONTEXT_DIM, (count_parameters(base),)), (CONTEXT_DIM,))


BASES: dict[str, Base] = {
    "Normal": Base(lambda: pf.bases.Normal((2,), loc=1.0, scale=2.0), _scipy_normal),
    "Uniform": Base(lambda: pf.bases.Uniform((2,)), support=(0.0, 1.0)),
    "Logistic": Base(lambda: pf.bases.Logistic((2,))),
    "StudentT": Base(lambda: pf.bases.StudentT((2,))),
    "TruncatedNormal": Base(lambda: pf.bases.TruncatedNormal((2,), -1.0, 2.0), support=(-1.0, 2.0)),
    "MultivariateNormal": Base(lambda: pf.bases.MultivariateNormal(2)),
    "Mixture": Base(lambda: pf.bases.Mixture(_normals(-2.0, 2.0))),
    "Ensemble": Base(lambda: pf.Ensemble(_normals(-2.0, 2.0))),
    "Product": Base(lambda: pf.bases.Product(_normals(0.0, 1.0))),
    "ConditionalBase": Base(_conditional_base),
}

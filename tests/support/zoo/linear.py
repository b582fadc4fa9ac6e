"""Every parametrisation of a matrix."""

from collections.abc import Callable

import jax
import numpy as np

from pushforward.bijections import (
    Cayley,
    Chain,
    Dense,
    Diagonal,
    Householder,
    LinearPrediction,
    LinearRegression,
    LowRank,
    MarginalGaussianization,
    MatrixExponential,
    Triangular,
    Whiten,
)
from pushforward.core.bijection import AbstractBijection
from zoo.builders import conditional
from zoo.rows import CONTEXT_DIM, Row


def _regression() -> LinearRegression:
    return LinearRegression(3, CONTEXT_DIM).filled(np.arange(3.0 * CONTEXT_DIM).reshape(3, -1))


def linear_rows() -> list[Row]:
    """Every parametrisation of a matrix, alone and with its leaves shifted by a context."""
    first = jax.random.key(5)
    lower, eye = np.tri(3, dtype=bool), np.eye(3, dtype=bool)
    kinds: dict[str, Callable[[], AbstractBijection]] = {
        "Diagonal": lambda: Diagonal(3),
        "Triangular": lambda: Triangular(3),
        "Householder": lambda: Householder(3, key=first),
        "Cayley": lambda: Cayley(3),
        "Dense": lambda: Dense(3),
        "MatrixExponential": lambda: MatrixExponential(3),
        "LowRank": lambda: LowRank(3, rank=2, key=first),
        "QR": lambda: Chain([Triangular(3, lower=False), Householder(3, key=first)]),
    }
    depends = {"Diagonal": eye, "Triangular": lower}
    rows = [
        Row(name, build, "linear", depends=depends.get(name), is_identity=name != "LowRank")
        for name, build in kinds.items()
    ]
    rows += [
        Row(f"Conditional[{name}]", lambda build=build: conditional(build()), "linear",
            depends=depends.get(name), is_identity=name != "LowRank", spread=0.2, quick=("float64",))
        for name, build in kinds.items()
    ]  # fmt: skip
    factor = np.array([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-3.0, 0.2, 30.0]])
    return [
        *rows,
        Row("Triangular upper", lambda: Triangular(3, lower=False), "linear", depends=lower.T, is_identity=True),
        Row("Householder, three in four", lambda: Householder(4, 3, key=first), "linear"),
        Row("Whiten", lambda: Whiten(3).filled(np.array([1.0, -2.0, 1e3]), factor), "linear", depends=lower),
        Row("MarginalGaussianization", _marginal, "linear", depends=eye),
        Row("LinearRegression", _regression, "linear", depends=eye),
        Row("LinearPrediction", lambda: LinearPrediction(3, 4).filled(np.array([0.9, -0.5, 0.2, 9.0]), 0.3), "linear",
            depends=lower),
    ]  # fmt: skip


def _marginal() -> MarginalGaussianization:
    x = np.random.default_rng(0).standard_normal((500, 3)) ** [1, 3, 1] * [1.0, 1.0, 10.0]
    return MarginalGaussianization(3).initialised(x)

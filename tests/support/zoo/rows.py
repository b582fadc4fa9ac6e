"""The known properties of one bijection: the record that the battery reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution

CONTEXT_DIM = 2
BOTH = ("float32", "float64")
LINE, POSITIVE, UNIT, OPEN, CIRCLE, SIMPLEX = "line", "positive", "(0, 1)", "(-1, 1)", "circle", "simplex"


@dataclass(frozen=True)
class Row:
    """One bijection with its known properties.

    Attributes:
        name: unique, and the test's id.
        build: makes it with its start weights.
        tolerance: class in `tolerances.TOLERANCES`.
        z_side, x_side: the sets between which it maps.
        largest: greatest |z| and |x| at which values and Jacobians must still be finite in float32.
        largest_gradient: the same for gradients of weights; 1e15 where a coordinate is multiplied by a network's
            output for another one, since the gradient is then a product of two coordinates.
        knots: further points where formulas change (knots, edges of a box).
        spread: deviation of the noise that is added to every trained leaf.
        depends: bool (D, D) on the flattened event, whether x_i depends on z_j; None if everything may.
        context_reaches: bool (D,), the outputs that must depend on the context; None for all.
        is_identity: whether the start weights give the identity.
        dead: reason why some trained leaf has no influence, or "".
        flow: makes the flow, for recipes.
        is_stored: whether model files hold it without `extra=`.
        quick: dtypes in which `make test` runs the row; in the others it is slow. Code that two rows share is tested by
            one of them in each dtype.
    """

    name: str
    build: Callable[[], AbstractBijection]
    tolerance: str
    z_side: str = LINE
    x_side: str = LINE
    largest: float = 1e30
    largest_gradient: float = 1e15
    knots: tuple[float, ...] = ()
    spread: float = 0.3
    depends: np.ndarray | None = None
    context_reaches: np.ndarray | None = None
    is_identity: bool = False
    dead: str = ""
    flow: Callable[[], AbstractDistribution] | None = None
    is_stored: bool = True
    quick: tuple[str, ...] = BOTH

"""Scalar maps defined from data to base: the density is a formula, sampling uses the root solver."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.scalar import AbstractScalarBijection, apply_elementwise
from pushforward.numerics.arrays import is_array
from pushforward.numerics.roots import monotone_root


class AbstractByRoot(AbstractScalarBijection):
    """An increasing map x -> z of the real line onto itself, without a closed-form inverse.

    Subclasses define `inverse_and_log_det`; outside a box, if they have one, they are linear with learned slopes.
    `forward`, base to data, is `roots.monotone_root`, accurate to the last digits of x, with implicit derivatives.
    """

    identity_outside: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        arrays, static = eqx.partition(self, is_array)
        x = monotone_root(_inverse_value(static), arrays, z)
        return x, -apply_elementwise(self, x, inverse=True)[1]


def _inverse_value(static: AbstractByRoot) -> Callable[[Any, Array], Array]:
    return lambda arrays, x: apply_elementwise(eqx.combine(arrays, static), x, inverse=True)[0]

"""Scalar maps defined from data to base: the density is a formula, sampling uses the root solver."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import is_array
from pushforward.numerics.roots import monotone_root


class AbstractByRoot(AbstractBijection):
    """An increasing map x -> z of the real line onto itself, without a closed-form inverse.

    Subclasses define z and log dz/dx, element by element. `forward`, base to data, is `roots.monotone_root`, accurate
    to the last digits of x, with implicit derivatives.
    """

    shape: ClassVar[tuple[int, ...]] = ()
    context_shape: ClassVar[None] = None

    @abc.abstractmethod
    def _inverse(self, x: Array) -> tuple[Array, Array]:
        """z and log dz/dx at x."""

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        arrays, static = eqx.partition(self, is_array)
        x = monotone_root(_inverse_value(static), arrays, z)
        return x, -self._inverse(x)[1]

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._inverse(x)


def _inverse_value(static: AbstractByRoot) -> Callable[[Any, Array], Array]:
    return lambda arrays, x: eqx.combine(arrays, static)._inverse(x)[0]

"""Scalar maps that are written from data to base: the density is a formula, and the root solver draws."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import is_array
from pushforward.numerics.roots import monotone_root


class AbstractByRoot(AbstractBijection):
    """An increasing map x -> z of the whole line onto itself, without a formula for its inverse.

    Subclasses write z and log dz/dx, element by element; `forward`, base to data, is `roots.monotone_root`, down to the
    last places of x, with the gradient of the implicit function.
    """

    shape: ClassVar[tuple[int, ...]] = ()
    context_shape: ClassVar[None] = None

    @abc.abstractmethod
    def _mapped(self, x: Array) -> tuple[Array, Array]:
        """z and log dz/dx."""

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        arrays, rest = eqx.partition(self, is_array)
        x = monotone_root(_image(rest), arrays, z)
        return x, -self._mapped(x)[1]

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._mapped(x)


def _image(rest: AbstractByRoot) -> Callable[[Any, Array], Array]:
    return lambda arrays, x: eqx.combine(arrays, rest)._mapped(x)[0]

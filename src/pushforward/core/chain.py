"""Bijections in sequence."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection, merge_context_shapes
from pushforward.errors import ShapeError


class Chain(AbstractBijection):
    """Bijections in sequence: `Chain([a, b])` applies a first, then b, from base to data.

    T = T_n o ... o T_1, and log|det| is the sum over the parts. The inverse applies them in reverse order.

    Args:
        bijections: at least one bijection, all of one shape and of one context shape (unconditional ones aside).

    Cost: the sum of the parts, in both directions.

    Raises:
        ShapeError: if the list is empty or the shapes differ.

    Reference: Rezende & Mohamed 2015, equation 7.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Chain, Exp
        >>> x, log_det = Chain([Affine(shift=1.0), Exp()]).forward_and_log_det(jnp.array(-1.0))
        >>> print(x, log_det)
        1.0 0.0
    """

    bijections: tuple[AbstractBijection, ...]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection]) -> None:
        self.bijections = tuple(bijections)
        shapes = {b.shape for b in self.bijections}
        if len(shapes) != 1:
            raise ShapeError(
                f"bijections: expected at least one bijection, all of one shape, got shapes "
                f"{[b.shape for b in self.bijections]}. Wrap layers of other shapes with Reshape, Squeeze or Split."
            )
        self.shape, self.context_shape = shapes.pop(), merge_context_shapes(self.bijections)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), z.dtype)
        for bijection, part_context, part_key in self.parts(context, key):
            z, log_det = bijection.forward_and_log_det(z, part_context, key=part_key)
            total = total + log_det
        return z, total

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), x.dtype)
        for bijection, part_context, part_key in reversed(self.parts(context, key)):
            x, log_det = bijection.inverse_and_log_det(x, part_context, key=part_key)
            total = total + log_det
        return x, total

    def centred(self) -> tuple[AbstractBijection, np.ndarray | None]:
        last, centre = self.bijections[-1].centred()
        if centre is None:
            return self, None
        return eqx.tree_at(lambda chain: chain.bijections[-1], self, last), centre

    def parts(
        self, context: Array | None, key: PRNGKeyArray | None
    ) -> list[tuple[AbstractBijection, Array | None, PRNGKeyArray | None]]:
        """The bijections, from base to data, each with its context (None if unconditional) and its key."""
        keys = [None] * len(self.bijections) if key is None else list(jax.random.split(key, len(self.bijections)))
        contexts = [None if bijection.context_shape is None else context for bijection in self.bijections]
        return list(zip(self.bijections, contexts, keys, strict=True))


def layers_of(bijection: AbstractBijection) -> tuple[Any, ...]:
    """The bijections of a chain, from base to data; the bijection alone if it is none."""
    return bijection.bijections if isinstance(bijection, Chain) else (bijection,)

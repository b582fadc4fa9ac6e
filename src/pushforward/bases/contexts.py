"""Whose context goes where, in distributions made of distributions."""

from collections.abc import Iterable

from jaxtyping import Array

from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import ShapeError


def common_context_shape(parts: Iterable[AbstractDistribution]) -> tuple[int, ...] | None:
    """The context shape that several distributions agree on; None if all are unconditional."""
    shapes = {part.context_shape for part in parts if part.context_shape is not None}
    if len(shapes) > 1:
        raise ShapeError(
            f"the distributions expect contexts of different shapes {sorted(shapes)}: build them with one."
        )
    return shapes.pop() if shapes else None


def context_for(part: AbstractDistribution, context: Array | None) -> Array | None:
    """What a part is given of the context: nothing if it is unconditional."""
    return None if part.context_shape is None else context

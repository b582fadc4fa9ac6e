"""Contexts of distributions that are composed of others."""

from collections.abc import Iterable

from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import ShapeError


def common_context_shape(parts: Iterable[AbstractDistribution]) -> tuple[int, ...] | None:
    """The common context shape of several distributions; None if all are unconditional."""
    shapes = {part.context_shape for part in parts if part.context_shape is not None}
    if len(shapes) > 1:
        raise ShapeError(
            f"the distributions expect contexts of different shapes {sorted(shapes)}: build them with one shape."
        )
    return shapes.pop() if shapes else None

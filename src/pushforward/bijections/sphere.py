"""The sphere as height and angle, which carry its surface measure to dh d(angle)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pushforward.core.bijection import as_float
from pushforward.errors import ShapeError
from pushforward.numerics.programs import is_traced


def to_sphere(x: ArrayLike) -> Float[Array, "*n 3"]:
    """Unit vectors of heights and angles: (sqrt(1 - h^2) cos a, sqrt(1 - h^2) sin a, h).

    The map keeps areas: a density p(h, a), such as that of `space_flow([(-1, 1), "circle"])`, is the density of the
    unit vector with respect to the surface of the sphere. A pole is one point for all angles: such a density is
    continuous everywhere but at the poles, where the gradient of this map is infinite.

    Args:
        x: (..., 2), height in [-1, 1] and angle.

    Raises:
        ShapeError: if the last axis has not two elements.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, section 2.2.2 (recursive construction), for the sphere in
    three dimensions; Archimedes' hat-box theorem.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import to_sphere
        >>> print(to_sphere(jnp.array([0.0, 0.0])))
        [1. 0. 0.]
    """
    points = as_float(x)
    if points.shape[-1:] != (2,):
        raise ShapeError(f"x: expected heights and angles of shape (..., 2), got {points.shape}.")
    height, angle = points[..., 0], points[..., 1]
    radius = jnp.sqrt((1.0 - height) * (1.0 + height))
    return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), height], -1)


def from_sphere(vectors: ArrayLike) -> Float[Array, "*n 2"]:
    """Heights and angles (..., 2) of vectors (..., 3), whose lengths do not matter: the inverse of `to_sphere`.

    Args:
        vectors: (..., 3), not zero.

    Raises:
        ShapeError: if the last axis has not three elements.
        ValueError: for a vector of length zero (NaN under a trace).

    Reference: as for `to_sphere`.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import from_sphere
        >>> print(from_sphere(jnp.array([2.0, 0.0, 0.0])))
        [0. 0.]
    """
    points = as_float(vectors)
    if points.shape[-1:] != (3,):
        raise ShapeError(f"vectors: expected vectors of shape (..., 3), got {points.shape}.")
    if not is_traced(points) and not np.asarray(points).any(-1).all():
        raise ValueError(
            "vectors: expected vectors of positive length, got one of length zero, which has no direction."
        )
    points = points / jnp.max(jnp.abs(points), -1, keepdims=True)  # squares of tiny numbers underflow
    height = points[..., 2] / jnp.linalg.norm(points, axis=-1)
    return jnp.stack([height, jnp.arctan2(points[..., 1], points[..., 0])], -1)

"""Rotations of the circle."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.circles import wrap_angle
from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import scalar


class PhaseShift(AbstractScalarBijection):
    """Rotation of the circle by a learned phase: x = wrap(z + phase), angles in [-pi, pi) to angles in [-pi, pi).

    wrap(a) = a - 2 pi floor((a + pi) / (2 pi)). The log-determinant is zero. `CircularSpline` has a phase of its own;
    this layer rotates without a spline.

    Args:
        phase: the start value, in radians.

    Leaves (unconstrained): `phase` ().

    Cost: O(1) per coordinate in both directions.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, section 2.1 (phase translation).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import PhaseShift
        >>> angle, log_det = PhaseShift(3.0).forward_and_log_det(jnp.array(1.0))
        >>> print(f"{angle:.3f}", log_det)
        -2.283 0.0
    """

    phase: Float[Array, "..."]
    support: ClassVar[tuple[float, float]] = (-np.pi, np.pi)
    is_circular: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, phase: float = 0.0) -> None:
        self.phase = scalar(phase)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return wrap_angle(z + self.phase), jnp.zeros_like(z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return wrap_angle(x - self.phase), jnp.zeros_like(x)

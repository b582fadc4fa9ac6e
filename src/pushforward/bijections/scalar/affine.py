"""Scalar maps with a constant slope: translation, affine, and the two-slope leaky ReLU."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import scalar
from pushforward.numerics.elementary import soft_clamp


def check_log_bound(name: str, bound: float) -> float:
    """Raise unless the bound on a log-scale keeps the scale from vanishing or overflowing."""
    if not 0 < bound <= 20:
        raise ValueError(
            f"{name}: expected a number in (0, 20], got {bound}. The scale is exp({name} tanh(. / {name})): positive "
            "by construction, so that the layer can never become singular; a larger bound overflows float32."
        )
    return float(bound)


class Translation(AbstractScalarBijection):
    """Scalar translation: x = z + shift. The transformer `"additive"` of NICE; volume-preserving.

    Args:
        shift: start value of the shift.

    Leaves (unconstrained): `shift` ().

    Cost: O(1) per coordinate in both directions; log-determinant 0.

    Reference: Dinh, Krueger & Bengio 2015 (NICE), section 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Translation
        >>> x, log_det = Translation(2.0).forward_and_log_det(jnp.array(1.0))
        >>> print(x, log_det)
        3.0 0.0
    """

    shift: Float[Array, "..."]
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = scalar(shift)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return z + self.shift, jnp.zeros_like(z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return x - self.shift, jnp.zeros_like(x)


class Affine(AbstractScalarBijection):
    """Scalar affine map with a scale bounded on both sides: x = z exp(s) + shift, s = b tanh(log_scale / b).

    b is `log_bound`: the scale stays in (exp(-b), exp(b)), symmetric around 1, so it can neither vanish nor overflow.

    Args:
        shift: start value of the shift.
        scale: start value of the scale, within the bounds.
        log_bound: bound b on |log scale|, in (0, 20].

    Leaves (unconstrained): `shift` (), `log_scale` ().

    Cost: O(1) per coordinate in both directions.

    Raises:
        ValueError: if the scale is not positive or not within its bounds.

    Reference: Dinh, Sohl-Dickstein & Bengio 2017 (RealNVP), equation 7; the symmetric soft clamp is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine
        >>> x, log_det = Affine(shift=1.0).forward_and_log_det(jnp.array(2.0))
        >>> print(x, log_det)
        3.0 0.0
    """

    shift: Float[Array, "..."]
    log_scale: Float[Array, "..."]
    log_bound: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, shift: float = 0.0, scale: float = 1.0, *, log_bound: float = 5.0) -> None:
        self.log_bound = check_log_bound("log_bound", log_bound)
        if not (scale > 0 and abs(math.log(scale)) < log_bound):
            raise ValueError(
                f"scale: expected a positive number within exp(+-{log_bound:g}), got {scale}. A scale that can vanish "
                "makes the map singular; it is positive by construction here."
            )
        self.shift = scalar(shift)
        self.log_scale = scalar(log_bound * math.atanh(math.log(scale) / log_bound))

    def __check_init__(self) -> None:
        check_log_bound("log_bound", self.log_bound)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_scale = soft_clamp(self.log_scale, self.log_bound)
        return z * jnp.exp(log_scale) + self.shift, log_scale + jnp.zeros_like(z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_scale = soft_clamp(self.log_scale, self.log_bound)
        return (x - self.shift) * jnp.exp(-log_scale), jnp.zeros_like(x) - log_scale


class LeakyReLU(AbstractScalarBijection):
    """Parametric leaky ReLU: x = z for z >= 0, x = a z for z < 0, with a learned positive slope a.

    a = exp(b tanh(log_slope / b)), b = `log_bound`. At z = 0 the log-determinant is that of the right side.

    Args:
        slope: start value of the slope of the negative side, within exp(+-log_bound).
        log_bound: bound b on |log slope|, in (0, 20].

    Leaves (unconstrained): `log_slope` ().

    Cost: O(1) per coordinate in both directions.

    Raises:
        ValueError: if the slope is not positive or not within its bounds.

    Reference: He, Zhang, Ren & Sun 2015 (PReLU), equation 1; as a flow, Kobyzev, Prince & Brubaker 2021, section 3.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import LeakyReLU
        >>> x, log_det = LeakyReLU(slope=0.5).forward_and_log_det(jnp.array(-2.0))
        >>> print(f"{x:.3f} {log_det:.3f}")
        -1.000 -0.693
    """

    log_slope: Float[Array, "..."]
    log_bound: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, slope: float = 0.5, *, log_bound: float = 5.0) -> None:
        self.log_bound = check_log_bound("log_bound", log_bound)
        if not (slope > 0 and abs(math.log(slope)) < log_bound):
            raise ValueError(
                f"slope: expected a positive number within exp(+-{log_bound:g}), got {slope}: with a slope of zero or "
                "below the map is not a bijection."
            )
        self.log_slope = scalar(log_bound * math.atanh(math.log(slope) / log_bound))

    def __check_init__(self) -> None:
        check_log_bound("log_bound", self.log_bound)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_slope = jnp.where(z < 0, soft_clamp(self.log_slope, self.log_bound), 0.0)
        return z * jnp.exp(log_slope), log_slope

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_slope = jnp.where(x < 0, soft_clamp(self.log_slope, self.log_bound), 0.0)
        return x * jnp.exp(-log_slope), -log_slope

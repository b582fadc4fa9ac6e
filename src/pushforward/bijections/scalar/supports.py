"""Parameter-free maps from the real line to the positive numbers or an interval; `Inverse` maps back.

A point outside the support, its ends included, has no preimage: there the inverse returns z = 0 and a log-determinant
of -inf, so that the density of a flow is zero at that sample, whatever layers follow.
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.elementary import log_derivative_tanh, log_one_plus


class Exp(AbstractScalarBijection):
    """Scalar exponential, from the line onto the positives: x = exp(z).

    `Inverse(Exp())` is the logarithm. A point x <= 0 has no preimage: there z is 0 and the log-determinant -inf.

    Cost: O(1) per coordinate in both directions.

    Reference: elementary; log-normal densities are its pushforward of a normal.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Exp
        >>> x, log_det = Exp().forward_and_log_det(jnp.array(1.0))
        >>> print(f"{x:.3f} {log_det:.3f}")
        2.718 1.000
    """

    support: ClassVar[tuple[float, float]] = (0.0, math.inf)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return jnp.exp(z), z

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        out_of_support = x <= 0
        z = jnp.log(jnp.where(out_of_support, 1.0, x))
        return _mask_out_of_support(out_of_support, z, -z)


class Softplus(AbstractScalarBijection):
    """Scalar softplus, from the line onto the positives: x = log(1 + exp(z)).

    Linear for large z, so it preserves upper tails, unlike `Exp`. A point x <= 0 has no preimage: there z is
    0 and the log-determinant -inf.

    Cost: O(1) per coordinate in both directions.

    Reference: Dugas, Bengio, Belisle, Nadeau & Garcia 2001, section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Softplus
        >>> x, _ = Softplus().forward_and_log_det(jnp.array(0.0))
        >>> print(f"{x:.3f}")
        0.693
    """

    support: ClassVar[tuple[float, float]] = (0.0, math.inf)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return jax.nn.softplus(z), jax.nn.log_sigmoid(z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        # log(exp(x) - 1): near zero through log(expm1), elsewhere as x + log(1 - exp(-x)); neither branch overflows
        out_of_support = x <= 0
        small = jnp.where(out_of_support | (x >= 1.0), 1.0, x)
        large = jnp.where(x < 1.0, 1.0, x)
        z = jnp.where(x < 1.0, jnp.log(jnp.expm1(small)), large + log_one_plus(-jnp.exp(-large)))
        return _mask_out_of_support(out_of_support, z, -jax.nn.log_sigmoid(z))


class Sigmoid(AbstractScalarBijection):
    """Scalar logistic sigmoid, from the line onto (0, 1): x = 1 / (1 + exp(-z)).

    `Inverse(Sigmoid())` is the logit. A point outside (0, 1) has no preimage: there z is 0 and the log-determinant
    -inf. In float32 a z above 17 rounds to x = 1: use the pair (x, log_det) of `forward_and_log_det` rather
    than inverting such points.

    Cost: O(1) per coordinate in both directions.

    Reference: elementary; Dinh, Sohl-Dickstein & Bengio 2017, section 4.1 (logit space of images).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Sigmoid
        >>> x, log_det = Sigmoid().forward_and_log_det(jnp.array(0.0))
        >>> print(f"{x:.3f} {log_det:.3f}")
        0.500 -1.386
    """

    support: ClassVar[tuple[float, float]] = (0.0, 1.0)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return jax.nn.sigmoid(z), jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        out_of_support = (x <= 0) | (x >= 1)
        safe = jnp.where(out_of_support, 0.5, x)
        log_x, log_rest = jnp.log(safe), jnp.log(1.0 - safe)
        return _mask_out_of_support(out_of_support, log_x - log_rest, -(log_x + log_rest))


class Tanh(AbstractScalarBijection):
    """Scalar hyperbolic tangent, from the line onto (-1, 1): x = tanh(z).

    `Inverse(Tanh())` is the area tangent. A point outside (-1, 1) has no preimage: there z is 0 and the log-determinant
    -inf.

    Cost: O(1) per coordinate in both directions.

    Reference: elementary; used to bound actions in Haarnoja, Zhou, Abbeel & Levine 2018, appendix C.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Tanh
        >>> x, log_det = Tanh().forward_and_log_det(jnp.array(0.0))
        >>> print(x, f"{abs(log_det):.3f}")
        0.0 0.000
    """

    support: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return jnp.tanh(z), log_derivative_tanh(z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        out_of_support = jnp.abs(x) >= 1
        safe = jnp.where(out_of_support, 0.0, x)
        log_above, log_below = log_one_plus(safe), log_one_plus(-safe)
        return _mask_out_of_support(out_of_support, 0.5 * (log_above - log_below), -(log_above + log_below))


def _mask_out_of_support(out_of_support: Array, z: Array, log_det: Array) -> tuple[Array, Array]:
    """z and log_det in the support; outside it a z of 0, which is finite for the next layer, and -inf.

    NaN counts as in the support, so that it propagates.
    """
    return jnp.where(out_of_support, 0.0, z), jnp.where(out_of_support, -jnp.inf, log_det)

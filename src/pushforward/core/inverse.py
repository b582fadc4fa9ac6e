"""A bijection with its two directions exchanged."""

from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection


class Inverse(AbstractBijection):
    """The inverse of a bijection: x = T^-1(z), z = T(x), with their log-determinants exchanged likewise.

    Args:
        bijection: the bijection T.

    Cost: that of T, with the directions exchanged.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Exp, Inverse
        >>> print(Inverse(Exp()).forward(jnp.array(1.0)))
        0.0

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021, section 2.1.
    """

    bijection: AbstractBijection

    def __init__(self, bijection: AbstractBijection) -> None:
        self.bijection = bijection

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bijection.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.bijection.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self.bijection.inverse_and_log_det(z, context, key=key)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self.bijection.forward_and_log_det(x, context, key=key)

"""A bijection of FlowJAX as one of pushforward, and the other way round.

Both libraries map one sample, from base to data in the direction that sampling uses: FlowJAX's `transform` is `forward`
here, its `condition` is the context.
"""

from typing import Any

import equinox as eqx
import flowjax.bijections
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.flowjax.constants import join_flowjax, join_pushforward, split_flowjax, split_pushforward
from pushforward.numerics.programs import Static


class FlowJAXBijection(AbstractBijection):
    """A bijection b of FlowJAX as a bijection of pushforward: x = b.transform(z, context), z = b.inverse(x, context).

    It serves as a layer of a flow and, if its shape is (), as a transformer of coupling and autoregressive layers. What
    FlowJAX wraps in `NonTrainable` is frozen. A model file needs `extra=`, and refuses most bijections of FlowJAX,
    because their parts hold functions.

    Args:
        bijection: b.

    Cost: that of b.

    Raises:
        TypeError: if b is not a bijection of FlowJAX.
        NotImplementedError: by the inverse, if b has none; FlowJAX's `NumericalInverse` gives it one.

    Reference: Ward 2024, FlowJAX (software).

    Example:
        >>> import flowjax.bijections, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.flowjax import FlowJAXBijection
        >>> layer = FlowJAXBijection(flowjax.bijections.Affine(jnp.ones(2), jnp.array([1.0, 2.0])))
        >>> print(pf.Flow(pf.bases.Normal((2,)), layer).log_prob([[1.0, 1.0]]))
        [-2.5310242]
    """

    trained: flowjax.bijections.AbstractBijection
    constants: flowjax.bijections.AbstractBijection = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, bijection: Any) -> None:
        if not isinstance(bijection, flowjax.bijections.AbstractBijection):
            raise TypeError(
                f"bijection: expected one of FlowJAX such as flowjax.bijections.Affine(), got {bijection!r}."
            )
        self.trained, self.constants = split_flowjax(bijection)
        self.shape, self.context_shape = bijection.shape, bijection.cond_shape

    @property
    def bijection(self) -> flowjax.bijections.AbstractBijection:
        """The bijection of FlowJAX, with the present weights."""
        return join_flowjax(self.trained, self.constants)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return _cast(self.bijection.transform_and_log_det(z, context), z)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return _cast(self.bijection.inverse_and_log_det(x, context), x)


class PushforwardBijection(flowjax.bijections.AbstractBijection):
    """A bijection T of pushforward as a bijection of FlowJAX: transform(x, condition) = T(x; condition).

    It can be used in FlowJAX's `Transformed`, `Chain`, `Invert` and others, and trained by FlowJAX. Frozen arrays are
    `NonTrainable`. Evaluation draws no random numbers; a log-determinant that training estimates is the one that
    `log_prob` uses.

    Args:
        bijection: T.

    Cost: that of T.

    Raises:
        TypeError: if T is not a bijection of pushforward.

    Reference: Ward 2024, FlowJAX (software).

    Example:
        >>> import flowjax.distributions, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.flowjax import PushforwardBijection
        >>> layer = PushforwardBijection(pf.nsf(dim=2, key=0).bijection)
        >>> flow = flowjax.distributions.Transformed(flowjax.distributions.StandardNormal((2,)), layer)
        >>> print(flow.log_prob(jnp.zeros((3, 2))).shape)
        (3,)
    """

    arrays: tuple[Any, ...]  # constant ones are `NonTrainable`
    static: Static = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, bijection: Any) -> None:
        if not isinstance(bijection, AbstractBijection):
            raise TypeError(f"bijection: expected one of pushforward such as flow.bijection, got {bijection!r}.")
        self.arrays, self.static = split_pushforward(bijection)
        self.shape, self.cond_shape = bijection.shape, bijection.context_shape

    @property
    def bijection(self) -> AbstractBijection:
        """The bijection of pushforward, with the present weights."""
        return join_pushforward(self.arrays, self.static)

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        return self.bijection.forward_and_log_det(x, self._context(condition))

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        return self.bijection.inverse_and_log_det(y, self._context(condition))

    def _context(self, condition: Any) -> Any:
        """FlowJAX passes conditions to unconditional bijections too."""
        return None if self.cond_shape is None else condition


def _cast(result: tuple[Array, Array], value: Array) -> tuple[Array, Array]:
    """A result in the dtype of the input: under x64 some log-determinants of FlowJAX are float64 for any input."""
    return result[0].astype(value.dtype), result[1].astype(value.dtype)

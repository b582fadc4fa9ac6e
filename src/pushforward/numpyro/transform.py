"""The bijection of a flow as a transform of NumPyro."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from pushforward.core.bijection import AbstractBijection, as_float
from pushforward.errors import ShapeError
from pushforward.numerics.programs import Static, compiled, flatten, unflatten
from pushforward.numpyro.distribution import real_events


class FlowTransform(Transform):
    """A bijection of pushforward as a transform of NumPyro: x = T(z), from reals to reals of one shape.

    Leading axes are mapped over. `AutoPushforward.get_transform` returns the transform of neural transport.

    Args:
        bijection: T, unconditional.

    Raises:
        TypeError: if it is not a bijection of pushforward.
        ShapeError: if it takes a context.

    Reference: Hoffman, Sountsov, Dillon, Langmore, Tran & Vasudevan 2019 (neural transport).

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> from pushforward.numpyro import FlowTransform
        >>> transform = FlowTransform(pf.iaf(dim=2, key=0).bijection)
        >>> print(transform(jnp.ones((3, 2))).shape)
        (3, 2)
    """

    def __init__(self, bijection: Any) -> None:
        if not isinstance(bijection, AbstractBijection):
            raise TypeError(
                f"bijection: expected a bijection of pushforward such as flow.bijection, got {bijection!r}."
            )
        if bijection.context_shape is not None:
            raise ShapeError("bijection: expected an unconditional one, got one that takes a context.")
        self.shape = bijection.shape
        self.arrays, self.static = flatten(bijection)

    @property
    def domain(self) -> constraints.Constraint:
        return real_events(self.shape)

    @property
    def codomain(self) -> constraints.Constraint:
        return real_events(self.shape)

    def __call__(self, x: Any) -> Array:
        return self.call_with_intermediates(x)[0]

    def _inverse(self, y: Any) -> Array:
        return self._mapped(y, inverse=True)[0]

    def call_with_intermediates(self, x: Any) -> tuple[Array, Array]:
        """T(x) and its log-determinant, from one pass."""
        return self._mapped(x, inverse=False)

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Array:
        """log|det dT/dx| at x; with the intermediates of the forward pass no further pass is needed."""
        return self._mapped(x, inverse=False)[1] if intermediates is None else intermediates

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.arrays,), (("arrays",), {"static": self.static, "shape": self.shape})

    def eq(self, other: object, static: bool = False) -> bool:
        return (
            isinstance(other, FlowTransform)
            and self.static == other.static
            and all(a is b for a, b in zip(self.arrays, other.arrays, strict=True))
        )

    def _mapped(self, value: Any, inverse: bool) -> tuple[Array, Array]:
        value = as_float(value)
        lead = value.shape[: value.ndim - len(self.shape)]
        if value.shape[len(lead) :] != self.shape:
            raise ShapeError(f"expected values of shape (..., {', '.join(map(str, self.shape))}), got {value.shape}.")
        return _run(self.static, inverse, len(lead), self.arrays, value)


@compiled(3, keep=32, shapes_of=lambda static, *_: static.event_shapes)
def _run(static: Static, inverse: bool, n_lead: int, arrays: list[Any], value: Array) -> tuple[Array, Array]:
    """The bijection over leading axes: compiled for concrete arrays, inlined under a caller's trace."""
    bijection = unflatten(arrays, static)
    map_and_log_det = bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det
    if n_lead == 0:
        return map_and_log_det(value)
    lead = value.shape[:n_lead]
    out, log_det = jax.vmap(map_and_log_det)(jnp.reshape(value, (-1, *bijection.shape)))
    return out.reshape(value.shape), log_det.reshape(lead)

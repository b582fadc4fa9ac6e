"""Abstract base class of bijections, which map one sample in both directions."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.stacked import ExplainStackedErrors, check_shapes
from pushforward.errors import ShapeError
from pushforward.numerics.precision import in_full_precision


class AbstractBijection(eqx.Module):
    """A differentiable bijection x = T(z; context) of ONE sample, in both directions, with log-determinants.

    `forward` maps base to data (sampling), `inverse` maps data to base (density), everywhere in the library. The public
    methods of a distribution map over batches; a batch passed to a bijection is an error.

    Attributes:
        shape: event shape, the same on both sides; () for an `AbstractScalarBijection`.
        context_shape: shape of the context, or None for an unconditional bijection.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    context_shape: eqx.AbstractVar[tuple[int, ...] | None]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, argument in (("forward_and_log_det", "z"), ("inverse_and_log_det", "x")):
            if name in cls.__dict__:
                setattr(cls, name, _with_checks(cls.__dict__[name], argument))

    @abc.abstractmethod
    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Base to data: x = T(z) and log|det dT/dz| (a scalar).

        Args:
            z: one latent sample of shape `shape`.
            context: of shape `context_shape`, or None.
            key: a key in training, for layers that draw random numbers; None in evaluation.
        """

    @abc.abstractmethod
    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Data to base: z = T^-1(x) and log|det dT^-1/dx| (a scalar)."""

    def forward(self, z: Array, context: Array | None = None) -> Array:
        """x = T(z), without the log-determinant."""
        return self.forward_and_log_det(z, context)[0]

    def inverse(self, x: Array, context: Array | None = None) -> Array:
        """z = T^-1(x), without the log-determinant."""
        return self.inverse_and_log_det(x, context)[0]

    def centred(self) -> tuple["AbstractBijection", np.ndarray | None]:
        """The bijection T - c, and its centre c if that is far from zero; self and None by default.

        Distributions subtract c from data on the host, in float64, before the cast to the dtype of the layers.
        """
        return self, None


def as_float(value: Any) -> Float[Array, "*shape"]:
    """An array of floats: floating-point input keeps its dtype, other numbers get JAX's default."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _with_checks(method: Callable[..., Any], argument: str) -> Callable[..., Any]:
    @functools.wraps(method)
    @in_full_precision
    def checked(
        self: AbstractBijection, value: Any, context: Any = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        value = as_float(value)
        _check_event(self, value, argument)
        context = _check_context(self, context)
        with ExplainStackedErrors(self):
            result = method(self, value, context, key=key)
        check_shapes(self, "a value and its log-determinant", result, self.shape)
        return result

    return checked


def _check_event(bijection: AbstractBijection, value: Array, argument: str) -> None:
    if value.shape == bijection.shape:
        return
    name = type(bijection).__name__
    n_event = len(bijection.shape)
    if value.ndim > n_event and value.shape[value.ndim - n_event :] == bijection.shape:
        raise ShapeError(
            f"{name} acts on one sample: expected {argument} of shape {bijection.shape}, got a batch of shape "
            f"{value.shape}. Use jax.vmap(bijection.forward) here, or the log_prob and sample of a Flow."
        )
    raise ShapeError(
        f"{name} expected {argument} of shape {bijection.shape}, got {value.shape}: reshape {argument}, or build the "
        f"bijection with shape={value.shape}."
    )


def _check_context(bijection: AbstractBijection, context: Any) -> Array | None:
    name = type(bijection).__name__
    if bijection.context_shape is None:
        if context is not None:
            raise ShapeError(
                f"{name} is unconditional, but got a context of shape {jnp.shape(context)}: leave it out, or build "
                "the layer with a context (context_dim= in recipes, Conditional(...) around a layer)."
            )
        return None
    if context is None:
        raise ShapeError(
            f"{name} is conditional: expected a context of shape {bijection.context_shape}, got none. Pass context=."
        )
    context = as_float(context)
    if context.shape != bijection.context_shape:
        raise ShapeError(
            f"{name} expected a context of shape {bijection.context_shape}, got {context.shape}: one sample takes one "
            "context; batches go through the methods of a Flow."
        )
    return context


def merge_context_shapes(bijections: tuple[AbstractBijection, ...]) -> tuple[int, ...] | None:
    """The common context shape of several layers; None if all are unconditional."""
    shapes = {b.context_shape for b in bijections if b.context_shape is not None}
    if len(shapes) > 1:
        raise ShapeError(
            f"the layers expect contexts of different shapes {sorted(shapes)}: build them with one context_shape."
        )
    return shapes.pop() if shapes else None

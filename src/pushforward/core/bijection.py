"""The one noun of the library: a bijection of one sample, with its two verbs."""

import abc
import contextlib
import contextvars
import functools
from collections.abc import Callable, Generator
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.stacked import Explained, check_shapes
from pushforward.errors import ShapeError
from pushforward.numerics.precision import in_full_precision

_elementwise = contextvars.ContextVar("elementwise", default=False)


@contextlib.contextmanager
def elementwise() -> Generator[None]:
    """Let scalar bijections act on whole arrays, each leaf carrying the arrays' axes behind its own leading one."""
    token = _elementwise.set(True)
    try:
        yield
    finally:
        _elementwise.reset(token)


class AbstractBijection(eqx.Module):
    """A differentiable bijection x = T(z; context) of ONE sample, in both directions, with log-determinants.

    `forward` is base to data (sampling), `inverse` is data to base (density), everywhere in the library. Batches are
    mapped in one place, the public methods of a distribution; a batch handed to a bijection is an error.

    Attributes:
        shape: event shape, the same on both sides; () for a scalar bijection, which then serves as the transformer of
            element-wise, coupling and autoregressive layers. Scalar bijections are written element by element: leaves
            are indexed along their leading axis only.
        context_shape: shape of the context, or None for an unconditional bijection.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    context_shape: eqx.AbstractVar[tuple[int, ...] | None]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for verb, argument in (("forward_and_log_det", "z"), ("inverse_and_log_det", "x")):
            if verb in cls.__dict__:
                setattr(cls, verb, _checked(cls.__dict__[verb], argument))

    @abc.abstractmethod
    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Base to data: x = T(z) and log|det dT/dz| (a scalar).

        Args:
            z: one latent sample of shape `shape`.
            context: of shape `context_shape`, or None.
            key: None for evaluation; a key in training, for layers that draw random numbers.
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
        """T - c and c, for a centre c far from zero of which the map knows; itself and None by default.

        The boundary subtracts c from data on the host, in float64, before they take the type in which layers compute.
        """
        return self, None


def as_float(value: Any) -> Float[Array, "*shape"]:
    """An array of floats: floating-point input keeps its type, other numbers take JAX's default."""
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _checked(verb: Callable[..., Any], argument: str) -> Callable[..., Any]:
    @functools.wraps(verb)
    @in_full_precision
    def checked(
        self: AbstractBijection, value: Any, context: Any = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        value = as_float(value)
        if self.shape == () and _elementwise.get():
            return verb(self, value, context, key=key)
        _check_event(self, value, argument)
        context = _check_context(self, context)
        with Explained(self):
            found = verb(self, value, context, key=key)
        check_shapes(self, "a value and its log-determinant", found, self.shape)
        return found

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
                f"{name} is unconditional, but a context of shape {jnp.shape(context)} was given: leave it out, or "
                "build the layer with a context (context_dim= in recipes, Conditional(...) around a layer)."
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
    """The context shape that several layers agree on; None if all are unconditional."""
    shapes = {b.context_shape for b in bijections if b.context_shape is not None}
    if len(shapes) > 1:
        raise ShapeError(
            f"the layers expect contexts of different shapes {sorted(shapes)}: build them with one context_shape."
        )
    return shapes.pop() if shapes else None

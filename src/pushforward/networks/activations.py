"""Activations of the networks: a name, a function, or a module whose parameters are trained."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
}

Activation: TypeAlias = str | Callable[[Array], Array]


def split_activation(activation: Activation) -> tuple[Activation | None, eqx.Module | None]:
    """An activation as the two fields of a network: a name or function (static), and a module (trained) or None.

    A function of `ACTIVATIONS` is stored by its name.

    >>> split_activation(jnp.tanh), split_activation(jnp.sin)[0] is jnp.sin
    (('tanh', None), True)
    """
    if isinstance(activation, str):
        activation_fn(activation)
        return activation, None
    if not callable(activation):
        raise ValueError(f"activation: expected a name or a function of an array, got {activation!r}.")
    for name, function in ACTIVATIONS.items():
        if activation is function:
            return name, None
    _check_elementwise(activation)
    return (None, activation) if isinstance(activation, eqx.Module) else (activation, None)


def _check_elementwise(activation: Callable[[Array], Array]) -> None:
    """Raise a ValueError for a function that is not element-wise, as softmax: layers apply it along several axes."""
    advice = "Parameters of a module must be scalars."
    for shape in ((), (2, 3)):
        try:
            got = jax.eval_shape(activation, jax.ShapeDtypeStruct(shape, jnp.result_type(float)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"activation: expected an element-wise function, but for an array of shape {shape} it raised "
                f"{type(error).__name__}: {error}. {advice}"
            ) from error
        if getattr(got, "shape", None) != shape:
            raise ValueError(
                f"activation: expected an element-wise function, but it maps an array of shape {shape} to {got}. "
                f"{advice}"
            )
    x = np.linspace(-1.0, 1.0, 6).reshape(2, 3)
    moved = x.copy()
    moved[0, 0] += 1.0
    before, after = (activation(jnp.asarray(array, jnp.result_type(float))) for array in (x, moved))
    if isinstance(before, jax.core.Tracer):  # built under jit or vmap
        return
    if (np.asarray(before) != np.asarray(after)).sum() > 1:
        raise ValueError("activation: expected an element-wise function, but one input changes several outputs.")


def activation_fn(activation: Any, trained: Any = None) -> Callable[[Array], Array]:
    """The activation function of a network's two fields."""
    if trained is not None:
        return trained
    if not isinstance(activation, str):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(sorted(ACTIVATIONS))}, got {activation!r}.")
    return ACTIVATIONS[activation]

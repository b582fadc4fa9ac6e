"""The closed tables of functions and of Equinox's modules that a model file may name, and the names of functions."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward.networks import ACTIVATIONS

# functions of one array, by the module that documents them
_FUNCTIONS = {
    "jax.nn": (
        "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "identity", "leaky_relu", "log_sigmoid",
        "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus",
        "sparse_plus", "sparse_sigmoid", "squareplus", "standardize",
    ),
    "jax.numpy": (
        "abs", "arcsinh", "arctan", "cos", "cosh", "exp", "expm1", "log1p", "sign", "sin", "sinc", "sinh", "sqrt",
        "square", "tan", "tanh",
    ),
    "jax.lax": ("cos", "erf", "exp", "logistic", "sin", "tanh"),
}  # fmt: skip


def is_concrete(cls: type) -> bool:
    """Whether a class of modules has instances."""
    return cls is not eqx.Module and not (inspect.isabstract(cls) or getattr(cls, "__abstractvars__", None))


def _equinox_modules() -> dict[str, type[eqx.Module]]:
    classes = [value for value in vars(eqx.nn).values() if inspect.isclass(value) and issubclass(value, eqx.Module)]
    return {f"equinox.nn.{cls.__name__}": cls for cls in classes if is_concrete(cls)}


EQUINOX = _equinox_modules()


@functools.cache
def known_functions() -> dict[str, Callable[..., Any]]:
    """Functions by the names under which model files store them; the first name of a function is used.

    >>> known_functions()["jax.nn.gelu"] is jax.nn.gelu
    True
    """
    known: dict[str, Callable[..., Any]] = dict(ACTIVATIONS)
    for module, name_of_module in ((jax.nn, "jax.nn"), (jnp, "jax.numpy"), (jax.lax, "jax.lax")):
        names = [name for name in _FUNCTIONS[name_of_module] if hasattr(module, name)]
        known |= {f"{name_of_module}.{name}": getattr(module, name) for name in names}
    # what an `equinox.nn.MLP` holds if it is given no final activation: a function without a name of its own
    known["equinox.nn.identity"] = inspect.signature(eqx.nn.MLP).parameters["final_activation"].default
    return known


def function_name(function: Callable[..., Any]) -> str:
    """The name under which a model file stores a function: of the table, or the qualified one of a caller's function.

    Raises:
        ValueError: for a function that has no name by which the caller could pass it in loading.

    >>> function_name(jax.nn.swish), function_name(jnp.sin)
    ('silu', 'jax.numpy.sin')
    """
    for name, known in known_functions().items():
        if known is function:
            return name
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str) or "<" in name or not isinstance(getattr(function, "__module__", None), str):
        raise ValueError(
            "define it by `def` at the top level of a module, or as an equinox.Module, and pass it to "
            "load(..., extra=(my_activation,)); a lambda, a local function or a partial has no name to find it by"
        )
    return qualified_name(function)


def qualified_name(value: Any) -> str:
    """The module and the name of a class or function of the caller."""
    return f"{value.__module__}.{value.__qualname__}"

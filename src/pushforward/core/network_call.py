"""The call of any network: one of the protocol (x, context, key), or a module of one array such as `equinox.nn.MLP`."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.errors import ShapeError

_Kind = inspect.Parameter


class CallSignature(NamedTuple):
    """Which arguments a network takes besides x."""

    context: bool
    key: bool


def call_network(
    network: Callable[..., Any], x: Array, context: Array | None, out_shape: tuple[int, ...] | None,
    *, key: PRNGKeyArray | None = None,
) -> Any:  # fmt: skip
    """The output of any network, in the shape `out_shape`.

    A network with a second argument is called as network(x, context), one without as network([x; context]): the
    context is appended to a vector, and to the channels of every pixel of an image. The signature decides, and also
    whether `key` is passed. Equinox's modules take no context; without a key they are called in inference mode.

    Args:
        network: a module or a function.
        x: input of one sample.
        context: or None.
        out_shape: of the result; a vector of as many numbers is reshaped. None to return the output as it is.
        key: enables randomness of training, such as dropout.

    Raises:
        ShapeError: if the output has another size.

    >>> import equinox as eqx, jax
    >>> mlp = eqx.nn.MLP(in_size=3, out_size=4, width_size=8, depth=1, key=jax.random.key(0))
    >>> print(call_network(mlp, jnp.ones(2), jnp.ones(1), (2, 2)).shape)
    (2, 2)
    """
    takes = signature_of(network)
    if key is None and isinstance(network, eqx.Module) and not type(network).__module__.startswith("pushforward."):
        network = eqx.nn.inference_mode(network)  # the library's own modules have no such mode
    options = {"key": key} if takes.key else {}
    out = network(x, context, **options) if takes.context else network(_joined(x, context), **options)
    if out_shape is None or out.shape == out_shape:
        return out
    if not _fits(out.shape, out_shape):
        raise ShapeError(
            f"network: expected an output of shape {out_shape} or {math.prod(out_shape)} numbers, got {out.shape}."
        )
    return out.reshape(out_shape)


def check_output(
    network: Callable[..., Array], in_shape: tuple[int, ...], context_shape: tuple[int, ...] | None,
    out_shape: tuple[int, ...], meaning: str,
) -> None:  # fmt: skip
    """Raise a ShapeError unless the output of a network fits; nothing is computed.

    Args:
        network, out_shape: as for `call_network`.
        in_shape, context_shape: of its inputs.
        meaning: of the output, for the message.
    """
    if not callable(network):
        raise ValueError(f"network: expected a module called as network(x, context, key=...), got {network!r}.")
    dtype = jnp.result_type(float)
    x = jax.ShapeDtypeStruct(in_shape, dtype)
    context = None if context_shape is None else jax.ShapeDtypeStruct(context_shape, dtype)
    try:
        out = jax.eval_shape(lambda x, context: call_network(network, x, context, None), x, context)
    except ShapeError:
        raise
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"network: expected one that takes an input of shape {in_shape} and a context of shape {context_shape}, "
            f"but {type(network).__name__} raised {type(error).__name__}: {error}"
        ) from error
    got = getattr(out, "shape", None)
    if got is None or not (got == out_shape or _fits(got, out_shape)):
        raise ShapeError(
            f"network: expected an output of shape {out_shape} ({meaning}), or as many numbers in a vector, got {got}."
        )


def signature_of(network: Callable[..., Any]) -> CallSignature:
    """The arguments that a network takes, from its signature.

    A second positional argument is the context if it is called `context` or `condition`, or has no default or None; not
    one called `state`, by which stateful modules of Equinox go.

    >>> signature_of(lambda x, context=None, *, key=None: x), signature_of(jnp.tanh)
    (CallSignature(context=True, key=True), CallSignature(context=False, key=False))
    """
    try:
        parameters = inspect.signature(network).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return CallSignature(context=False, key=False)
    kinds = [p.kind for p in parameters.values()]
    positional = [p for p in parameters.values() if p.kind in (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)]
    is_equinox = type(network).__module__.startswith("equinox.nn.")
    second = positional[1] if len(positional) > 1 else None
    has_second = _Kind.VAR_POSITIONAL in kinds or (
        second is not None
        and second.name not in ("state", "key")
        and (second.name in ("context", "condition") or second.default in (inspect.Parameter.empty, None))
    )
    return CallSignature(context=has_second and not is_equinox, key="key" in parameters or _Kind.VAR_KEYWORD in kinds)


def _joined(x: Array, context: Array | None) -> Array:
    """x and context as one array: vectors appended to one another, or as channels of an image."""
    if context is None:
        return x
    if x.ndim == 1:
        return jnp.concatenate([x, context.reshape(-1)])
    if context.ndim == 1:
        context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[0]))
    if context.shape[:-1] != x.shape[:-1]:
        raise ShapeError(
            f"network: expected one that takes the context as its second argument, because a context of shape "
            f"{context.shape} cannot be appended to an input of shape {x.shape}."
        )
    return jnp.concatenate([x, context], -1)


def _fits(shape: Any, out_shape: tuple[int, ...]) -> bool:
    return shape == (math.prod(out_shape),)

"""Distributions, whose public methods map functions of one sample over batches.

Bijections and distributions are written for one sample. The public methods of a distribution check trailing shapes,
broadcast leading axes, map and compile. Concrete batches are centred in float64 before the cast (`Boundary`), padded to
one of a few sizes and cut into chunks, so another batch size compiles nothing new and memory is bounded; a NaN from
finite input raises an error. Under a caller's trace (jit, grad, vmap) the methods only map: such a sample gives NaN.
"""

import abc
import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.arguments import (
    Count,
    as_array,
    as_shape,
    broadcast_axes,
    check_context,
    check_event,
    leading_axes,
)
from pushforward.core.boundary import boundary_of
from pushforward.core.stacked import ExplainStackedErrors, check_parameters, check_shapes
from pushforward.core.state import for_samples, has_hook
from pushforward.errors import NumericError
from pushforward.numerics.batches import is_on_accelerator, run_checked
from pushforward.numerics.keys import as_key
from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.programs import is_traced


class _PublicMethod:
    """Descriptor that binds a method as a `Partial`, a pytree as Equinox's bound methods are.

    Equinox builds a module at every access of a method, which costs 0.1 ms; a call of a small flow takes 0.2 ms.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # ty: ignore[invalid-argument-type]

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        if instance is None:
            return self.function
        method = jax.tree_util.Partial(self.function, instance)
        method.__doc__ = self.function.__doc__
        return method


class AbstractDistribution(eqx.Module):
    """A distribution of an event of shape `shape`, given a context of shape `context_shape` (or None).

    Concrete classes implement log-density and sampling for one sample; the public methods below map them over batches.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    context_shape: eqx.AbstractVar[tuple[int, ...] | None]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, expected in (
            ("log_prob_one", "a log-density"),
            ("sample_and_log_prob_one", "a sample and its log-density"),
        ):
            if name in cls.__dict__:
                setattr(cls, name, _check_result(cls.__dict__[name], expected))

    @abc.abstractmethod
    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        """log p(x | context) of one sample, in nats; a key is passed in training only."""

    @abc.abstractmethod
    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        """One sample and its log-density, without a second pass."""

    def check_samples(self, name: str, x: np.ndarray | Array) -> None:
        """Raise an error for finite samples x (n, *shape) that cannot be events; by default any real numbers can."""

    def centred(self) -> tuple["AbstractDistribution", np.ndarray | None]:
        """The distribution of x - c, and a centre c (*shape) far from zero; self and None if it has no such centre."""
        return self, None

    def context_centred(self) -> tuple["AbstractDistribution", np.ndarray | None]:
        """This distribution as a function of context - c, and the centre c (*context_shape); self and None likewise."""
        return self, None

    @_PublicMethod
    def log_prob(self, x: Any, context: Any = None) -> Array:
        """Log-density of every sample, in nats.

        Args:
            x: (..., *shape). One-dimensional data are (n, 1). Columns of a frame are taken by position.
            context: (..., *context_shape); leading axes broadcast against those of x.

        Returns:
            Array of the broadcast leading axes. -inf outside the support, or too far out for the dtype.

        Raises:
            ShapeError: if trailing shapes do not fit.
            DataError: if x or the context holds NaN or infinite values.
            NumericError: if a log-density is NaN although its input is finite. The program looks for NaN itself, and
                the call waits for its answer.

        Example:
            >>> import jax.numpy as jnp, pushforward as pf
            >>> print(pf.bases.Normal((2,)).log_prob(jnp.zeros((3, 2))).shape)
            (3,)
        """
        return map_log_prob(self, log_prob_batch, x, context)

    @_PublicMethod
    def sample(self, n: Count = (), *, key: PRNGKeyArray | int | np.integer, context: Any = None) -> Array:
        """Independent samples.

        Args:
            n: number of samples, or a shape; () for one sample.
            key: a JAX key or an int. `sample(n, key=k)[:m]` equals `sample(m, key=k)` (up to rounding in the last bits
                if another batch size is compiled).
            context: (..., *context_shape); `sample(5, context=(m, c))` has shape (5, m, *shape).

        Returns:
            Array (*n, *leading axes of context, *shape).

        Raises:
            ShapeError: if the context does not fit.
            NumericError: if a sample is NaN.
        """
        return _sample(self, samples_only, n, key, context)[0]

    @_PublicMethod
    def sample_and_log_prob(
        self, n: Count = (), *, key: PRNGKeyArray | int | np.integer, context: Any = None
    ) -> tuple[Array, Array]:
        """Samples with their log-densities, from one pass; the same samples as `sample` with these arguments."""
        samples, log_probs = _sample(self, sample_batch, n, key, context)
        return samples, log_probs


def map_log_prob(
    distribution: AbstractDistribution, batched: Callable[..., tuple[Array]], x: Any, context: Any
) -> Array:
    """The output of `batched`, such as `log_prob_batch`, with the leading axes of x and context; see `log_prob`."""
    boundary = boundary_of(distribution)
    events: Any = boundary.shape, boundary.context_shape
    x, context = check_event(x, events[0]), check_context(context, events[1])
    lead = x.shape[: x.ndim - len(events[0])]
    if context is not None:
        lead = broadcast_axes(lead, leading_axes(context, events[1]))
    size = math.prod(lead)
    if boundary.is_traced or is_traced(x, context):
        inputs = [
            None if value is None else jnp.broadcast_to(value, (*lead, *event)).reshape(size, *event)
            for value, event in zip((x, context), events, strict=True)
        ]
    else:
        inputs = [boundary.events(x, lead), boundary.contexts(context, lead)]
        # Asked of the class: a method of the instance is built anew at each access, in 30 microseconds.
        check_samples = type(distribution).check_samples
        if check_samples is not AbstractDistribution.check_samples:
            boundary.refuse(inputs, x, context)
            check_samples(distribution, "x", boundary.uncentred(inputs[0], x, lead, boundary.shape))
        run = run_checked(batched, boundary.program, inputs, size, boundary.event_size)
        if run is None or run[1]:
            boundary.refuse(inputs, x, context)
        if run is not None:
            outputs, _, is_nan = run
            if is_nan:
                _refuse_nan(outputs[0])
            return _reshape(outputs[0], lead)
        distribution, inputs = boundary.inner or distribution, [None if a is None else jnp.asarray(a) for a in inputs]
    output = batched(distribution, *inputs)[0]
    return output.reshape(*lead, *output.shape[1:])


def _sample(
    distribution: AbstractDistribution, batched: Callable[..., tuple[Array, ...]], n: Count, key: Any, context: Any
) -> tuple[Array, ...]:
    """The outputs of `batched`, with leading axes n and those of the context."""
    shape, key = as_shape(n), as_key(key)
    boundary = boundary_of(distribution)
    context = check_context(context, boundary.context_shape)
    lead = (*shape, *leading_axes(context, boundary.context_shape))
    size = math.prod(lead)
    if not (boundary.is_traced or is_traced(key, context)):
        inputs = [np.arange(size, dtype=np.uint32), boundary.contexts(context, lead)]
        run = run_checked(batched, boundary.program, inputs, size, boundary.event_size, key)
        if run is None or run[1]:
            boundary.refuse([None, inputs[1]], None, context)
        if run is not None:
            outputs, _, is_nan = run
            if is_nan:
                _raise_on_nan(outputs, lambda row: _sample_eagerly(boundary.inner or distribution, key, inputs, row))
            return tuple(_reshape(part, lead) for part in boundary.uncentre(outputs))
    indices, flat = jnp.arange(size, dtype=jnp.uint32), None
    if (event := distribution.context_shape) is not None:
        flat = jnp.broadcast_to(context, (*lead, *event)).reshape(size, *event)
    return tuple(part.reshape(*lead, *part.shape[1:]) for part in batched(distribution, key, indices, flat))


def checked_context(distribution: AbstractDistribution, context: Any) -> np.ndarray | Array:
    """One context as a float64 array, checked to be finite; a tracer is returned as it is."""
    if is_traced(context):
        return context
    context, boundary = as_array(context, "context"), boundary_of(distribution)
    if context.shape == distribution.context_shape and not boundary.is_traced:
        boundary.refuse([None, boundary.contexts(context, ())], None, context)
    return np.asarray(context, np.float64)


def _check_result(method: Callable[..., Any], expected: str) -> Callable[..., Any]:
    """A method for one sample in full precision that compares the shape of its result with the event shape."""

    @functools.wraps(method)
    @in_full_precision
    def checked(self: AbstractDistribution, *args: Any, **named: Any) -> Any:
        with ExplainStackedErrors(self):
            result = method(self, *args, **named)
        check_shapes(self, expected, result, self.shape)
        if not isinstance(result, tuple):
            context = named["context"] if "context" in named else args[1]
            check_parameters(self, lambda: self.sample_and_log_prob_one(jax.random.key(0), context))
        return result

    return checked


def _raise_on_nan(outputs: tuple[Any, ...], sample_eagerly: Callable[[int], None]) -> None:
    size = len(outputs[0])
    is_nan = np.zeros(size, bool)
    for part in outputs:
        is_nan |= np.isnan(part).reshape(size, math.prod(part.shape[1:])).any(1)
    sample_eagerly(int(is_nan.argmax()))
    raise NumericError(
        f"{is_nan.sum()} of {size} samples hold NaN, first at row {is_nan.argmax()}: a layer overflows there, or a "
        "numerical inverse did not converge. Run pushforward.check(flow) for details."
    )


def _sample_eagerly(distribution: AbstractDistribution, key: PRNGKeyArray, inputs: list[Any], row: int) -> None:
    """Draw one sample again without compilation, so that a layer whose solver failed raises its own error."""
    if has_hook(distribution, "has_search"):
        context = None if inputs[1] is None else jnp.asarray(inputs[1][row])
        with jax.disable_jit():
            distribution.sample_and_log_prob_one(jax.random.fold_in(key, inputs[0][row]), context)


def log_prob_batch(distribution: AbstractDistribution, x: Array, context: Array | None) -> tuple[Array]:
    """The log-densities of a batch; at module level, because it is part of the key of compiled programs."""
    axes = (0, None if context is None else 0)
    return (jax.vmap(lambda x, c: distribution.log_prob_one(x, c, None), axes)(x, context),)


def sample_batch(
    distribution: AbstractDistribution, key: PRNGKeyArray, indices: Array, context: Array | None
) -> tuple[Array, ...]:
    """Samples and their log-densities; sample i depends on the key, indices[i] and context[i] only."""
    axes = (0, None if context is None else 0)
    return jax.vmap(lambda i, c: distribution.sample_and_log_prob_one(jax.random.fold_in(key, i), c), axes)(
        indices, context
    )


def samples_only(
    distribution: AbstractDistribution, key: PRNGKeyArray, indices: Array, context: Array | None
) -> tuple[Array, ...]:
    """The samples without their log-densities, which are then not computed."""
    return sample_batch(for_samples(distribution), key, indices, context)[:1]


def _refuse_nan(log_probs: Any) -> None:
    is_nan = np.isnan(log_probs)
    is_nan = is_nan.reshape(len(is_nan), -1).any(1)
    raise NumericError(
        f"log_prob is NaN for {is_nan.sum()} of {is_nan.size} finite rows, first at row {is_nan.argmax()}: the "
        "point may lie outside the range of a layer, a layer overflows there, or a numerical inverse did not "
        "converge. Run pushforward.check(flow, x) for details."
    )


def _reshape(output: Any, lead: tuple[int, ...]) -> Array:
    """A program's output (n, ...) with these leading axes, reshaped on the host: jnp would compile for each shape."""
    shape = (*lead, *output.shape[1:])
    if isinstance(output, jax.Array) and output.shape == shape:
        return output
    return output.reshape(shape) if is_on_accelerator(output) else jax.device_put(np.asarray(output).reshape(shape))

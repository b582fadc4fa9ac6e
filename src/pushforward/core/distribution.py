"""Distributions, and the one place where samples become batches.

Inside, everything acts on one sample. The public methods of a distribution check trailing shapes, broadcast leading
axes, map and compile. With concrete arrays the rows are padded to one of a few sizes and cut into chunks, so another
row count compiles nothing new and memory stays flat; a NaN that arises from finite input is raised here. Under a
caller's own trace (jit, grad, vmap) the methods only map, and such a row is NaN.
Concrete rows are centred in float64 before they take the flow's type (`boundary`).
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

from pushforward.core.boundary import boundary
from pushforward.core.named_rows import as_floats, to_array
from pushforward.core.stacked import Explained, check_parameters, check_shapes
from pushforward.core.state import has_hook
from pushforward.errors import DataError, NumericError, ShapeError
from pushforward.numerics.arrays import is_inexact
from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.programs import is_on_device, is_traced, run_batched

Count = int | np.integer | tuple[int | np.integer, ...]


class _Public:
    """A public method, bound as a partial function that is a pytree, as Equinox's bound methods are.

    Equinox makes a module of a method at every access and unpacks it at the call, for 0.1 ms: a small flow takes 0.2.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # ty: ignore[invalid-argument-type]

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        return self.function if instance is None else jax.tree_util.Partial(self.function, instance)


class AbstractDistribution(eqx.Module):
    """A distribution of one event of shape `shape`, given a context of shape `context_shape` (or None).

    Concrete classes say how one sample is scored and drawn; the public methods below batch them.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    context_shape: eqx.AbstractVar[tuple[int, ...] | None]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for verb, what in (
            ("log_prob_one", "a log-density"),
            ("sample_and_log_prob_one", "a sample and its log-density"),
        ):
            if verb in cls.__dict__:
                setattr(cls, verb, _checked(cls.__dict__[verb], what))

    @abc.abstractmethod
    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        """log p(x | context) of one sample, in nats; a key means training."""

    @abc.abstractmethod
    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        """One sample and its log-density, without a second pass."""

    def check_samples(self, name: str, rows: np.ndarray | Array) -> None:
        """Refuse finite rows (n, *shape) that cannot be events, in a sentence; any real numbers can be by default."""

    def centred(self) -> tuple["AbstractDistribution", np.ndarray | None]:
        """The distribution of x - c and c (*shape), for a centre c far from zero of which this one knows; else None."""
        return self, None

    def context_centred(self) -> tuple["AbstractDistribution", np.ndarray | None]:
        """This distribution for contexts from which a centre (*context_shape) is subtracted, likewise."""
        return self, None

    @_Public
    def log_prob(self, x: Any, context: Any = None) -> Array:
        """Log-density in nats, row by row.

        Args:
            x: (..., *shape). One-dimensional data are (n, 1).
            context: (..., *context_shape); leading axes broadcast against those of x.

        Returns:
            Array of the broadcast leading axes. -inf outside the support.

        Raises:
            ShapeError: if trailing shapes do not fit.
            DataError: if x or the context holds NaN or infinite values.
            NumericError: if a log-density is NaN although its input is finite.

        Example:
            >>> import jax.numpy as jnp, pushforward as pf
            >>> print(pf.bases.Normal((2,)).log_prob(jnp.zeros((3, 2))).shape)
            (3,)
        """
        x = _check_event(x, self.shape)
        context = _check_context(context, self.context_shape)
        lead = _broadcast(x.shape[: x.ndim - len(self.shape)], _lead(context, self.context_shape))
        here = boundary(self)
        if here.is_traced or is_traced(x, context):
            events = (self.shape, self.context_shape)
            return _map_leading(lambda x, c: self.log_prob_one(x, c, None), lead, (x, context), events)
        rows, given = here.events(self, x, lead), here.contexts(self, context, lead)
        ran = run_batched(log_prob_batch, here.program, [rows, given], math.prod(lead), math.prod(self.shape))
        if ran is None:
            given = None if given is None else jnp.asarray(given)
            return log_prob_batch(here.inner or self, jnp.asarray(rows), given)[0].reshape(lead)
        return _scores(ran[0], lead)

    @_Public
    def sample(self, n: Count = (), *, key: PRNGKeyArray | int | np.integer, context: Any = None) -> Array:
        """Independent samples.

        Args:
            n: number of samples, or a shape; () for one sample.
            key: a JAX key or an int. `sample(n, key=k)[:m]` equals `sample(m, key=k)` (up to rounding of the last bits
                where another batch size is compiled).
            context: (..., *context_shape); `sample(5, context=(m, c))` has shape (5, m, *shape).

        Returns:
            Array (*n, *leading axes of context, *shape).

        Raises:
            ShapeError: if the context does not fit.
            NumericError: if a sample is NaN.
        """
        return _drawn(self, _sample_rows, n, key, context)[0]

    @_Public
    def sample_and_log_prob(
        self, n: Count = (), *, key: PRNGKeyArray | int | np.integer, context: Any = None
    ) -> tuple[Array, Array]:
        """Samples with their log-densities, from one pass. Arguments as for `sample`: the same rows."""
        samples, scores = _drawn(self, sample_batch, n, key, context)
        return samples, scores


def _drawn(
    distribution: AbstractDistribution, rows: Callable[..., tuple[Array, ...]], n: Count, key: Any, context: Any
) -> tuple[Array, ...]:
    """What `rows` draws, one row for each of n and of the context."""
    shape, key = _as_shape(n), as_key(key)
    context = _check_context(context, distribution.context_shape)
    lead = (*shape, *_lead(context, distribution.context_shape))
    size, here = math.prod(lead), boundary(distribution)
    if not (here.is_traced or is_traced(key, context)):
        given = [np.arange(size, dtype=np.uint32), here.contexts(distribution, context, lead)]
        ran = run_batched(rows, here.program, given, size, math.prod(distribution.shape), key)
        if ran is not None:
            _check_drawn(ran, lambda row: _draw_again(here.inner or distribution, key, given, row))
            ran = here.in_place(ran)
            return tuple(_shaped(part, (*lead, *part.shape[1:])) for part in ran)
    indices, flat = jnp.arange(size, dtype=jnp.uint32), None
    if (event := distribution.context_shape) is not None:
        flat = jnp.broadcast_to(context, (*lead, *event)).reshape(size, *event)
    return tuple(part.reshape(*lead, *part.shape[1:]) for part in rows(distribution, key, indices, flat))


def checked_context(distribution: AbstractDistribution, context: Any) -> np.ndarray | Array:
    """One context as it will be used again, finite numbers in float64; a tracer as it is."""
    if is_traced(context):
        return context
    context, here = _as_array(context, "context"), boundary(distribution)
    if context.shape == distribution.context_shape and not here.is_traced:
        here.contexts(distribution, context, ())
    return np.asarray(context, np.float64)


def _checked(verb: Callable[..., Any], what: str) -> Callable[..., Any]:
    """A verb of one sample in full precision, the shape of its result compared with the event's."""

    @functools.wraps(verb)
    @in_full_precision
    def checked(self: AbstractDistribution, *args: Any, **named: Any) -> Any:
        with Explained(self):
            found = verb(self, *args, **named)
        check_shapes(self, what, found, self.shape)
        if not isinstance(found, tuple):
            context = named["context"] if "context" in named else args[1]
            check_parameters(self, lambda: self.sample_and_log_prob_one(jax.random.key(0), context))
        return found

    return checked


def _check_drawn(parts: tuple[Any, ...], again: Callable[[int], None]) -> None:
    size = len(parts[0])
    if all(is_on_device(part, size, math.prod(part.shape[1:])) and not jnp.isnan(part).any() for part in parts):
        return
    broken = np.zeros(size, bool)
    for part in parts:
        broken |= np.isnan(part).reshape(size, math.prod(part.shape[1:])).any(1)
    if broken.any():
        again(int(broken.argmax()))
        raise NumericError(
            f"{broken.sum()} of {size} samples hold NaN, first at row {broken.argmax()}: a layer overflows there, "
            "or a numerical inverse did not settle. pushforward.check(flow) says more."
        )


def _draw_again(distribution: AbstractDistribution, key: PRNGKeyArray, given: list[Any], row: int) -> None:
    """One row once more without compilation: a layer whose search found nothing then says so itself."""
    if has_hook(distribution, "has_search"):
        context = None if given[1] is None else jnp.asarray(given[1][row])
        with jax.disable_jit():
            distribution.sample_and_log_prob_one(jax.random.fold_in(key, given[0][row]), context)


def log_prob_batch(distribution: AbstractDistribution, x: Array, context: Array | None) -> tuple[Array, ...]:
    """The log-densities of rows; a function at module level, for it is part of a program's identity."""
    axes = (0, None if context is None else 0)
    return (jax.vmap(lambda x, c: distribution.log_prob_one(x, c, None), axes)(x, context),)


def sample_batch(
    distribution: AbstractDistribution, key: PRNGKeyArray, indices: Array, context: Array | None
) -> tuple[Array, ...]:
    """Samples and their log-densities; row i depends on the key, indices[i] and context[i] alone."""
    axes = (0, None if context is None else 0)
    return jax.vmap(lambda i, c: distribution.sample_and_log_prob_one(jax.random.fold_in(key, i), c), axes)(
        indices, context
    )


def _sample_rows(
    distribution: AbstractDistribution, key: PRNGKeyArray, indices: Array, context: Array | None
) -> tuple[Array, ...]:
    """The samples alone: the log-density, which nobody asked for, is then not computed."""
    return sample_batch(distribution, key, indices, context)[:1]


def _scores(scores: Any, lead: tuple[int, ...]) -> Array:
    if (broken := np.isnan(scores)).any():
        raise NumericError(
            f"log_prob is NaN for {broken.sum()} of {broken.size} finite rows, first at row {broken.argmax()}: the "
            "point may lie outside the image of a layer, a layer overflows there, or a numerical inverse did not "
            "settle. pushforward.check(flow, x) says more."
        )
    return _shaped(scores, lead)


def _shaped(rows: Any, shape: tuple[int, ...]) -> Array:
    """A result of the program as it left it, or put back on the device: jnp would compile for each new row count."""
    if isinstance(rows, jax.Array) and rows.shape == shape:
        return rows
    return jax.device_put(np.asarray(rows).reshape(shape))


def _check_event(x: Any, event: tuple[int, ...]) -> Any:
    x = _as_array(x, "x")
    if x.ndim < len(event) or x.shape[x.ndim - len(event) :] != event:
        hint = ""
        if event == (1,) and x.ndim == 1:
            hint = " One-dimensional data have shape (n, 1): pass x[:, None]."
        raise ShapeError(f"x: expected shape (..., {_comma(event)}), got {x.shape}.{hint}")
    return x


def _check_context(context: Any, event: tuple[int, ...] | None) -> Any:
    if event is None:
        if context is not None:
            raise ShapeError(
                f"context: this distribution is unconditional, got a context of shape {np.shape(context)}. Leave "
                "it out, or build the flow with context_dim=."
            )
        return None
    if context is None:
        raise ShapeError(
            f"context: this distribution is conditional and needs a context of shape (..., {_comma(event)}). Pass "
            "context=."
        )
    context = _as_array(context, "context")
    if context.ndim < len(event) or context.shape[context.ndim - len(event) :] != event:
        raise ShapeError(f"context: expected shape (..., {_comma(event)}), got {context.shape}.")
    return context


def as_key(key: PRNGKeyArray | int | np.integer) -> PRNGKeyArray:
    """A JAX key: ints are seeds, old-style raw keys are wrapped."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array):
        return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    raise TypeError(f"key: expected an int or a JAX key (jax.random.key(0)), got {key!r}.")


def _as_shape(n: Count) -> tuple[int, ...]:
    shape = (n,) if isinstance(n, int | np.integer) and not isinstance(n, bool) else n
    if not isinstance(shape, tuple) or any(not isinstance(s, int | np.integer) or s < 0 for s in shape):
        raise ValueError(f"n: expected a number of samples (0 or more) or a tuple of such, got {n!r}.")
    return tuple(int(s) for s in shape)


def _as_array(value: Any, name: str) -> Any:
    """Concrete input as an array of floats, tracers as they are; tables and tensors by their own protocols."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and is_inexact(value)):
        return value
    if not isinstance(value, jax.Array):
        value = to_array(value)
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
            value = np.from_dlpack(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{name}: expected an array of numbers, got rows of unequal length ({error}).") from None
    if jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16 is one, which NumPy does not know
        return array
    if array.dtype.kind not in "iub":
        raise DataError(f"{name}: expected real numbers, got an array of type {array.dtype}. Convert it first.")
    return as_floats(name, array)


def _lead(value: Any, event: tuple[int, ...] | None) -> tuple[int, ...]:
    return () if value is None or event is None else value.shape[: value.ndim - len(event)]


def _broadcast(x: tuple[int, ...], context: tuple[int, ...]) -> tuple[int, ...]:
    if context in ((), x):
        return x
    try:
        return np.broadcast_shapes(x, context)
    except ValueError:
        raise ShapeError(
            f"context: its leading axes {context} do not broadcast against those of x, {x}: pass one context, one for "
            "each row, or put axes of one between (x[:, None])."
        ) from None


def _map_leading(fn: Callable[..., Any], lead: tuple[int, ...], values: tuple[Any, ...], events: tuple) -> Any:
    """One vmap over all leading axes at once, so that a batch stays one axis."""
    rows = [
        None if value is None else jnp.broadcast_to(value, (*lead, *event)).reshape(math.prod(lead), *event)
        for value, event in zip(values, events, strict=True)
    ]
    out = jax.vmap(fn, [None if row is None else 0 for row in rows])(*rows)
    return jax.tree.map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), out)


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "()"

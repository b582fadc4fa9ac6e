"""A flow as a distribution of NumPyro."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import Distribution, constraints

from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_inexact, with_gradient_of
from pushforward.numerics.programs import flatten, is_traced, unflatten


class FlowDistribution(Distribution):
    """Any distribution of pushforward as a distribution of NumPyro: log p(x | c), batched over the contexts c.

    Serves wherever NumPyro takes a distribution: as a prior in a model, as a guide's, under NUTS, SVI, jit, grad and
    vmap. Its arrays are leaves of a pytree, so they may be parameters of the model. A sample carries its own
    log-density, without a second pass.

    Args:
        flow: a flow, or any other distribution of pushforward.
        context: (*batch_shape, *context_shape) for a conditional one; its leading axes are the batch shape.
        support: a constraint of NumPyro, all reals by default. NUTS and guides move freely within it: a flow that
            ends somewhere (a bounded base) must say so here.
        path_gradient: in the log-density of its own samples, differentiate through the sample alone and not through
            the parameters. In the gradient of an ELBO this leaves out a part whose mean is zero; it costs one pass of
            the inverse direction. Not for bounds of several particles such as Renyi's, which it would bias.
        validate_args: NumPyro's own checks of arguments; the flow's are always on.

    Raises:
        TypeError: if flow is not a distribution of pushforward.
        ShapeError: if the context does not fit.

    Reference: Phan, Pradhan & Jankowiak 2019 (NumPyro); path derivative: Roeder, Wu & Duvenaud 2017.

    Example:
        >>> import jax, numpyro, pushforward as pf
        >>> from pushforward.numpyro import FlowDistribution
        >>> prior = FlowDistribution(pf.nsf(dim=2, key=0))
        >>> def model():
        ...     x = numpyro.sample("x", prior)
        ...     numpyro.sample("y", numpyro.distributions.Normal(x[0] * x[1], 0.1), obs=1.0)
        >>> print(prior.event_shape, prior.sample(jax.random.key(0), (3,)).shape)
        (2,) (3, 2)
    """

    pytree_data_fields = ("_arrays", "_context")
    pytree_aux_fields = ("_static", "_range", "_path_gradient")

    def __init__(
        self,
        flow: Any,
        context: Any = None,
        *,
        support: constraints.Constraint | None = None,
        path_gradient: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(flow, AbstractDistribution):
            raise TypeError(f"flow: expected a distribution of pushforward such as pf.nsf(dim=2, key=0), got {flow!r}.")
        self._arrays, self._static = flatten(flow)
        self._flow = flow
        self._context, batch_shape = _checked_context(flow, context)
        self._range = real_events(flow.shape) if support is None else support
        self._path_gradient = bool(path_gradient)
        super().__init__(batch_shape, flow.shape, validate_args=validate_args)

    @property
    def flow(self) -> AbstractDistribution:
        """The distribution of pushforward."""
        if "_flow" not in self.__dict__:  # after a tree was taken apart and put together
            self._flow = unflatten(self._arrays, self._static)
        return self._flow

    @property
    def context(self) -> Any:
        """The context, or None."""
        return self._context

    @property
    def support(self) -> constraints.Constraint:
        return self._range

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples (*sample_shape, *batch_shape, *event_shape), those of `flow.sample` for the same key."""
        if self._is_single(sample_shape, key):
            return self._one(key)[0]
        return self.flow.sample(sample_shape, key=key, context=self._context)

    def sample_with_intermediates(self, key: Any, sample_shape: tuple[int, ...] = ()) -> tuple[Array, list[Array]]:
        """Samples as of `sample`, with a list of one array: their log-densities, from the same pass."""
        if self._is_single(sample_shape, key):
            x, log_prob = self._one(key)
        else:
            x, log_prob = self.flow.sample_and_log_prob(sample_shape, key=key, context=self._context)
        if self._path_gradient:
            # the value of the sample's own pass: coming back through the inverse may have lost the digits of it
            log_prob = with_gradient_of(log_prob, self._frozen().log_prob(x))
        return x, [log_prob]

    def log_prob(self, value: Any, intermediates: list[Array] | None = None) -> Array:
        """Log-density in nats of values (..., *event_shape); leading axes broadcast against the batch shape.

        Args:
            value: what to score.
            intermediates: what `sample_with_intermediates` gave with this value.
        """
        if intermediates:
            return intermediates[0]
        if jnp.shape(value) == self.event_shape and self._is_single((), value):
            return self.flow.log_prob_one(value, self._context, None)
        return self.flow.log_prob(value, self._context)

    def _is_single(self, sample_shape: tuple[int, ...], *more: Any) -> bool:
        """Whether one sample is meant, in somebody's program: that one is not mapped over."""
        alone = tuple(sample_shape) == self.batch_shape == ()
        return alone and is_traced(self._context, *more, *self._arrays)

    def _one(self, key: Any) -> tuple[Array, Array]:
        return self.flow.sample_and_log_prob_one(jax.random.fold_in(as_key(key), 0), self._context)

    def _frozen(self) -> "FlowDistribution":
        """The same distribution, whose parameters pass no gradient on."""

        def stopped(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if is_inexact(leaf) else leaf, tree)

        return FlowDistribution(stopped(self.flow), stopped(self._context), support=self._range)


def real_events(shape: tuple[int, ...]) -> constraints.Constraint:
    """The constraint of events of this shape whose elements are any real numbers."""
    return constraints.independent(constraints.real, len(shape)) if shape else constraints.real


def _checked_context(flow: AbstractDistribution, context: Any) -> tuple[Any, tuple[int, ...]]:
    """The context as floats, and its leading axes."""
    event = flow.context_shape
    if event is None:
        if context is not None:
            raise ShapeError(
                f"context: this flow is unconditional, got a context of shape {jnp.shape(context)}. Leave it out, or "
                "build the flow with context_dim=."
            )
        return None, ()
    if context is None:
        raise ShapeError(f"context: this flow is conditional, expected shape (..., {_comma(event)}), got none.")
    context = jnp.asarray(context)
    lead = context.ndim - len(event)
    if lead < 0 or context.shape[lead:] != event:
        raise ShapeError(f"context: expected shape (..., {_comma(event)}), got {context.shape}.")
    if not eqx.is_inexact_array(context):
        context = context.astype(jnp.result_type(float))
    return context, context.shape[:lead]


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "()"

"""A flow as a distribution of NumPyro."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import Distribution, constraints

from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_inexact, with_gradient_of
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import flatten, is_traced, unflatten


class FlowDistribution(Distribution):
    """Any distribution of pushforward as a distribution of NumPyro: log p(x | c), batched over the contexts c.

    It can be used wherever NumPyro accepts a distribution: as a prior or in a guide, under NUTS, SVI, jit, grad and
    vmap. Its arrays are leaves of a pytree, so they may be parameters of the model. Its intermediates hold the
    log-density of a sample, without a second pass.

    Args:
        flow: a flow, or any other distribution of pushforward.
        context: (*batch_shape, *context_shape) for a conditional one; its leading axes are the batch shape.
        support: a constraint of NumPyro, all reals by default. NUTS and guides propose any value within it, so a flow
            with bounded support (a bounded base) needs one.
        path_gradient: differentiate the log-density of the distribution's samples through the sample only, not through
            the parameters. In the gradient of an ELBO this omits a part whose mean is zero; it costs one pass of the
            inverse direction. Not for bounds of several particles such as Renyi's, which it would bias.
        validate_args: whether NumPyro checks arguments; the flow always does.

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
    pytree_aux_fields = ("_static", "_constraint", "_path_gradient")

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
        self._constraint = real_events(flow.shape) if support is None else support
        self._path_gradient = bool(path_gradient)
        super().__init__(batch_shape, flow.shape, validate_args=validate_args)

    @property
    def flow(self) -> AbstractDistribution:
        """The distribution of pushforward."""
        if "_flow" not in self.__dict__:  # after tree_unflatten
            self._flow = unflatten(self._arrays, self._static)
        return self._flow

    @property
    def context(self) -> Any:
        """The context, or None."""
        return self._context

    @property
    def support(self) -> constraints.Constraint:
        return self._constraint

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples (*sample_shape, *batch_shape, *event_shape), equal to those of `flow.sample` for the same key."""
        if self._is_single(sample_shape, key):
            return self._sample_one(key)[0]
        return self.flow.sample(sample_shape, key=key, context=self._context)

    def sample_with_intermediates(self, key: Any, sample_shape: tuple[int, ...] = ()) -> tuple[Array, list[Array]]:
        """Samples as by `sample`, and a list of one array: their log-densities, from the same pass."""
        if self._is_single(sample_shape, key):
            x, log_prob = self._sample_one(key)
        else:
            x, log_prob = self.flow.sample_and_log_prob(sample_shape, key=key, context=self._context)
        if self._path_gradient:
            # keep the value of the sampling pass: the inverse direction may lose digits
            log_prob = with_gradient_of(log_prob, self._frozen().log_prob(x))
        return x, [log_prob]

    def log_prob(self, value: Any, intermediates: list[Array] | None = None) -> Array:
        """Log-density in nats of values (..., *event_shape); leading axes broadcast against the batch shape.

        Args:
            value: at which to evaluate the density.
            intermediates: from `sample_with_intermediates`, of this value.
        """
        if intermediates:
            return intermediates[0]
        if jnp.shape(value) == self.event_shape and self._is_single((), value):
            return self.flow.log_prob_one(value, self._context, None)
        return self.flow.log_prob(value, self._context)

    def _is_single(self, sample_shape: tuple[int, ...], *values: Any) -> bool:
        """Whether it is one sample under a caller's trace: then nothing is mapped over."""
        has_no_batch = tuple(sample_shape) == self.batch_shape == ()
        return has_no_batch and is_traced(self._context, *values, *self._arrays)

    def _sample_one(self, key: Any) -> tuple[Array, Array]:
        return self.flow.sample_and_log_prob_one(jax.random.fold_in(as_key(key), 0), self._context)

    def _frozen(self) -> "FlowDistribution":
        """The same distribution, with `stop_gradient` on its parameters."""

        def stop_gradient(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if is_inexact(leaf) else leaf, tree)

        return FlowDistribution(stop_gradient(self.flow), stop_gradient(self._context), support=self._constraint)


def real_events(shape: tuple[int, ...]) -> constraints.Constraint:
    """The constraint of real events of this shape."""
    return constraints.independent(constraints.real, len(shape)) if shape else constraints.real


def _checked_context(flow: AbstractDistribution, context: Any) -> tuple[Any, tuple[int, ...]]:
    """The context as floats, and its batch shape."""
    shape = flow.context_shape
    if shape is None:
        if context is not None:
            raise ShapeError(
                f"context: this flow is unconditional, got a context of shape {jnp.shape(context)}. Leave it out, or "
                "build the flow with context_dim=."
            )
        return None, ()
    if context is None:
        raise ShapeError(f"context: this flow is conditional, expected shape (..., {_comma(shape)}), got none.")
    context = jnp.asarray(context)
    n_lead = context.ndim - len(shape)
    if n_lead < 0 or context.shape[n_lead:] != shape:
        raise ShapeError(f"context: expected shape (..., {_comma(shape)}), got {context.shape}.")
    if not eqx.is_inexact_array(context):
        context = context.astype(jnp.result_type(float))
    return context, context.shape[:n_lead]


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "()"

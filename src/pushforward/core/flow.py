"""A flow: a base distribution pushed through a bijection."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution, checked_context
from pushforward.core.fields import frozen, trainable
from pushforward.core.flow_argument import check_flow_argument
from pushforward.core.layers import flat_layers
from pushforward.core.network_call import call_network
from pushforward.core.stacked import stacked_field
from pushforward.core.standardise import Standardise
from pushforward.core.state import is_estimated, reseed
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import bits_of
from pushforward.numerics.programs import flatten, float_type


class Flow(AbstractDistribution):
    """The pushforward of a base distribution: x = T(z; context), z from the base.

        log p(x | c) = log p_base(T^-1(x; c) | c) + log|det dT^-1(x; c) / dx|

    Args:
        base: distribution of the latent z, of the bijection's shape.
        bijection: T, base to data.
        embed: a network applied to the context before it enters the bijection and the base, or None.
        context_shape: shape of the input of `embed`; without `embed` it is the context shape of the bijection.
        standardise_context: whether the context is first standardised and compressed (`context_scaling`, a
            `Standardise`), with moments that `fit` computes.

    Cost: `log_prob` takes one inverse pass of the bijection, `sample` one forward pass.

    Raises:
        ShapeError: if base and bijection differ in shape.

    Reference: Rezende & Mohamed 2015, equation 5; Papamakarios et al. 2021, section 2.1.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> from pushforward.bijections import Affine, Elementwise
        >>> flow = pf.Flow(pf.bases.Normal((2,)), Elementwise(Affine(shift=1.0), (2,)))
        >>> print(flow.log_prob(jnp.ones((3, 2))))
        [-1.837877 -1.837877 -1.837877]
    """

    base: AbstractDistribution
    bijection: AbstractBijection
    embed: Callable[..., Array] | None
    context_scaling: Standardise | None
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        base: AbstractDistribution,
        bijection: AbstractBijection,
        *,
        embed: Callable[..., Array] | None = None,
        context_shape: tuple[int, ...] | None = None,
        standardise_context: bool = True,
    ) -> None:
        for name, part, kind in (("base", base, AbstractDistribution), ("bijection", bijection, AbstractBijection)):
            if not isinstance(part, kind):
                got = part.__name__ if isinstance(part, type) else f"{type(part).__name__} {part!r:.60}"
                raise TypeError(f"{name}: expected an instance of {kind.__name__}, got {got}.")
        inner = {part.context_shape for part in (base, bijection) if part.context_shape is not None}
        if len(inner) > 1:
            raise ShapeError(f"base, bijection: expected one context shape, got {sorted(inner)}.")
        if embed is not None and context_shape is None:
            raise ShapeError("context_shape: expected the shape of the input of `embed`, got none.")
        if embed is None and context_shape is not None and {tuple(context_shape)} != inner:
            raise ShapeError(
                f"context_shape: without an `embed` network it is that of base and bijection, {sorted(inner) or None}, "
                f"got {context_shape}. Leave it out, or pass embed=."
            )
        self.base, self.bijection, self.embed = base, bijection, embed
        self.shape = bijection.shape
        self.context_shape = context_shape if embed is not None else (inner.pop() if inner else None)
        has_scaling = self.context_shape is not None and standardise_context
        self.context_scaling = Standardise(self.context_shape, compress=True) if has_scaling else None

    def __check_init__(self) -> None:
        if not self.base.shape == self.bijection.shape == self.shape:
            raise ShapeError(
                f"base: expected the shape of the bijection, {self.bijection.shape}, got {self.base.shape}; the flow "
                f"has shape {self.shape}."
            )
        inner = {part.context_shape for part in (self.base, self.bijection) if part.context_shape is not None}
        if self.embed is None and {self.context_shape} - {None} != inner:
            raise ShapeError(f"context_shape: expected that of its parts, {sorted(inner)}, got {self.context_shape}.")
        if self.context_scaling is not None and self.context_scaling.shape != self.context_shape:
            got = self.context_scaling.shape
            raise ShapeError(f"context_scaling: expected the context shape {self.context_shape}, got {got}.")

    @property
    def layers(self) -> tuple[AbstractBijection, ...]:
        """The layers of the bijection from base to data; those of a `Repeat` are copies, unstacked.

        `Chain`, `Repeat` and their inverses are flattened, other bijections are one layer each. See `replace_layer`,
        `insert_layer` and `freeze`.
        """
        return flat_layers(self.bijection)

    def log_prob_with_error(self, x: Any, context: Any = None, *, n_draws: int = 16) -> tuple[Array, Array]:
        """Log-density in nats and its standard error, for flows whose log-density is a random estimate.

        The mean over `n_draws` sets of random numbers, the first of which `log_prob` uses; equal inputs have equal
        results. For other flows it is `log_prob`, and the error is zero.

        Args:
            x, context: as for `log_prob`.
            n_draws: number of estimates, at least 2; the error falls as one over its square root.

        Returns:
            Two arrays of the broadcast leading axes.

        Raises:
            ValueError: if n_draws is below 2.

        Example:
            >>> import jax.numpy as jnp, pushforward as pf
            >>> flow = pf.residual_flow(dim=2, width=8, n_layers=2, key=0)
            >>> score, error = flow.log_prob_with_error(jnp.zeros((3, 2)))
            >>> print(score.shape, error)
            (3,) [0. 0. 0.]
        """
        if n_draws < 2:
            raise ValueError(f"n_draws: expected at least 2 draws for a standard error, got {n_draws}.")
        first = self.log_prob(x, context)
        if not is_estimated(self):
            return first, jnp.zeros_like(first)
        log_probs = jnp.stack([first, *(reseed(self, i).log_prob(x, context) for i in range(1, n_draws))])
        return jnp.mean(log_probs, 0), jnp.std(log_probs, 0, ddof=1) / n_draws**0.5

    def given(self, context: Any) -> "Given":
        """The unconditional distribution of this flow given one context.

        Args:
            context: of shape `context_shape`.
        """
        return Given(self, checked_context(self, context))

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        context = self.embed_context(context, key)
        bijection = _seeded_by(x, self.bijection)
        z, log_det = bijection.inverse_and_log_det(x, context_for(self.bijection, context), key=key)
        base_log_prob = self.base.log_prob_one(z, context_for(self.base, context), None)
        # At the edge of a support the two terms can be infinities of opposite sign; the density there is zero.
        is_zero = jnp.isneginf(base_log_prob) & ~jnp.isnan(log_det)
        return jnp.where(is_zero, -jnp.inf, base_log_prob + log_det)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        context = self.embed_context(context)
        z, log_prob = self.base.sample_and_log_prob_one(key, context_for(self.base, context))
        x, log_det = _seeded_by(z, self.bijection).forward_and_log_det(z, context_for(self.bijection, context))
        # A base sample outside the domain of the bijection gives NaN.
        return jnp.where(jnp.isneginf(log_det), jnp.nan, x), log_prob - log_det

    def centred(self) -> tuple["Flow", np.ndarray | None]:
        bijection, centre = self.bijection.centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda f: f.bijection, self, bijection), centre)

    def context_centred(self) -> tuple["Flow", np.ndarray | None]:
        scaling, centre = (None, None) if self.context_scaling is None else self.context_scaling.centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda f: f.context_scaling, self, scaling), centre)

    def embed_context(self, context: Array | None, key: PRNGKeyArray | None = None) -> Array | None:
        """The context as bijection and base receive it: standardised, then embedded."""
        if context is None:
            return None
        if self.context_scaling is not None:
            context = self.context_scaling.inverse_and_log_det(context)[0]
        if self.embed is None:
            return context
        return call_network(self.embed, context, None, None, key=None if key is None else jax.random.fold_in(key, 1))


class Given(AbstractDistribution):
    """A conditional distribution at one fixed context, the result of `Flow.given`.

    Args:
        distribution: a conditional distribution.
        context: of the context shape of the distribution.

    Example:
        >>> import pushforward as pf, jax.numpy as jnp
        >>> flow = pf.real_nvp(dim=2, context_dim=1, key=0).given(jnp.zeros(1))
        >>> print(flow.sample(3, key=0).shape)
        (3, 2)
    """

    distribution: AbstractDistribution
    context: np.ndarray | Array = frozen()  # NumPy float64, the dtype in which it is centred

    def __init__(self, distribution: AbstractDistribution, context: np.ndarray | Array) -> None:
        self.distribution, self.context = distribution, context

    def __check_init__(self) -> None:
        expected = self.distribution.context_shape
        if expected is None:
            raise ShapeError("given: expected a conditional distribution, got an unconditional one.")
        if self.context.shape != expected:
            raise ShapeError(f"context: expected one context of shape {expected}, got {self.context.shape}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.distribution.shape

    @property
    def context_shape(self) -> None:
        return None

    @property
    def layers(self) -> tuple[AbstractBijection, ...]:
        """Those of the conditional flow.

        Raises:
            AttributeError: if the conditional distribution has no layers of its own, as an `Ensemble`.
        """
        layers = getattr(self.distribution, "layers", None)
        if layers is None:
            raise AttributeError(
                f"layers: expected a Flow given a context, got {type(self.distribution).__name__}, which has no layers "
                "of its own. Ask a flow that it combines, such as given.distribution[0] of an Ensemble."
            )
        return layers

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return self.distribution.log_prob_one(x, jnp.asarray(self.context, x.dtype), key)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        dtype = float_type(flatten(self.distribution)[0])
        return self.distribution.sample_and_log_prob_one(key, jnp.asarray(self.context, dtype))

    def centred(self) -> tuple["Given", np.ndarray | None]:
        inner, centre = self.distribution.centred()
        inner, shift = inner.context_centred()
        if inner is self.distribution:
            return self, None
        context = self.context if shift is None else np.asarray(self.context, np.float64) - shift
        return Given(inner, context), centre


def summary(flow: AbstractDistribution) -> str:
    """A text with one line per layer: type, shape and number of trained parameters.

    Example:
        >>> import pushforward as pf
        >>> print(pf.summary(pf.nice(dim=2, key=0)).splitlines()[0].split()[0])
        Flow
    """
    if not isinstance(flow, eqx.Module):
        check_flow_argument("flow", flow, "summary(flow)")
    lines: list[str] = []
    _describe(flow, eqx.filter(flow, trainable(flow)), "", lines)
    return "\n".join(lines)


def _describe(node: eqx.Module, trained: eqx.Module, indent: str, lines: list[str]) -> None:
    shape = getattr(node, "shape", None)
    details = f" shape {shape}" if shape is not None else ""
    details += f" x {len(node)}" if stacked_field(node) is not None else ""  # ty: ignore[invalid-argument-type]
    count = sum(leaf.size for leaf in jax.tree.leaves(trained))
    lines.append(f"{indent}{type(node).__name__}{details}: {count:,} parameters")
    for name in node.__dataclass_fields__:
        value, parameters = getattr(node, name), getattr(trained, name)
        pairs = zip(value, parameters, strict=True) if isinstance(value, tuple) else [(value, parameters)]
        for child, child_parameters in pairs:
            if isinstance(child, eqx.Module):
                _describe(child, child_parameters, indent + "  ", lines)


def _seeded_by(x: Array, bijection: AbstractBijection) -> AbstractBijection:
    """The bijection with its random estimates, if any, seeded by the bits of a sample."""
    if not is_estimated(bijection):
        return bijection
    return reseed(bijection, bits_of(x))


def context_for(part: AbstractBijection | AbstractDistribution, context: Array | None) -> Array | None:
    """The context of a part: None if the part is unconditional."""
    return None if part.context_shape is None else context
